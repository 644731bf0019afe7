import type { ReleasePolicy } from './release-policy.js';

/** Figures of one step of a release. */
export interface ReleaseStep {
  /** Pace of the step, in calls per second. */
  readonly perSecond: number;
  /** Pace at which the release started. */
  readonly startPerSecond: number;
  /** Pace that sends every held call within the bound; see `releaseDemand`. */
  readonly floorPerSecond: number;
  /** Pace that sends every held call before its deadline. */
  readonly wantedPerSecond: number;
  /** Released calls that were answered as fast as usual. */
  readonly good: number;
  /** Released calls that were answered more slowly. */
  readonly slow: number;
  readonly failed: number;
  /** Streams that were released one step before, and have neither been answered nor failed since. */
  readonly quiet: number;
  /** Released calls whose answer is due. */
  readonly outstanding: number;
  /** The same at the end of the step before. */
  readonly outstandingBefore: number;
  /** Time since the pace was last slowed down. */
  readonly sinceSlowedMs: number;
}

/** Pace of the next step. */
export interface PaceDecision {
  /** Calls per second. */
  readonly perSecond: number;
  /**
   * 'no-answer': nothing is known of the calls that are out. 'slowed': the pace was reduced, too recently to do it again.
   * 'catching-up': answers are slow, but the server already answers more calls than it gets.
   */
  readonly because: 'answered' | 'no-answer' | 'too-slow' | 'slowed' | 'catching-up';
}

/** Decides the pace of the next step by the answers of this one. */
export function nextPace(step: ReleaseStep, policy: ReleasePolicy): PaceDecision {
  const { perSecond, startPerSecond, floorPerSecond, wantedPerSecond } = step;
  const atLeastFloor = (pace: number): number => Math.max(pace, floorPerSecond);
  if (isBad(step, policy)) {
    if (step.sinceSlowedMs < policy.slowAtMostEachMs) return { perSecond: atLeastFloor(perSecond), because: 'slowed' };
    if (isCatchingUp(step, policy)) return { perSecond: atLeastFloor(perSecond), because: 'catching-up' };
    const slowest = step.failed > 0 ? startPerSecond * policy.slowestShare : startPerSecond;
    return { perSecond: atLeastFloor(Math.max(perSecond * policy.slowing, slowest)), because: 'too-slow' };
  }
  if (step.good === 0 && step.outstanding > 0) return { perSecond: atLeastFloor(perSecond), because: 'no-answer' };
  const wanted = Math.min(wantedPerSecond, perSecond * policy.urgentGrowth);
  return { perSecond: atLeastFloor(Math.max(perSecond * policy.growth, wanted)), because: 'answered' };
}

/** True if more than `badShare` of the answers are slow or failures. */
function isBad({ good, slow, failed, quiet }: ReleaseStep, { badShare }: ReleasePolicy): boolean {
  const bad = slow + failed;
  // Quiet streams show that the server does not refuse them, but not how fast it is.
  return bad > (good + quiet + bad) * badShare || slow > (good + slow) * badShare;
}

/** True if the slow answers are those of calls that were sent at a faster pace. */
function isCatchingUp({ failed, outstanding, outstandingBefore }: ReleaseStep, policy: ReleasePolicy): boolean {
  const { catchingUpShare, catchingUpFrom } = policy;
  return failed === 0 && outstandingBefore >= catchingUpFrom && outstanding < outstandingBefore * catchingUpShare;
}
