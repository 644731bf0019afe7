import type { Clock } from '../../time/clock.js';
import type { ChaosFault } from './chaos-fault.js';
import type { ChaosPlan, ChaosStep } from './plan-chaos.js';
import { within } from './within.js';

/** A plan that is being played. */
export interface PlayedChaos {
  /** The steps that were begun, so far. */
  readonly played: readonly ChaosStep[];
  /** Resolves when the last is healed and its quiet time over, or it was ended; rejects when a fault did, or hung. */
  readonly finished: Promise<void>;
}

/** What a plan is played by. */
export interface Stage {
  readonly faults: readonly ChaosFault[];
  readonly clock: Clock;
  /** Ends it, behind a `begin` that is under way. */
  readonly ended: AbortSignal;
  /** Ends it at once: no `begin` is waited for. */
  readonly aborted: AbortSignal | undefined;
  /** Bound of each `begin` and of each `end`. */
  readonly graceMs: number;
}

/** @throws RangeError when the plan names a fault that is not there */
export function playChaos(plan: ChaosPlan, { faults, clock, ended, aborted, graceMs }: Stage): PlayedChaos {
  const steps = plan.steps.map((step) => ({ step, fault: faultOf(step, faults) }));
  const played: ChaosStep[] = [];
  const bound = { clock, ms: graceMs };
  const play = async () => {
    let endedAt = 0;
    for (const { step, fault } of steps) {
      // By what lies between, not by the clock: a fault that took long leaves the next its distance.
      if (!(await pause(step.atMs - endedAt, clock, ended))) return;
      played.push(step);
      try {
        await within(fault.begin(), { ...bound, what: `fault '${fault.name}' did not begin`, signal: aborted });
        await pause(step.forMs, clock, ended);
      } finally {
        await within(fault.end?.(), { ...bound, what: `fault '${fault.name}' was not healed` });
      }
      endedAt = step.atMs + step.forMs;
    }
    await pause(plan.durationMs - endedAt, clock, ended);
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
