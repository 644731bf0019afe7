import type { ReachedServer } from '../../errors/grpc-call-error.js';
import { decideOnce, mayHaveRun, type OnceDecision, type OnceEnd, type OnceProgress } from './decide-once.js';
import type { OnceMark } from './once-fields.js';

/** Marks of statuses before which no handler was called. */
const NOT_RUN: ReadonlySet<OnceMark | undefined> = new Set(['elsewhere', 'late', 'closed', 'not-run']);

/** What follows the end of an attempt, and whether the attempt can have reached a handler. */
export interface OnceJudgment {
  readonly decision: OnceDecision;
  readonly reached: ReachedServer;
}

/** Judges the end of an attempt. `isOver` is true if no attempt of the call may begin any more. */
export function judgeOnce(progress: OnceProgress, end: OnceEnd, isOver: boolean): OnceJudgment {
  const asked = progress.scope === undefined;
  const hasNotRun = asked || NOT_RUN.has(end.mark);
  const decision = decideOnce(progress, end);
  if (decision === 'in-doubt' || (decision === 'refused' && !asked)) return { decision, reached: 'maybe' };
  return {
    decision: decision === 'by-policy' && isOver && !asked ? 'final' : decision,
    reached: hasNotRun ? 'no' : end.reached,
  };
}

/** Returns the progress after an attempt that ended with `mark`. `scope` is the store that the servers named last. */
export function noteOnce(
  progress: OnceProgress,
  mark: OnceMark | undefined,
  { decision, reached }: OnceJudgment,
  scope: string | undefined,
): OnceProgress {
  const isRescoped = decision === 'rescope';
  return {
    scope: isRescoped ? scope : progress.scope,
    mayHaveRun: progress.mayHaveRun || mayHaveRun(progress, { mark, reached }),
    rescopes: isRescoped ? progress.rescopes + 1 : progress.rescopes,
  };
}
