/** Counts, and lengths in milliseconds, that decide when a silent connection is asked and when it is given up. */
export interface SuspicionPolicy {
  /** So many calls timed out on it. */
  readonly timeouts: number;
  /** It has read no byte for so long at least, … */
  readonly silenceMs: number;
  /** … for so many times the longest of those calls, … */
  readonly silencePerCall: number;
  /** … and for a random part of this on top: clients of one stalled server do not all turn to it at once. */
  readonly spreadMs: number;
  /** They are forgotten so long after that, if no other timed out. */
  readonly forgetMs: number;
  /** How long a probe has. */
  readonly probeMs: number;
  /** A PING follows the probe after this long. */
  readonly pingAfterMs: number;
  /** From the beginning of one probe to that of the next. */
  readonly probeRestMs: number;
  /** From PING number `freePings` on, from that to the next probe: strict servers count PINGs that come faster, and end the connection at the third. */
  readonly pingRestMs: number;
  readonly freePings: number;
  /** A dead connection is looked at for so long after another became READY. A server that thaws may serve the new one first. */
  readonly confirmMs: number;
  /** At most so many replacements in `replacementWindowMs`. */
  readonly replacements: number;
  readonly replacementWindowMs: number;
  /** Connections given up within this are one replacement: it was one cause, and costs no more than a new channel would. */
  readonly oneReplacementMs: number;
}

/** Simulated at fleets of clients: with these a stall of 5 s ends with itself. */
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
