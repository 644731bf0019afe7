import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/verdict.js';

/**
 * Outcome of the attempt that a permit admitted. 'succeeded': it ended with OK. 'timed-out': it did not end before its deadline or timeout.
 * 'refused': an overloaded server rejected it. 'cancelled': the caller or the client cancelled it. 'not-sent': no server
 * application received it. 'failed': it failed in any other way.
 */
export type PermitOutcome = 'succeeded' | 'failed' | 'timed-out' | 'refused' | 'cancelled' | 'not-sent';

/** Returns the outcome of an attempt that ended. */
export function permitOutcome({
  kind,
  code,
  reachedServer,
  overloaded,
}: Pick<Verdict, 'kind' | 'code' | 'reachedServer' | 'overloaded'>): PermitOutcome {
  if (kind === 'ok') return 'succeeded';
  if (reachedServer === 'no') return 'not-sent';
  if (kind === 'cancelled') return 'cancelled';
  if (kind === 'deadline' || kind === 'attempt-timeout') return 'timed-out';
  if (kind === 'overloaded' || overloaded === true) return 'refused';
  return kind === 'server' && code === StatusCode.RESOURCE_EXHAUSTED ? 'refused' : 'failed';
}
