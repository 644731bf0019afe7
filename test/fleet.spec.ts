import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { POLICIES, varied } from '../bench/simulation/policies.mjs';
import { SCENARIOS } from '../bench/simulation/scenarios.mjs';
import { DEFAULT_WORLD, simulate } from '../bench/simulation/simulate.mjs';

function jsonOf(...options: readonly string[]): string {
  const main = new URL('../bench/simulation/main.mjs', import.meta.url).pathname;
  return execFileSync(process.execPath, [main, 'outage', '--json', '--seconds', '60', ...options], {
    encoding: 'utf8',
  });
}

/** Test timeout that allows for a busy machine, because simulations are CPU-bound. */
const SLOW = { timeout: 300_000 };

it('keeps a simulated fleet within its bounds in a total outage, with the same figures for the same seed', SLOW, () => {
  const small = ['--clients', '20', '--rate', '50', '--seed', '1'];
  const text = jsonOf(...small);
  expect(jsonOf(...small)).toBe(text);
  const { policies, ...rest } = JSON.parse(text);
  expect(rest).toEqual({ scenario: 'outage', clients: 20, callsPerSecond: 50 });
  const figures = {
    amplification: expect.any(Number),
    peakLoadRatio: expect.any(Number),
    goodput: expect.any(Number),
    newCallsFailed: expect.any(Number),
    newCallsFailedConnected: expect.any(Number),
    lastWaitingSeconds: expect.any(Number),
  };
  expect(policies).toEqual([
    { name: 'resilient-grpc', recoverySeconds: expect.any(Number), ...figures },
    { name: 'retry-without-budget', recoverySeconds: null, ...figures },
    // Accepts any recovery time or `null`: with this policy, it is random whether the last client recovers before the next outage.
    { name: 'grpc-js', recoverySeconds: policies[2].recoverySeconds, ...figures },
    { name: 'no-retry', recoverySeconds: expect.any(Number), ...figures },
  ]);
  const [ours, unbounded] = policies;
  expect(ours.amplification).toBeLessThanOrEqual(1.1);
  expect(ours.peakLoadRatio).toBeLessThanOrEqual(1.6);
  expect(ours.lastWaitingSeconds).toBeGreaterThan(0);
  expect(ours.newCallsFailedConnected).toBeLessThanOrEqual(0.001);
  // This share includes calls of clients that are not connected yet.
  expect(ours.newCallsFailed).toBeLessThanOrEqual(0.05);
  expect(unbounded.amplification).toBeGreaterThan(3.5);
});

/** Fleets of different sizes. The clients of each fleet together make 10,000 calls per second. */
const FLEETS = [
  { clients: 200, callsPerSecond: 50 },
  { clients: 2_000, callsPerSecond: 5 },
  { clients: 10_000, callsPerSecond: 1 },
];

it.each(FLEETS)(
  'limits the load of a recovered server to 1.6 times the usual load with $clients simulated clients at $callsPerSecond calls/s each',
  SLOW,
  (fleet) => {
    const ours = POLICIES.find(({ name }) => name === 'resilient-grpc')!;
    const [outage] = SCENARIOS.outage!.faults(60);
    const { figures } = simulate({ ...DEFAULT_WORLD, ...fleet }, ours, [outage!], 18);
    expect(figures.peakLoadRatio).toBeLessThanOrEqual(1.6);
    expect(figures.newCallsFailedConnected).toBeLessThanOrEqual(0.001);
    expect(figures.recoverySeconds).not.toBeNull();
  },
);

it(
  'recovers a simulated fleet within 200 s if handshakes with the recovered server take longer than the connect timeout',
  SLOW,
  () => {
    const [outage] = SCENARIOS.outage!.faults(60);
    // A server that also serves calls needs about 80 s for the handshakes of all clients.
    const world = { ...DEFAULT_WORLD, clients: 1_000, callsPerSecond: 0.05 };
    const recoverySeconds = (name: string) => {
      const policy = POLICIES.find((one) => one.name === name)!;
      return simulate(world, policy, [outage!], 300).figures.recoverySeconds;
    };
    // This policy has no connect timeout.
    expect(recoverySeconds('no-retry')).toBeGreaterThan(80);
    expect(recoverySeconds('resilient-grpc')).toBeLessThanOrEqual(200);
  },
);

it(
  'sends every waiting call of a simulated fleet within 15 s after READY, with a peak of at most 1.6 times the usual load',
  SLOW,
  () => {
    const ours = POLICIES.find(({ name }) => name === 'resilient-grpc')!;
    const [outage] = SCENARIOS.outage!.faults(60);
    const world = { ...DEFAULT_WORLD, clients: 100, callsPerSecond: 50, patienceMs: 30_000 };
    const { figures } = simulate(world, ours, [outage!], 30);
    expect(figures.lastWaitingSeconds).toBeGreaterThan(3);
    expect(figures.lastWaitingSeconds).toBeLessThanOrEqual(15);
    expect(figures.peakLoadRatio).toBeLessThanOrEqual(1.6);
  },
);

it(
  'recovers a simulated fleet within 2 s after an overload if the server is protected, and fails more than 90% of the calls in the next 10 s otherwise',
  SLOW,
  () => {
    const ours = POLICIES.find(({ name }) => name === 'resilient-grpc')!;
    const [overload] = SCENARIOS.overload!.faults(60);
    const figures = (serverKind: 'plain' | 'gate') =>
      simulate({ ...DEFAULT_WORLD, clients: 20, callsPerSecond: 50, serverKind }, ours, [overload!], 30).figures;
    const plainServer = figures('plain');
    expect(plainServer.newCallsFailed).toBeGreaterThan(0.9);
    expect(plainServer.goodput).toBeLessThan(0.6);
    const protectedServer = figures('gate');
    expect(protectedServer.recoverySeconds).toBeLessThanOrEqual(2);
    expect(protectedServer.goodput).toBeGreaterThan(0.75);
    expect(protectedServer.amplification).toBe(1);
  },
);

it('retries more simulated calls with a larger retry budget', SLOW, () => {
  const [overload] = SCENARIOS.overload!.faults(60);
  const world = { ...DEFAULT_WORLD, clients: 20, callsPerSecond: 50 };
  const [few, many] = varied('budget.perSuccess', [0.05, 0.5]).map(
    (policy) => simulate(world, policy, [overload!], 20).figures.amplification,
  );
  expect(few).toBeGreaterThan(1.01);
  expect(many).toBeGreaterThan(1.1);
  expect(many).toBeGreaterThan(few!);
});
