/** How fast calls that waited are let out to a server that came back. */
export interface ReleasePolicy {
  /** Of the client's usual calls per second, what a release starts with. */
  readonly startShare: number;
  /** Calls per second that it starts with at least. */
  readonly startAtLeast: number;
  /** Calls per second that it starts with where there were none: who made none has few that wait, or streams, which cost little at first. */
  readonly startWithoutUsual: number;
  /**
   * Of the start, while calls fail: slower than this, what waits would die of waiting. Calls that are slow do not bring it below
   * the start, which is little beside the new calls that go out anyway; a server that has just started is slow at first.
   */
  readonly slowestShare: number;
  /** The pace grows by this factor in each step in which calls are answered as usual. */
  readonly growth: number;
  readonly stepMs: number;
  readonly halveAtMostEachMs: number;
  /** More than this share of slow or failed answers in a step makes it a bad one: a tail is normal, a quarter is not. */
  readonly badShare: number;
}

/** Tuned by simulation, see docs/fleet.md. */
export const DEFAULT_RELEASE_POLICY: ReleasePolicy = {
  startShare: 0.25,
  startAtLeast: 2,
  startWithoutUsual: 10,
  slowestShare: 0.25,
  growth: 1.25,
  stepMs: 100,
  halveAtMostEachMs: 300,
  badShare: 0.25,
};
