import type { CallExecution } from './call-execution.js';
import type { CallSink } from './call-sink.js';

interface Reader<T> {
  readonly resolve: (result: IteratorResult<T>) => void;
  readonly reject: (error: unknown) => void;
}

/** Messages read ahead of a slow reader. */
const PREFETCH = 16;

/**
 * One call, pulled: nothing begins before the first `next()`, at most 16 messages are held, and `return()` (a `break`) cancels.
 * What arrived before a failure is handed over before it.
 */
export class CallIterator<T> implements AsyncIterableIterator<T> {
  private readonly held: T[] = [];
  private readonly readers: Reader<T>[] = [];
  private call: CallExecution | undefined;
  private ended: { readonly failure?: { readonly error: unknown } } | undefined;

  constructor(private readonly make: (sink: CallSink) => CallExecution) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T>> {
    const message = this.held.shift();
    if (message !== undefined) {
      if (this.held.length < PREFETCH) this.call?.readOn();
      return Promise.resolve({ done: false, value: message });
    }
    if (this.ended !== undefined) return this.lastResult(this.ended);
    return new Promise((resolve, reject) => {
      this.readers.push({ resolve, reject });
      if (this.call === undefined) this.start();
      else this.call.readOn();
    });
  }

  return(): Promise<IteratorResult<T>> {
    this.finish({});
    this.held.length = 0;
    this.call?.unsubscribe();
    return Promise.resolve({ done: true, value: undefined });
  }

  private start(): void {
    this.call = this.make({
      next: (message) => this.take(message),
      error: (error) => {
        this.finish({ failure: { error } });
      },
      complete: () => {
        this.finish({});
      },
    });
    this.call.begin();
  }

  /** Whether more may be read. */
  private take(message: unknown): boolean {
    if (this.ended !== undefined) return false;
    // True: the caller named the response type of this method.
    const value = message as T;
    const reader = this.readers.shift();
    if (reader === undefined) this.held.push(value);
    else reader.resolve({ done: false, value });
    return this.held.length < PREFETCH;
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
