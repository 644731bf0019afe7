/** Default constants, tuned by simulation; see docs/fleet.md. */
export const DEFAULT_RELEASE_POLICY = {
  /** Starting pace of a release, as a share of the client's normal calls per second. */
  startShare: 0.25,
  /** Minimum starting pace, in calls per second. */
  minStartPerSecond: 2,
  /**
   * Starting pace of a client without history, in calls per second. A low value is sufficient, because such a client holds few calls, or
   * its bound requires a higher pace anyway.
   */
  defaultStartPerSecond: 10,
  /** Bound for sending every held call after READY, as a multiple of the outage grace period, or of the longest wait if that is longer. */
  boundGraces: 3,
  /** Minimum bound in milliseconds, for clients with a short outage grace period or none. */
  minBoundMs: 3_000,
  /**
   * Maximum bound that results from the grace period, in milliseconds. A long grace period permits long outages, but must not slow the
   * release after a short outage.
   */
  maxBoundMs: 15_000,
  /** Share of the bound reserved for delays of this process. */
  boundMargin: 0.05,
  /** Factor by which the pace grows after a step with normal responses. */
  growth: 1.25,
  /** Maximum growth factor while the pace is too slow for the deadlines of held calls. */
  urgentGrowth: 1.35,
  /** Factor that multiplies the pace after a bad step; see `badShare`. */
  slowing: 0.6,
  /** Minimum interval between two reductions of the pace, in milliseconds. */
  minSlowdownIntervalMs: 300,
  /** Share of the previous step's outstanding calls; while fewer are outstanding, slow responses do not reduce the pace. */
  catchingUpShare: 0.9,
  /** Minimum number of outstanding calls for `catchingUpShare`; with fewer calls, the share varies at random. */
  catchingUpFrom: 10,
  /** Lowest pace after failures, as a share of the starting pace. Slow responses do not reduce the pace below the starting pace. */
  slowestShare: 0.25,
  /** Duration of a step, in milliseconds. The pace may change at the end of each step. */
  stepMs: 100,
  /** Share of slow or failed calls above which a step is bad. Even healthy servers have a tail of slow responses. */
  badShare: 0.25,
};

/** Constants that determine the pace at which waiting calls are sent to a recovered server. */
export type ReleasePolicy = Readonly<Record<keyof typeof DEFAULT_RELEASE_POLICY, number>>;
