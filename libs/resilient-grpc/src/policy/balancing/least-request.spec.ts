import { describe, expect, it } from 'vitest';
import {
  EndpointLoad,
  chooseLeastLoaded,
  parseChoiceCount,
  measuredOutcome,
  decodeLoadReport,
} from './least-request.js';
import { StatusCode } from '../../status/status-code.js';
import type { Verdict, VerdictKind } from '../evidence/classify.js';

const loadOf = (inFlight: number, latencyMs?: number) => ({ inFlight, latencyMs: () => latencyMs });

/** Creates a random source that returns the given values in turn. */
function makeCyclicRandom(...values: number[]): () => number {
  let next = 0;
  return () => values[next++ % values.length]!;
}

/** Creates a deterministic random source. */
function makeSeededRandom(): () => number {
  let state = 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

describe('chooseLeastLoaded', () => {
  it.each([
    ['the endpoint with fewer running attempts', [loadOf(3, 5), loadOf(1, 5)], 1],
    ['the endpoint with the lower latency', [loadOf(0, 5), loadOf(0, 50)], 0],
    [
      'the endpoint with the lower product of latency and attempts, including the new attempt',
      [loadOf(0, 50), loadOf(4, 5)],
      1,
    ],
    [
      'the endpoint with fewer running attempts if the latency of one endpoint is unknown',
      [loadOf(2, 1), loadOf(1)],
      1,
    ],
    ['the endpoint drawn first if both endpoints are equal', [loadOf(0), loadOf(0)], 0],
  ])('prefers %s', (_, loads, expected) => {
    expect(chooseLeastLoaded(loads, 2, () => 0, 0)).toBe(expected);
  });

  it('chooses the only endpoint if there is no other', () => {
    expect(chooseLeastLoaded([loadOf(9, 900)], 2, () => 0.99, 0)).toBe(0);
  });

  it('compares two different endpoints if choiceCount is 2', () => {
    const random = makeSeededRandom();
    // Endpoint 0 is idle, so every comparison of the two endpoints selects it.
    for (let calls = 0; calls < 1_000; calls++) {
      expect(chooseLeastLoaded([loadOf(0, 1), loadOf(1, 1)], 2, random, 0)).toBe(0);
    }
  });

  it('compares the load of `choiceCount` endpoints', () => {
    const loads = [loadOf(3, 1), loadOf(2, 1), loadOf(1, 1), loadOf(0, 1)];
    // Draws the endpoints 0, 1, 2, 3 in turn.
    expect([2, 3, 4].map((count) => chooseLeastLoaded(loads, count, makeCyclicRandom(0), 0))).toEqual([1, 2, 3]);
  });

  it('sends more than 18% of the calls to each of five equal endpoints', () => {
    const random = makeSeededRandom();
    const counts = [0, 0, 0, 0, 0];
    for (let calls = 0; calls < 10_000; calls++) {
      const index = chooseLeastLoaded(
        counts.map(() => loadOf(0, 5)),
        2,
        random,
        0,
      );
      counts[index]! += 1;
    }
    for (const count of counts) expect(count).toBeGreaterThan(1_800);
  });

  it('sends less than 2% of the calls to a server that is 25 times as slow as its two peers', () => {
    const random = makeSeededRandom();
    const loads = [new EndpointLoad(), new EndpointLoad(), new EndpointLoad()];
    const latencies = [5, 5, 125];
    const running: { readonly index: number; readonly endsAt: number }[] = [];
    const counts = [0, 0, 0];
    for (let now = 0; now < 60_000; now += 2) {
      for (const call of running.filter(({ endsAt }) => endsAt <= now)) {
        running.splice(running.indexOf(call), 1);
        loads[call.index]!.ended(call.endsAt, true);
        loads[call.index]!.measured(latencies[call.index]!, 'succeeded', call.endsAt);
      }
      const index = chooseLeastLoaded(loads, 2, random, now);
      counts[index]! += 1;
      loads[index]!.started(now, true);
      running.push({ index, endsAt: now + latencies[index]! });
    }
    const total = counts.reduce((sum, count) => sum + count, 0);
    expect(counts[2]! / total).toBeLessThan(0.02);
    expect(counts[2]).toBeGreaterThan(0);
    expect(Math.abs(counts[0]! - counts[1]!) / total).toBeLessThan(0.1);
  });

  it('sends fewer than one in 200 calls to a server that fails fast, if another server succeeds and no calls overlap', () => {
    const random = makeSeededRandom();
    const loads = [new EndpointLoad(), new EndpointLoad()];
    let failed = 0;
    for (let now = 0; now < 60_000; now += 10) {
      const index = chooseLeastLoaded(loads, 2, random, now);
      loads[index]!.started(now, true);
      loads[index]!.ended(now + 5, true);
      loads[index]!.measured(index === 0 ? 1 : 5, index === 0 ? 'failed' : 'succeeded', now + 5);
      if (index === 0 && now > 10_000) failed += 1;
    }
    expect(failed).toBeLessThan(60_000 / 2_500);
  });
});

describe('parseChoiceCount', () => {
  it.each([
    [{}, 2],
    [{ choiceCount: 2 }, 2],
    [{ choiceCount: 7 }, 7],
    [{ choiceCount: 100 }, 10],
  ])('reads %j as a choiceCount of %i', (config, expected) => {
    expect(parseChoiceCount(config)).toBe(expected);
  });

  it.each([{ choiceCount: 1 }, { choiceCount: 2.5 }, { choiceCount: '3' }, { choiceCount: null }])(
    'rejects the least-request config %j',
    (config) => {
      expect(() => parseChoiceCount(config)).toThrow(/^choiceCount: expected an integer of 2 or more, got /);
    },
  );

  it('rejects a least-request config that is not an object', () => {
    expect(() => parseChoiceCount(null)).toThrow('expected an object, got null; write { choiceCount: 2 }');
  });
});

function makeMeasuredLoad(
  ...samples: [latencyMs: number, outcome: 'succeeded' | 'failed' | 'cancelled', at: number][]
) {
  const load = new EndpointLoad();
  load.started(0, false);
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
    load.ended(60_000, false);
    expect(load.latencyMs(62_000)).toBeCloseTo(36.8, 1);
    load.started(62_000, false);
    expect(load.latencyMs(90_000)).toBeCloseTo(36.8, 1);
  });

  it('takes the time without an ended attempt as the latency while unary attempts are running', () => {
    const load = makeMeasuredLoad([5, 'succeeded', 0]);
    expect(load.latencyMs(1_000)).toBe(5);
    load.started(1_000, true);
    load.started(1_050, true);
    expect([1_004, 1_100].map((now) => load.latencyMs(now))).toEqual([5, 100]);
    load.ended(1_100, true);
    expect([1_100, 1_130].map((now) => load.latencyMs(now))).toEqual([5, 30]);
    load.ended(1_130, true);
    expect(load.latencyMs(9_000)).toBe(5);
  });

  it('counts attempts that fail together once, so that the endpoint is tested again after 2.8 s', () => {
    const load = new EndpointLoad();
    load.started(0, true);
    load.measured(5, 'succeeded', 5);
    for (let calls = 0; calls < 50; calls++) load.started(100, true);
    for (let calls = 0; calls < 51; calls++) load.ended(110, true);
    for (let calls = 0; calls < 50; calls++) load.measured(10, 'failed', 110);
    expect(load.latencyMs(110)).toBe(20);
    expect(load.latencyMs(2_910)).toBeLessThan(5);
    load.started(2_910, true);
    load.measured(10, 'failed', 2_920);
    expect(load.latencyMs(2_920)).toBeGreaterThan(15);
  });

  it('raises the average latency again and again while overlapping attempts fail', () => {
    const load = makeMeasuredLoad([5, 'succeeded', 0]);
    for (let now = 100; now < 150; now++) load.measured(10, 'failed', now);
    expect(load.latencyMs(150)).toBe(5 * 4 ** 5);
  });

  it('weights a measurement by the time since the previous one, even if the end of the attempt was recorded before the measurement', () => {
    const load = makeMeasuredLoad([100, 'succeeded', 0]);
    load.ended(2_000, false);
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

const REPORT = {
  cpuUtilization: 0.25,
  applicationUtilization: 0.5,
  callsPerSecond: 5,
  errorsPerSecond: 2,
};
const IDLE_REPORT = {
  cpuUtilization: 0,
  applicationUtilization: 0,
  callsPerSecond: 0,
  errorsPerSecond: 0,
};
/** `REPORT` as Google's protobuf encodes it. */
const BYTES = '09000000000000d03f119a9999999999b93f31000000000000144039000000000000004049000000000000e03f';

describe('decodeLoadReport', () => {
  it('decodes a load report', () => {
    expect(decodeLoadReport(Buffer.from(BYTES, 'hex'))).toEqual(REPORT);
  });

  it('decodes absent fields of a load report to 0', () => {
    expect(decodeLoadReport(new Uint8Array())).toEqual(IDLE_REPORT);
  });

  it('skips unused fields of a load report: a varint, a map, and a 32-bit value', () => {
    const others = Buffer.from('18ac02' + '220c0a0161110000000000000840' + '7d01020304', 'hex');
    expect(decodeLoadReport(Buffer.concat([others, Buffer.from(BYTES, 'hex')]))).toEqual(REPORT);
  });

  it('reads a load report inside a larger buffer', () => {
    const bytes = Buffer.concat([Buffer.from([255, 255, 255]), Buffer.from(BYTES, 'hex')]).subarray(3);
    expect(decodeLoadReport(bytes)).toEqual(REPORT);
  });

  it.each(['09', '0900', '22', '22ff', '0b', '7d01', 'ffffffffffffffffffffff'])(
    'returns undefined for the invalid load report %s',
    (hex) => {
      expect(decodeLoadReport(Buffer.from(hex, 'hex'))).toBeUndefined();
    },
  );
});
