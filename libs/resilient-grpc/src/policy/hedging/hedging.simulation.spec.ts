import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../testing/seeded-random.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import type { Timer } from '../../time/clock.js';
import { SUCCESS } from '../evidence/classify.js';
import { NO_PUSHBACK } from '../pushback/parse-pushback.js';
import { A6Throttle } from '../throttling/a6-throttle.js';
import { decideHedge, type HedgeEvent, type HedgeGates, UNSENT, type HedgeState } from './decide-hedge.js';
import { HedgeBudget } from './hedge-budget.js';

const MEDIAN_MS = 50;
const POLICY = { maxAttempts: 2, hedgingDelayMs: 1.5 * MEDIAN_MS, nonFatalStatusCodes: new Set([14 as const]) };

interface Load {
  readonly callsPerSecond: number;
  readonly seconds: number;
  /** Time after which callers cancel. */
  readonly cancelAfterMs: number;
  readonly hedges: Pick<HedgeBudget, 'allows' | 'onHedge' | 'onCall'>;
  /** Serves one attempt and calls `done` when it ends. The server does not detect cancelled calls. */
  readonly serve: (done: () => void) => void;
}

interface Outcome {
  readonly attemptsPerCall: number;
  readonly p99Ms: number;
  /** Share of calls answered in time, by the second in which they started. */
  readonly answered: readonly number[];
}

function simulate(clock: VirtualClock, { callsPerSecond, seconds, cancelAfterMs, hedges, serve }: Load): Outcome {
  // Stays full, because no attempt fails.
  const retries = new A6Throttle({ maxTokens: 10, tokenRatio: 0.1 });
  const random = seededRandom(7);
  const latencies: number[] = [];
  const begun = new Array<number>(seconds).fill(0);
  const answered = new Array<number>(seconds).fill(0);
  let calls = 0;
  let attempts = 0;

  const call = (second: number): void => {
    calls++;
    begun[second]! += 1;
    hedges.onCall();
    const startedAt = clock.now();
    let state: HedgeState = UNSENT;
    let timer: Timer | undefined;
    let isOver = false;
    const apply = (event: HedgeEvent): void => {
      if (isOver) return;
      const gates: HedgeGates = { policy: POLICY, retries, hedges, remainingMs: Infinity, draining: false };
      const decision = decideHedge(state, event, gates);
      ({ state } = decision);
      timer?.clear();
      if (decision.action === 'win') {
        isOver = true;
        retries.onSuccess();
        latencies.push(clock.now() - startedAt);
        answered[second]! += 1;
        return;
      }
      if (decision.action === 'send') {
        attempts++;
        serve(() => {
          apply({
            type: 'ended',
            at: clock.now(),
            verdict: SUCCESS,
            pushback: NO_PUSHBACK,
            lostWith: undefined,
            delivered: false,
          });
        });
      }
      if (state.dueAt < Infinity) {
        timer = clock.setTimer(() => apply({ type: 'due', at: clock.now() }), state.dueAt - clock.now());
      }
    };
    clock.setTimer(() => {
      if (!isOver) latencies.push(cancelAfterMs);
      isOver = true;
      timer?.clear();
    }, cancelAfterMs);
    apply({ type: 'due', at: clock.now() });
  };

  for (let second = 0; second < seconds; second++) {
    const times = Array.from({ length: callsPerSecond }, () => random() * 1_000).sort((a, b) => a - b);
    for (const at of times) clock.setTimer(() => call(second), at);
    clock.advance(1_000);
  }
  clock.advance(cancelAfterMs);
  latencies.sort((a, b) => a - b);
  return {
    attemptsPerCall: attempts / calls,
    p99Ms: latencies[Math.floor(latencies.length * 0.99)]!,
    answered: answered.map((count, second) => count / begun[second]!),
  };
}

/** Returns a server that takes twenty times the median for 1.5 % of its responses. */
function withTail(clock: VirtualClock): Load['serve'] {
  const random = seededRandom(11);
  return (done) => {
    const usual = MEDIAN_MS * (0.9 + 0.2 * random());
    clock.setTimer(done, random() < 0.015 ? 20 * MEDIAN_MS : usual);
  };
}

/** Returns a server with `workers` workers. Attempts wait in a queue for a free worker. */
function withWorkers(clock: VirtualClock, workers: number, serviceMs: () => number): Load['serve'] {
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
    const load = { callsPerSecond, seconds: Math.max(6_000 / callsPerSecond, 60), cancelAfterMs: 5_000 };
    const run = (hedges: Load['hedges']): Outcome => {
      const clock = new VirtualClock();
      return simulate(clock, { ...load, hedges, serve: withTail(clock) });
    };

    it('keeps p99 below 3 times the median with at most 1.05 attempts per call', () => {
      expect(run(noHedges).p99Ms).toBe(20 * MEDIAN_MS);
      const hedged = run(new HedgeBudget());
      expect(hedged.p99Ms).toBeLessThan(3 * MEDIAN_MS);
      expect(hedged.attemptsPerCall).toBeLessThanOrEqual(1.05);
    });
  });

  describe('with a server at 75 % load that is slower by a factor of 1.4 for ten seconds', () => {
    const run = (hedges: Load['hedges']): Outcome => {
      const clock = new VirtualClock();
      const isSlow = (): boolean => clock.now() >= 10_000 && clock.now() < 20_000;
      const serve = withWorkers(clock, 10, () => MEDIAN_MS * (isSlow() ? 1.4 : 1));
      return simulate(clock, { callsPerSecond: 150, seconds: 60, cancelAfterMs: 1_000, hedges, serve });
    };

    it('limits hedges to the hedge budget, so that all calls succeed again within 5 s', () => {
      const { answered, attemptsPerCall } = run(new HedgeBudget());
      expect(attemptsPerCall).toBeLessThanOrEqual(1.051);
      expect(Math.min(...answered.slice(25))).toBe(1);
    });

    it('never recovers without a hedge budget', () => {
      const { answered } = run(unlimitedHedges);
      expect(Math.max(...answered.slice(30))).toBeLessThan(0.6);
    });
  });
});
