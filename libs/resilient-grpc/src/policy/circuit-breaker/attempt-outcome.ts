import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/verdict.js';
import type { CircuitBreakerPolicy } from './circuit-breaker-policy.js';

/** What an attempt says of the server. 'ignored': nothing, its permit is given back. */
export type AttemptOutcome = 'success' | 'failure' | 'ignored';

/** What the circuit breaker learns from an attempt. An answer that is not listed is a success: the server is there. */
export function attemptOutcome(
  verdict: Pick<Verdict, 'kind' | 'code' | 'connectionLost' | 'retryableHttp'>,
  policy: Pick<CircuitBreakerPolicy, 'statusCodes'>,
): AttemptOutcome {
  switch (verdict.kind) {
    case 'ok':
      return 'success';
    // Never sent, or ended by us: a hedge that lost, a caller who left, a client that closes.
    case 'unsent':
    case 'local':
    case 'serialize':
    case 'cancelled':
      return 'ignored';
    case 'refused':
    case 'connection-lost':
    case 'attempt-timeout':
    case 'stream-idle':
      return 'failure';
    case 'http':
      if (verdict.retryableHttp) return 'failure';
      return byCode(verdict.code, policy);
    case 'committed':
      if (verdict.connectionLost) return 'failure';
      return byCode(verdict.code, policy);
    case 'server':
    case 'deadline':
    case 'protocol':
      return byCode(verdict.code, policy);
  }
}

/** What the circuit breaker learns from a status alone. */
export function byCode(code: StatusCode, policy: Pick<CircuitBreakerPolicy, 'statusCodes'>): AttemptOutcome {
  return code !== StatusCode.OK && policy.statusCodes.has(code) ? 'failure' : 'success';
}
