import { SUCCESS } from '../../libs/resilient-grpc/src/policy/evidence/classify.js';
import {
  decideHedge,
  type HedgeEvent,
  type HedgeGates,
  UNSENT,
  type HedgeState,
} from '../../libs/resilient-grpc/src/policy/hedging/decide-hedge.js';
import type { HedgeBudget } from '../../libs/resilient-grpc/src/policy/hedging/decide-hedge.js';
import type { HedgingPolicy } from '../../libs/resilient-grpc/src/policy/retry/retry-policy.js';
import type { MeasuredDelay } from '../../libs/resilient-grpc/src/policy/hedging/measured-delay.js';
import { NO_PUSHBACK } from '../../libs/resilient-grpc/src/policy/pushback/parse-pushback.js';
import { A6Throttle } from '../../libs/resilient-grpc/src/policy/throttling/default-budget.js';
import type { Timer } from '../../libs/resilient-grpc/src/time/clock.js';
import { seededRandom } from './seeded-random.mjs';
import type { VirtualClock } from './virtual-clock.js';

/** Hedged calls of one client. */
export interface HedgedLoad {
  readonly policy: HedgingPolicy;
  /** Measures the latency of first attempts; its delay replaces that of `policy`. */
  readonly delay?: MeasuredDelay | undefined;
  readonly callsPerSecond: number;
  readonly seconds: number;
  /** Time after which callers cancel. */
  readonly cancelAfterMs: number;
  readonly hedges: Pick<HedgeBudget, 'allows' | 'onHedge' | 'onCall'>;
  /** Serves one attempt and calls `done` when it ends. The server does not detect cancelled calls. */
  readonly serve: (done: () => void) => void;
}

/** Result of a simulation. */
export interface HedgedOutcome {
  readonly attemptsPerCall: number;
  readonly p99Ms: number;
  /** Share of calls answered in time, by the second in which they started. */
  readonly answered: readonly number[];
}

/** Runs calls against `serve` until all have ended. */
export function simulateHedging(clock: VirtualClock, load: HedgedLoad): HedgedOutcome {
  const { callsPerSecond, seconds, cancelAfterMs, hedges, serve, delay } = load;
  // The throttle keeps all its tokens, because no attempt fails.
  const retries = new A6Throttle({ maxTokens: 10, tokenRatio: 0.1 });
  const random = seededRandom(7);
  const latencies: number[] = [];
  const begun = new Array<number>(seconds).fill(0);
  const answered = new Array<number>(seconds).fill(0);
  let calls = 0;
  let attempts = 0;

  const measure = (startedAt: number, isAnswered: boolean): void => {
    const now = clock.now();
    if (isAnswered) delay?.answered(now - startedAt, now);
    else delay?.unanswered(now - startedAt, now);
  };

  const call = (second: number): void => {
    calls++;
    count(begun, second);
    hedges.onCall();
    const startedAt = clock.now();
    let state: HedgeState = UNSENT;
    let timer: Timer | undefined;
    let isOver = false;
    const apply = (event: HedgeEvent, isFirst = false): void => {
      if (isOver) return;
      const policy = delay === undefined ? load.policy : { ...load.policy, hedgingDelayMs: delay.currentMs };
      const gates: HedgeGates = { policy, retries, hedges, remainingMs: Infinity, draining: false };
      const decision = decideHedge(state, event, gates);
      ({ state } = decision);
      timer?.clear();
      if (decision.action === 'win') {
        isOver = true;
        measure(startedAt, isFirst);
        retries.onSuccess();
        latencies.push(clock.now() - startedAt);
        count(answered, second);
        return;
      }
      if (decision.action === 'send') {
        attempts++;
        const isFirstAttempt = state.sent === 1;
        serve(() => {
          const facts = { verdict: SUCCESS, pushback: NO_PUSHBACK, lostWith: undefined, delivered: false };
          apply({ type: 'ended', at: clock.now(), ...facts }, isFirstAttempt);
        });
      }
      if (state.dueAt < Infinity) {
        timer = clock.setTimer(() => apply({ type: 'due', at: clock.now() }), state.dueAt - clock.now());
      }
    };
    clock.setTimer(() => {
      if (!isOver) {
        latencies.push(cancelAfterMs);
        measure(startedAt, false);
      }
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
    p99Ms: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    answered: answered.map((times, second) => times / (begun[second] ?? 1)),
  };
}

function count(counts: number[], index: number): void {
  counts[index] = (counts[index] ?? 0) + 1;
}
