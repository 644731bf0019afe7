/** How a stream is read that is read on demand: shows whether anybody still does. */
export interface StreamDemand {
  /** Messages asked for so far. */
  readonly asked: number;
  /** Somebody waits for one now. */
  readonly waiting: boolean;
}
