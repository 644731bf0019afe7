import { describe, expect, it } from 'vitest';
import { inSendOrder, type HeldCall, type ReleaseTimes, releaseDemand } from './release-demand.js';
import { DEFAULT_RELEASE_POLICY } from './release-policy.js';

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
