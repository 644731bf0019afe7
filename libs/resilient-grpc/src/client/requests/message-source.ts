import { inOrigin, originHere } from '../call/call-origin.js';
import { PushedSource, type Subscribable } from './pushed-source.js';
import type { MessageSource, MessageTaker } from './message-taker.js';

/**
 * `input` as a source. What can be iterated is pulled, as fast as the wire takes it; an Observable pushes at its own speed and
 * is subscribed to at once, since a hot one would not wait.
 */
export function messageSource(input: unknown, taker: MessageTaker): MessageSource {
  const source = openSource(input, taker);
  // It is pulled when the wire has room, in the context of whoever opened the connection.
  const origin = originHere();
  if (origin === undefined) return source;
  return {
    pushes: source.pushes === true,
    get complete() {
      return source.complete === true;
    },
    finish: () => {
      inOrigin(origin, () => {
        source.finish?.();
      });
    },
    pull: () => {
      inOrigin(origin, () => {
        source.pull();
      });
    },
    close: () => inOrigin(origin, () => source.close()),
  };
}

function openSource(input: unknown, taker: MessageTaker): MessageSource {
  if (isAsyncIterable(input)) return new AsyncIteratorSource(input[Symbol.asyncIterator](), taker);
  if (isSubscribable(input)) return new PushedSource(input, taker);
  if (isIterable(input)) return new IteratorSource(input[Symbol.iterator](), taker);
  throw new TypeError(
    `expected request messages as an Observable, an AsyncIterable or an Iterable, got ${typeof input}`,
  );
}

class IteratorSource implements MessageSource {
  constructor(
    private readonly iterator: Iterator<unknown>,
    private readonly taker: MessageTaker,
  ) {}

  pull(): void {
    let result: IteratorResult<unknown>;
    try {
      result = this.iterator.next();
    } catch (error) {
      this.taker.onMessagesError(error);
      return;
    }
    giveResult(result, this.taker);
  }

  close(): undefined {
    cleanUp(() => this.iterator.return?.());
  }
}

class AsyncIteratorSource implements MessageSource {
  constructor(
    private readonly iterator: AsyncIterator<unknown>,
    private readonly taker: MessageTaker,
  ) {}

  pull(): void {
    let next: Promise<IteratorResult<unknown>>;
    try {
      // One written by hand may give no promise, which `for await` takes too.
      next = Promise.resolve(this.iterator.next());
    } catch (error) {
      this.taker.onMessagesError(error);
      return;
    }
    next.then(
      (result) => {
        giveResult(result, this.taker);
      },
      (error: unknown) => {
        this.taker.onMessagesError(error);
      },
    );
  }

  close(): Promise<unknown> | undefined {
    return cleanUp(() => this.iterator.return?.().catch(() => undefined));
  }
}

/** `result` is what an iterator gave, which need not keep to its type. */
function giveResult(result: IteratorResult<unknown>, taker: MessageTaker): void {
  if (!isObject(result)) {
    taker.onMessagesError(new TypeError(`expected a result from an iterator of requests, got ${typeof result}`));
    return;
  }
  if (result.done === true) taker.onMessagesEnd();
  else taker.onMessage(result.value);
}

/** A source that fails while it is let go of has nobody left to tell, and must not keep a call from its end. */
function cleanUp<T>(task: () => T): T | undefined {
  try {
    return task();
  } catch {
    return undefined;
  }
}

function isSubscribable(value: unknown): value is Subscribable {
  return isObject(value) && 'subscribe' in value && typeof value.subscribe === 'function';
}

/** Whether `for await` takes it. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return isObject(value) && Symbol.asyncIterator in value;
}

/** Whether `for of` takes it. Text can be iterated too, and is surely a mistake. */
export function isIterable(value: unknown): value is Iterable<unknown> {
  return isObject(value) && Symbol.iterator in value;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
