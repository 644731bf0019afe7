import type { Clock } from '../../time/clock.js';
import type { ChaosFault } from './chaos-fault.js';
import type { ChaosPlan, ChaosStep } from './plan-chaos.js';
import { within } from './within.js';

/** A plan that is being played. */
export interface PlayedChaos {
  /** The steps that have started so far. */
  readonly played: readonly ChaosStep[];
  /** Resolves when all faults are healed and the quiet time is over, or when ended early. Rejects if a fault failed or hung. */
  readonly finished: Promise<void>;
}

/** The dependencies of `playChaos`. */
export interface Stage {
  readonly faults: readonly ChaosFault[];
  readonly clock: Clock;
  /** Ends the playback when aborted, after a running `begin`. */
  readonly ended: AbortSignal;
  /** Ends the playback immediately when aborted, without waiting for a running `begin`. */
  readonly aborted: AbortSignal | undefined;
  /** Time limit of each `begin` and each `end`, in milliseconds. */
  readonly graceMs: number;
}

/** @throws RangeError if the plan names an unknown fault */
export function playChaos(plan: ChaosPlan, { faults, clock, ended, aborted, graceMs }: Stage): PlayedChaos {
  const steps = plan.steps.map((step) => ({ step, fault: faultOf(step, faults) }));
  const played: ChaosStep[] = [];
  const bound = { clock, ms: graceMs };
  const play = async () => {
    let endedAt = 0;
    for (const { step, fault } of steps) {
      // Waits for the planned distance instead of an absolute time, so that a slow fault does not shorten the distance to the next.
      if (!(await pause(step.atMs - endedAt, clock, ended))) return;
      played.push(step);
      try {
        await within(fault.begin(), { ...bound, what: `fault '${fault.name}' did not start`, signal: aborted });
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
  if (fault === undefined)
    throw new RangeError(`chaos: expected a fault named '${name}' in faults, because the plan contains it`);
  return fault;
}

/** Resolves to true after `ms`, or to false on abort. */
function pause(ms: number, clock: Clock, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(false);
      return;
    }
    const abort = () => {
      timer.clear();
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
