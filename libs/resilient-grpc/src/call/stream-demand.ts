/** Read state of a stream that is read on demand. Shows whether it is still read. */
export interface StreamDemand {
  /** Number of messages requested so far. */
  readonly requested: number;
  /** True if a read is pending. */
  readonly waiting: boolean;
}
