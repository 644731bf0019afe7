import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContenderName } from '../contenders/contender.js';
import type { StreamContender } from '../contenders/stream-contender.js';
import { epochMs } from '../epoch.js';
import { PATIENCE } from '../patience.js';
import { LogFollower } from '../upstream/log-follower.js';
import type { ComparedUpstream } from './comparison.js';
import type { FeedFigures, LoggedOrder } from './feed-ledger.js';
import { FeedReader } from './feed-reader.js';
import { type SessionFigures, SessionLedger } from './session-ledger.js';
import { SessionOrders } from './session-orders.js';

const POLL_MS = 20;
/** Time without a new order in the log after which missing messages count as lost. */
const QUIET_MS = 2_000 * PATIENCE;

/** The figures of one contender's streams, compared with the log. */
export interface StreamResult extends FeedFigures, SessionFigures {
  readonly name: ContenderName;
  /** Number of feeds that ended early or did not reach the end of the log. */
  readonly streamsLost: number;
}

/** Options of a comparison of streams. */
export interface StreamComparisonOptions {
  /** True if readers pause occasionally. */
  readonly pausing: boolean;
  /** Number of feeds per contender. @defaultValue 1 */
  readonly feeds?: number | undefined;
  /** Receives a message when a stream ends early. */
  readonly report: (text: string) => void;
}

interface Entrant {
  readonly contender: StreamContender;
  readonly readers: readonly FeedReader[];
  readonly orders: SessionOrders;
  readonly ledger: SessionLedger;
}

/** Runs feeds of the same log, and optionally a session, for each contender under the same faults. */
export class StreamComparison {
  private readonly entrants: readonly Entrant[] = [];
  private readonly log: LogFollower;
  private readonly logged: LoggedOrder[] = [];
  private readonly ending = new AbortController();
  private readonly streams: Promise<void>[] = [];
  private readonly endedEarly = new Set<FeedReader>();
  /** True if the end of a stream is expected. */
  private finishing = false;

  constructor(
    contenders: readonly StreamContender[],
    upstream: Pick<ComparedUpstream, 'logPath'>,
    private readonly terms: StreamComparisonOptions,
  ) {
    // Allows any number of listeners, because each stream adds one.
    setMaxListeners(0, this.ending.signal);
    this.log = LogFollower.fromStart(upstream.logPath);
    // Skips orders from before the comparison.
    this.readLog();
    const from = this.logged.at(-1)?.sequence ?? '0';
    this.entrants = contenders.map((contender) => ({
      contender,
      readers: Array.from({ length: terms.feeds ?? 1 }, () => new FeedReader(from, terms.pausing)),
      orders: new SessionOrders(contender.name),
      ledger: new SessionLedger(),
    }));
    for (const { contender, readers } of this.entrants)
      for (const reader of readers) {
        const feed = contender.follow(from, (event) => reader.handle(event), this.ending.signal);
        this.keep('feed', contender, feed, () => this.endedEarly.add(reader));
      }
  }

  /** Opens a session for each contender and creates this many orders per second to send over it. */
  startSessions(perSecond: number): void {
    for (const { contender, orders } of this.entrants) {
      this.keep('session', contender, contender.converse(orders, this.ending.signal));
      orders.start(perSecond);
    }
  }

  /**
   * Stops creating orders for sessions. Waits up to `timeoutMs` until all feeds have reached the end of the log, and all session messages
   * have been applied or count as lost.
   */
  async finish(timeoutMs: number): Promise<void> {
    this.finishing = true;
    for (const { orders } of this.entrants) orders.stop();
    const untilMs = epochMs() + timeoutMs;
    while (!this.isSettled() && epochMs() < untilMs) await delay(POLL_MS);
  }

  /** Returns the current figures of all contenders. */
  results(): readonly StreamResult[] {
    this.readLog();
    const nowMs = epochMs();
    return this.entrants.map(({ contender, readers, orders, ledger }) => ({
      name: contender.name,
      ...combineFigures(readers.map((reader) => reader.ledger.figures(this.logged, nowMs))),
      streamsLost: readers.filter((reader) => this.endedEarly.has(reader) || !this.isAtTheEnd(reader)).length,
      ...ledger.figures(orders.count),
    }));
  }

  /** Ends all streams. */
  async close(): Promise<void> {
    this.finishing = true;
    for (const { orders } of this.entrants) orders.stop();
    this.ending.abort();
    await Promise.all(this.streams);
    this.log.close();
  }

  private isSettled(): boolean {
    this.readLog();
    const last = this.logged.at(-1);
    const isQuiet = epochMs() - (last?.atMs ?? 0) > QUIET_MS;
    return this.entrants.every(
      ({ readers, orders, ledger }) =>
        readers.every((reader) => this.isAtTheEnd(reader)) &&
        (isQuiet || ledger.figures(orders.count).sessionLost === 0),
    );
  }

  private isAtTheEnd({ ledger }: FeedReader): boolean {
    return ledger.highest === BigInt(this.logged.length);
  }

  private readLog(): void {
    for (const { requestId, atMs } of this.log.read()) {
      this.logged.push({ sequence: String(this.logged.length + 1), atMs });
      for (const { orders, ledger } of this.entrants) {
        const message = orders.numberOf(requestId);
        if (message !== undefined) ledger.applied(message);
      }
    }
  }

  private keep(
    what: string,
    { name }: StreamContender,
    stream: Promise<void>,
    onEndedEarly = (): unknown => undefined,
  ): void {
    const ended = (how: string): void => {
      if (this.finishing) return;
      onEndedEarly();
      this.terms.report(`${what} of '${name}' ended early: ${how}`);
    };
    this.streams.push(
      stream.then(
        () => ended('stream completed'),
        (error: unknown) => ended(String(error)),
      ),
    );
  }
}

/** Combines the feeds of one contender: the longest gap of all, and the sums of the other figures. */
function combineFigures(feeds: readonly FeedFigures[]): FeedFigures {
  const sum = (count: (figures: FeedFigures) => number): number => feeds.reduce((total, one) => total + count(one), 0);
  return {
    events: sum(({ events }) => events),
    lostEvents: sum(({ lostEvents }) => lostEvents),
    repeatedEvents: sum(({ repeatedEvents }) => repeatedEvents),
    outOfOrder: sum(({ outOfOrder }) => outOfOrder),
    longestGapMs: Math.max(...feeds.map(({ longestGapMs }) => longestGapMs)),
  };
}
