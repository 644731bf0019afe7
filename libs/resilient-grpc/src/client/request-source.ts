import type { Unsubscribable } from 'rxjs';
import { currentInbound, inboundInUse, runInbound } from './inbound-context.js';

/** In place of a message that cannot be sent. */
export const UNSENDABLE = Symbol('unsendable');

/** Takes what a source of request messages gives, one thing for each pull. */
export interface RequestTaker {
  /** Bytes of request messages that may be pushed ahead of the wire. */
  readonly maxQueuedBytes: number;
  /** What is sent of `message`, bytes where they are known; `UNSENDABLE`: it cannot be sent, which has ended the call. */
  encode(message: unknown): unknown;
  /** `message` is as `encode` gave it. */
  onEncodedRequest(payload: unknown): void;
  /** A source pushed more than it may. */
  onOverflow(queuedBytes: number): void;
  /** A source pushed this many messages in the turn in which it was subscribed to, and cannot have been slower. */
  onPushedAtOnce(messages: number): void;
  onRequest(message: unknown): void;
  onRequestsEnd(): void;
  onRequestsError(error: unknown): void;
}

/** Request messages of a streaming method, pulled one at a time. */
export interface RequestSource {
  /** Asks for one; the taker hears of it now or later. */
  pull(): void;
  /** Nobody wants more: ends iterators and subscriptions. */
  close(): void;
}

/**
 * `input` as a source. What can be iterated is pulled, as fast as the wire takes it; an Observable pushes at its own speed and
 * is subscribed to at once, since a hot one would not wait.
 */
export function requestSource(input: unknown, taker: RequestTaker): RequestSource {
  const source = openSource(input, taker);
  if (!inboundInUse()) return source;
  // It is pulled when the wire has room, in the context of whoever opened the connection.
  const inbound = currentInbound();
  return {
    pull: () => {
      runInbound(inbound, () => {
        source.pull();
      });
    },
    close: () => {
      runInbound(inbound, () => {
        source.close();
      });
    },
  };
}

function openSource(input: unknown, taker: RequestTaker): RequestSource {
  if (isAsyncIterable(input)) return new AsyncIteratorSource(input[Symbol.asyncIterator](), taker);
  if (isSubscribable(input)) return new PushedSource(input, taker);
  if (isIterable(input)) return new IteratorSource(input[Symbol.iterator](), taker);
  throw new TypeError(
    `expected request messages as an Observable, an AsyncIterable or an Iterable, got ${typeof input}`,
  );
}

class IteratorSource implements RequestSource {
  constructor(
    private readonly iterator: Iterator<unknown>,
    private readonly taker: RequestTaker,
  ) {}

  pull(): void {
    let result: IteratorResult<unknown>;
    try {
      result = this.iterator.next();
    } catch (error) {
      this.taker.onRequestsError(error);
      return;
    }
    giveResult(result, this.taker);
  }

  close(): void {
    cleanUp(() => this.iterator.return?.());
  }
}

class AsyncIteratorSource implements RequestSource {
  constructor(
    private readonly iterator: AsyncIterator<unknown>,
    private readonly taker: RequestTaker,
  ) {}

  pull(): void {
    let next: Promise<IteratorResult<unknown>>;
    try {
      // One written by hand may give no promise, which `for await` takes too.
      next = Promise.resolve(this.iterator.next());
    } catch (error) {
      this.taker.onRequestsError(error);
      return;
    }
    next.then(
      (result) => {
        giveResult(result, this.taker);
      },
      (error: unknown) => {
        this.taker.onRequestsError(error);
      },
    );
  }

  close(): void {
    cleanUp(() => this.iterator.return?.().catch(() => undefined));
  }
}

/** `result` is what an iterator gave, which need not keep to its type. */
function giveResult(result: IteratorResult<unknown>, taker: RequestTaker): void {
  if (!isObject(result)) {
    taker.onRequestsError(new TypeError(`expected a result from an iterator of requests, got ${typeof result}`));
    return;
  }
  if (result.done === true) taker.onRequestsEnd();
  else taker.onRequest(result.value);
}

type Item =
  | { readonly kind: 'message'; readonly message: unknown }
  | { readonly kind: 'encoded'; readonly payload: unknown; readonly bytes: number }
  | { readonly kind: 'end' };

// What a message costs beside its bytes, and what one counts whose bytes nobody knows before it is sent.
const MESSAGE_OVERHEAD = 256;
const UNKNOWN_MESSAGE_BYTES = 1_024;
const TRIMMED_AT = 1_024;

/**
 * An Observable, which cannot be told to wait. What it pushes ahead of the wire is held up to a bound. What it pushes in the turn
 * in which it is subscribed to (`from(array)`) is held as it is: it was in memory before, and Nest's own client takes it too.
 */
class PushedSource implements RequestSource {
  private readonly items: Item[] = [];
  /** Those before it were given: to shift each off a long queue would take the square of its length. */
  private first = 0;
  private queuedBytes = 0;
  private wanted = false;
  private readonly subscription: Unsubscribable;
  private closed = false;
  private subscribing = true;

  constructor(
    input: Subscribable,
    private readonly taker: RequestTaker,
  ) {
    this.subscription = input.subscribe({
      next: (message: unknown) => {
        this.pushMessage(message);
      },
      // A source that fails ends its call now, not behind messages that nobody will want.
      error: (error: unknown) => {
        if (!this.closed) this.taker.onRequestsError(error);
      },
      complete: () => {
        this.push({ kind: 'end' });
      },
    });
    this.subscribing = false;
    const messages = this.items.filter(({ kind }) => kind === 'message').length;
    if (messages * UNKNOWN_MESSAGE_BYTES > taker.maxQueuedBytes) taker.onPushedAtOnce(messages);
  }

  pull(): void {
    const item = this.items[this.first];
    if (item === undefined) {
      this.wanted = true;
      return;
    }
    this.first += 1;
    if (this.first >= TRIMMED_AT && this.first * 2 >= this.items.length) {
      this.items.splice(0, this.first);
      this.first = 0;
    }
    if (item.kind === 'encoded') this.queuedBytes -= item.bytes;
    this.give(item);
  }

  close(): void {
    this.closed = true;
    this.items.length = 0;
    cleanUp(() => {
      this.subscription.unsubscribe();
    });
  }

  private pushMessage(message: unknown): void {
    if (this.closed) return;
    if (this.subscribing || this.isAwaited()) {
      this.push({ kind: 'message', message });
      return;
    }
    const payload = this.taker.encode(message);
    if (payload === UNSENDABLE) return;
    const bytes = (payload instanceof Uint8Array ? payload.length : UNKNOWN_MESSAGE_BYTES) + MESSAGE_OVERHEAD;
    if (this.queuedBytes + bytes > this.taker.maxQueuedBytes) this.taker.onOverflow(this.queuedBytes);
    else this.push({ kind: 'encoded', payload, bytes });
  }

  private isAwaited(): boolean {
    return this.wanted && this.first >= this.items.length;
  }

  private push(item: Item): void {
    if (this.closed) return;
    if (this.isAwaited()) {
      this.wanted = false;
      this.give(item);
      return;
    }
    if (item.kind === 'encoded') this.queuedBytes += item.bytes;
    this.items.push(item);
  }

  private give(item: Item): void {
    switch (item.kind) {
      case 'message':
        this.taker.onRequest(item.message);
        return;
      case 'encoded':
        this.taker.onEncodedRequest(item.payload);
        return;
      case 'end':
        this.taker.onRequestsEnd();
        return;
    }
  }
}

/** A source that fails while it is let go of has nobody left to tell, and must not keep a call from its end. */
function cleanUp(task: () => unknown): void {
  try {
    task();
  } catch {
    // Nobody wants it any more.
  }
}

interface Subscribable {
  subscribe(observer: { next(value: unknown): void; error(error: unknown): void; complete(): void }): Unsubscribable;
}

function isSubscribable(value: unknown): value is Subscribable {
  return isObject(value) && 'subscribe' in value && typeof value.subscribe === 'function';
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return isObject(value) && Symbol.asyncIterator in value;
}

// Text can be iterated too, and is surely a mistake.
function isIterable(value: unknown): value is Iterable<unknown> {
  return isObject(value) && Symbol.iterator in value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
