import type { Clock } from '../../time/clock.js';
import type { ChaosFault } from './chaos-fault.js';
import type { ChaosPlan, ChaosStep } from './plan-chaos.js';

/** A plan that is being played. */
export interface PlayedChaos {
  /** The steps that were begun, so far. */
  readonly played: readonly ChaosStep[];
  /** Resolves when the last is healed and its quiet time over, or `signal` was aborted; rejects when a fault did. */
  readonly finished: Promise<void>;
}

/** @throws RangeError when the plan names a fault that is not there */
export function playChaos(
  plan: ChaosPlan,
  faults: readonly ChaosFault[],
  clock: Clock,
  signal: AbortSignal,
): PlayedChaos {
  const steps = plan.steps.map((step) => ({ step, fault: faultOf(step, faults) }));
  const played: ChaosStep[] = [];
  const play = async () => {
    let endedAt = 0;
    for (const { step, fault } of steps) {
      // By what lies between, not by the clock: a fault that took long leaves the next its distance.
      if (!(await pause(step.atMs - endedAt, clock, signal))) return;
      played.push(step);
      try {
        await fault.begin();
        await pause(step.forMs, clock, signal);
      } finally {
        await fault.end?.();
      }
      endedAt = step.atMs + step.forMs;
    }
    await pause(plan.durationMs - endedAt, clock, signal);
  };
  return { played, finished: play() };
}

function faultOf({ fault: name }: ChaosStep, faults: readonly ChaosFault[]): ChaosFault {
  const fault = faults.find((one) => one.name === name);
  if (fault === undefined) throw new RangeError(`chaos: expected the plan's fault '${name}' among the faults`);
  return fault;
}

/** Resolves to true after `ms`, to false when it was aborted before. */
function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(false);
      return;
    }
    const abort = () => {
      clock.clearTimer(timer);
      resolve(false);
    };
    const timer = clock.setTimer(
      () => {
        signal.removeEventListener('abort', abort);
        resolve(true);
      },
      ms,
      true,
    );
    signal.addEventListener('abort', abort, { once: true });
  });
}
