import { from, map, type Observable, type ObservableInput } from 'rxjs';
import type { LedgerLimits } from '../policy/replay/replay-ledger.js';
import { IteratorSource, isAsyncIterable, isIterable } from '../call/iterator-source.js';
import { CancellableRun } from './cancellable-run.js';

/** Receives the items of a source, one per pull. */
export interface SourceConsumer<T> {
  onItem(item: T): void;
  onSourceEnd(): void;
  /** Also called without a pull: an Observable source may fail at any time. */
  onSourceError(error: unknown): void;
  /** Called if the source pushed more than the buffer may hold; `held` is the amount buffered. */
  onOverflow(held: LedgerLimits): void;
}

/** Source of items that are pulled one at a time. */
export interface ReplaySource {
  /** Subscribes to an Observable source. */
  open(): void;
  /** Requests one item; the taker receives it now or later. */
  pull(): void;
  /** Ends iterators and subscriptions. No event follows. */
  close(): void;
}

/** Input from which messages are read. */
export type SourceInput<M> = AsyncIterable<M> | Iterable<M> | Observable<M>;

/** Returns `input` as an iterable or an Observable; `undefined` if RxJS does not accept it as a source. */
export function toSourceInput<M>(input: ObservableInput<M>): SourceInput<M> | undefined {
  if (isPulled(input)) return input;
  try {
    return from(input);
  } catch {
    return undefined;
  }
}

/**
 * Creates a source that converts each message of `input` to an item. An iterable is pulled; this includes gRPC calls, which are
 * AsyncIterables. An Observable pushes at its own speed: `open` subscribes to it, because a hot one would not wait, and its messages are
 * buffered up to `room`.
 */
export function replaySource<M, T extends { readonly bytes: number }>(
  input: SourceInput<M>,
  itemOf: (message: M) => T,
  taker: SourceConsumer<T>,
  room: LedgerLimits,
): ReplaySource {
  return isPulled(input)
    ? new IterableReplaySource(input, itemOf, taker)
    : new ObservableReplaySource(input.pipe(map(itemOf)), taker, room);
}

class IterableReplaySource<M, T> implements ReplaySource {
  private source: IteratorSource<M> | undefined;

  constructor(
    private readonly input: AsyncIterable<M> | Iterable<M>,
    private readonly itemOf: (message: M) => T,
    private readonly taker: SourceConsumer<T>,
  ) {}

  open(): void {
    // Iteration starts with the first pull.
  }

  pull(): void {
    const { input, taker } = this;
    try {
      this.source ??= new IteratorSource(
        Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator](),
        {
          onMessage: (message) => this.take(message),
          onMessagesEnd: () => taker.onSourceEnd(),
          onMessagesError: (error) => taker.onSourceError(error),
        },
      );
    } catch (error) {
      taker.onSourceError(error);
      return;
    }
    this.source.pull();
  }

  close(): void {
    void this.source?.close();
  }

  private take(message: M): void {
    let item: T;
    try {
      item = this.itemOf(message);
    } catch (error) {
      this.taker.onSourceError(error);
      return;
    }
    this.taker.onItem(item);
  }
}

class ObservableReplaySource<T extends { readonly bytes: number }> implements ReplaySource {
  private readonly run = new CancellableRun<T>();
  private readonly held: T[] = [];
  private heldBytes = 0;
  private isWanted = false;
  private isComplete = false;

  constructor(
    private readonly items: Observable<T>,
    private readonly taker: SourceConsumer<T>,
    private readonly room: LedgerLimits,
  ) {}

  open(): void {
    this.run.start(this.items, {
      next: (item) => this.push(item),
      // Reported immediately, ahead of buffered messages: the error ends the session anyway.
      error: (error: unknown) => this.taker.onSourceError(error),
      complete: () => {
        this.isComplete = true;
        if (this.isWanted) this.taker.onSourceEnd();
      },
    });
  }

  pull(): void {
    const item = this.held.shift();
    if (item !== undefined) {
      this.heldBytes -= item.bytes;
      this.taker.onItem(item);
    } else if (this.isComplete) this.taker.onSourceEnd();
    else this.isWanted = true;
  }

  close(): void {
    this.held.length = 0;
    this.isWanted = false;
    this.run.stop();
  }

  private push(item: T): void {
    if (this.isWanted) {
      this.isWanted = false;
      this.taker.onItem(item);
      return;
    }
    const messages = this.held.length + 1;
    const bytes = this.heldBytes + item.bytes;
    // A single message may have any size, as in the ledger.
    if (messages > 1 && (messages > this.room.messages || bytes > this.room.bytes)) {
      this.taker.onOverflow({ messages: this.held.length, bytes: this.heldBytes });
      return;
    }
    this.held.push(item);
    this.heldBytes = bytes;
  }
}

function isPulled<M>(input: ObservableInput<M>): input is AsyncIterable<M> | Iterable<M> {
  return isAsyncIterable(input) || isIterable(input);
}
