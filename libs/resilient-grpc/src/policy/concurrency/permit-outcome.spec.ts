import { expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { VerdictKind } from '../evidence/verdict.js';
import { permitOutcome, type PermitOutcome } from './permit-outcome.js';

it.each<[VerdictKind, 'no' | 'maybe' | 'yes', PermitOutcome]>([
  ['ok', 'yes', 'succeeded'],
  ['server', 'yes', 'failed'],
  ['committed', 'yes', 'failed'],
  ['connection-lost', 'maybe', 'failed'],
  ['refused', 'maybe', 'failed'],
  ['refused', 'no', 'not-sent'],
  ['deadline', 'maybe', 'timed-out'],
  ['deadline', 'no', 'not-sent'],
  ['attempt-timeout', 'maybe', 'timed-out'],
  ['cancelled', 'maybe', 'cancelled'],
  ['unsent', 'no', 'not-sent'],
  ['local', 'no', 'not-sent'],
  ['local', 'maybe', 'failed'],
])('maps the verdict %s with reachedServer %s to the permit outcome %s', (kind, reachedServer, outcome) => {
  expect(permitOutcome({ kind, reachedServer, code: StatusCode.UNAVAILABLE })).toBe(outcome);
});

it.each<[VerdictKind, StatusCode, boolean, PermitOutcome]>([
  ['server', StatusCode.RESOURCE_EXHAUSTED, false, 'refused'],
  ['overloaded', StatusCode.RESOURCE_EXHAUSTED, false, 'refused'],
  ['committed', StatusCode.RESOURCE_EXHAUSTED, false, 'failed'],
  ['connection-lost', StatusCode.UNAVAILABLE, true, 'refused'],
])('maps the verdict %s with code %i and overloaded %s to the permit outcome %s', (kind, code, overloaded, outcome) => {
  expect(permitOutcome({ kind, reachedServer: 'yes', code, overloaded })).toBe(outcome);
});
