import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { DEFAULT_EJECTION } from './ejection-policy.js';
import { EndpointRecord } from './endpoint-record.js';
import { decideEjections, NEVER_EJECTED, type EjectionState } from './next-ejection.js';

const DAY_MS = 24 * 3_600_000;
/** True if each healthy fleet runs for a day of virtual time. The simulations then take three minutes. */
const IS_FULL = process.env['FULL_SIMULATION'] === '1';
const chooseDurationMs = (durationMs: number): number => (IS_FULL ? DAY_MS : durationMs);
const SWEEP_MS = 250;
const { intervalMs, carriedIntervals, failurePercentage } = DEFAULT_EJECTION;

interface Fleet {
  readonly endpoints: number;
  readonly callsPerSecond: number;
  readonly durationMs: number;
  /** Share of the attempts that fail, the same for every endpoint; 0.001 by default. */
  readonly failures?: number;
  /** Returns the latency of a call on an endpoint. */
  readonly latencyMs: (random: () => number, endpoint: number, at: number) => number;
}

interface Simulated {
  readonly record: EndpointRecord;
  state: EjectionState;
  /** Start and end of the running calls. */
  readonly running: { readonly from: number; readonly until: number }[];
}

/** Draws a normally distributed number. */
function drawNormal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Draws a latency. The median is 20 ms, and the p99 is 100 ms. About once a minute, a pause such as a garbage collection takes 300 ms. */
function drawUsualMs(random: () => number, endpoint: number, at: number): number {
  const pauseEndsIn = 300 - ((at + endpoint * 17_000) % 61_000);
  return Math.max(20 * Math.exp(0.7 * drawNormal(random)), pauseEndsIn);
}

/** Draws a latency for two kinds of methods: about 400 ms for a third of the calls, about 5 ms for the others. */
function drawMixedMs(random: () => number): number {
  return (random() < 0.33 ? 400 : 5) * Math.exp(0.3 * drawNormal(random));
}

/** Draws a latency: about 5 s for a fifth of the calls, about 20 ms for the others. */
function drawLongMs(random: () => number): number {
  return (random() < 0.2 ? 5_000 : 20) * Math.exp(0.2 * drawNormal(random));
}

/** Runs a fleet in virtual time and returns the ejections. */
function simulate({ endpoints, callsPerSecond, durationMs, failures = 0.001, latencyMs }: Fleet, seed = 7) {
  const random = seededRandom(seed);
  const fleet: Simulated[] = Array.from({ length: endpoints }, () => {
    return { record: new EndpointRecord(), state: NEVER_EJECTED, running: [] };
  });
  const ejections: { readonly at: number; readonly address: string; readonly reason: string }[] = [];
  let calls = 0;
  let intervalEndsAt = intervalMs;
  const endCalls = ({ running, record }: Simulated, now: number): void => {
    for (let index = 0; index < running.length;) {
      const call = running[index]!;
      if (call.until > now) index += 1;
      else {
        running.splice(index, 1);
        record.respondedAt = Math.max(record.respondedAt, call.until);
        record.count(random() < failures ? 'failure' : 'success');
        record.addLatency(call.until - call.from, call.until);
      }
    }
  };
  const decide = (now: number, isIntervalOver: boolean): void => {
    const views = fleet.map(({ record, state, running }, index) => ({
      address: String(index),
      record,
      state,
      isUsable: true,
      unanswered: { count: running.length, oldestAt: Math.min(Infinity, ...running.map(({ from }) => from)) },
    }));
    for (const decision of decideEjections(views, now, isIntervalOver, DEFAULT_EJECTION, random)) {
      if (decision.kind === 'spare') continue;
      const endpoint = fleet[Number(decision.address)]!;
      endpoint.state = decision.state;
      endpoint.record.clear();
      if (decision.kind !== 'eject') continue;
      ejections.push({ at: now, address: decision.address, reason: decision.state.evidence.reason });
    }
  };
  for (let now = 0; now < durationMs; now += SWEEP_MS) {
    for (let due = Math.floor((now / 1_000) * callsPerSecond); calls < due; calls++) {
      const at = now - SWEEP_MS * random();
      const usable = fleet.filter(({ state }) => state.kind === 'included');
      const endpoint = usable[calls % usable.length]!;
      endpoint.running.push({ from: at, until: at + latencyMs(random, fleet.indexOf(endpoint), at) });
    }
    for (const endpoint of fleet) {
      endpoint.running.sort((a, b) => a.until - b.until);
      endCalls(endpoint, now);
    }
    const isIntervalOver = now >= intervalEndsAt;
    decide(now, isIntervalOver);
    if (!isIntervalOver) continue;
    intervalEndsAt = now + intervalMs;
    for (const { record } of fleet) {
      const few = record.successes + record.failures < (failurePercentage?.minimumAttempts ?? 0);
      if (record.carried < carriedIntervals && few) record.carried += 1;
      else record.startInterval();
    }
  }
  return ejections;
}

describe('healthy fleet', { timeout: 7_200_000 }, () => {
  it.each([
    [1, DAY_MS],
    [10, chooseDurationMs(DAY_MS / 4)],
    [100, chooseDurationMs(DAY_MS / 24)],
    [1_000, chooseDurationMs(DAY_MS / 144)],
  ])('ejects no healthy endpoint at %i calls per second', (callsPerSecond, durationMs) => {
    expect(simulate({ endpoints: 3, callsPerSecond, durationMs, latencyMs: drawUsualMs })).toEqual([]);
  });

  it.each([
    ['5 ms or 400 ms', drawMixedMs, 20],
    ['20 ms or 5 s', drawLongMs, 20],
    ['20 ms or 5 s, at 2 calls per second', drawLongMs, 2],
  ])('ejects no healthy endpoint if calls take %s', (_, latencyMs, callsPerSecond) => {
    expect(simulate({ endpoints: 3, callsPerSecond, durationMs: chooseDurationMs(DAY_MS / 4), latencyMs })).toEqual([]);
  });

  it('ejects no endpoint if 1% of the attempts fail', () => {
    expect(
      simulate({
        endpoints: 5,
        callsPerSecond: 100,
        durationMs: chooseDurationMs(DAY_MS / 24),
        failures: 0.01,
        latencyMs: drawUsualMs,
      }),
    ).toEqual([]);
  });
});

describe('unhealthy endpoint', () => {
  const FAULT_AT_MS = 60_000;

  it.each([
    ['25 times as slow as the others', (latency: number) => latency * 25],
    ['frozen', () => Infinity],
  ])('ejects one of three endpoints within 2 s at 100 calls per second if that endpoint is %s', (_, slowDown) => {
    for (let seed = 1; seed <= 10; seed++) {
      const fleet: Fleet = {
        endpoints: 3,
        callsPerSecond: 100,
        durationMs: FAULT_AT_MS + 10_000,
        latencyMs: (random, endpoint, at) => {
          const latency = 20 * Math.exp(0.3 * drawNormal(random));
          return endpoint === 0 && at > FAULT_AT_MS ? slowDown(latency) : latency;
        },
      };
      const ejections = simulate(fleet, seed);
      expect(ejections.map(({ address }) => address)).toEqual(['0']);
      expect(ejections[0]!.at - FAULT_AT_MS).toBeLessThanOrEqual(2_000);
    }
  });
});
