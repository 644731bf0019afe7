import { expect, it } from 'vitest';
import { overload } from '../../bench/sections/overload.mjs';
import { POLICIES } from '../../bench/simulation/policies.mjs';
import type { ServerKind } from '../../bench/simulation/server.mjs';
import { DEFAULT_WORLD, simulate } from '../../bench/simulation/simulate.mjs';
import { recordTiming } from '../support/timing.js';

const HANDLER_MS = 5;
const DEADLINE_MS = 1_000;
const SECONDS = 4;
/** Cost of a refused call relative to a handler of 5 ms. A refusal takes about 0.05 ms. */
const SHED_COST = 0.01;

/** Goodput of a simulated server at a load of `factor` times its capacity, as a share of the capacity. */
function simulateGoodput(serverKind: ServerKind, factor: number): number {
  const policy = POLICIES.find(({ name }) => name === 'no-retry')!;
  const load = { clients: 10, callsPerSecond: (factor * 1_000) / HANDLER_MS / 10, capacity: 1 / factor };
  const world = { ...DEFAULT_WORLD, ...load, serverKind, patienceMs: DEADLINE_MS, shedCost: SHED_COST, latencyMs: 0.5 };
  return simulate(world, policy, [], 60).figures.goodput * factor;
}

it.each([3, 10])(
  'simulates a goodput near the capacity for a protected server at a load of %s times its capacity, and almost none for an unprotected one',
  (factor) => {
    expect(simulateGoodput('gate', factor)).toBeGreaterThan(0.85);
    expect(simulateGoodput('plain', factor)).toBeLessThan(0.1);
  },
);

it.for([3, 10])(
  'simulates the goodput of a real server at a load of %s times its capacity',
  { tags: ['timed'], timeout: 120_000 },
  async (factor, { task }) => {
    const simulated = simulateGoodput('gate', factor);
    const work = `sync:${String(HANDLER_MS)}`;
    const figures = await overload({
      server: 'resilient-grpc',
      work,
      factor,
      seconds: SECONDS,
      deadlineMs: DEADLINE_MS,
    });
    const real = figures['goodput']!;
    console.log(`goodput in simulation ${simulated.toFixed(2)}, in reality ${real.toFixed(2)}`);
    // This holds on any machine, because the server ends each call, accepted or refused.
    expect(figures['unanswered']).toBe(0);
    recordTiming(task, 'goodput, deviation from the simulation', Math.abs(real / simulated - 1), { atMost: 0.15 });
  },
);
