import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import { ChaosError } from './chaos-error.js';
import type { ChaosFault } from './chaos-fault.js';
import { planChaos } from './plan-chaos.js';
import type { ChaosPlan, ChaosPlanOptions, ChaosStep } from './plan-chaos.js';

// Longer than the start timeout of ChildServer, whose own error is more specific.
const DEFAULT_GRACE_MS = 20_000;

/** Options common to all chaos runs. */
export interface ChaosSettings {
  readonly faults: readonly ChaosFault[];
  /** Ends the run immediately when aborted, and heals the active fault. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Maximum time, in milliseconds, for each `begin`, for each `end`, and for `run` to end after its signal was aborted. When it is
   * exceeded, chaos fails with an error that names the operation. @defaultValue 20 000
   */
  readonly graceMs?: number | undefined;
  /** Clock for fault times and `graceMs`. @defaultValue the system clock */
  readonly clock?: Clock | undefined;
}

/** Options of a chaos run that draws its plan from a seed. */
export interface SeededChaosOptions extends ChaosSettings, Omit<ChaosPlanOptions, 'seed' | 'faults'> {
  /** Seed of the plan. @defaultValue a random seed, which the error message contains */
  readonly seed?: number | undefined;
  readonly plan?: undefined;
}

/** Options of a chaos run that plays a given plan, either a recorded or a custom one. */
export interface PlannedChaosOptions extends ChaosSettings {
  readonly plan: ChaosPlan;
}

/** Options of a chaos run, with a plan to draw or to play. */
export type ChaosOptions = SeededChaosOptions | PlannedChaosOptions;

/** The argument of the function that runs under chaos. */
export interface ChaosRun {
  readonly plan: ChaosPlan;
  /** Aborted when the plan, including its quiet time, is over, or when chaos ends early. */
  readonly signal: AbortSignal;
}

/**
 * Runs `run` while injecting faults according to a plan. Resolves to the result of `run` when it has ended; the rest of the plan is then
 * skipped. A load should run until `signal` is aborted: `while (!signal.aborted)`. When the returned promise settles, every fault is
 * healed, except one that the error names. A fault may take longer than planned, for example to start a server. Later faults are then
 * delayed, so that their distances never shrink.
 * @throws ChaosError with the seed and the faults so far, if `run` fails, if a fault fails to start, fails to heal, or hangs, or if the
 * `signal` of the options is aborted
 * @throws RangeError if no plan can be drawn, or if the plan names an unknown fault
 */
export async function chaos<T>(options: ChaosOptions, run: (chaos: ChaosRun) => Promise<T>): Promise<T> {
  const { faults, clock = systemClock, signal: aborted, graceMs = DEFAULT_GRACE_MS } = options;
  if (!(graceMs > 0)) throw new RangeError(`chaos: expected graceMs to be greater than 0, got ${graceMs}`);
  const plan = options.plan ?? planChaos({ ...options, seed: options.seed ?? Math.floor(systemRandom() * 2 ** 32) });
  if (aborted?.aborted === true) throw new ChaosError(plan, [], [aborted.reason]);
  const end = new AbortController();
  const over = new AbortController();

  const { played, finished } = playChaos(plan, { faults, clock, ended: end.signal, aborted, graceMs });
  const running = (async () => run({ plan, signal: over.signal }))();
  const whole = finished.then(() => {
    over.abort();
    const what = 'run did not end after its signal was aborted';
    return within(running, { clock, ms: graceMs, what, signal: end.signal });
  });
  const abortion = abortOf(aborted);
  const ended = await outcomeOf(Promise.race([running, whole, abortion.promise]));
  abortion.forget();
  end.abort();
  over.abort();
  const healed = await outcomeOf(finished);
  const causes = [ended, healed].flatMap((outcome) => ('error' in outcome ? [outcome.error] : []));
  if (causes.length > 0 || 'error' in ended) throw new ChaosError(plan, played, causes);
  return ended.value;
}

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

function outcomeOf<T>(promise: Promise<T>): Promise<Outcome<T>> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

/** Returns a promise that rejects with the signal's reason on abort. `forget` removes the listener. */
function abortOf(signal: AbortSignal | undefined): { readonly promise: Promise<never>; forget(): void } {
  let abort: () => void = () => undefined;
  const promise = new Promise<never>((_, reject) => {
    abort = () => {
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', abort, { once: true });
  });
  return {
    promise,
    forget: () => {
      signal?.removeEventListener('abort', abort);
    },
  };
}

/** A plan that is being played. */
interface PlayedChaos {
  /** The steps that have started so far. */
  readonly played: readonly ChaosStep[];
  /** Resolves when all faults are healed and the quiet time is over, or when ended early. Rejects if a fault failed or hung. */
  readonly finished: Promise<void>;
}

/** The dependencies of `playChaos`. */
interface Playback {
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
function playChaos(plan: ChaosPlan, { faults, clock, ended, aborted, graceMs }: Playback): PlayedChaos {
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

/** The time limit of an operation and its error message. */
interface Bound {
  readonly clock: Clock;
  readonly ms: number;
  /** Start of the error message, such as "fault 'kill' did not start". */
  readonly what: string;
  /** Also ends the wait when aborted; `within` then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Resolves to the result of `work`. Rejects if that takes longer than `ms`. */
async function within<T>(work: T | PromiseLike<T>, { clock, ms, what, signal }: Bound): Promise<T> {
  let release: () => void = () => undefined;
  const bound = new Promise<never>((_, reject) => {
    const abort = () => reject(signal?.reason as Error);
    const timer = clock.setTimer(() => reject(new Error(`${what} within ${ms} ms`)), ms, true);
    release = () => {
      timer.clear();
      signal?.removeEventListener('abort', abort);
    };
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, bound]);
  } finally {
    release();
  }
}
