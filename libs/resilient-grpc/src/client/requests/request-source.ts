import { inCallerContext, currentCallerContext } from '../call/caller-context.js';
import { ObservableRequests, type Subscribable } from './observable-requests.js';
import type { RequestSource, MessageConsumer } from './message-consumer.js';

/**
 * Creates a source from `input`. Iterables are pulled as fast as the connection accepts messages. An Observable pushes at its own speed and
 * is subscribed to at once, because a hot one would not wait.
 */
export function messageSource(input: unknown, consumer: MessageConsumer): RequestSource {
  const source = openSource(input, consumer);
  // Otherwise the connection would pull the source in the async context of the request that opened the connection.
  const origin = currentCallerContext();
  if (origin === undefined) return source;
  return {
    pushes: source.pushes === true,
    get complete() {
      return source.complete === true;
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

function openSource(input: unknown, consumer: MessageConsumer): RequestSource {
  if (isAsyncIterable(input)) return new AsyncIteratorSource(input[Symbol.asyncIterator](), consumer);
  if (isSubscribable(input)) return new ObservableRequests(input, consumer);
  if (isIterable(input)) return new IteratorSource(input[Symbol.iterator](), consumer);
  throw new TypeError(
    `expected request messages as an Observable, an AsyncIterable or an Iterable, got ${typeof input}`,
  );
}

class IteratorSource implements RequestSource {
  constructor(
    private readonly iterator: Iterator<unknown>,
    private readonly consumer: MessageConsumer,
  ) {}

  pull(): void {
    let result: IteratorResult<unknown>;
    try {
      result = this.iterator.next();
    } catch (error) {
      this.consumer.onMessagesError(error);
      return;
    }
    deliverResult(result, this.consumer);
  }

  close(): undefined {
    cleanUp(() => this.iterator.return?.());
  }
}

class AsyncIteratorSource implements RequestSource {
  constructor(
    private readonly iterator: AsyncIterator<unknown>,
    private readonly consumer: MessageConsumer,
  ) {}

  pull(): void {
    let next: Promise<IteratorResult<unknown>>;
    try {
      // A handwritten iterator may return a plain result instead of a promise. `for await` accepts this, too.
      next = Promise.resolve(this.iterator.next());
    } catch (error) {
      this.consumer.onMessagesError(error);
      return;
    }
    next.then(
      (result) => {
        deliverResult(result, this.consumer);
      },
      (error: unknown) => {
        this.consumer.onMessagesError(error);
      },
    );
  }

  close(): Promise<unknown> | undefined {
    return cleanUp(() => this.iterator.return?.().catch(() => undefined));
  }
}

/** Delivers an iterator result. A faulty iterator may return a value of another type. */
function deliverResult(result: IteratorResult<unknown>, consumer: MessageConsumer): void {
  if (!isNonNullObject(result)) {
    consumer.onMessagesError(
      new TypeError(`expected an iterator result from the request source, got ${typeof result}`),
    );
    return;
  }
  if (result.done === true) consumer.onMessagesEnd();
  else consumer.onMessage(result.value);
}

/** Runs `task` and ignores its errors. A source that fails while it is being closed must not prevent the call from ending. */
function cleanUp<T>(task: () => T): T | undefined {
  try {
    return task();
  } catch {
    return undefined;
  }
}

function isSubscribable(value: unknown): value is Subscribable {
  return isNonNullObject(value) && 'subscribe' in value && typeof value.subscribe === 'function';
}

/** True if `for await` accepts the value. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return isNonNullObject(value) && Symbol.asyncIterator in value;
}

/** True if `for...of` accepts the value. Strings are excluded, because a string is almost certainly a mistake. */
export function isIterable(value: unknown): value is Iterable<unknown> {
  return isNonNullObject(value) && Symbol.iterator in value;
}

function isNonNullObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
