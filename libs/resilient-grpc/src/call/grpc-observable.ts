import { Observable, type Subscriber, type TeardownLogic } from 'rxjs';
import type { StreamFactory, StreamDemand, StreamSource } from './stream-source.js';

/**
 * A call that starts when it is subscribed to or iterated over. Each subscription starts one call, whose messages are pushed. Each
 * `for await` starts one call that is read with flow control; `break` cancels it. `pipe()` returns a plain Observable.
 */
export class GrpcObservable<T> extends Observable<T> implements AsyncIterable<T> {
  /** Opens a stream that the reader can pause. Operators use it to preserve flow control. @internal */
  readonly openStream: StreamFactory<T>;

  /** @internal Created by the methods of a client. */
  constructor(subscribe: (subscriber: Subscriber<T>) => TeardownLogic, openStream: StreamFactory<T>) {
    super(subscribe);
    this.openStream = openStream;
  }

  /**
   * Returns a lazy iterator: the first `next()` starts the call. To discard a handler result, Nest 12 creates its iterator and calls only
   * `return()`, which must not start a call.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new StreamIterator(this.openStream);
  }
}

interface PendingRead<T> {
  readonly resolve: (result: IteratorResult<T>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Iterates over one stream. The first `next()` starts the stream, and `return()` (a `break`) cancels it. At most `prefetch` messages are
 * buffered. Messages that arrived before a failure are delivered first.
 */
export class StreamIterator<T> implements AsyncIterableIterator<T>, StreamDemand {
  // `requested` and `waiting` implement StreamDemand.
  requested = 0;

  private readonly bufferedMessages: T[] = [];
  private readonly readers: PendingRead<T>[] = [];
  private source: StreamSource | undefined;
  private ended: { readonly failure?: { readonly error: unknown } } | undefined;

  constructor(private readonly open: StreamFactory<T>) {}

  get waiting(): boolean {
    return this.readers.length > 0;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    this.requested += 1;
    if (this.bufferedMessages.length > 0) {
      // The cast is safe, because the array is not empty. A check for `undefined` would be wrong, because a source other than a call may
      // deliver `undefined` as a message.
      const value = this.bufferedMessages.shift() as T;
      this.source?.resumeReading();
      return Promise.resolve({ done: false, value });
    }
    if (this.ended !== undefined) return this.lastResult(this.ended);
    return new Promise((resolve, reject) => {
      this.readers.push({ resolve, reject });
      if (this.source === undefined) this.start();
      else this.source.resumeReading();
    });
  }

  return(): Promise<IteratorResult<T>> {
    this.finish({});
    // After `return()`, an earlier failure is not reported.
    this.ended = {};
    this.bufferedMessages.length = 0;
    this.source?.unsubscribe();
    return Promise.resolve({ done: true, value: undefined });
  }

  private start(): void {
    this.source = this.open({
      next: (message) => this.take(message),
      demand: this,
      error: (error) => {
        this.finish({ failure: { error } });
      },
      complete: () => {
        this.finish({});
      },
    });
    this.source.begin();
  }

  /** Delivers a message to the oldest pending read, or buffers it. Returns true if the source may deliver more messages. */
  private take(value: T): boolean {
    if (this.ended !== undefined) return false;
    const reader = this.readers.shift();
    if (reader === undefined) this.bufferedMessages.push(value);
    else reader.resolve({ done: false, value });
    return this.source === undefined || this.bufferedMessages.length < this.source.prefetch;
  }

  private finish(end: { readonly failure?: { readonly error: unknown } }): void {
    if (this.ended !== undefined) return;
    this.ended = end;
    for (const reader of this.readers.splice(0)) {
      this.lastResult(this.ended).then(reader.resolve, reader.reject);
    }
  }

  /** Rejects with a failure once; after that, the iterator is done. */
  private lastResult(end: { readonly failure?: { readonly error: unknown } }): Promise<IteratorResult<T>> {
    if (end.failure === undefined) return Promise.resolve({ done: true, value: undefined });
    this.ended = {};
    // The reader receives the original error, which may be any value.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    return Promise.reject(end.failure.error);
  }
}
