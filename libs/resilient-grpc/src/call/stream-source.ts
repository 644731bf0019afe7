/** Read state of a stream that is read on demand. Used to detect streams that are no longer read. */
export interface StreamDemand {
  readonly requested: number;
  readonly waiting: boolean;
}

/**
 * One stream that consists of several consecutive calls, shared by its operator (such as `resumable`) and the clients that make the
 * calls. It has one deadline, one registry entry per client, and one end.
 */
export interface StreamScope {
  /** The stream that this stream is part of; `undefined` if it is not nested. */
  readonly outer: StreamScope | undefined;
  /** Number of resumes. The operator increments it before the next call begins. */
  readonly resumes: number;
  /** Deadline of the whole stream, in milliseconds since 1970; Infinity at first. */
  deadline: number;
  /** The clients' records of the stream. Each client adds one at its first call. */
  readonly hosts: Set<StreamHost>;
  readonly delivered: number;
  readonly demand: StreamDemand | undefined;
  /** True if the stream makes no further calls. */
  readonly isOver: boolean;
  /** Reports the start of an attempt, from which the age of the call is measured. */
  attemptBegan(): void;
  /** Completes the stream, for example at shutdown. The stream is not resumed afterward. */
  complete(): void;
  /** Ends the stream with `error`, for example at its deadline, on an abort signal, at the end of a drain, or on close. */
  fail(error: unknown): void;
}

export interface StreamHost {
  resumesIn(delayMs: number): void;
  ended(outcome: StreamOutcome): void;
}

/** Result of a stream or a call. 'cancelled': the reader cancelled it. */
export type StreamOutcome = 'succeeded' | 'failed' | 'cancelled';

let current: StreamScope | undefined;

/** Runs `work`. The calls that `work` starts synchronously belong to `scope`. */
export function inStreamScope<T>(scope: StreamScope | undefined, work: () => T): T {
  const outer = current;
  current = scope;
  try {
    return work();
  } finally {
    current = outer;
  }
}

/** Returns the stream that a call started now would belong to; `undefined` outside a stream. */
export function currentStreamScope(): StreamScope | undefined {
  return current;
}

/** Receives the messages and the end of a stream. */
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

export interface StreamSource {
  /** Maximum number of messages that may be buffered for a slow reader. */
  readonly prefetch: number;
  /** The sink may receive messages or the end before `begin()` returns. */
  begin(): void;
  resumeReading(): void;
  unsubscribe(): void;
}

/** Creates one run that delivers to `sink`, without starting it. `scope`: the stream that the run is part of, if any. */
export type StreamFactory<T> = (sink: StreamSink<T>, scope?: StreamScope) => StreamSource;
