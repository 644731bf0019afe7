import type { AttemptEnd } from '../call/attempt.js';
import type { AttemptRecord } from '../call/call-event.js';
import type { Verdict } from '../policy/evidence/verdict.js';
import type { StatusCode } from '../status/status-code.js';

const KEPT = 20;
const RANK = { no: 0, maybe: 1, yes: 2 } as const;

/** The further of two: what one attempt reached stays reached. */
export function further(a: Verdict['reachedServer'], b: Verdict['reachedServer']): Verdict['reachedServer'] {
  return RANK[a] >= RANK[b] ? a : b;
}

/** What became of the attempts of one call. Made at the first failure, or when somebody wants to know. */
export class AttemptHistory {
  /** The latest attempts, at most 20, oldest first. */
  readonly records: AttemptRecord[] = [];
  reached: Verdict['reachedServer'] = 'no';
  /** As the transport gave it: the cause of what a caller is told. */
  lastStatus: { readonly code: number; readonly details: string } | undefined;

  add(
    number: number,
    end: AttemptEnd,
    status: { readonly code: StatusCode; readonly details: string },
    durationMs: number,
  ): void {
    const { peer } = end;
    if (this.records.length === KEPT) this.records.shift();
    const { code, details } = status;
    this.records.push({ number, code, details, ...(peer === undefined ? {} : { peer }), durationMs, hedge: false });
  }
}
