/** Constants of the pace at which waiting calls are sent to a server that came back. */
export interface ReleasePolicy {
  /** Share of the client's usual calls per second at which a release starts. */
  readonly startShare: number;
  /** Minimum of the start, in calls per second. */
  readonly startAtLeast: number;
  /** The same for a client without history: it holds few calls, or the bound asks for more. */
  readonly startWithoutUsual: number;
  /** Every held call is sent within this many outage graces after READY, or this many times the longest wait if that is longer. */
  readonly boundGraces: number;
  /** Minimum of the bound in outage graces, for clients with a short grace or none. */
  readonly boundAtLeastMs: number;
  /** Its maximum: a longer grace permits longer outages, and must not slow down the release after a short one. */
  readonly boundAtMostMs: number;
  /** Share of the bound that is left for a process that is late itself. */
  readonly boundMargin: number;
  /** Factor by which the pace grows in a step whose calls are answered as usual. */
  readonly growth: number;
  /** Largest factor while the pace is too slow for the deadlines of held calls. */
  readonly urgentGrowth: number;
  /** Factor of a step in which calls are slow or fail. */
  readonly slowing: number;
  readonly slowAtMostEachMs: number;
  /** Share of the calls that were outstanding one step before. Below it, slow answers do not reduce the pace. */
  readonly catchingUpShare: number;
  /** Minimum number of calls outstanding one step before. With fewer, the share is noise. */
  readonly catchingUpFrom: number;
  /** Share of the start at which failures stop slowing a release down; slow answers stop at the start. */
  readonly slowestShare: number;
  readonly stepMs: number;
  /** Share of slow or failed answers above which a step is bad: servers have a tail of slow answers in good times, too. */
  readonly badShare: number;
}

/** Tuned by simulation, see docs/fleet.md. */
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
