import { setTimeout as delay } from 'node:timers/promises';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import type { ContenderName } from '../contenders/contender.js';
import type { StreamContender } from '../contenders/stream-contender.js';
import { epochMs } from '../epoch.js';
import type { LoggedOrder } from '../upstream/order-log.js';
import type { FeedFigures } from './feed-ledger.js';
import { FeedReader } from './feed-reader.js';
import { LogFollower } from './log-follower.js';
import { type SessionFigures, SessionLedger } from './session-ledger.js';
import { SessionOrders } from './session-orders.js';

const POLL_MS = 20;
/** When nothing was applied for so long, whoever has lost messages will not send them any more. */
const QUIET_MS = 2_000;

/** What one contender's streams have done, compared with the log. */
export interface StreamStanding extends FeedFigures, SessionFigures {
  readonly name: ContenderName;
}

/** How a contest of streams is held. */
export interface StreamContestTerms {
  /** Readers are busy now and then. */
  readonly pausing: boolean;
  /** Is told of a contender that gives up. */
  readonly say: (text: string) => void;
}

interface Entrant {
  readonly contender: StreamContender;
  readonly reader: FeedReader;
  readonly orders: SessionOrders;
  readonly ledger: SessionLedger;
}

/** The contenders with a feed of the same log each, and a session if there is something to send, under the same faults. */
export class StreamContest {
  readonly #entrants: readonly Entrant[];
  readonly #log: LogFollower;
  readonly #logged: LoggedOrder[] = [];
  readonly #ending = new AbortController();
  readonly #streams: Promise<void>[] = [];
  /** From now on streams may end. */
  #finishing = false;

  constructor(
    contenders: readonly StreamContender[],
    upstream: UpstreamProcess,
    private readonly terms: StreamContestTerms,
  ) {
    this.#log = LogFollower.fromStart(upstream.logPath);
    // What is there already was before the contest.
    this.#logged.push(...this.#log.read());
    const from = this.#logged.at(-1)?.sequence ?? '0';
    this.#entrants = contenders.map((contender) => ({
      contender,
      reader: new FeedReader(from, terms.pausing),
      orders: new SessionOrders(contender.name),
      ledger: new SessionLedger(),
    }));
    for (const { contender, reader } of this.#entrants)
      this.#keep(
        'feed',
        contender,
        contender.follow(from, (event) => reader.handle(event), this.#ending.signal),
      );
  }

  /** Each contender opens a session too, and gets so many orders a second to send over it. */
  startSessions(perSecond: number): void {
    for (const { contender, orders } of this.#entrants) {
      this.#keep('session', contender, contender.converse(orders, this.#ending.signal));
      orders.start(perSecond);
    }
  }

  /** Makes no more orders for sessions, and waits until everybody has what they will get, but no longer than `timeoutMs`. */
  async finish(timeoutMs: number): Promise<void> {
    this.#finishing = true;
    for (const { orders } of this.#entrants) orders.stop();
    const giveUpAtMs = epochMs() + timeoutMs;
    while (!this.#isSettled() && epochMs() < giveUpAtMs) await delay(POLL_MS);
  }

  /** Where everybody stands. */
  standings(): readonly StreamStanding[] {
    this.#readLog();
    const nowMs = epochMs();
    return this.#entrants.map(({ contender, reader, orders, ledger }) => ({
      name: contender.name,
      ...reader.ledger.figures(this.#logged, nowMs),
      ...ledger.figures(orders.count),
    }));
  }

  /** Ends all streams. */
  async close(): Promise<void> {
    this.#finishing = true;
    for (const { orders } of this.#entrants) orders.stop();
    this.#ending.abort();
    await Promise.all(this.#streams);
    this.#log.close();
  }

  #isSettled(): boolean {
    this.#readLog();
    const last = this.#logged.at(-1);
    const isQuiet = epochMs() - (last?.atMs ?? 0) > QUIET_MS;
    return this.#entrants.every(
      ({ reader, orders, ledger }) =>
        reader.ledger.highest === BigInt(last?.sequence ?? 0) &&
        (isQuiet || ledger.figures(orders.count).sessionLost === 0),
    );
  }

  #readLog(): void {
    for (const order of this.#log.read()) {
      this.#logged.push(order);
      for (const { orders, ledger } of this.#entrants) {
        const message = orders.numberOf(order.requestId);
        if (message !== undefined) ledger.applied(message);
      }
    }
  }

  #keep(what: string, { name }: StreamContender, stream: Promise<void>): void {
    const ended = (how: string): void => {
      if (!this.#finishing) this.terms.say(`the ${what} of '${name}' ended: ${how}`);
    };
    this.#streams.push(
      stream.then(
        () => ended('nothing more comes'),
        (error: unknown) => ended(String(error)),
      ),
    );
  }
}
