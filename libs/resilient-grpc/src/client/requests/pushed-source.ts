import type { Unsubscribable } from 'rxjs';
import { UNSENDABLE, type MessageSource, type MessageTaker } from './message-taker.js';

/** An Observable, of any library. */
export interface Subscribable {
  subscribe(observer: { next(value: unknown): void; error(error: unknown): void; complete(): void }): Unsubscribable;
}

/** What is held, and what comes after it: to shift it off a long array would take the square of its length. */
interface Item {
  readonly kind: 'message' | 'encoded' | 'error' | 'end';
  readonly value: unknown;
  /** What it counts; 0: nothing. */
  readonly bytes: number;
  /** When it was pushed, where its taker tells the time. */
  readonly at: number | undefined;
  next: Item | undefined;
}

/** What keeping a message takes beside its bytes: tiny ones would else be many times what is counted. */
const MESSAGE_OVERHEAD = 128;
/** More messages at once than one for each so many bytes of the bound are told of: what they take is not known. */
const BYTES_PER_UNTOLD_MESSAGE = 1_024;

/**
 * An Observable, which cannot be told to wait. What it pushes in one turn of the event loop is held as it is, whatever its size
 * (`from(array)`, rows that a promise brings): it is made in one go, which nothing could have slowed, and Nest's own client takes
 * it too. While some of an earlier turn is still held, its source runs ahead of the wire: what it pushes then is held up to a bound.
 */
export class PushedSource implements MessageSource {
  readonly pushes = true;
  private first: Item | undefined;
  private last: Item | undefined;
  private held = 0;
  /** Of `held`, the first ones, which were pushed before this turn. */
  private heldBefore = 0;
  private queuedBytes = 0;
  private bytesSinceTaken = 0;
  private messagesSinceTaken = 0;
  /** Something was held in this turn. */
  private turnBegan = false;
  /** Messages of this turn that are not counted. */
  private atOnce = 0;
  private wanted = false;
  private ended = false;
  private readonly subscription: Unsubscribable;
  private closed = false;

  constructor(
    input: Subscribable,
    private readonly taker: MessageTaker,
  ) {
    this.subscription = input.subscribe({
      next: (message: unknown) => {
        this.pushMessage(message);
      },
      error: (error: unknown) => {
        if (this.taker.failsInOrder === true) this.push('error', error, 0);
        // Requests that fail end their call now, not behind messages that nobody will want.
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
    // Else one that is old garbage would keep all after it from being collected with the young.
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
    this.letGo();
    this.end();
  }

  close(): undefined {
    this.closed = true;
    this.first = this.last = undefined;
    this.letGo();
  }

  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.push('end', undefined, 0);
  }

  private letGo(): void {
    try {
      this.subscription.unsubscribe();
    } catch {
      // Nobody wants it any more, nor is there anybody to tell.
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
