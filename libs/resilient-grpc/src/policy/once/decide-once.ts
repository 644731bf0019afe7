import type { ReachedServer } from '../../errors/grpc-call-error.js';
import type { OnceMark } from './once-fields.js';

/** What the attempts of a call with a key have shown so far. */
export interface OnceProgress {
  /** The store that the next attempt names; `undefined` if it asks for it. Such an attempt runs no handler. */
  readonly scope: string | undefined;
  /** True if an attempt that named a store may have started the handler there. */
  readonly mayHaveRun: boolean;
  /** Number of attempts that asked for the store, or named another one than that of the server. */
  readonly rescopes: number;
}

/** How an attempt ended. */
export interface OnceEnd {
  /** The mark in its trailers; `undefined` if it has none. */
  readonly mark: OnceMark | undefined;
  readonly reached: ReachedServer;
  /** True if the peer has refused the path. A proxy may have passed the request on before, so that only a question proves something. */
  readonly isPathRefused: boolean;
}

export type OnceDecision =
  /** The end of the attempt is the end of the call. */
  | 'final'
  /** The retry policy decides, as for a method that is safe to repeat. */
  | 'by-policy'
  /** The path was refused, and another server may have it: the retry policy decides, as for a call that was refused. */
  | 'refused'
  /** Send the call at once, and name the scope of the refusal. */
  | 'rescope'
  /** Wait for the pushback, and send the call again. */
  | 'wait'
  /** Nothing has run, and the servers are without the feature, or have a store each: send the call on its own path, once. */
  | 'plain'
  /** The store has lost what it knew of an attempt that may have run. Nobody can know the effect. */
  | 'in-doubt';

/** Attempts that may ask for the store, or name another one than that of the server: servers whose stores are their own never agree. */
const MAX_RESCOPES = 4;

/** Decides what follows the end of an attempt on the path of requests with a key. */
export function decideOnce({ scope, mayHaveRun, rescopes }: OnceProgress, end: OnceEnd): OnceDecision {
  switch (end.mark) {
    case undefined:
      if (!end.isPathRefused) return 'by-policy';
      return scope === undefined && !mayHaveRun ? 'plain' : 'refused';
    case 'running':
      return 'wait';
    case 'elsewhere':
      if (mayHaveRun) return 'in-doubt';
      return rescopes < MAX_RESCOPES ? 'rescope' : 'plain';
    case 'released':
    case 'not-run':
    case 'guarded':
      return 'by-policy';
    default:
      return 'final';
  }
}

/** True if an attempt that ended so may have started a handler. */
export function mayHaveRun({ scope }: OnceProgress, { mark, reached }: Pick<OnceEnd, 'mark' | 'reached'>): boolean {
  if (scope === undefined || reached === 'no') return false;
  return mark === undefined || mark === 'running' || mark === 'kept' || mark === 'replayed';
}

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
