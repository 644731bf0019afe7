import { randomUUID } from 'node:crypto';
import { firstValueFrom, type Observable, Subject } from 'rxjs';
import type { ContenderName } from '../contenders/contender.js';
import { epochMs } from '../epoch.js';
import type { SessionRequest } from '../gen/orders.pb.js';
import { callsDue } from './due-calls.js';

const TICK_MS = 10;

/** Orders for a session, made at a steady rate whether or not there is anybody to send them, and numbered from 1. */
export class SessionOrders {
  private readonly requestIds: string;
  private readonly made = new Subject<SessionRequest>();
  private ticking: NodeJS.Timeout | undefined;
  private orderCount = 0;
  private stopped = false;

  constructor(contender: ContenderName) {
    this.requestIds = `${contender}/${randomUUID()}`;
  }

  /** How many were made. */
  get count(): number {
    return this.orderCount;
  }

  /** Each as it is made, for whoever listens then; completes with the last one. */
  get pushed$(): Observable<SessionRequest> {
    return this.made;
  }

  /** All from the first one on, at the reader's pace; ends with the last one. */
  async *pulled(): AsyncGenerator<SessionRequest> {
    for (let number = 1; ; number++) {
      while (number > this.orderCount) {
        if (this.stopped) return;
        await firstValueFrom(this.made, { defaultValue: undefined });
      }
      yield this.message(number);
    }
  }

  /** The number of the message behind a request that is in the log, if it is one of these. */
  numberOf(requestId: string): number | undefined {
    return requestId.startsWith(`${this.requestIds}/`)
      ? Number(requestId.slice(this.requestIds.length + 1))
      : undefined;
  }

  /** Makes so many a second until {@link stop}. */
  start(perSecond: number): void {
    const startedAtMs = epochMs();
    this.ticking = setInterval(() => {
      while (this.orderCount < callsDue(perSecond, epochMs() - startedAtMs)) {
        this.orderCount += 1;
        this.made.next(this.message(this.orderCount));
      }
    }, TICK_MS);
  }

  /** That was the last one. */
  stop(): void {
    clearInterval(this.ticking);
    this.stopped = true;
    this.made.complete();
  }

  private message(number: number): SessionRequest {
    return {
      messageId: String(number),
      order: { requestId: `${this.requestIds}/${number}`, item: 'tea', quantity: 1 },
    };
  }
}
