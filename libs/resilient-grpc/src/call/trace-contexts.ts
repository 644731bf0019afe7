/** The context of whoever traces, as a client keeps it: what is in it is not looked at. */
export type TraceContext = object;

/** How a client keeps contexts for what it calls back. */
export interface TraceContexts {
  /** Of what runs now; undefined: nothing is traced there. */
  active(): TraceContext | undefined;
  /** Does `work`, and all that follows from it, in `kept`. */
  run<T>(kept: TraceContext | undefined, work: () => T): T;
}
