import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { ENDPOINT_POLICIES } from '../../bench/simulation/endpoints/policies.mjs';
import { ENDPOINT_SCENARIOS } from '../../bench/simulation/endpoints/scenarios.mjs';
import { DEFAULT_ENDPOINT_WORLD, simulateEndpoints } from '../../bench/simulation/endpoints/simulate.mjs';

const EJECTING = 'ejectUnhealthy';
/** Test options with a long timeout, because a simulation uses only the CPU and takes longer on a busy machine. */
const SLOW = { timeout: 300_000 };
/** A fleet in which each client makes 10 calls per second to each endpoint. */
const BUSY = { clients: 10, callsPerSecond: 100, endpoints: 10 };

interface Fleet {
  readonly clients: number;
  readonly callsPerSecond: number;
  readonly endpoints: number;
}

function simulate(scenario: string, fleet: Fleet, name = EJECTING, seconds?: number) {
  const policy = ENDPOINT_POLICIES.find((one) => one.name === name)!;
  const world = { ...DEFAULT_ENDPOINT_WORLD, ...fleet };
  return simulateEndpoints(world, policy, ENDPOINT_SCENARIOS[scenario]!, seconds);
}

it('prints the same figures for several simulated endpoints if the seed is the same', SLOW, () => {
  const main = new URL('../../bench/simulation/main.mjs', import.meta.url).pathname;
  const args = [main, 'endpoint-fails', '--clients', '2', '--rate', '50', '--endpoints', '5', '--json'];
  const print = (): string => execFileSync(process.execPath, args, { encoding: 'utf8' });
  const text = print();
  expect(print()).toBe(text);
  const { policies, ...rest } = JSON.parse(text);
  expect(rest).toEqual({ scenario: 'endpoint-fails', clients: 2, callsPerSecond: 50, endpoints: 5 });
  expect(policies.map(({ name }: { name: string }) => name)).toEqual(ENDPOINT_POLICIES.map(({ name }) => name));
});

it.each([
  ['endpoint-fails', 'round_robin'],
  ['endpoint-slow', 'round_robin'],
  ['endpoint-freezes', 'round_robin'],
])(
  'lets every simulated client eject only the faulty endpoint in the scenario %s, with a lower p99 than under %s without ejection',
  SLOW,
  (scenario, without) => {
    const { figures } = simulate(scenario, BUSY);
    const plain = simulate(scenario, BUSY, without).figures;
    expect(figures.ejected).toBe(1);
    expect(figures.ejectedAfter).toBeLessThanOrEqual(3);
    expect(figures.failed).toBeLessThanOrEqual(0.001);
    expect(figures.p99).toBeLessThanOrEqual(1.5 * figures.p99Before);
    expect(plain.p99).toBeGreaterThan(figures.p99);
    expect(figures.falseEjections).toBe(0);
  },
);

it.each(['ejectUnhealthy', 'no slow start', 'least_request, ejecting'])(
  'makes simulated clients return to an endpoint at different times under "%s"',
  SLOW,
  (name) => {
    const { figures } = simulate('endpoint-fails', BUSY, name);
    const [first, last] = figures.returned!;
    // The ejection lasts 30 s ± 10%, so the clients return within a period of up to 6 s.
    expect(last - first).toBeGreaterThan(3);
    expect(figures.peak).toBeLessThanOrEqual(1.5);
    expect(figures.failedAfter).toBeLessThanOrEqual(0.001);
  },
);

it('ejects at most half of the simulated endpoints if more than half of them fail', SLOW, () => {
  const { figures } = simulate('endpoints-fail', BUSY);
  expect(figures.minInUse).toBe(5);
  expect(figures.falseEjections).toBe(0);
});

it(
  'ejects a flapping simulated endpoint for longer each time, and reduces its ejection count by one after each minute in use',
  SLOW,
  () => {
    const { meter } = simulate('endpoint-flaps', { clients: 4, callsPerSecond: 100, endpoints: 5 });
    const seconds = meter.ejections.map(
      ({ forMs, number }: { forMs: number; number: number }) => forMs / 1_000 / number,
    );
    for (const perNumber of seconds) {
      expect(perNumber).toBeGreaterThanOrEqual(27);
      expect(perNumber).toBeLessThanOrEqual(33);
    }
    const flapping = meter.ejections.filter(({ at }: { at: number }) => at < 700_000);
    const later = meter.ejections.filter(({ at }: { at: number }) => at > 900_000);
    const highest = (all: typeof flapping) => Math.max(...all.map(({ number }: { number: number }) => number));
    expect(highest(flapping)).toBeGreaterThanOrEqual(5);
    expect(highest(flapping)).toBeLessThanOrEqual(10);
    expect(later).not.toEqual([]);
    expect(highest(later)).toBeLessThanOrEqual(highest(flapping) - 2);
  },
);

it.each([
  ['round_robin', 0.8, 1.3],
  ['least_request', 0.7, 1.3],
  // With slow start, the share grows from a tenth to the full share within 10 s.
  ['ejectUnhealthy', 0.1, 0.4],
])(
  'sends a new simulated endpoint its share of the calls within 2 s, or a part of it with slow start, and causes no load spike (%s)',
  SLOW,
  (name, min, max) => {
    const { figures } = simulate('endpoint-appears', BUSY, name);
    expect(figures.shareAfter).toBeGreaterThanOrEqual(min);
    expect(figures.shareAfter).toBeLessThanOrEqual(max);
    expect(figures.peak).toBeGreaterThanOrEqual(0.9);
    expect(figures.peak).toBeLessThanOrEqual(1.5);
    expect(figures.failedAfter).toBe(0);
  },
);

it.each([1, 10, 100, 1_000])(
  'ejects no healthy simulated endpoint at %i calls per second per client',
  SLOW,
  (callsPerSecond) => {
    const fleet = { clients: callsPerSecond === 1 ? 100 : 2, callsPerSecond, endpoints: 10 };
    const { figures } = simulate('endpoints-healthy', fleet, EJECTING, callsPerSecond === 1_000 ? 65 : 300);
    expect(figures.falseEjections).toBe(0);
  },
);

it(
  'does not eject a failing simulated endpoint that each client calls 0.02 times per second, and fails no call after retries',
  SLOW,
  () => {
    const { figures } = simulate('endpoint-fails', { clients: 200, callsPerSecond: 1, endpoints: 50 });
    expect(figures.ejected).toBe(0);
    expect([figures.failedAtOnce, figures.failed]).toEqual([0, 0]);
  },
);
