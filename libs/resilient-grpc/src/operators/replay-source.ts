import { from, map, type Observable, type ObservableInput } from 'rxjs';
import type { LedgerLimits } from '../policy/replay/replay-ledger.js';
import { StoppableRun } from './stoppable-run.js';

/** Takes what a source gives, one item for each pull. */
export interface SourceTaker<T> {
  onItem(item: T): void;
  onSourceEnd(): void;
  /** Also without a pull: who pushes does not wait to fail. */
  onSourceError(error: unknown): void;
  /** It pushed more than may be held; `held` are. */
  onOverflow(held: LedgerLimits): void;
}

/** Items that are asked for one by one. */
export interface ReplaySource {
  /** Subscribes to what pushes. */
  open(): void;
  /** Asks for one; the taker hears of it now or later. */
  pull(): void;
  /** Nobody wants more: ends iterators and subscriptions, and nothing is heard of it any more. */
  close(): void;
}

/** What messages are taken from. */
export type SourceInput<M> = AsyncIterable<M> | Iterable<M> | Observable<M>;

/** `input` as it is pulled, or pushes; undefined: RxJS takes it for no source. */
export function sourceInput<M>(input: ObservableInput<M>): SourceInput<M> | undefined {
  if (isAsyncIterable(input) || isIterable(input)) return input;
  try {
    return from(input);
  } catch {
    return undefined;
  }
}

/**
 * `input`, with an item made of each message, as a source. What can be iterated is pulled (a gRPC call too: it is an
 * AsyncIterable); an Observable pushes at its own speed, is subscribed to at once, since a hot one would not wait, and is held
 * within `room`.
 */
export function replaySource<M, T extends { readonly bytes: number }>(
  input: SourceInput<M>,
  itemOf: (message: M) => T,
  taker: SourceTaker<T>,
  room: LedgerLimits,
): ReplaySource {
  return isAsyncIterable(input) || isIterable(input)
    ? new IteratedSource(input, itemOf, taker)
    : new PushedSource(input.pipe(map(itemOf)), taker, room);
}

class IteratedSource<M, T> implements ReplaySource {
  #iterator: AsyncIterator<M> | Iterator<M> | undefined;
  #isClosed = false;

  constructor(
    private readonly input: AsyncIterable<M> | Iterable<M>,
    private readonly itemOf: (message: M) => T,
    private readonly taker: SourceTaker<T>,
  ) {}

  open(): void {
    // It begins with the first pull.
  }

  pull(): void {
    let result: IteratorResult<M>;
    try {
      this.#iterator ??= isAsyncIterable(this.input)
        ? this.input[Symbol.asyncIterator]()
        : this.input[Symbol.iterator]();
      const next = this.#iterator.next();
      if ('then' in next) {
        next.then(this.#take, this.#fail);
        return;
      }
      result = next;
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#take(result);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // What fails while it is let go of has nobody left to tell.
    try {
      const returned: unknown = this.#iterator?.return?.();
      Promise.resolve(returned).catch(() => undefined);
    } catch {
      // As above.
    }
  }

  readonly #take = (result: IteratorResult<M>): void => {
    if (this.#isClosed) return;
    if (result.done === true) {
      this.taker.onSourceEnd();
      return;
    }
    let item: T;
    try {
      item = this.itemOf(result.value);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.taker.onItem(item);
  };

  readonly #fail = (error: unknown): void => {
    if (!this.#isClosed) this.taker.onSourceError(error);
  };
}

class PushedSource<T extends { readonly bytes: number }> implements ReplaySource {
  readonly #run = new StoppableRun<T>();
  readonly #held: T[] = [];
  #heldBytes = 0;
  #isWanted = false;
  #isComplete = false;

  constructor(
    private readonly items: Observable<T>,
    private readonly taker: SourceTaker<T>,
    private readonly room: LedgerLimits,
  ) {}

  open(): void {
    this.#run.start(this.items, {
      next: (item) => this.#push(item),
      // Now, not behind messages that nobody will want.
      error: (error: unknown) => this.taker.onSourceError(error),
      complete: () => {
        this.#isComplete = true;
        if (this.#isWanted) this.taker.onSourceEnd();
      },
    });
  }

  pull(): void {
    const item = this.#held.shift();
    if (item !== undefined) {
      this.#heldBytes -= item.bytes;
      this.taker.onItem(item);
    } else if (this.#isComplete) this.taker.onSourceEnd();
    else this.#isWanted = true;
  }

  close(): void {
    this.#held.length = 0;
    this.#isWanted = false;
    this.#run.stop();
  }

  #push(item: T): void {
    if (this.#isWanted) {
      this.#isWanted = false;
      this.taker.onItem(item);
      return;
    }
    const messages = this.#held.length + 1;
    const bytes = this.#heldBytes + item.bytes;
    // One alone may be of any size, as in the ledger.
    if (messages > 1 && (messages > this.room.messages || bytes > this.room.bytes)) {
      this.taker.onOverflow({ messages: this.#held.length, bytes: this.#heldBytes });
      return;
    }
    this.#held.push(item);
    this.#heldBytes = bytes;
  }
}

function isAsyncIterable<M>(input: ObservableInput<M>): input is AsyncIterable<M> {
  return isObject(input) && Symbol.asyncIterator in input;
}

function isIterable<M>(input: ObservableInput<M>): input is Iterable<M> {
  return isObject(input) && Symbol.iterator in input;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
