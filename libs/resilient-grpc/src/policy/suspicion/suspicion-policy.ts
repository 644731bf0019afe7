/** Defaults, tuned by simulating fleets of clients: a server stall of 5 s causes no further load after it ends. Durations are in ms. */
export const DEFAULT_SUSPICION_POLICY = {
  /** Number of timed-out calls before a connection is probed. */
  timeouts: 3,
  /** Minimum time without a received byte before a connection is probed. */
  silenceMs: 5_000,
  /** Minimum time without a received byte, as a multiple of the duration of the longest timed-out call. */
  silencePerCall: 2,
  /** Maximum random time added to the minimum silence, so that the clients of one stalled server do not all probe it at once. */
  spreadMs: 5_000,
  /** Time without a further timed-out call, in addition to the required silence, before a suspected connection is trusted again. */
  forgetMs: 60_000,
  /** Timeout of a probe. */
  probeMs: 5_000,
  /** Delay from the start of a probe to its PING. */
  pingAfterMs: 2_500,
  /** Minimum interval between the starts of two probes. */
  probeRestMs: 30_000,
  /**
   * Minimum interval from a PING to the next probe, starting with PING number `freePings`. Strict servers count more frequent PINGs
   * and close the connection at the third.
   */
  pingRestMs: 300_000,
  freePings: 2,
  /**
   * Time for which a dead connection is still observed after another connection becomes READY, because a server that resumes may serve the
   * new connection before it responds on the old one.
   */
  confirmMs: 500,
  /** Maximum number of replacements in `replacementWindowMs`. */
  maxReplacements: 3,
  replacementWindowMs: 600_000,
  /**
   * Time after a counted replacement during which further replacements are not counted: they have one cause, and together they cost no more
   * than a new channel.
   */
  oneReplacementMs: 10_000,
};

/** Thresholds for probing and replacing a silent connection; durations in milliseconds. */
export type SuspicionPolicy = Readonly<Record<keyof typeof DEFAULT_SUSPICION_POLICY, number>>;
