import type { Unsubscribable } from 'rxjs';
import { MESSAGE_OVERHEAD } from '../../policy/replay/replay-limits.js';
import { UNSENDABLE, type RequestSource, type MessageConsumer } from './message-consumer.js';

/** An Observable of any library. */
export interface Subscribable {
  subscribe(observer: { next(value: unknown): void; error(error: unknown): void; complete(): void }): Unsubscribable;
}

/** A buffered item in a linked list. Shifting each item off a long array would take quadratic time. */
interface Item {
  readonly kind: 'message' | 'encoded' | 'error' | 'end';
  readonly value: unknown;
  /** Bytes counted toward the limit; 0 if the item is not counted. */
  readonly bytes: number;
  /** Time at which the item was pushed; `undefined` if the consumer has no clock. */
  readonly at: number | undefined;
  next: Item | undefined;
}

/** A burst is reported if it has more than one message per this many bytes of the limit, because the size of its messages is unknown. */
const BYTES_PER_UNTOLD_MESSAGE = 1_024;

/**
 * Request messages from an Observable, which has no backpressure. Messages pushed in one turn of the event loop are buffered regardless of
 * their size (`from(array)`, rows that a promise returns): backpressure could not have slowed them down, and Nest's own client accepts
 * them, too. While messages of an earlier turn are still buffered, the source is ahead of the connection. Messages that it pushes then are
 * buffered up to a limit.
 */
export class ObservableRequests implements RequestSource {
  readonly pushes = true;
  private first: Item | undefined;
  private last: Item | undefined;
  private held = 0;
  /** Number of items at the front of the buffer that were pushed before this turn. */
  private heldBefore = 0;
  private queuedBytes = 0;
  private bytesSinceTaken = 0;
  private messagesSinceTaken = 0;
  /** True if an item was buffered in this turn. */
  private turnBegan = false;
  /** Messages of this turn that are not counted toward the limit. */
  private atOnce = 0;
  private wanted = false;
  private ended = false;
  private readonly subscription: Unsubscribable;
  private closed = false;

  constructor(
    input: Subscribable,
    private readonly taker: MessageConsumer,
  ) {
    this.subscription = input.subscribe({
      next: (message: unknown) => {
        this.pushMessage(message);
      },
      error: (error: unknown) => {
        if (this.taker.failsInOrder === true) this.push('error', error, 0);
        // An error of the requests ends the call now, not after buffered messages that the server would discard.
        else if (!this.closed) this.taker.onMessagesError(error);
      },
      complete: () => {
        this.end();
      },
    });
  }

  pull(): void {
    const item = this.first;
    if (item === undefined) {
      this.wanted = true;
      return;
    }
    this.bytesSinceTaken = this.messagesSinceTaken = 0;
    this.first = item.next;
    if (this.first === undefined) this.last = undefined;
    // Otherwise an item in the old generation would keep all later items from being collected with the young generation.
    item.next = undefined;
    this.held -= 1;
    if (this.heldBefore > 0) this.heldBefore -= 1;
    this.queuedBytes -= item.bytes;
    this.give(item.kind, item.value);
  }

  get complete(): boolean {
    return this.ended;
  }

  finish(): void {
    this.release();
    this.end();
  }

  close(): undefined {
    this.closed = true;
    this.first = this.last = undefined;
    this.release();
  }

  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.push('end', undefined, 0);
  }

  private release(): void {
    try {
      this.subscription.unsubscribe();
    } catch {
      // The source is no longer used, and the error cannot be reported.
    }
  }

  private pushMessage(message: unknown): void {
    if (this.closed || this.ended) return;
    if (this.heldBefore === 0) {
      this.push('message', message, 0);
      return;
    }
    const payload = this.taker.encode(message);
    if (payload === UNSENDABLE) return;
    const bytes = this.taker.bytesOf(payload) + MESSAGE_OVERHEAD;
    this.bytesSinceTaken += bytes;
    this.messagesSinceTaken += 1;
    if (this.isTooFar(this.queuedBytes + bytes)) this.taker.onOverflow(this.queuedBytes);
    else this.push('encoded', payload, bytes);
  }

  private isTooFar(bytes: number): boolean {
    const { taker, bytesSinceTaken, messagesSinceTaken } = this;
    if (bytes <= taker.maxQueuedBytes) return false;
    return taker.isTooFar?.({ bytes, bytesSinceTaken, messagesSinceTaken, oldestAt: this.first?.at }) ?? true;
  }

  private push(kind: Item['kind'], value: unknown, bytes: number): void {
    if (this.closed) return;
    if (this.wanted) {
      this.wanted = false;
      this.give(kind, value);
      return;
    }
    const item: Item = { kind, value, bytes, at: this.taker.now?.(), next: undefined };
    if (this.last === undefined) this.first = item;
    else this.last.next = item;
    this.last = item;
    this.held += 1;
    this.queuedBytes += bytes;
    if (kind === 'message') this.atOnce += 1;
    if (this.turnBegan || kind === 'end' || kind === 'error') return;
    this.turnBegan = true;
    this.taker.defer(this.endTurn);
  }

  private readonly endTurn = (): void => {
    const { atOnce, taker } = this;
    this.turnBegan = false;
    this.heldBefore = this.held;
    this.atOnce = 0;
    if (!this.closed && atOnce * BYTES_PER_UNTOLD_MESSAGE > taker.maxQueuedBytes) taker.onPushedAtOnce(atOnce);
  };

  private give(kind: Item['kind'], value: unknown): void {
    switch (kind) {
      case 'message':
        this.taker.onMessage(value);
        return;
      case 'encoded':
        this.taker.onEncodedMessage(value);
        return;
      case 'error':
        this.taker.onMessagesError(value);
        return;
      case 'end':
        this.taker.onMessagesEnd();
        return;
    }
  }
}
