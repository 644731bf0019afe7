import { StatusCode } from '../../status/status-code.js';
import type { Verdict } from '../evidence/verdict.js';
import type { CircuitBreakerPolicy } from './circuit-breaker-policy.js';

/** Outcome of an attempt for the circuit breaker. 'ignored': not evidence about the server; only the permit is returned. */
export type AttemptOutcome = 'success' | 'failure' | 'ignored';

/** Returns the outcome of an attempt. A status that is not listed counts as success because the server is reachable. */
export function attemptOutcome(
  verdict: Pick<Verdict, 'kind' | 'code' | 'connectionLost' | 'retryableHttp'>,
  policy: Pick<CircuitBreakerPolicy, 'statusCodes'>,
): AttemptOutcome {
  switch (verdict.kind) {
    case 'ok':
      return 'success';
    // Never sent, or ended on this side: a losing hedge, a cancelled call, a closing client.
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
      return outcomeOfCode(verdict.code, policy);
    case 'committed':
      if (verdict.connectionLost) return 'failure';
      return outcomeOfCode(verdict.code, policy);
    case 'server':
    case 'overloaded':
    case 'protocol':
      return outcomeOfCode(verdict.code, policy);
    case 'deadline':
      return outcomeOfDeadline(policy);
  }
}

/** Returns the outcome of an attempt from its status code alone. */
export function outcomeOfCode(code: StatusCode, policy: Pick<CircuitBreakerPolicy, 'statusCodes'>): AttemptOutcome {
  return code !== StatusCode.OK && policy.statusCodes.has(code) ? 'failure' : 'success';
}

/** Returns the outcome of an attempt that this side ended at the deadline. It is not a success, because the server may be hanging. */
export function outcomeOfDeadline({ statusCodes }: Pick<CircuitBreakerPolicy, 'statusCodes'>): AttemptOutcome {
  return statusCodes.has(StatusCode.DEADLINE_EXCEEDED) ? 'failure' : 'ignored';
}
