import { describe, expect, it } from 'vitest';
import {
  ReleasePace,
  inSendOrder,
  type HeldCall,
  type ReleaseTimes,
  releaseDemand,
  DEFAULT_RELEASE_POLICY,
} from './release-pace.js';
import fc from 'fast-check';

const DEMAND = { floorPerSecond: 0, deadlinePacePerSecond: 0 };
const USUAL = { now: 0, usualCallsPerSecond: 200, demand: DEMAND };
/** Usual latency of each call, in milliseconds. */
const USUAL_MS = 10;

/**
 * Takes calls every 10 ms. Immediately reports each call as answered with latency `latencyMs`; reports none if it is `undefined`. Returns
 * the number of calls taken.
 */
function run(pace: ReleasePace, from: number, until: number, latencyMs: number | undefined): number {
  let released = 0;
  for (let now = from; now < until; now += 10) {
    const taken = pace.take(now);
    released += taken;
    if (latencyMs !== undefined) for (let i = 0; i < taken; i++) pace.answered(latencyMs, USUAL_MS, now);
  }
  return released;
}

/** Takes streams every 10 ms; one in `oneOf` fails after `afterMs`. Returns the number of streams taken. */
function runStreams(
  pace: ReleasePace,
  until: number,
  failing: { readonly oneOf: number; readonly afterMs: number },
): number {
  let released = 0;
  const failAt: number[] = [];
  for (let now = 0; now < until; now += 10) {
    while (failAt[0] !== undefined && failAt[0] <= now) {
      failAt.shift();
      pace.failed(now, 'stream');
    }
    for (let taken = pace.take(now); taken > 0; taken--) {
      released += 1;
      pace.opened();
      if (released % failing.oneOf === 0) failAt.push(now + failing.afterMs);
    }
  }
  return released;
}

describe('ReleasePace with streams', () => {
  const FEEDS_ONLY = { ...USUAL, usualCallsPerSecond: 40 };

  it('increases the release pace while released streams are quiet and do not fail', () => {
    const pace = new ReleasePace(FEEDS_ONLY);
    expect(runStreams(pace, 300, { oneOf: Infinity, afterMs: 0 })).toBeLessThan(10);
    expect(pace.callsPerSecond).toBeCloseTo(10 * 1.25 ** 2);
    expect(runStreams(new ReleasePace(FEEDS_ONLY), 2_500, { oneOf: Infinity, afterMs: 0 })).toBeGreaterThan(300);
  });

  it.each([0, 90, 150, 300])(
    'reduces the release pace while the server refuses released streams after %i ms',
    (afterMs) => {
      const pace = new ReleasePace(USUAL);
      const all = runStreams(pace, 5_000, { oneOf: 1, afterMs });
      expect(pace.callsPerSecond).toBeLessThanOrEqual(25);
      expect(all).toBeLessThan(150);
    },
  );

  it.each([0, 150])('does not reduce the release pace if one in ten released streams fails after %i ms', (afterMs) => {
    const pace = new ReleasePace({ ...USUAL, usualCallsPerSecond: 800 });
    expect(runStreams(pace, 1_500, { oneOf: 10, afterMs })).toBeGreaterThan(600);
  });

  it('never counts a failed stream of a release as accepted, whether the stream fails in the step of its release or in a later step', () => {
    const pace = new ReleasePace({ ...USUAL, usualCallsPerSecond: 400 });
    const open = (now: number): void => {
      for (let taken = pace.take(now); taken > 0; taken--) pace.opened();
    };
    const fail = (count: number, now: number): void => {
      for (let i = 0; i < count; i++) pace.failed(now, 'stream');
    };
    open(99);
    // 3 of 10 fail; 7 are left for the next step.
    fail(3, 99);
    pace.take(100, 0);
    expect(pace.callsPerSecond).toBe(60);
    // 2 of those 7 fail. A share above a quarter prevents an increase.
    fail(2, 150);
    pace.take(200, 0);
    expect(pace.callsPerSecond).toBe(60);
    expect(pace.take(200)).toBe(6);
  });

  it('does not increase the release pace if released streams are answered slowly', () => {
    const pace = new ReleasePace(USUAL);
    for (let now = 0; now < 400; now += 10) {
      for (let taken = pace.take(now); taken > 0; taken--) {
        pace.opened();
        pace.answered(41, USUAL_MS, now, 'stream');
      }
    }
    expect(pace.callsPerSecond).toBe(50);
  });

  it('counts a released stream once, even if it is answered long after its release', () => {
    const pace = new ReleasePace({ ...USUAL, usualCallsPerSecond: 400 });
    for (let taken = pace.take(99); taken > 0; taken--) pace.opened();
    pace.take(200, 0);
    const before = pace.callsPerSecond;
    // 2 of 8 responses are slow. A quarter still allows an increase of the pace.
    for (let i = 0; i < 8; i++) pace.answered(i < 2 ? 500 : 10, USUAL_MS, 250, 'stream');
    pace.take(300, 0);
    expect(pace.callsPerSecond).toBe(before * 1.25);
  });

  it('reduces the release pace to the starting pace if unary calls among released streams are slow', () => {
    const pace = new ReleasePace({ ...USUAL, usualCallsPerSecond: 800 });
    for (let now = 0; now <= 300; now += 10) {
      for (let taken = pace.take(now); taken > 0; taken--) {
        if (taken % 4 === 0) pace.answered(41, USUAL_MS, now);
        else pace.opened();
      }
    }
    expect(pace.callsPerSecond).toBe(200);
  });

  it('does not count cancelled calls of a release as calls without a response', () => {
    const pace = new ReleasePace(USUAL);
    for (let taken = pace.take(50); taken > 0; taken--) pace.cancelled(50);
    pace.take(100, 0);
    expect(pace.callsPerSecond).toBe(62.5);
  });
});

describe('ReleasePace', () => {
  it('releases the first call at once, and the next call at the pace of the release', () => {
    const pace = new ReleasePace(USUAL);
    expect(pace.take(0)).toBe(1);
    expect(pace.take(0)).toBe(0);
    expect(pace.msUntilNext(0)).toBe(20);
    expect(pace.msUntilNext(10)).toBe(10);
    expect(pace.take(19)).toBe(0);
    expect(pace.take(20)).toBe(1);
    expect(pace.msUntilNext(100)).toBe(0);
  });

  it('starts a release at a quarter of the usual rate', () => {
    expect(new ReleasePace(USUAL).callsPerSecond).toBe(50);
  });

  it('starts a release without history at 10 calls per second, or at the floor if that is higher', () => {
    const without = { ...USUAL, usualCallsPerSecond: 0 };
    expect(new ReleasePace(without).callsPerSecond).toBe(10);
    const demand = { floorPerSecond: 40, deadlinePacePerSecond: 0 };
    expect(new ReleasePace({ ...without, demand }).callsPerSecond).toBe(40);
  });

  it('starts a release at 2 calls per second if a quarter of the usual rate is less', () => {
    expect(new ReleasePace({ ...USUAL, usualCallsPerSecond: 0.1 }).callsPerSecond).toBe(2);
    expect(new ReleasePace({ ...USUAL, usualCallsPerSecond: 7 }).callsPerSecond).toBe(2);
  });

  it.each([0, 200])(
    'starts a release at the floor if the floor exceeds the starting pace (usual rate: %i calls per second)',
    (usual) => {
      const demand = { floorPerSecond: 1_400, deadlinePacePerSecond: 0 };
      expect(new ReleasePace({ ...USUAL, usualCallsPerSecond: usual, demand }).callsPerSecond).toBe(1_400);
    },
  );

  it('raises the release pace to a higher floor, and keeps the higher floor', () => {
    const pace = new ReleasePace(USUAL);
    pace.require({ floorPerSecond: 80, deadlinePacePerSecond: 0 });
    expect(pace.callsPerSecond).toBe(80);
    pace.require({ floorPerSecond: 10, deadlinePacePerSecond: 0 });
    for (let now = 0; now < 5_000; now += 10) {
      pace.take(now);
      pace.failed(now);
    }
    expect(pace.callsPerSecond).toBe(80);
  });

  it('counts the response of a slow method as slow only if the method was faster before the outage', () => {
    const pace = new ReleasePace(USUAL);
    const start = pace.callsPerSecond;
    for (let now = 10; now <= 300; now += 10) {
      const taken = pace.take(now);
      for (let i = 0; i < taken; i++) pace.answered(310, 300, now);
    }
    expect(pace.callsPerSecond).toBeGreaterThan(start);
    const slowed = pace.callsPerSecond;
    for (let now = 310; now <= 500; now += 10) {
      const taken = pace.take(now);
      for (let i = 0; i < taken; i++) pace.answered(310, USUAL_MS, now);
    }
    expect(pace.callsPerSecond).toBeLessThan(slowed);
  });

  it('averages how much slower than usual the responses are', () => {
    const pace = new ReleasePace(USUAL);
    expect(pace.delayMs).toBe(0);
    pace.answered(60, USUAL_MS, 1);
    expect(pace.delayMs).toBe(5);
    pace.answered(350, 300, 1);
    expect(pace.delayMs).toBe(9.5);
    // Excludes the next response from the average, because this process was delayed, not the server.
    pace.excuse(2);
    pace.answered(1_000, USUAL_MS, 3);
    expect(pace.delayMs).toBe(9.5);
  });

  it('ignores the latencies of streams in the average delay, because a stream may be silent', () => {
    const pace = new ReleasePace(USUAL);
    pace.answered(5_000, USUAL_MS, 1, 'stream');
    expect(pace.delayMs).toBe(0);
  });

  it('reports whether responses were slow in the last step that had responses', () => {
    const pace = new ReleasePace(USUAL);
    const after = (latencyMs: number | undefined, step: number): boolean => {
      if (latencyMs !== undefined) pace.answered(latencyMs, USUAL_MS, step * 100 - 50);
      pace.take(step * 100);
      return pace.isSlow;
    };
    expect([after(41, 1), after(undefined, 2), after(40, 3), after(undefined, 4)]).toEqual([true, true, false, false]);
  });

  it('keeps the average delay of responses at 0 if the responses are faster than usual', () => {
    const pace = new ReleasePace(USUAL);
    pace.answered(1, 300, 1);
    expect(pace.delayMs).toBe(0);
  });

  it('increases the release pace by a quarter per 100 ms while calls are answered as usual', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 301, 10);
    expect(pace.callsPerSecond).toBeCloseTo(50 * 1.25 ** 3);
  });

  it('reduces the release pace to a quarter of the starting pace while calls fail', () => {
    const pace = new ReleasePace(USUAL);
    for (let now = 0; now < 5_000; now += 10) {
      pace.take(now);
      pace.failed(now);
    }
    expect(pace.callsPerSecond).toBe(12.5);
  });

  it('does not reduce the release pace for slow responses that arrive within one step after this process was delayed', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 601, 1);
    const grown = pace.callsPerSecond;
    pace.excuse(601);
    run(pace, 610, 701, 41);
    expect(pace.callsPerSecond).toBeGreaterThanOrEqual(grown);
  });

  it('counts slow responses against the release pace again one step after this process was delayed', () => {
    const pace = new ReleasePace(USUAL);
    pace.take(0);
    pace.excuse(0);
    pace.answered(500, USUAL_MS, 100);
    pace.take(200, 0);
    expect(pace.callsPerSecond).toBe(50);
  });

  it('treats latencies of released calls up to twice the usual median plus 20 ms as usual', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 101, 40);
    expect(pace.callsPerSecond).toBeGreaterThan(50);
  });

  it('uses the latency of the first answered call of a release as the usual latency if no latency is known', () => {
    const pace = new ReleasePace(USUAL);
    for (let now = 0; now < 101; now += 10) {
      for (let taken = pace.take(now); taken > 0; taken--) pace.answered(400, 0, now);
    }
    expect(pace.callsPerSecond).toBeGreaterThan(50);
  });

  it('releases only calls that are waiting', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 1_000, 10);
    expect(pace.take(1_100, 2)).toBe(2);
    expect(pace.take(1_100, 0)).toBe(0);
  });

  it('returns the credit of calls that were taken but not sent, and does not count them as in flight', () => {
    const pace = new ReleasePace(USUAL);
    expect(pace.take(99)).toBe(5);
    pace.putBack(5);
    pace.take(100, 0);
    expect(pace.callsPerSecond).toBe(62.5);
    expect(pace.take(100)).toBe(5);
  });

  it('releases no more calls than one step allows when the process resumes after a suspend', () => {
    const pace = new ReleasePace(USUAL);
    expect(pace.take(0)).toBe(1);
    expect(pace.take(60_000)).toBeLessThanOrEqual(8);
    expect(pace.callsPerSecond).toBeLessThanOrEqual(50 * 1.25 ** 2);
  });
});

/** Results of one step of a release, and what the pace depends on besides. */
interface Step {
  readonly good: number;
  readonly slow: number;
  readonly failed: number;
  /** Streams released in the step before that have neither received response headers nor ended. */
  readonly quiet: number;
  /** Unary calls in flight at the end of the step. */
  readonly outstanding: number;
  /** Unary calls in flight at the start of the step. */
  readonly outstandingBefore: number;
  readonly floorPerSecond: number;
  readonly deadlinePacePerSecond: number;
  readonly isStreamLimited: boolean;
}

const EMPTY_STEP: Step = {
  good: 0,
  slow: 0,
  failed: 0,
  quiet: 0,
  outstanding: 0,
  outstandingBefore: 0,
  floorPerSecond: 0,
  deadlinePacePerSecond: 0,
  isStreamLimited: false,
};

/** Returns the pace after a step of a release. The pace of the step is 10,000 calls per second, twice the starting pace. */
function paceAfter(results: Partial<Step>): number {
  const step = { ...EMPTY_STEP, ...results };
  const policy = { ...DEFAULT_RELEASE_POLICY, growth: 2 };
  const pace = new ReleasePace({ ...USUAL, usualCallsPerSecond: 20_000 }, policy);
  pace.take(100, 0);
  policy.growth = 1;
  pace.take(199, step.outstandingBefore + step.quiet);
  for (let i = 0; i < step.quiet; i++) pace.opened();
  pace.take(200, 0);
  policy.growth = DEFAULT_RELEASE_POLICY.growth;
  pace.require(step);
  pace.isStreamLimited = step.isStreamLimited;
  const ended = step.good + step.slow + step.failed;
  pace.take(290, Math.max(step.outstanding - step.outstandingBefore + ended, 0));
  for (let i = step.outstanding + ended; i < step.outstandingBefore; i++) pace.cancelled(290);
  for (let i = 0; i < step.good; i++) pace.answered(USUAL_MS, USUAL_MS, 290);
  for (let i = 0; i < step.slow; i++) pace.answered(500, USUAL_MS, 290);
  for (let i = 0; i < step.failed; i++) pace.failed(290);
  pace.take(300, 0);
  return pace.callsPerSecond;
}

describe('Pace of a release after a step', () => {
  it.each<[string, Partial<Step>, number]>([
    ['increases after usual responses', { good: 1, outstanding: 9 }, 12_500],
    ['increases if no call is in flight', {}, 12_500],
    ['stays if no response arrived', { outstanding: 1 }, 10_000],
    [
      'stays while calls wait for a free stream, even if deadlines require more',
      { good: 1, deadlinePacePerSecond: 90_000, isStreamLimited: true },
      10_000,
    ],
    ['falls after slow responses while calls wait for a free stream', { slow: 1, isStreamLimited: true }, 6_000],
    ['increases faster if deadlines require it', { good: 1, deadlinePacePerSecond: 100_000 }, 13_500],
    ['increases only to the pace that deadlines require', { good: 1, deadlinePacePerSecond: 13_000 }, 13_000],
    [
      'stays if no response arrived, even if deadlines require more',
      { outstanding: 1, deadlinePacePerSecond: 90_000 },
      10_000,
    ],
    ['increases if a quarter of the responses are slow', { good: 6, slow: 2 }, 12_500],
    ['falls if more than a quarter of the responses are slow', { good: 5, slow: 2 }, 6_000],
    ['falls after failures', { good: 5, failed: 2 }, 6_000],
    ['falls after slow responses, even if deadlines require more', { slow: 1, deadlinePacePerSecond: 90_000 }, 6_000],
    [
      'stays after slow responses while the number of calls in flight falls',
      { slow: 9, outstanding: 8, outstandingBefore: 10 },
      10_000,
    ],
    [
      'falls after slow responses while the number of calls in flight falls only slightly',
      { slow: 9, outstanding: 9, outstandingBefore: 10 },
      6_000,
    ],
    [
      'falls after slow responses if only a few calls were in flight before their number fell',
      { slow: 9, outstanding: 1, outstandingBefore: 9 },
      6_000,
    ],
    [
      'falls after failures while the number of calls in flight falls',
      { failed: 9, outstanding: 1, outstandingBefore: 10 },
      6_000,
    ],
    ['does not fall below the floor after slow responses', { slow: 1, floorPerSecond: 9_000 }, 9_000],
    ['does not fall below the floor after failures', { failed: 1, floorPerSecond: 9_000 }, 9_000],
    ['counts quiet streams as accepted', { quiet: 3, failed: 1 }, 12_500],
    ['does not count quiet streams as fast', { quiet: 30, good: 2, slow: 1 }, 6_000],
  ])('%s', (_, step, callsPerSecond) => {
    expect(paceAfter(step)).toBe(callsPerSecond);
  });

  it('falls at most once per 300 ms, to the starting pace after slow responses, and further after failures', () => {
    const pace = new ReleasePace(USUAL);
    run(pace, 0, 301, 1);
    const grown = pace.callsPerSecond;
    const paces = [400, 500, 600, 700, 800, 900, 1_000].map((end) => {
      pace.take(end - 10, 1);
      if (end < 1_000) pace.answered(500, USUAL_MS, end - 10);
      else pace.failed(end - 10);
      pace.take(end, 0);
      return pace.callsPerSecond;
    });
    expect(paces).toEqual([grown * 0.6, grown * 0.6, grown * 0.6, 50, 50, 50, 30]);
  });

  it('is at least the floor, and at most the larger of the floor and 1.35 times the previous pace', () => {
    const steps = fc.record({
      floorPerSecond: fc.double({ min: 0, max: 1e5, noNaN: true }),
      deadlinePacePerSecond: fc.double({ min: 0, max: 1e6, noNaN: true }),
      good: fc.nat(50),
      slow: fc.nat(50),
      failed: fc.nat(50),
      quiet: fc.nat(50),
      outstanding: fc.nat(50),
      outstandingBefore: fc.nat(50),
    });
    fc.assert(
      fc.property(steps, (step) => {
        const callsPerSecond = paceAfter(step);
        expect(callsPerSecond).toBeGreaterThanOrEqual(step.floorPerSecond);
        // The step starts at the floor if the floor is higher than its pace.
        expect(callsPerSecond).toBeLessThanOrEqual(Math.max(10_000, step.floorPerSecond) * 1.35);
      }),
    );
  });
});

const EPOCH = Date.UTC(2026, 0, 1);
const NOW = 1_000_000;
const PATH = '/orders.v1.Orders/Get';
/** Times of a channel that has just become READY. */
const TIMES: ReleaseTimes = {
  now: NOW,
  epoch: EPOCH,
  readyAt: NOW,
  boundMs: 10_000,
  usualLatency: () => 0,
  delayMs: 0,
  isSlow: false,
};
const WITHOUT_MARGIN = { ...DEFAULT_RELEASE_POLICY, boundMargin: 0 };

const call = (deadlineInMs = Infinity, waitedMs = 2_000): HeldCall => ({
  deadline: EPOCH + deadlineInMs,
  waitingSince: NOW - waitedMs,
  path: PATH,
});
const calls = (count: number, deadlineInMs?: number, waitedMs?: number): readonly HeldCall[] =>
  Array.from({ length: count }, () => call(deadlineInMs, waitedMs));

describe('releaseDemand', () => {
  it.each<[string, readonly HeldCall[], Partial<ReleaseTimes>, number, number]>([
    ['no release pace if no call is held', [], {}, 0, 0],
    ['the pace that the release bound requires for calls without a deadline', calls(100), {}, 10, 0],
    ['the paces that the release bound and the deadlines require', calls(100, 2_000), {}, 10, 50],
    [
      'a higher pace if the latency shortens the time to the deadlines',
      calls(100, 2_000),
      { usualLatency: () => 600, delayMs: 400 },
      10,
      100,
    ],
    [
      'a higher pace if half of the release bound has passed',
      calls(100, Infinity, 90_000),
      { readyAt: NOW - 5_000 },
      20,
      0,
    ],
    ['no burst if little of the release bound is left', calls(100, Infinity, 90_000), { readyAt: NOW - 9_000 }, 30, 0],
    ['no burst after the release bound has passed', calls(100, Infinity, 90_000), { readyAt: NOW - 60_000 }, 30, 0],
    [
      'the pace that the full release bound requires for calls queued after READY',
      calls(100, Infinity, 0),
      { readyAt: NOW - 60_000 },
      10,
      0,
    ],
    ['the pace that the strictest deadline requires', [...calls(10, 1_000), ...calls(10, 10_000)], {}, 2, 10],
    [
      'the pace for all calls due by a later deadline if that pace is higher',
      [...calls(10, 1_000), ...calls(90, 2_000)],
      {},
      10,
      50,
    ],
    [
      'no release pace for calls that cannot meet their deadlines while responses are slow',
      calls(100, 50),
      { usualLatency: () => 50, isSlow: true },
      0,
      0,
    ],
    [
      'the pace that sends all calls in one step if responses are not slow and the usual latency equals the time left',
      calls(100, 50),
      { usualLatency: () => 50 },
      10,
      1_000,
    ],
    ['a pace of one call per step for a call that can barely meet its deadline', calls(1, 1), {}, 0.1, 10],
  ])('demands %s (release bound of 10 s)', (_, held, times, floorPerSecond, deadlinePacePerSecond) => {
    const demand = releaseDemand(held, { ...TIMES, ...times }, WITHOUT_MARGIN);
    expect(demand.floorPerSecond).toBeCloseTo(floorPerSecond);
    expect(demand.deadlinePacePerSecond).toBeCloseTo(deadlinePacePerSecond);
  });

  it('reserves a twentieth of the release bound for delays of this process', () => {
    expect(releaseDemand(calls(95), TIMES, DEFAULT_RELEASE_POLICY).floorPerSecond).toBeCloseTo(10);
  });
});

describe('inSendOrder', () => {
  it('orders held calls by the earlier of deadline and release bound, and keeps the order of calls with equal times', () => {
    const [old, soon, late, young] = [call(), call(500), call(20_000), call(Infinity, 1_000)];
    const joined = { deadline: Infinity, waitingSince: NOW + 3_000, path: PATH };
    const urgent = { deadline: EPOCH + 4_000, waitingSince: NOW + 3_000, path: PATH };
    const held = [old, late, soon, young, joined, urgent];
    const times = { ...TIMES, now: NOW + 3_000, epoch: EPOCH + 3_000 };
    expect(inSendOrder(held, times)).toEqual([soon, urgent, old, late, young, joined]);
  });

  it('sends a call of a slow method before a call of a fast method with the same deadline', () => {
    const [fast, slow] = [call(1_000), { ...call(1_000), path: '/orders.v1.Orders/Export' }];
    const usualLatency = (path: string | undefined) => (path === PATH ? 1 : 300);
    expect(inSendOrder([fast, slow], { ...TIMES, usualLatency })).toEqual([slow, fast]);
  });
});
