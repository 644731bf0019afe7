import type { StreamDemand, StreamScope } from './stream-scope.js';

/** Receives the messages and the end of a stream. RxJS subscribers implement this interface. */
export interface StreamSink<T> {
  /** Receives a message. Returns `false` to pause the stream until `StreamSource.resumeReading()`. */
  next(message: T): unknown;
  error(error: unknown): void;
  complete(): void;
  /** Present if messages are requested one by one. */
  readonly demand?: StreamDemand | undefined;
}

/** Wraps `sink` so that each call to its methods runs inside `run`. */
export function sinkWithin<T>(sink: StreamSink<T>, run: (work: () => unknown) => unknown): StreamSink<T> {
  return {
    demand: sink.demand,
    next: (message) => run(() => sink.next(message)),
    error: (error) => void run(() => sink.error(error)),
    complete: () => void run(() => sink.complete()),
  };
}

/** One run of a stream. */
export interface StreamSource {
  /** Maximum number of messages that may be buffered for a slow reader. */
  readonly prefetch: number;
  /** Starts the run. The sink may receive messages or the end before `begin()` returns. */
  begin(): void;
  /** Resumes a paused stream, because the sink accepts messages again. */
  resumeReading(): void;
  /** Cancels the run, because the reader unsubscribed. */
  unsubscribe(): void;
}

/** Creates one run that delivers to `sink`, without starting it. `scope`: the stream that the run is part of, if any. */
export type StreamFactory<T> = (sink: StreamSink<T>, scope?: StreamScope) => StreamSource;
