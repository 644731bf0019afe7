import { setTimeout as delay } from 'node:timers/promises';
import type { ContenderName } from '../contenders/contender.js';
import type { StreamContender } from '../contenders/stream-contenders.js';
import { epochMs } from '../epoch.js';
import type { OrderEvent } from '../gen/orders.pb.js';
import { LogFollower } from '../upstream/log-follower.js';
import { FeedLedger, type FeedFigures, type LoggedOrder } from './feed-ledger.js';

const POLL_MS = 20;
/** Pause of a reader, long enough to fill the buffers on the path, so that flow control takes effect. */
const PAUSE_MS = 1_000;
const PAUSE_INTERVAL_MS = 4_000;

/** The figures of one contender's feed, compared with the log. */
export interface StreamResult extends FeedFigures {
  readonly name: ContenderName;
}

/** Runs a feed of the log for each contender under the same faults. Each reader handles one event at a time and pauses occasionally. */
export class StreamComparison {
  private readonly feeds: readonly { readonly name: ContenderName; readonly ledger: FeedLedger }[];
  private readonly log: LogFollower;
  private readonly logged: LoggedOrder[] = [];
  private readonly ending = new AbortController();
  private readonly streams: Promise<void>[] = [];

  /** @param report receives a message when a feed ends early */
  constructor(
    contenders: readonly StreamContender[],
    logPath: string,
    private readonly report: (text: string) => void,
  ) {
    this.log = new LogFollower(logPath);
    // Skips orders from before the comparison.
    this.readLog();
    const from = this.logged.at(-1)?.sequence ?? '0';
    this.feeds = contenders.map((contender) => {
      const { name } = contender;
      const ledger = new FeedLedger(from, epochMs());
      this.keep(name, contender.follow(from, reader(ledger), this.ending.signal));
      return { name, ledger };
    });
  }

  /** Waits up to `timeoutMs` until all feeds have reached the end of the log. */
  async finish(timeoutMs: number): Promise<void> {
    const untilMs = epochMs() + timeoutMs;
    const isBehind = () => this.feeds.some(({ ledger }) => ledger.highest < BigInt(this.logged.length));
    do {
      this.readLog();
      await delay(POLL_MS);
    } while (isBehind() && epochMs() < untilMs);
  }

  /** Returns the current figures of all contenders. */
  results(): readonly StreamResult[] {
    this.readLog();
    return this.feeds.map(({ name, ledger }) => ({ name, ...ledger.figures(this.logged, epochMs()) }));
  }

  /** Ends all feeds. */
  async close(): Promise<void> {
    this.ending.abort();
    await Promise.all(this.streams);
    this.log.close();
  }

  private readLog(): void {
    for (const { atMs } of this.log.read()) this.logged.push({ sequence: String(this.logged.length + 1), atMs });
  }

  private keep(name: ContenderName, stream: Promise<void>): void {
    const ended = (how: string): void => {
      if (!this.ending.signal.aborted) this.report(`feed of '${name}' ended early: ${how}`);
    };
    this.streams.push(
      stream.then(
        () => ended('stream completed'),
        (error: unknown) => ended(String(error)),
      ),
    );
  }
}

/** Returns a handler of events that pauses occasionally. It resolves when it is ready for the next event. */
function reader(ledger: FeedLedger): (event: OrderEvent) => Promise<void> {
  let nextPauseAtMs = epochMs() + PAUSE_INTERVAL_MS;
  return async ({ sequence }) => {
    if (!ledger.accept(sequence, epochMs()) || epochMs() < nextPauseAtMs) return;
    await delay(PAUSE_MS);
    nextPauseAtMs = epochMs() + PAUSE_INTERVAL_MS;
    ledger.startWait(epochMs());
  };
}
