import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { VerdictKind } from '../evidence/verdict.js';
import { attemptOutcome, type AttemptOutcome } from './attempt-outcome.js';
import { DEFAULT_CIRCUIT_BREAKER } from './circuit-breaker-policy.js';

const { UNAVAILABLE, NOT_FOUND, DEADLINE_EXCEEDED, INTERNAL, OK, UNIMPLEMENTED } = StatusCode;

describe('what a circuit breaker learns from an attempt', () => {
  it.each<[string, VerdictKind, StatusCode, AttemptOutcome, { connectionLost?: true; retryableHttp?: true }?]>([
    ['an answer', 'ok', OK, 'success'],
    ['a status that is not listed', 'server', NOT_FOUND, 'success'],
    ['a status that is listed', 'server', UNAVAILABLE, 'failure'],
    ['a listed status after headers', 'committed', UNAVAILABLE, 'failure'],
    ['a status that is not listed after headers', 'committed', INTERNAL, 'success'],
    ['a connection lost', 'connection-lost', UNAVAILABLE, 'failure'],
    ['a connection lost within the answer', 'committed', INTERNAL, 'failure', { connectionLost: true }],
    ['a request handed back by the transport', 'refused', INTERNAL, 'failure'],
    ['an attempt timeout', 'attempt-timeout', INTERNAL, 'failure'],
    ['a stream without messages for too long', 'stream-idle', INTERNAL, 'failure'],
    ['a gateway that is in trouble', 'http', INTERNAL, 'failure', { retryableHttp: true }],
    ['a gateway that knows no such path', 'http', UNIMPLEMENTED, 'success'],
    ['the deadline of the call, listed', 'deadline', DEADLINE_EXCEEDED, 'failure'],
    ['an answer against the rules', 'protocol', INTERNAL, 'success'],
    ['a caller who left', 'cancelled', UNAVAILABLE, 'ignored'],
    ['what was never sent', 'unsent', UNAVAILABLE, 'ignored'],
    ['what could not be sent', 'local', UNAVAILABLE, 'ignored'],
    ['what could not be written', 'serialize', UNAVAILABLE, 'ignored'],
  ])('%s', (_, kind, code, outcome, over) => {
    const verdict = { kind, code, connectionLost: false, retryableHttp: false, ...over };
    expect(attemptOutcome(verdict, DEFAULT_CIRCUIT_BREAKER)).toBe(outcome);
  });

  it('never holds OK against the server, even where somebody lists it', () => {
    const verdict = { kind: 'protocol', code: OK, connectionLost: false, retryableHttp: false } as const;
    expect(attemptOutcome(verdict, { statusCodes: new Set([OK]) })).toBe('success');
  });
});
