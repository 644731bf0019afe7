import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { VerdictKind } from '../evidence/verdict.js';
import { attemptOutcome, type AttemptOutcome } from './attempt-outcome.js';
import { DEFAULT_CIRCUIT_BREAKER } from './circuit-breaker-policy.js';

const { UNAVAILABLE, NOT_FOUND, DEADLINE_EXCEEDED, INTERNAL, OK, UNIMPLEMENTED } = StatusCode;

describe('attemptOutcome', () => {
  it.each<[string, VerdictKind, StatusCode, AttemptOutcome, { connectionLost?: true; retryableHttp?: true }?]>([
    ['a response as a success', 'ok', OK, 'success'],
    ['an unlisted status as a success', 'server', NOT_FOUND, 'success'],
    ['a listed status as a failure', 'server', UNAVAILABLE, 'failure'],
    ['a listed status after headers as a failure', 'committed', UNAVAILABLE, 'failure'],
    ['an unlisted status after headers as a success', 'committed', INTERNAL, 'success'],
    ['a lost connection as a failure', 'connection-lost', UNAVAILABLE, 'failure'],
    ['a connection lost during the response as a failure', 'committed', INTERNAL, 'failure', { connectionLost: true }],
    ['a request that was rejected unprocessed as a failure', 'refused', INTERNAL, 'failure'],
    ['an attempt timeout as a failure', 'attempt-timeout', INTERNAL, 'failure'],
    ['an idle stream as a failure', 'stream-idle', INTERNAL, 'failure'],
    ['a transient HTTP status from a gateway as a failure', 'http', INTERNAL, 'failure', { retryableHttp: true }],
    ['HTTP 404 from a gateway as a success', 'http', UNIMPLEMENTED, 'success'],
    ['an exceeded deadline as a failure if DEADLINE_EXCEEDED is listed', 'deadline', DEADLINE_EXCEEDED, 'failure'],
    ['a protocol violation with an unlisted status as a success', 'protocol', INTERNAL, 'success'],
    ['a cancelled call as ignored', 'cancelled', UNAVAILABLE, 'ignored'],
    ['an unsent call as ignored', 'unsent', UNAVAILABLE, 'ignored'],
    ['a local failure as ignored', 'local', UNAVAILABLE, 'ignored'],
    ['a serialization failure as ignored', 'serialize', UNAVAILABLE, 'ignored'],
  ])('classifies %s for the circuit breaker', (_, kind, code, outcome, over) => {
    const verdict = { kind, code, connectionLost: false, retryableHttp: false, ...over };
    expect(attemptOutcome(verdict, DEFAULT_CIRCUIT_BREAKER)).toBe(outcome);
  });

  it('ignores an exceeded deadline for the circuit breaker if DEADLINE_EXCEEDED is not listed', () => {
    const verdict = { kind: 'deadline', code: DEADLINE_EXCEEDED, connectionLost: false, retryableHttp: false } as const;
    expect(attemptOutcome(verdict, { statusCodes: new Set([UNAVAILABLE]) })).toBe('ignored');
  });

  it('counts OK as a success for the circuit breaker even if it is listed', () => {
    const verdict = { kind: 'protocol', code: OK, connectionLost: false, retryableHttp: false } as const;
    expect(attemptOutcome(verdict, { statusCodes: new Set([OK]) })).toBe('success');
  });
});
