import { describe, expect, it } from 'vitest';
import { AdaptiveLimit, permitOutcome, type PermitOutcome } from './adaptive-limit.js';
import { StatusCode } from '../../status/status-code.js';
import type { VerdictKind } from '../evidence/classify.js';

/** Records `calls` calls, each with the given latency and all permits in use. Returns the limit. */
function recordCalls(
  limit: AdaptiveLimit,
  calls: number,
  latencyMs: number,
  evidence: PermitOutcome = 'succeeded',
): number {
  for (let i = 0; i < calls; i++) limit.record(latencyMs, limit.current, evidence);
  return limit.current;
}

/** Creates a limit that has measured an unloaded latency of 50 ms, and has not changed yet. */
function makeLearned(): AdaptiveLimit {
  const limit = new AdaptiveLimit();
  recordCalls(limit, 70, 50);
  expect([limit.current, limit.unloadedLatencyMs]).toEqual([20, 50]);
  return limit;
}

describe('AdaptiveLimit', () => {
  it('ignores the first 20 calls, and keeps the initial adaptive limit until the next 50 have determined the unloaded latency', () => {
    const limit = new AdaptiveLimit();
    expect(recordCalls(limit, 69, 50)).toBe(20);
    expect(limit.unloadedLatencyMs).toBeUndefined();
    recordCalls(limit, 1, 50);
    expect(limit.unloadedLatencyMs).toBe(50);
  });

  it.each<[title: string, latencyMs: number, evidence: PermitOutcome, limit: number]>([
    ['increases the adaptive limit by 1 if latency is unchanged', 50, 'succeeded', 21],
    ['increases the adaptive limit if latency is 1.6 times the unloaded latency', 80, 'succeeded', 21],
    [
      'decreases the adaptive limit by a tenth if latency is higher than 1.6 times the unloaded latency',
      80.1,
      'succeeded',
      18,
    ],
    ['decreases the adaptive limit if calls time out, even at the unloaded latency', 50, 'timed-out', 18],
    ['decreases the adaptive limit if the server refuses calls', 1, 'refused', 18],
    ['keeps the adaptive limit after calls that were cancelled early', 40, 'cancelled', 20],
    ['decreases the adaptive limit after calls that were cancelled late', 200, 'cancelled', 18],
  ])('%s', (_, latencyMs, evidence, expected) => {
    expect(recordCalls(makeLearned(), 20, latencyMs, evidence)).toBe(expected);
  });

  it.each([
    [2, 21],
    [3, 18],
  ])('adjusts the adaptive limit after %i of 20 calls are refused (new limit: %i)', (refused, expected) => {
    const limit = makeLearned();
    recordCalls(limit, refused, 0, 'refused');
    expect(recordCalls(limit, 20 - refused, 50)).toBe(expected);
  });

  it('changes the adaptive limit only after a measurement of at least as many calls as the limit permits', () => {
    const limit = makeLearned();
    while (limit.current < 40) recordCalls(limit, 1, 50);
    const { current } = limit;
    expect(recordCalls(limit, current - 1, 50)).toBe(current);
    // The exact limit is a fraction, so the measurement may take one call more.
    expect(recordCalls(limit, 2, 50)).toBe(current + 2);
  });

  it('keeps the adaptive limit between its floor and its ceiling', () => {
    const limit = makeLearned();
    expect(recordCalls(limit, 40_000, 50)).toBe(1_000);
    expect(recordCalls(limit, 20_000, 1_000, 'timed-out')).toBe(4);
  });

  it('keeps the adaptive limit while fewer than half of the permits are in use, and measures the unloaded latency', () => {
    const limit = makeLearned();
    for (let i = 0; i < 2_000; i++) limit.record(200, 9, 'succeeded');
    expect(limit.current).toBe(20);
    expect(limit.unloadedLatencyMs).toBeCloseTo(200, 0);
  });

  it('accepts a latency as the service time if the latency stays the same at half the load', () => {
    const limit = makeLearned();
    recordCalls(limit, 200, 150);
    expect([limit.unloadedLatencyMs, limit.current]).toEqual([75, 7]);
    recordCalls(limit, 2_000, 150);
    expect(limit.unloadedLatencyMs).toBeGreaterThan(90);
    expect(recordCalls(limit, 2_000, 150)).toBeGreaterThan(20);
  });

  it('does not accept a latency as the service time if the latency falls with the load', () => {
    const limit = makeLearned();
    // A pool of 5 workers: latency is proportional to the number of concurrent calls.
    for (let i = 0; i < 3_000; i++) limit.record(10 * limit.current, limit.current, 'succeeded');
    expect(limit.unloadedLatencyMs).toBe(50);
    expect(limit.current).toBeGreaterThanOrEqual(7);
    expect(limit.current).toBeLessThanOrEqual(9);
  });

  it('halves the adaptive limit for a probe, then restores it', () => {
    const limit = makeLearned();
    const calls = recordUntilProbe(limit);
    expect(calls).toBeGreaterThan(200 * 40);
    expect(limit.current).toBe(500);
    // The limit ignores 1,000 calls that started before the probe, and the first 500 calls of the probe.
    recordCalls(limit, 1_500, 500);
    expect(recordCalls(limit, 49, 40)).toBe(500);
    expect(recordCalls(limit, 1, 40)).toBe(1_000);
    expect(limit.unloadedLatencyMs).toBeCloseTo(47, 6);
  });

  it('raises the unloaded latency by at most 2% per probe of the adaptive limit', () => {
    const limit = makeLearned();
    recordUntilProbe(limit);
    recordCalls(limit, 1_550, 400);
    expect([limit.current, limit.unloadedLatencyMs]).toEqual([1_000, 51]);
  });

  it('ignores the latency of an adaptive-limit probe in which calls time out', () => {
    const limit = makeLearned();
    recordUntilProbe(limit);
    recordCalls(limit, 1_550, 40, 'timed-out');
    expect([limit.current, limit.unloadedLatencyMs]).toEqual([1_000, 50]);
  });
});

/** Records calls with a latency of 50 ms until the limit is halved. Returns the number of calls. */
function recordUntilProbe(limit: AdaptiveLimit): number {
  let calls = 0;
  for (let before = limit.current; limit.current > 0.6 * before; calls++) {
    before = limit.current;
    recordCalls(limit, 1, 50);
  }
  return calls;
}

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
