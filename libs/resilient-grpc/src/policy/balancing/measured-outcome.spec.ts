import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { Verdict, VerdictKind } from '../evidence/verdict.js';
import { measuredOutcome } from './measured-outcome.js';

const { OK, NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, CANCELLED, INTERNAL } = StatusCode;

describe('measuredOutcome', () => {
  it.each<[string, VerdictKind, StatusCode, Verdict['reachedServer'], ReturnType<typeof measuredOutcome>]>([
    ['OK as a success', 'ok', OK, 'yes', 'succeeded'],
    ['a status from the application as a success', 'server', NOT_FOUND, 'yes', 'succeeded'],
    ['UNAVAILABLE from the server as a failure', 'server', UNAVAILABLE, 'yes', 'failed'],
    ['a lost connection as a failure', 'connection-lost', UNAVAILABLE, 'maybe', 'failed'],
    ['an exceeded deadline as a failure', 'deadline', DEADLINE_EXCEEDED, 'maybe', 'failed'],
    ['an attempt timeout as a failure', 'attempt-timeout', DEADLINE_EXCEEDED, 'maybe', 'failed'],
    ['RESOURCE_EXHAUSTED from the server as a failure', 'server', RESOURCE_EXHAUSTED, 'yes', 'failed'],
    ['a response that exceeds a client-side limit as a success', 'protocol', RESOURCE_EXHAUSTED, 'yes', 'succeeded'],
    ['a losing hedge as cancelled', 'cancelled', CANCELLED, 'maybe', 'cancelled'],
  ])('counts %s for the endpoint load', (_, kind, code, reachedServer, expected) => {
    expect(measuredOutcome({ kind, code, reachedServer })).toBe(expected);
  });

  it.each<[string, VerdictKind, StatusCode]>([
    ['a request that was rejected unprocessed', 'refused', UNAVAILABLE],
    ['an unsent request', 'unsent', UNAVAILABLE],
    ['a local failure', 'local', INTERNAL],
  ])('does not count %s toward the endpoint load', (_, kind, code) => {
    expect(measuredOutcome({ kind, code, reachedServer: 'no' })).toBeUndefined();
  });
});
