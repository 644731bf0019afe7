import type { Verdict } from '../evidence/verdict.js';

/**
 * Outcome of the attempt that a permit admitted. 'succeeded': it ended with OK. 'failed': it ended with another status, lost its
 * connection, or had no response by its deadline. 'cancelled': this side ended it early, which is no evidence about the server.
 * 'not-sent': no server application received it.
 */
export type PermitOutcome = 'succeeded' | 'failed' | 'cancelled' | 'not-sent';

/** Returns the outcome of an attempt that ended. */
export function permitOutcome({ kind, reachedServer }: Pick<Verdict, 'kind' | 'reachedServer'>): PermitOutcome {
  if (kind === 'ok') return 'succeeded';
  if (reachedServer === 'no') return 'not-sent';
  return kind === 'cancelled' ? 'cancelled' : 'failed';
}
