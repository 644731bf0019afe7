import { randomUUID } from 'node:crypto';
import { firstValueFrom, type Observable, Subject } from 'rxjs';
import type { ContenderName } from '../contenders/contender.js';
import { epochMs } from '../epoch.js';
import type { SessionRequest } from '../gen/orders.pb.js';
import { callsDue } from './due-calls.js';

const TICK_MS = 10;

/** Orders for a session, created at a steady rate and numbered from 1. The rate does not depend on whether a session is open. */
export class SessionOrders {
  private readonly requestIdPrefix: string;
  private readonly made = new Subject<SessionRequest>();
  private ticking: NodeJS.Timeout | undefined;
  private orderCount = 0;
  private stopped = false;

  constructor(contender: ContenderName) {
    this.requestIdPrefix = `${contender}/${randomUUID()}`;
  }

  /** Number of orders created so far. */
  get count(): number {
    return this.orderCount;
  }

  /** Emits each order when it is created, only to current subscribers. Completes after the last one. */
  get pushed$(): Observable<SessionRequest> {
    return this.made;
  }

  /** Returns all orders from the first, at the reader's pace. Ends after the last one. */
  async *pulled(): AsyncGenerator<SessionRequest> {
    for (let number = 1; ; number++) {
      while (number > this.orderCount) {
        if (this.stopped) return;
        await firstValueFrom(this.made, { defaultValue: undefined });
      }
      yield this.message(number);
    }
  }

  /** Returns the message number of a request in the log; `undefined` if it is not from this session. */
  numberOf(requestId: string): number | undefined {
    return requestId.startsWith(`${this.requestIdPrefix}/`)
      ? Number(requestId.slice(this.requestIdPrefix.length + 1))
      : undefined;
  }

  /** Creates this many orders per second, until {@link stop}. */
  start(perSecond: number): void {
    const startedAtMs = epochMs();
    this.ticking = setInterval(() => {
      while (this.orderCount < callsDue(perSecond, epochMs() - startedAtMs)) {
        this.orderCount += 1;
        this.made.next(this.message(this.orderCount));
      }
    }, TICK_MS);
  }

  /** Stops creating orders, and ends both streams of orders. */
  stop(): void {
    clearInterval(this.ticking);
    this.stopped = true;
    this.made.complete();
  }

  private message(number: number): SessionRequest {
    return {
      messageId: String(number),
      order: { requestId: `${this.requestIdPrefix}/${number}`, item: 'tea', quantity: 1 },
    };
  }
}
