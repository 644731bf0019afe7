import { expect, it } from 'vitest';
import type { VerdictKind } from '../evidence/verdict.js';
import { permitOutcome, type PermitOutcome } from './permit-outcome.js';

it.each<[VerdictKind, 'no' | 'maybe' | 'yes', PermitOutcome]>([
  ['ok', 'yes', 'succeeded'],
  ['server', 'yes', 'failed'],
  ['committed', 'yes', 'failed'],
  ['connection-lost', 'maybe', 'failed'],
  ['refused', 'maybe', 'failed'],
  ['refused', 'no', 'not-sent'],
  ['deadline', 'maybe', 'failed'],
  ['deadline', 'no', 'not-sent'],
  ['attempt-timeout', 'maybe', 'failed'],
  ['cancelled', 'maybe', 'cancelled'],
  ['unsent', 'no', 'not-sent'],
  ['local', 'no', 'not-sent'],
  ['local', 'maybe', 'failed'],
])('maps the verdict %s with reachedServer %s to the outcome %s', (kind, reachedServer, outcome) => {
  expect(permitOutcome({ kind, reachedServer })).toBe(outcome);
});
