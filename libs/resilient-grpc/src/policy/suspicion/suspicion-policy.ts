/** Thresholds for probing a silent connection and for giving it up; durations in milliseconds. */
export interface SuspicionPolicy {
  /** Number of timed-out calls before a connection is probed. */
  readonly timeouts: number;
  /** Minimum time without a received byte before a connection is probed. */
  readonly silenceMs: number;
  /** Minimum time without a received byte, as a multiple of the longest timed-out call. */
  readonly silencePerCall: number;
  /** Maximum random time added to that, so that the clients of one stalled server do not all probe it at once. */
  readonly spreadMs: number;
  /** Time after the last timed-out call, in addition to the required silence, after which all timed-out calls are forgotten. */
  readonly forgetMs: number;
  /** Timeout of a probe. */
  readonly probeMs: number;
  /** Delay from the start of a probe to its PING. */
  readonly pingAfterMs: number;
  /** Minimum interval between the starts of two probes. */
  readonly probeRestMs: number;
  /**
   * Minimum interval between PING number `freePings`, or a later one, and the next probe. Strict servers count more frequent PINGs
   * and close the connection at the third.
   */
  readonly pingRestMs: number;
  readonly freePings: number;
  /** Time a dead connection is still observed after another became READY. A resuming server may serve the new connection first. */
  readonly confirmMs: number;
  /** Maximum number of replacements in `replacementWindowMs`. */
  readonly replacements: number;
  readonly replacementWindowMs: number;
  /** Connections given up within this time count as one replacement: they have one cause, and cost no more than a new channel. */
  readonly oneReplacementMs: number;
}

/** Defaults, tuned by simulating fleets of clients: a server stall of 5 s causes no further load after it ends. */
export const DEFAULT_SUSPICION_POLICY: SuspicionPolicy = {
  timeouts: 3,
  silenceMs: 5_000,
  silencePerCall: 2,
  spreadMs: 5_000,
  forgetMs: 60_000,
  probeMs: 5_000,
  pingAfterMs: 2_500,
  probeRestMs: 30_000,
  pingRestMs: 300_000,
  freePings: 2,
  confirmMs: 500,
  replacements: 3,
  replacementWindowMs: 600_000,
  oneReplacementMs: 10_000,
};
