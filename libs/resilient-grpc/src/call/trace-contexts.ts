/** Opaque context of a tracer, as a client stores it. */
export type TraceContext = object;

/** Captures trace contexts, and restores them around callbacks. */
export interface TraceContexts {
  /** The current context; `undefined` if nothing is traced. */
  active(): TraceContext | undefined;
  /** Runs `work`, including its asynchronous continuations, in `kept`. */
  run<T>(kept: TraceContext | undefined, work: () => T): T;
}
