import { from, map, tap, type Observable, type ObservableInput } from 'rxjs';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import type { LedgerLimits } from '../policy/replay/replay-ledger.js';
import { IteratorSource, isAsyncIterable, isIterable } from '../call/iterator-source.js';
import { PlainSource, type HeldLimits } from './plain-source.js';

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

/** Source of a session's outgoing messages. */
export interface ReplaySource extends StreamSource {
  /** Number of messages that have been read but not yet delivered. */
  readonly queued: number;
  /** Stops reading, if the source has not ended. Messages already read are still delivered, then the completion. */
  finish(): void;
}

/**
 * Creates a source, paused at first, that converts each message of `input` to an item. An iterable is pulled; this includes gRPC calls,
 * which are AsyncIterables. An Observable pushes at its own speed, even while the source is paused. `begin` therefore subscribes to it and
 * buffers its messages, up to `room`. An error of the Observable is delivered immediately, ahead of buffered messages, because the error
 * ends the session anyway.
 */
export function replaySource<M, T extends { readonly bytes: number }>(
  input: SourceInput<M>,
  itemOf: (message: M) => T,
  sink: StreamSink<T>,
  room: Omit<HeldLimits<T>, 'bytesOf'>,
  overflow: (held: LedgerLimits) => void,
): ReplaySource {
  if (isPulled(input)) return new IterableReplaySource(input, itemOf, sink);
  const items = input.pipe(map(itemOf), tap({ error: (error: unknown) => sink.error(error) }));
  return new PlainSource(items, sink, overflow, { ...room, bytesOf: ({ bytes }) => bytes }, false);
}

class IterableReplaySource<M, T> implements ReplaySource {
  readonly prefetch = 1;
  readonly queued = 0;
  private source: IteratorSource<M> | undefined;

  constructor(
    private readonly input: AsyncIterable<M> | Iterable<M>,
    private readonly itemOf: (message: M) => T,
    private readonly sink: StreamSink<T>,
  ) {}

  begin(): void {
    // Iteration starts with the first `resumeReading`.
  }

  resumeReading(): void {
    const { input, sink } = this;
    try {
      this.source ??= new IteratorSource(
        Symbol.asyncIterator in input ? input[Symbol.asyncIterator]() : input[Symbol.iterator](),
        {
          onMessage: (message) => this.take(message),
          onMessagesEnd: () => sink.complete(),
          onMessagesError: (error) => sink.error(error),
        },
      );
    } catch (error) {
      sink.error(error);
      return;
    }
    this.source.pull();
  }

  finish(): void {
    this.unsubscribe();
    this.sink.complete();
  }

  unsubscribe(): void {
    void this.source?.close();
  }

  private take(message: M): void {
    let item: T;
    try {
      item = this.itemOf(message);
    } catch (error) {
      this.sink.error(error);
      return;
    }
    this.sink.next(item);
  }
}

function isPulled<M>(input: ObservableInput<M>): input is AsyncIterable<M> | Iterable<M> {
  return isAsyncIterable(input) || isIterable(input);
}
