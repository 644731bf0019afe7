import type { StreamDemand } from './stream-demand.js';
import type { OpenStream, StreamSource } from './stream-source.js';

interface Reader<T> {
  readonly resolve: (result: IteratorResult<T>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * One stream, pulled: nothing begins before the first `next()`, at most `prefetch` messages are held, and `return()` (a `break`)
 * cancels. What arrived before a failure is handed over before it.
 */
export class StreamIterator<T> implements AsyncIterableIterator<T>, StreamDemand {
  /** As StreamDemand */
  asked = 0;

  private readonly held: T[] = [];
  private readonly readers: Reader<T>[] = [];
  private source: StreamSource | undefined;
  private ended: { readonly failure?: { readonly error: unknown } } | undefined;

  constructor(private readonly open: OpenStream<T>) {}

  get waiting(): boolean {
    return this.readers.length > 0;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    this.asked += 1;
    if (this.held.length > 0) {
      // There is one, as was just seen; what a source other than a call gives may be undefined.
      const value = this.held.shift() as T;
      this.source?.readOn();
      return Promise.resolve({ done: false, value });
    }
    if (this.ended !== undefined) return this.lastResult(this.ended);
    return new Promise((resolve, reject) => {
      this.readers.push({ resolve, reject });
      if (this.source === undefined) this.start();
      else this.source.readOn();
    });
  }

  return(): Promise<IteratorResult<T>> {
    this.finish({});
    // Who has left is not told of a failure that came before.
    this.ended = {};
    this.held.length = 0;
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

  /** Whether more may be read. */
  private take(value: T): boolean {
    if (this.ended !== undefined) return false;
    const reader = this.readers.shift();
    if (reader === undefined) this.held.push(value);
    else reader.resolve({ done: false, value });
    return this.source === undefined || this.held.length < this.source.prefetch;
  }

  private finish(end: { readonly failure?: { readonly error: unknown } }): void {
    if (this.ended !== undefined) return;
    this.ended = end;
    for (const reader of this.readers.splice(0)) {
      this.lastResult(this.ended).then(reader.resolve, reader.reject);
    }
  }

  /** A failure is told once; afterwards the iterator is at its end. */
  private lastResult(end: { readonly failure?: { readonly error: unknown } }): Promise<IteratorResult<T>> {
    if (end.failure === undefined) return Promise.resolve({ done: true, value: undefined });
    this.ended = {};
    // The reader gets the error as it is.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    return Promise.reject(end.failure.error);
  }
}
