import type { ReleasePolicy } from './release-policy.js';

/** Measurements of one step of a release. */
export interface ReleaseStep {
  /** Pace of the step, in calls per second. */
  readonly perSecond: number;
  /** Pace at which the release started, in calls per second. */
  readonly startPerSecond: number;
  /** Pace that sends every held call within the bound; see `releaseDemand`. */
  readonly floorPerSecond: number;
  /** Pace that sends every held call early enough for a response before its deadline. */
  readonly deadlinePacePerSecond: number;
  /** Released calls that were answered at normal latency. */
  readonly good: number;
  /** Released calls that were answered at higher latency. */
  readonly slow: number;
  readonly failed: number;
  /** Streams released in the previous step that have neither received response headers nor ended since. */
  readonly quiet: number;
  /** Released unary and client-streaming calls that have not ended. */
  readonly outstanding: number;
  /** `outstanding` at the end of the previous step. */
  readonly outstandingBefore: number;
  /** Time since the pace was last reduced. */
  readonly sinceSlowedMs: number;
  /** True if calls waited for a free stream at the end of the step. */
  readonly isStreamLimited: boolean;
}

/** Pace of the next step. */
export interface PaceDecision {
  /** Calls per second. */
  readonly perSecond: number;
  /**
   * Reason for the pace. 'no-answer': no released call was answered in this step. 'slowed': the pace was reduced too recently to be reduced
   * again. 'catching-up': responses are slow, but the server already answers more calls than it receives. 'stream-limit': the server's
   * stream limit, not the pace, stopped the release.
   */
  readonly because: 'answered' | 'no-answer' | 'too-slow' | 'slowed' | 'catching-up' | 'stream-limit';
}

/** Decides the pace of the next step from the results of this one. */
export function nextPace(step: ReleaseStep, policy: ReleasePolicy): PaceDecision {
  const { perSecond, startPerSecond, floorPerSecond, deadlinePacePerSecond } = step;
  const atLeastFloor = (pace: number): number => Math.max(pace, floorPerSecond);
  if (isBad(step, policy)) {
    if (step.sinceSlowedMs < policy.minSlowdownIntervalMs)
      return { perSecond: atLeastFloor(perSecond), because: 'slowed' };
    if (isCatchingUp(step, policy)) return { perSecond: atLeastFloor(perSecond), because: 'catching-up' };
    const slowest = step.failed > 0 ? startPerSecond * policy.slowestShare : startPerSecond;
    // `Math.min`, because failures may have reduced the pace below `slowest`, and a bad step must not raise the pace.
    const slower = Math.min(perSecond, Math.max(perSecond * policy.slowing, slowest));
    return { perSecond: atLeastFloor(slower), because: 'too-slow' };
  }
  if (step.good === 0 && step.outstanding > 0) return { perSecond: atLeastFloor(perSecond), because: 'no-answer' };
  if (step.isStreamLimited) return { perSecond: atLeastFloor(perSecond), because: 'stream-limit' };
  const urgentPerSecond = Math.min(deadlinePacePerSecond, perSecond * policy.urgentGrowth);
  return { perSecond: atLeastFloor(Math.max(perSecond * policy.growth, urgentPerSecond)), because: 'answered' };
}

/** True if more than `badShare` of the results are slow or failed, or if more than that share of the responses are slow. */
function isBad({ good, slow, failed, quiet }: ReleaseStep, { badShare }: ReleasePolicy): boolean {
  const bad = slow + failed;
  // Quiet streams count only in the first share, because they show that the server accepted them, but not how fast the server is.
  return bad > (good + quiet + bad) * badShare || isSlow(good, slow, badShare);
}

/** True if more than `badShare` of the responses are slow. */
export function isSlow(good: number, slow: number, badShare: number): boolean {
  return slow > (good + slow) * badShare;
}

/**
 * True if no call failed and clearly fewer calls are outstanding than after the previous step. The slow responses are then assumed to
 * belong to calls that were sent at an earlier, faster pace.
 */
function isCatchingUp({ failed, outstanding, outstandingBefore }: ReleaseStep, policy: ReleasePolicy): boolean {
  const { catchingUpShare, catchingUpFrom } = policy;
  return failed === 0 && outstandingBefore >= catchingUpFrom && outstanding < outstandingBefore * catchingUpShare;
}
