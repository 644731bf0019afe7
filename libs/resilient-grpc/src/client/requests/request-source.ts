import { IteratorSource, isAsyncIterable, isIterable, LinkedQueue } from '../../call/iterator-source.js';
import { describeSecret } from '../../policy/options/describe-value.js';
import { inCallerContext, currentCallerContext } from '../caller/caller-context.js';
import { type RequestSource, type MessageConsumer, type UnlimitedConsumer, UNSENDABLE } from './message-consumer.js';
import type { Unsubscribable } from 'rxjs';
import { MESSAGE_OVERHEAD_BYTES } from '../../policy/replay/replay-ledger.js';

/** Creates a source from `input`. Iterables are pulled as fast as the connection accepts messages. */
export function messageSource(input: unknown, consumer: MessageConsumer | UnlimitedConsumer): RequestSource {
  const source = openSource(input, consumer);
  // The source runs in its caller's context. Otherwise, a pull would run in the async context of the call that opened the connection.
  const origin = currentCallerContext();
  if (origin === undefined) return source;
  return {
    pushes: source.pushes === true,
    open: () => source.open?.(),
    flush: () => source.flush?.(),
    get complete() {
      return source.complete === true;
    },
    get heldBytes() {
      return source.heldBytes ?? 0;
    },
    finish: () => {
      inCallerContext(origin, () => {
        source.finish?.();
      });
    },
    pull: () => {
      inCallerContext(origin, () => {
        source.pull();
      });
    },
    close: () => inCallerContext(origin, () => source.close()),
  };
}

function openSource(input: unknown, consumer: MessageConsumer | UnlimitedConsumer): RequestSource {
  if (isAsyncIterable(input)) return new IteratorSource(input[Symbol.asyncIterator](), consumer);
  if (isSubscribable(input)) return new ObservableRequests(input, consumer);
  if (isIterable(input)) return new IteratorSource(input[Symbol.iterator](), consumer);
  throw new InvalidSource(input);
}

export class InvalidSource extends TypeError {
  constructor(input: unknown) {
    const got = describeSecret(input);
    super(
      `expected request messages as an Observable, an AsyncIterable, or an Iterable, got ${got}; wrap a single message in an array`,
    );
  }
}

function isSubscribable(value: unknown): value is Subscribable {
  return typeof value === 'object' && value !== null && 'subscribe' in value && typeof value.subscribe === 'function';
}

export interface Subscribable {
  subscribe(observer: { next(value: unknown): void; error(error: unknown): void; complete(): void }): Unsubscribable;
}

interface Item {
  readonly kind: 'message' | 'encoded' | 'error' | 'end';
  readonly value: unknown;
  /** Bytes counted toward the limit; 0 if the item is not counted. */
  readonly bytes: number;
  /** Time at which the item was pushed; `undefined` if the consumer has no clock. */
  readonly at: number | undefined;
  next: Item | undefined;
}

/** Memory of a buffered message apart from what counts toward the limit: it is an object, and lies in a queue. */
const HELD_OVERHEAD_BYTES = 512;
/** Assumed size in bytes of each message in a burst, because real sizes are unknown. */
const ASSUMED_MESSAGE_BYTES = 1_024;

/**
 * Source of messages from an Observable, which has no backpressure. Messages pushed in one turn of the event loop (`from(array)`, rows that
 * a promise resolves to) are buffered regardless of their size, because backpressure cannot slow a source down within a turn. Nest's own
 * client accepts them, too. While messages of an earlier turn are still buffered, the source is ahead of the connection, and further
 * messages are buffered up to a limit.
 */
class ObservableRequests implements RequestSource {
  readonly pushes = true;
  private readonly buffer = new LinkedQueue<Item>();
  /** Number of items at the front of the buffer that were pushed before this turn. */
  private earlierItems = 0;
  private queuedBytes = 0;
  private bytesSinceTaken = 0;
  private hasItemsInTurn = false;
  /** Number of messages buffered in this turn that are not counted toward the limit. */
  private burstMessages = 0;
  private isPullPending = false;
  complete = false;
  private subscription: Unsubscribable | undefined;
  private closed = false;
  private readonly limits: MessageConsumer | undefined;

  constructor(
    private readonly input: Subscribable,
    private readonly consumer: MessageConsumer | UnlimitedConsumer,
  ) {
    this.limits = 'maxQueuedBytes' in consumer ? consumer : undefined;
  }

  open(): void {
    this.subscription = this.input.subscribe({
      next: (message: unknown) => {
        this.pushMessage(message);
      },
      error: (error: unknown) => {
        if (this.consumer.failsInOrder === true) this.push('error', error, 0);
        // An error from the Observable ends the call now, not after the buffered messages, which the server would discard.
        else if (!this.closed) this.consumer.onMessagesError(error);
      },
      complete: () => {
        this.end();
      },
    });
    // The consumer might have closed this source, or finished it, during the subscription.
    if (this.closed || this.complete) this.release();
  }

  pull(): void {
    const item = this.buffer.shift();
    if (item === undefined) {
      this.isPullPending = true;
      return;
    }
    this.bytesSinceTaken = 0;
    if (this.earlierItems > 0) this.earlierItems -= 1;
    this.queuedBytes -= item.bytes;
    this.give(item.kind, item.value);
  }

  flush(): void {
    while (!this.closed && this.buffer.size > 0) this.pull();
  }

  finish(): void {
    this.release();
    this.end();
  }

  close(): undefined {
    this.closed = true;
    this.buffer.clear();
    this.release();
  }

  private end(): void {
    if (this.complete) return;
    this.complete = true;
    this.push('end', undefined, 0);
  }

  private release(): void {
    try {
      this.subscription?.unsubscribe();
    } catch {
      // The source is no longer used, and the error cannot be reported.
    }
  }

  private pushMessage(message: unknown): void {
    if (this.closed || this.complete) return;
    const { limits } = this;
    if (this.earlierItems === 0 || limits === undefined) {
      this.push('message', message, 0);
      return;
    }
    const payload = limits.encode(message);
    if (payload === UNSENDABLE) return;
    const bytes = limits.bytesOf(payload) + MESSAGE_OVERHEAD_BYTES;
    this.bytesSinceTaken += bytes;
    if (this.exceedsLimit(limits, this.queuedBytes + bytes)) limits.onOverflow(this.queuedBytes);
    else this.push('encoded', payload, bytes);
  }

  get heldBytes(): number {
    return this.queuedBytes + HELD_OVERHEAD_BYTES * this.buffer.size;
  }

  private exceedsLimit(limits: MessageConsumer, bytes: number): boolean {
    if (bytes <= limits.maxQueuedBytes) return false;
    const { bytesSinceTaken } = this;
    return limits.exceedsLimit?.({ bytesSinceTaken, oldestAt: this.buffer.first?.at }) ?? true;
  }

  private push(kind: Item['kind'], value: unknown, bytes: number): void {
    if (this.closed) return;
    if (this.isPullPending) {
      this.isPullPending = false;
      this.give(kind, value);
      return;
    }
    this.buffer.push({ kind, value, bytes, at: this.limits?.now?.(), next: undefined });
    this.queuedBytes += bytes;
    if (kind === 'message') this.burstMessages += 1;
    if (this.hasItemsInTurn || kind === 'end' || kind === 'error') return;
    this.hasItemsInTurn = true;
    this.limits?.defer(this.endTurn);
  }

  private readonly endTurn = (): void => {
    const { burstMessages, limits } = this;
    this.hasItemsInTurn = false;
    this.earlierItems = this.buffer.size;
    this.burstMessages = 0;
    if (this.closed || limits === undefined) return;
    limits.onBuffered?.();
    if (burstMessages * ASSUMED_MESSAGE_BYTES > limits.maxQueuedBytes) limits.onBurst(burstMessages);
  };

  private give(kind: Item['kind'], value: unknown): void {
    switch (kind) {
      case 'message':
        this.consumer.onMessage(value);
        return;
      case 'encoded':
        this.limits?.onEncodedMessage(value);
        return;
      case 'error':
        this.consumer.onMessagesError(value);
        return;
      case 'end':
        this.consumer.onMessagesEnd();
        return;
    }
  }
}
