import { once } from 'node:events';
import * as v from 'valibot';
import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { defineLibraryError } from '../../errors/library-error.js';
import { systemRandom } from '../../time/random.js';
import { requireOptions } from '../../policy/options/option-problems.js';
import { object } from '../../policy/options/option-schemas.js';
import { pause } from '../pause.js';
import type { ChaosFault } from './chaos-fault.js';
import { planChaos } from './plan-chaos.js';
import type { ChaosPlan, ChaosPlanOptions, ChaosStep } from './plan-chaos.js';
import type { VirtualClock } from '../virtual-clock.js';
import { errorMessage } from '../../errors/error-message.js';

// Longer than the startup timeout of ChildServer, so that ChildServer's own error, which is more specific, is reported first.
const DEFAULT_GRACE_MS = 20_000;

/** Options common to all chaos runs. */
export interface ChaosSettings {
  /** Faults that the plan may contain, with unique names. */
  readonly faults: readonly ChaosFault[];
  /** Ends the run early when aborted. `chaos` calls `end` of the active fault, and waits for the result, before it rejects. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Maximum time in milliseconds, above 0, for each `begin`, for each `end`, and for `run` to end after its signal was aborted. When it is
   * exceeded, chaos fails with an error that names the operation.
   * @defaultValue 20,000
   */
  readonly graceMs?: number | undefined;
  /** Clock for fault times and `graceMs`. @defaultValue the system clock */
  readonly clock?: VirtualClock | undefined;
}

/** Options of a chaos run that draws its plan from a seed. */
export interface SeededChaosOptions extends ChaosSettings, Omit<ChaosPlanOptions, 'seed' | 'faults'> {
  /** Seed of the plan. @defaultValue a random seed, which the error message contains */
  readonly seed?: number | undefined;
  readonly plan?: undefined;
}

/** Options of a chaos run that follows a given plan, either recorded or custom. */
export interface PlannedChaosOptions extends ChaosSettings {
  readonly plan: ChaosPlan;
}

/** Options of a chaos run that draws its plan or follows a given plan. */
export type ChaosOptions = SeededChaosOptions | PlannedChaosOptions;

/** The argument of the function that runs under chaos. */
export interface ChaosRun {
  readonly plan: ChaosPlan;
  /** Aborted when the plan, including its quiet time, is over, or when chaos ends early. */
  readonly signal: AbortSignal;
}

/**
 * The error of a failed chaos run. Contains the faults that had started, and the plan that reproduces them. The seed of the plan reproduces
 * them only if the plan was drawn from it.
 */
export class ChaosError extends Error {
  override readonly name = 'ChaosError';
  readonly plan: ChaosPlan;
  /** The steps that had started. */
  readonly played: readonly ChaosStep[];

  /**
   * @param causes the errors of the run: first the error that ended it, then the error of a fault that also failed or hung, if any
   * @param isDrawn true if the plan was drawn from its seed, so that the seed reproduces it
   */
  constructor(plan: ChaosPlan, played: readonly ChaosStep[], causes: readonly unknown[], isDrawn = true) {
    const why = [...new Set(causes.map((cause) => errorMessage(cause)))];
    const steps = played.map(
      ({ atMs, fault, forMs }) => `\n  at ${atMs} ms: ${fault}${forMs > 0 ? ` for ${forMs} ms` : ''}`,
    );
    const until =
      steps.length === 0 ? 'before its first fault' : `after ${steps.length} of ${plan.steps.length} faults:`;
    const replay = isDrawn ? `seed ${plan.seed}` : 'the same plan';
    super(`chaos failed (replay with ${replay}): ${why.join('; ')}\n${until}${steps.join('')}`, {
      cause: causes[0],
    });
    this.plan = plan;
    this.played = played;
  }
}

defineLibraryError(ChaosError, 'ChaosError');

// Checks only the names of the options. Their values are checked when they are used.
const optionsSchema = object(
  {
    faults: v.unknown(),
    signal: v.optional(v.unknown()),
    graceMs: v.optional(v.unknown()),
    clock: v.optional(v.unknown()),
    plan: v.optional(v.unknown()),
    seed: v.optional(v.unknown()),
    durationMs: v.optional(v.unknown()),
    distanceMs: v.optional(v.unknown()),
    quietMs: v.optional(v.unknown()),
  } as const satisfies Record<keyof SeededChaosOptions, unknown>,
  'options such as { durationMs: 10_000, faults: networkFaults(proxy) }',
);

function drawnPlan({ seed, durationMs, faults, distanceMs, quietMs }: SeededChaosOptions): ChaosPlan {
  const drawn = seed ?? Math.floor(systemRandom() * 2 ** 32);
  return planChaos({ seed: drawn, durationMs, faults, distanceMs, quietMs });
}

/**
 * Runs `run` while injecting faults according to a plan. Resolves to the result of `run` when it has ended; the rest of the plan is then
 * skipped. A load should run until `signal` is aborted: `while (!signal.aborted)`. When the returned promise settles, every fault is
 * healed, except a fault that hung, a fault whose `end` failed, and a fault whose `begin` was still running when the `signal` of the
 * options was aborted. A fault may take longer than planned, for example to start a server. Later faults are then delayed, so that the
 * interval between faults never shrinks.
 * @throws ChaosError if `run` fails or does not end in time, if `begin` or `end` of a fault fails or hangs, or if the `signal` of the
 *   options is aborted. The message contains the faults that had started and, if the plan was drawn, its seed.
 * @throws GrpcConfigurationError if an option is unknown
 * @throws RangeError if `graceMs` is not above 0, if no plan can be drawn, or if the plan names an unknown fault
 */
export async function chaos<T>(options: ChaosOptions, run: (chaos: ChaosRun) => Promise<T>): Promise<T> {
  requireOptions(optionsSchema, options, 'chaos');
  const { faults, clock = systemClock, signal: aborted, graceMs = DEFAULT_GRACE_MS } = options;
  if (!(graceMs > 0)) throw new RangeError(`chaos: expected graceMs to be greater than 0, got ${graceMs}`);
  const { plan: given } = options;
  const plan = given ?? drawnPlan(options);
  const isDrawn = plan !== given;
  if (aborted?.aborted === true) throw new ChaosError(plan, [], [aborted.reason], isDrawn);
  const end = new AbortController();
  const over = new AbortController();

  const steps = plan.steps.map((step) => ({ step, fault: faultOf(step, faults) }));
  const played: ChaosStep[] = [];
  const injection = { steps, durationMs: plan.durationMs, clock, ended: end.signal, aborted, graceMs };
  const finished = injectFaults(injection, played);
  const running = (async () => run({ plan, signal: over.signal }))();
  const fullPlan = finished.then(() => {
    over.abort();
    const errorText = `run did not end within ${graceMs} ms after its signal was aborted`;
    return within(running, { clock, ms: graceMs, errorText, signal: end.signal });
  });
  const aborts = aborted === undefined ? [] : [abortOf(aborted, end.signal)];
  const [ended] = await Promise.allSettled([Promise.race([running, fullPlan, ...aborts])]);
  end.abort();
  over.abort();
  const [healed] = await Promise.allSettled([finished]);
  const causes = [ended, healed].flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  if (causes.length > 0 || ended.status === 'rejected') throw new ChaosError(plan, played, causes, isDrawn);
  return ended.value;
}

/** Rejects with the reason of `signal` when `signal` is aborted, or with an AbortError when `over` is aborted first. */
async function abortOf(signal: AbortSignal, over: AbortSignal): Promise<never> {
  await once(signal, 'abort', { signal: over });
  throw signal.reason as Error;
}

/** The dependencies of `injectFaults`. */
interface Injection {
  readonly steps: readonly { readonly step: ChaosStep; readonly fault: ChaosFault }[];
  readonly durationMs: number;
  readonly clock: Clock;
  /** Ends the injection when aborted, but only after a running `begin` has settled. */
  readonly ended: AbortSignal;
  /** Ends the wait for a running `begin` when aborted; `end` of the fault is then called, and the injection ends. */
  readonly aborted: AbortSignal | undefined;
  /** Time limit of each `begin` and each `end`, in milliseconds. */
  readonly graceMs: number;
}

/**
 * Injects the faults of `steps` and adds each step to `played` when it starts. Resolves when all faults are healed and the quiet time is
 * over, or when chaos ends early. Rejects if a fault failed or hung, or if chaos is aborted during a `begin`.
 */
async function injectFaults(injection: Injection, played: ChaosStep[]): Promise<void> {
  const { steps, durationMs, clock, ended, aborted, graceMs } = injection;
  const limit = { clock, ms: graceMs };
  let endedAt = 0;
  for (const { step, fault } of steps) {
    // Waits for the planned interval, not until an absolute time, so that a slow fault does not shorten the interval before the next one.
    if (!(await pause(step.atMs - endedAt, clock, ended))) return;
    played.push(step);
    try {
      await within(fault.begin(), {
        ...limit,
        errorText: `fault '${fault.name}' did not start within ${graceMs} ms`,
        signal: aborted,
      });
      await pause(step.forMs, clock, ended);
    } finally {
      await within(fault.end?.(), { ...limit, errorText: `fault '${fault.name}' was not healed within ${graceMs} ms` });
    }
    endedAt = step.atMs + step.forMs;
  }
  await pause(durationMs - endedAt, clock, ended);
}

/** @throws RangeError if the plan names an unknown fault */
function faultOf({ fault: name }: ChaosStep, faults: readonly ChaosFault[]): ChaosFault {
  const fault = faults.find((one) => one.name === name);
  if (fault === undefined)
    throw new RangeError(
      `chaos: expected a fault named '${name}' in faults, because the plan contains it; add the fault, or remove its steps from the plan`,
    );
  return fault;
}

/** The time limit of an operation. */
interface TimeLimit {
  readonly clock: Clock;
  readonly ms: number;
  /** Message of the error if the operation exceeds the limit. */
  readonly errorText: string;
  /** Signal that also ends the wait. `within` then rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Resolves to the result of `work`. Rejects if `work` rejects or takes longer than `ms`. */
async function within<T>(work: T | PromiseLike<T>, { clock, ms, errorText, signal }: TimeLimit): Promise<T> {
  const done = new AbortController();
  const ends = signal === undefined ? [done.signal] : [done.signal, signal];
  const timeout = async (): Promise<never> => {
    await pause(ms, clock, AbortSignal.any(ends));
    signal?.throwIfAborted();
    throw new Error(errorText);
  };
  try {
    return await Promise.race([work, timeout()]);
  } finally {
    done.abort();
  }
}
