import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import {
  simulateHedging,
  type HedgedLoad,
  type HedgedOutcome,
} from '../../../../../test/unit-support/hedging-simulation.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { HedgeBudget } from './decide-hedge.js';

const MEDIAN_MS = 50;
const POLICY = { maxAttempts: 2, hedgingDelayMs: 1.5 * MEDIAN_MS, nonFatalStatusCodes: new Set([14 as const]) };

/** Returns a server that takes twenty times the median for 1.5% of its responses. */
function withTail(clock: VirtualClock): HedgedLoad['serve'] {
  const random = seededRandom(11);
  return (done) => {
    const usual = MEDIAN_MS * (0.9 + 0.2 * random());
    clock.setTimer(done, random() < 0.015 ? 20 * MEDIAN_MS : usual);
  };
}

/** Returns a server with `workers` workers. Attempts wait in a queue for a free worker. */
function withWorkers(clock: VirtualClock, workers: number, serviceMs: () => number): HedgedLoad['serve'] {
  const queue: (() => void)[] = [];
  let busy = 0;
  const next = (): void => {
    const done = busy < workers ? queue.shift() : undefined;
    if (done === undefined) return;
    busy++;
    clock.setTimer(() => {
      busy--;
      done();
      next();
    }, serviceMs());
  };
  return (done) => {
    queue.push(done);
    next();
  };
}

const noHedges = { allows: false, onHedge: () => {}, onCall: () => {} };
const unlimitedHedges = { allows: true, onHedge: () => {}, onCall: () => {} };

describe('hedging simulation', { timeout: 300_000 }, () => {
  describe.each([1, 20, 200])('at %i calls/s if 15 of 1,000 responses take 20 times the median', (callsPerSecond) => {
    const load = {
      policy: POLICY,
      callsPerSecond,
      seconds: Math.max(6_000 / callsPerSecond, 60),
      cancelAfterMs: 5_000,
    };
    const run = (hedges: HedgedLoad['hedges']): HedgedOutcome => {
      const clock = new VirtualClock();
      return simulateHedging(clock, { ...load, hedges, serve: withTail(clock) });
    };

    it('keeps the p99 of hedged calls below 3 times the median with at most 1.05 attempts per call if 1.5% of responses are slow', () => {
      expect(run(noHedges).p99Ms).toBe(20 * MEDIAN_MS);
      const hedged = run(new HedgeBudget());
      expect(hedged.p99Ms).toBeLessThan(3 * MEDIAN_MS);
      expect(hedged.attemptsPerCall).toBeLessThanOrEqual(1.05);
    });
  });

  describe('with a server that is loaded to 75% and slows down by a factor of 1.4 for ten seconds', () => {
    const run = (hedges: HedgedLoad['hedges']): HedgedOutcome => {
      const clock = new VirtualClock();
      const isSlow = (): boolean => clock.now() >= 10_000 && clock.now() < 20_000;
      const serve = withWorkers(clock, 10, () => MEDIAN_MS * (isSlow() ? 1.4 : 1));
      return simulateHedging(clock, {
        policy: POLICY,
        callsPerSecond: 150,
        seconds: 60,
        cancelAfterMs: 1_000,
        hedges,
        serve,
      });
    };

    it('limits hedges to the hedge budget, so that all calls succeed again within 5 s after a slowdown', () => {
      const { answered, attemptsPerCall } = run(new HedgeBudget());
      expect(attemptsPerCall).toBeLessThanOrEqual(1.051);
      expect(Math.min(...answered.slice(25))).toBe(1);
    });

    it('keeps the server overloaded and fails more than 40% of the calls after a slowdown if there is no hedge budget', () => {
      const { answered } = run(unlimitedHedges);
      expect(Math.max(...answered.slice(30))).toBeLessThan(0.6);
    });
  });
});
