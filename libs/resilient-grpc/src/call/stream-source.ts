import type { StreamDemand } from './stream-demand.js';
import type { StreamScope } from './stream-scope.js';

/** Takes what a stream gives. An RxJS subscriber is one. */
export interface StreamSink<T> {
  /** false: no more for now, until `StreamSource.readOn()`. */
  next(message: T): unknown;
  error(error: unknown): void;
  complete(): void;
  /** Present where messages are asked for one by one. */
  readonly demand?: StreamDemand | undefined;
}

/** One run of a stream. */
export interface StreamSource {
  /** Messages that may be held for a reader who is slower. */
  readonly prefetch: number;
  /** Begins it; everything from here on reaches the sink, later or at once. */
  begin(): void;
  /** The sink, which had enough, takes messages again. */
  readOn(): void;
  /** The reader has left. */
  unsubscribe(): void;
}

/** Makes one run that gives to `sink` and has not begun. `scope`: the stream of which it is a call, where it is one. */
export type OpenStream<T> = (sink: StreamSink<T>, scope?: StreamScope) => StreamSource;
