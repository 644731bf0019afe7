import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import {
  simulateHedging,
  type HedgedLoad,
  type HedgedOutcome,
} from '../../../../../test/unit-support/hedging-simulation.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { Random } from '../../time/random.js';
import { HedgeBudget } from './decide-hedge.js';
import { MeasuredDelay } from './measured-delay.js';

const POLICY = { maxAttempts: 2, hedgingDelayMs: Infinity, nonFatalStatusCodes: new Set([14 as const]) };

/** Returns a latency in milliseconds. */
type Shape = (random: Random) => number;

function drawNormal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const SHAPES: readonly (readonly [name: string, shape: Shape])[] = [
  ['log-normal latencies', (random) => 40 * Math.exp(0.5 * drawNormal(random))],
  ['exponential latencies', (random) => 5 - 40 * Math.log(1 - random())],
  ['2% of the latencies at 20 times the median', (random) => (random() < 0.02 ? 1_000 : 45 + 10 * random())],
  ['Pareto latencies', (random) => 20 * (1 - random()) ** -0.5],
];

/** Returns the factor that multiplies all latencies at `ms` milliseconds after the start. */
type Drift = (ms: number) => number;

const SECONDS = 120;
const NO_DRIFT: Drift = () => 1;
const TRIPLES: Drift = (ms) => Math.min(1 + ms / 30_000, 3);
const FALLS_TO_A_THIRD: Drift = (ms) => Math.max(3 - ms / 30_000, 1);

function run(delay: MeasuredDelay | number, shape: Shape, drift: Drift): HedgedOutcome {
  const clock = new VirtualClock();
  const random = seededRandom(11);
  const serve: HedgedLoad['serve'] = (done) => clock.setTimer(done, shape(random) * drift(clock.now()));
  const load = { callsPerSecond: 100, seconds: SECONDS, cancelAfterMs: 3_000, hedges: new HedgeBudget(), serve };
  return typeof delay === 'number'
    ? simulateHedging(clock, { ...load, policy: { ...POLICY, hedgingDelayMs: delay } })
    : simulateHedging(clock, { ...load, policy: POLICY, delay });
}

/** Tries 11 fixed delays, from the 84th to the 99th percentile of all latencies, and returns the lowest p99. */
function findBestP99Ms(shape: Shape, drift: Drift): number {
  const random = seededRandom(5);
  const latencies = Array.from({ length: 20_000 }, (_, i) => shape(random) * drift((i / 20) * SECONDS));
  latencies.sort((a, b) => a - b);
  const delays = Array.from({ length: 11 }, (_, i) => latencies[Math.floor((0.84 + 0.015 * i) * latencies.length)]!);
  return Math.min(...delays.map((ms) => run(ms, shape, drift).p99Ms));
}

describe('MeasuredDelay simulation', { timeout: 300_000 }, () => {
  describe.each(SHAPES)('with %s', (_, shape) => {
    it.each<[string, Drift, number]>([
      ['latencies are stable', NO_DRIFT, 1.1],
      ['latencies triple within a minute', TRIPLES, 1.1],
      // This factor is greater than the others, because the best fixed delay is chosen in hindsight and suits the slow beginning.
      ['latencies fall to a third within a minute', FALLS_TO_A_THIRD, 1.2],
    ])(
      'keeps the p99 of hedged calls close to that of the best fixed delay, and makes at most 1.05 attempts per call, if %s',
      (__, drift, factor) => {
        const measured = run(new MeasuredDelay('p95'), shape, drift);
        expect(measured.attemptsPerCall).toBeLessThanOrEqual(1.05);
        expect(measured.p99Ms / findBestP99Ms(shape, drift)).toBeLessThan(factor);
      },
    );
  });
});
