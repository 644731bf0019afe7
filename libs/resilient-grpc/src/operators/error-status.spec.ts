import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import {
  GrpcCallError,
  type FailureReason,
  type NotRetriedReason,
  type ReachedServer,
} from '../errors/grpc-call-error.js';
import { DEFAULT_CIRCUIT_BREAKER } from '../policy/circuit-breaker/circuit-breaker.js';
import type { StatusCode } from '../status/status-code.js';
import { isTransient, outcomeOf } from './error-status.js';

function makeCallError(
  reason: string,
  code: StatusCode = 14,
  notRetriedBecause: NotRetriedReason = 'attempts-exhausted',
  reachedServer: ReachedServer = 'maybe',
) {
  return new GrpcCallError({
    code,
    details: '',
    metadata: new Metadata(),
    client: 'orders',
    path: '/orders.v1.Orders/Get',
    peer: undefined,
    // The cast is safe: all reasons in this file are valid. `it.each` infers some of them as strings.
    reason: reason as FailureReason,
    reachedServer,
    attempts: [],
    notRetriedBecause,
    retryAfterMs: undefined,
  });
}

describe('isTransient and outcomeOf', () => {
  it.each([
    ['server', true, 'failure'],
    ['connection-lost', true, 'failure'],
    ['refused', true, 'failure'],
    ['stream-idle', true, 'failure'],
    ['outage', true, 'ignored'],
    ['too-many-waiting', true, 'ignored'],
    ['draining', false, 'ignored'],
    ['closed', false, 'ignored'],
    ['circuit-open', false, 'ignored'],
  ])(
    'classifies UNAVAILABLE with reason %s (transient: %s, circuit breaker outcome: %s)',
    (reason, transient, outcome) => {
      expect(isTransient(makeCallError(reason))).toBe(transient);
      expect(outcomeOf(makeCallError(reason), DEFAULT_CIRCUIT_BREAKER)).toBe(outcome);
    },
  );

  it('ignores a call in the circuit breaker if the connection closed before the call was sent', () => {
    const error = makeCallError('connection-lost', 14, 'draining', 'no');
    expect(outcomeOf(error, DEFAULT_CIRCUIT_BREAKER)).toBe('ignored');
  });

  it.each([
    ['a web API', new DOMException('This operation was aborted', 'AbortError')],
    ['Node', Object.assign(new Error('The operation was aborted'), { name: 'AbortError', code: 'ABORT_ERR' })],
  ])('treats an AbortError from %s as final, and ignores it in a circuit breaker', (_, error) => {
    expect(isTransient(error)).toBe(false);
    expect(outcomeOf(error, DEFAULT_CIRCUIT_BREAKER)).toBe('ignored');
  });

  it('treats the error of a call as final if the call was not safe to repeat', () => {
    expect(isTransient(makeCallError('connection-lost', 14, 'not-safe-to-repeat'))).toBe(false);
  });

  it.each([
    ['attempt-timeout', 4, 'failure'],
    ['deadline', 4, 'failure'],
    ['cancelled', 1, 'ignored'],
    ['inbound-cancelled', 1, 'ignored'],
    ['not-sent', 13, 'ignored'],
    ['requests-overflow', 8, 'ignored'],
    ['concurrency-limit', 8, 'ignored'],
    ['server', 8, 'success'],
    ['server', 5, 'success'],
  ] as const)(
    'treats an error with reason %s and code %i as final (circuit breaker outcome: %s)',
    (reason, code, outcome) => {
      expect(isTransient(makeCallError(reason, code))).toBe(false);
      expect(outcomeOf(makeCallError(reason, code), DEFAULT_CIRCUIT_BREAKER)).toBe(outcome);
    },
  );

  it('counts CANCELLED from the server as a failure only if the circuit breaker lists it', () => {
    expect(outcomeOf(makeCallError('server', 1), DEFAULT_CIRCUIT_BREAKER)).toBe('ignored');
    const listed = { ...DEFAULT_CIRCUIT_BREAKER, statusCodes: new Set<StatusCode>([1]) };
    expect(outcomeOf(makeCallError('server', 1), listed)).toBe('failure');
  });
});
