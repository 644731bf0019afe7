export interface IteratorConsumer<M> {
  onMessage(message: M): void;
  onMessagesEnd(): void;
  onMessagesError(error: unknown): void;
}

/** Pulls the messages of a sync or async iterator, one at a time. Nothing is delivered after `close`. */
export class IteratorSource<M> {
  private isClosed = false;

  constructor(
    private readonly iterator: AsyncIterator<M> | Iterator<M>,
    private readonly consumer: IteratorConsumer<M>,
  ) {}

  pull(): void {
    let next: IteratorResult<M> | PromiseLike<IteratorResult<M>>;
    try {
      next = this.iterator.next();
    } catch (error) {
      this.fail(error);
      return;
    }
    // A handwritten async iterator may return a plain result instead of a promise. `for await` accepts a plain result, too.
    if (isThenable(next)) next.then(this.take, this.fail);
    else this.take(next);
  }

  /** Ends the iterator once. Errors from the iterator are ignored. The promise settles when an asynchronous iterator has ended. */
  close(): Promise<unknown> | undefined {
    if (this.isClosed) return undefined;
    this.isClosed = true;
    try {
      const returned = this.iterator.return?.();
      return isThenable(returned) ? Promise.resolve(returned).catch(() => undefined) : undefined;
    } catch {
      return undefined;
    }
  }

  private readonly take = (result: IteratorResult<M>): void => {
    if (this.isClosed) return;
    // A faulty iterator may return a value of another type.
    if (!isNonNullObject(result)) {
      const remedy = 'return { value, done } from next()';
      const type = (result as unknown) === null ? 'null' : typeof result;
      this.fail(new TypeError(`source of messages: expected an iterator result, got ${type}; ${remedy}`));
    } else if (result.done === true) this.consumer.onMessagesEnd();
    else this.consumer.onMessage(result.value);
  };

  private readonly fail = (error: unknown): void => {
    if (!this.isClosed) this.consumer.onMessagesError(error);
  };
}

export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return isNonNullObject(value) && Symbol.asyncIterator in value;
}

/** True if the value is an iterable object. Strings are excluded, because a string is almost certainly a mistake. */
export function isIterable(value: unknown): value is Iterable<unknown> {
  return isNonNullObject(value) && Symbol.iterator in value;
}

/** True if `await` would wait for the value: a promise, or a promise-like object such as a query builder. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return isNonNullObject(value) && 'then' in value && typeof value.then === 'function';
}

function isNonNullObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** FIFO queue of items that link to each other. Shifting all items off a long array would take quadratic time. */
export class LinkedQueue<Item extends { next: Item | undefined }> {
  first: Item | undefined;
  private last: Item | undefined;
  size = 0;

  push(item: Item): void {
    if (this.last === undefined) this.first = item;
    else this.last.next = item;
    this.last = item;
    this.size += 1;
  }

  shift(): Item | undefined {
    const item = this.first;
    if (item === undefined) return undefined;
    this.first = item.next;
    if (this.first === undefined) this.last = undefined;
    // If `next` were kept, an item in the old generation would keep all later items from being collected with the young generation.
    item.next = undefined;
    this.size -= 1;
    return item;
  }

  clear(): void {
    this.first = this.last = undefined;
    this.size = 0;
  }
}
