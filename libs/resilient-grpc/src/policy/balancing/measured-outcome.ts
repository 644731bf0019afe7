import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/verdict.js';
import type { MeasuredOutcome } from './endpoint-load.js';

/**
 * Statuses that count as failures. A failing or overloaded server may send them quickly, and its low latency must not attract calls.
 */
const ENDPOINT_FAULTS: ReadonlySet<StatusCode> = new Set([
  StatusCode.UNAVAILABLE,
  StatusCode.DEADLINE_EXCEEDED,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.INTERNAL,
  StatusCode.UNKNOWN,
]);

/** Returns the outcome of a measured attempt; `undefined` if its latency does not describe the endpoint. */
export function measuredOutcome({
  kind,
  code,
  reachedServer,
}: Pick<Verdict, 'kind' | 'code' | 'reachedServer'>): MeasuredOutcome | undefined {
  switch (kind) {
    case 'unsent':
    case 'local':
    case 'serialize':
      return undefined;
    case 'cancelled':
      return 'cancelled';
    case 'ok':
    // The server responded, but its response did not match the method or exceeded a limit on this side.
    case 'protocol':
      return 'succeeded';
    default:
      if (reachedServer === 'no') return undefined;
      // Other statuses, such as NOT_FOUND, are normal responses from the application.
      return ENDPOINT_FAULTS.has(code) ? 'failed' : 'succeeded';
  }
}
