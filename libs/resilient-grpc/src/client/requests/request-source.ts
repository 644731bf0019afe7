import { IteratorSource, isAsyncIterable, isIterable } from '../../call/iterator-source.js';
import { describeSecret } from '../../policy/options/describe-value.js';
import { inCallerContext, currentCallerContext } from '../call/caller-context.js';
import { ObservableRequests, type Subscribable } from './observable-requests.js';
import type { RequestSource, MessageConsumer, UnlimitedConsumer } from './message-consumer.js';

/**
 * Creates a source from `input`. Iterables are pulled as fast as the connection accepts messages. An Observable pushes at its own speed and
 * is subscribed to immediately, because a hot Observable would not wait.
 */
export function messageSource(input: unknown, consumer: MessageConsumer | UnlimitedConsumer): RequestSource {
  const source = openSource(input, consumer);
  // The source runs in its caller's context. Otherwise, a pull would run in the async context of the call that opened the connection.
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

function openSource(input: unknown, consumer: MessageConsumer | UnlimitedConsumer): RequestSource {
  if (isAsyncIterable(input)) return new IteratorSource(input[Symbol.asyncIterator](), consumer);
  if (isSubscribable(input)) return new ObservableRequests(input, consumer);
  if (isIterable(input)) return new IteratorSource(input[Symbol.iterator](), consumer);
  throw new InvalidSource(input);
}

/** Error for a value that is not a source of request messages. */
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
