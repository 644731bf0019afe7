import { describe, expect, it } from 'vitest';
import type { HeldCall, ReleaseTimes } from './held-call.js';
import { releaseDemand } from './release-demand.js';
import { DEFAULT_RELEASE_POLICY } from './release-policy.js';
import { inSendOrder } from './send-order.js';

const EPOCH = Date.UTC(2026, 0, 1);
const NOW = 1_000_000;
/** READY since this moment. */
const TIMES: ReleaseTimes = { now: NOW, epoch: EPOCH, readyAt: NOW, boundMs: 10_000, latencyMs: 0 };
const WITHOUT_MARGIN = { ...DEFAULT_RELEASE_POLICY, boundMargin: 0 };

const call = (deadlineInMs = Infinity, waitedMs = 2_000): HeldCall => ({
  deadline: EPOCH + deadlineInMs,
  waitingSince: NOW - waitedMs,
});
const calls = (count: number, deadlineInMs?: number, waitedMs?: number): readonly HeldCall[] =>
  Array.from({ length: count }, () => call(deadlineInMs, waitedMs));

describe('releaseDemand', () => {
  it.each<[string, readonly HeldCall[], Partial<ReleaseTimes>, number, number]>([
    ['nothing without calls', [], {}, 0, 0],
    ['the bound for calls without a deadline', calls(100), {}, 10, 0],
    ['the bound and the deadlines', calls(100, 2_000), {}, 10, 50],
    ['the deadlines less the latency', calls(100, 2_000), { latencyMs: 1_000 }, 10, 100],
    ['the time that is left of the bound', calls(100, Infinity, 90_000), { readyAt: NOW - 5_000 }, 20, 0],
    ['no burst when little is left of the bound', calls(100, Infinity, 90_000), { readyAt: NOW - 9_000 }, 30, 0],
    ['no burst when the bound is over', calls(100, Infinity, 90_000), { readyAt: NOW - 60_000 }, 30, 0],
    ['the bound from when a call began to wait', calls(100, Infinity, 0), { readyAt: NOW - 60_000 }, 10, 0],
    ['the strictest of several deadlines', [...calls(10, 1_000), ...calls(10, 10_000)], {}, 2, 10],
    ['all calls before a late deadline', [...calls(10, 1_000), ...calls(90, 2_000)], {}, 10, 50],
    ['nothing for calls that are too late', calls(100, 50), { latencyMs: 50 }, 0, 0],
    ['no more than a step can send for calls that are almost too late', calls(1, 1), {}, 0.1, 10],
  ])('demands %s', (_, held, times, floorPerSecond, wantedPerSecond) => {
    const demand = releaseDemand(held, { ...TIMES, ...times }, WITHOUT_MARGIN);
    expect(demand.floorPerSecond).toBeCloseTo(floorPerSecond);
    expect(demand.wantedPerSecond).toBeCloseTo(wantedPerSecond);
  });

  it('leaves a twentieth of the bound for a process that is late', () => {
    expect(releaseDemand(calls(95), TIMES, DEFAULT_RELEASE_POLICY).floorPerSecond).toBeCloseTo(10);
  });
});

describe('inSendOrder', () => {
  it('sends first what has the earlier deadline or bound, and the older of two with the same', () => {
    const [old, soon, late, young] = [call(), call(500), call(20_000), call(Infinity, 1_000)];
    const joined = { deadline: Infinity, waitingSince: NOW + 3_000 };
    const urgent = { deadline: EPOCH + 4_000, waitingSince: NOW + 3_000 };
    const held = [old, late, soon, young, joined, urgent];
    const times = { ...TIMES, now: NOW + 3_000, epoch: EPOCH + 3_000 };
    expect(inSendOrder(held, times)).toEqual([soon, urgent, old, late, young, joined]);
  });
});
