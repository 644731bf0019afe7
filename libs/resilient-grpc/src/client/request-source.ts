import type { Unsubscribable } from 'rxjs';
import { currentInbound, inboundInUse, runInbound } from './inbound-context.js';

/** Takes what a source of request messages gives, one thing for each pull. */
export interface RequestTaker {
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
    if (result.done === true) this.taker.onRequestsEnd();
    else this.taker.onRequest(result.value);
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
    this.iterator.next().then(
      (result) => {
        if (result.done === true) this.taker.onRequestsEnd();
        else this.taker.onRequest(result.value);
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

type Item =
  | { readonly kind: 'message'; readonly message: unknown }
  | { readonly kind: 'error'; readonly error: unknown }
  | { readonly kind: 'end' };

class PushedSource implements RequestSource {
  private readonly items: Item[] = [];
  private wanted = false;
  private readonly subscription: Unsubscribable;
  private closed = false;

  constructor(
    input: Subscribable,
    private readonly taker: RequestTaker,
  ) {
    this.subscription = input.subscribe({
      next: (message: unknown) => {
        this.push({ kind: 'message', message });
      },
      error: (error: unknown) => {
        this.push({ kind: 'error', error });
      },
      complete: () => {
        this.push({ kind: 'end' });
      },
    });
  }

  pull(): void {
    const item = this.items.shift();
    if (item === undefined) this.wanted = true;
    else this.give(item);
  }

  close(): void {
    this.closed = true;
    this.items.length = 0;
    cleanUp(() => {
      this.subscription.unsubscribe();
    });
  }

  private push(item: Item): void {
    if (this.closed) return;
    // A source that fails ends its call now, not behind messages that nobody will want.
    if (item.kind === 'error' || (this.wanted && this.items.length === 0)) {
      this.wanted = false;
      this.give(item);
      return;
    }
    this.items.push(item);
  }

  private give(item: Item): void {
    if (item.kind === 'message') this.taker.onRequest(item.message);
    else if (item.kind === 'end') this.taker.onRequestsEnd();
    else this.taker.onRequestsError(item.error);
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
