/** Constants of the pace at which waiting calls are sent to a recovered server. */
export interface ReleasePolicy {
  /** Starting pace of a release, as a share of the client's normal calls per second. */
  readonly startShare: number;
  /** Minimum starting pace, in calls per second. */
  readonly startAtLeast: number;
  /** Starting pace of a client without history, in calls per second. Such a client holds few calls, or its bound requires more. */
  readonly startWithoutUsual: number;
  /** Bound for sending every held call after READY, as a multiple of the outage grace, or of the longest wait if that is longer. */
  readonly boundGraces: number;
  /** Minimum of the bound, for clients with a short outage grace or none. */
  readonly boundAtLeastMs: number;
  /** Maximum of the bound. A long grace permits long outages, but must not slow down the release after a short one. */
  readonly boundAtMostMs: number;
  /** Share of the bound reserved for delays of this process. */
  readonly boundMargin: number;
  /** Factor by which the pace grows after a step with normal responses. */
  readonly growth: number;
  /** Maximum growth factor while the pace is too slow for the deadlines of held calls. */
  readonly urgentGrowth: number;
  /** Factor by which the pace shrinks after a step with slow or failed calls. */
  readonly slowing: number;
  /** Minimum interval between two reductions of the pace. */
  readonly slowAtMostEachMs: number;
  /** Slow responses do not reduce the pace while fewer than this share of the previous step's outstanding calls are outstanding. */
  readonly catchingUpShare: number;
  /** Minimum number of outstanding calls for `catchingUpShare`; with fewer, the share is noise. */
  readonly catchingUpFrom: number;
  /** Lowest pace after failures, as a share of the starting pace. Slow responses do not reduce the pace below the starting pace. */
  readonly slowestShare: number;
  readonly stepMs: number;
  /** Share of slow or failed calls above which a step is bad. Healthy servers have a tail of slow responses, too. */
  readonly badShare: number;
}

/** Defaults, tuned by simulation; see docs/fleet.md. */
export const DEFAULT_RELEASE_POLICY: ReleasePolicy = {
  startShare: 0.25,
  startAtLeast: 2,
  startWithoutUsual: 10,
  boundGraces: 3,
  boundAtLeastMs: 3_000,
  boundAtMostMs: 15_000,
  boundMargin: 0.05,
  growth: 1.25,
  urgentGrowth: 1.35,
  slowing: 0.6,
  slowAtMostEachMs: 300,
  catchingUpShare: 0.9,
  catchingUpFrom: 10,
  slowestShare: 0.25,
  stepMs: 100,
  badShare: 0.25,
};
