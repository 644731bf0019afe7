import { describe, expect, it } from 'vitest';
import { EndpointLoad, measuredOutcome } from './endpoint-load.js';
import { StatusCode } from '../../status/status-code.js';
import type { Verdict, VerdictKind } from '../evidence/verdict.js';

function makeMeasuredLoad(
  ...samples: [latencyMs: number, outcome: 'succeeded' | 'failed' | 'cancelled', at: number][]
) {
  const load = new EndpointLoad();
  load.started(0);
  for (const [latencyMs, outcome, at] of samples) load.measured(latencyMs, outcome, at);
  return load;
}

describe('EndpointLoad', () => {
  it('returns no latency for an endpoint before the first measurement', () => {
    expect(new EndpointLoad().latencyMs(1_000)).toBeUndefined();
  });

  it.each([
    ['takes the first latency of an endpoint as its average latency', [[5, 'succeeded', 0]], 5],
    [
      'raises the average latency to a higher latency at once',
      [
        [5, 'succeeded', 0],
        [80, 'succeeded', 1],
      ],
      80,
    ],
    [
      'moves the average latency 63% toward a lower latency within 2 s',
      [
        [100, 'succeeded', 0],
        [0.01, 'succeeded', 2_000],
      ],
      36.8,
    ],
    [
      'barely moves the average latency toward a lower latency within 2 ms',
      [
        [100, 'succeeded', 0],
        [1, 'succeeded', 2],
      ],
      99.9,
    ],
    [
      'quadruples the average latency after a fast failure',
      [
        [5, 'succeeded', 0],
        [1, 'failed', 1],
      ],
      20,
    ],
    [
      'takes the latency of a slow failure as the average latency',
      [
        [5, 'succeeded', 0],
        [1_000, 'failed', 1],
      ],
      1_000,
    ],
    ['takes four times the first latency as the average latency if the attempt failed', [[5, 'failed', 0]], 20],
    [
      'ignores the latency of a cancelled attempt that was faster than the average',
      [
        [5, 'succeeded', 0],
        [1, 'cancelled', 5_000],
      ],
      5,
    ],
    [
      'raises the average latency to the latency of a slower cancelled attempt',
      [
        [5, 'succeeded', 0],
        [70, 'cancelled', 1],
      ],
      70,
    ],
  ] as const)('%s', (_, samples, expected) => {
    expect(
      makeMeasuredLoad(...(samples as unknown as Parameters<typeof makeMeasuredLoad>)).latencyMs(20_000),
    ).toBeCloseTo(expected, 1);
  });

  it('keeps the average latency while an attempt is running, and decreases it afterward', () => {
    const load = makeMeasuredLoad([100, 'succeeded', 0]);
    expect(load.latencyMs(60_000)).toBe(100);
    load.ended(60_000);
    expect(load.latencyMs(62_000)).toBeCloseTo(36.8, 1);
    load.started(62_000);
    expect(load.latencyMs(90_000)).toBeCloseTo(36.8, 1);
  });

  it('weights a measurement by the time since the previous one, even if the end of the attempt was recorded before the measurement', () => {
    const load = makeMeasuredLoad([100, 'succeeded', 0]);
    load.ended(2_000);
    load.measured(10, 'succeeded', 2_000);
    expect(load.latencyMs(2_000)).toBeCloseTo(100 * Math.exp(-1) + 10 * (1 - Math.exp(-1)), 3);
  });
});

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
