import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import { ChaosError } from './chaos-error.js';
import type { ChaosFault } from './chaos-fault.js';
import { planChaos } from './plan-chaos.js';
import type { ChaosPlan, ChaosPlanOptions } from './plan-chaos.js';
import { playChaos } from './play-chaos.js';

/** Options of chaos, whatever it plays. */
export interface ChaosSettings {
  readonly faults: readonly ChaosFault[];
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /** @defaultValue the system's */
  readonly clock?: Clock | undefined;
}

/** A plan is drawn. */
export interface DrawnChaos extends ChaosSettings, Omit<ChaosPlanOptions, 'seed' | 'faults'> {
  /** @defaultValue one by chance, which is in the error */
  readonly seed?: number | undefined;
  readonly plan?: undefined;
}

/** A plan is played again, or one of your own. */
export interface PlannedChaos extends ChaosSettings {
  readonly plan: ChaosPlan;
}

export type ChaosOptions = DrawnChaos | PlannedChaos;

/** What is known to what runs under chaos. */
export interface ChaosRun {
  readonly plan: ChaosPlan;
  /** Aborted when the plan is over, its quiet time included, or chaos was ended. */
  readonly signal: AbortSignal;
}

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/**
 * Runs `run` while faults come and go by a plan, and resolves to its result when it has ended; what is left of the plan is not
 * played then. Load runs until `signal`: `while (!signal.aborted)`. When this settles every fault is healed. A fault may take
 * longer than planned, as the start of a server does: what follows then comes later, never closer.
 * @throws ChaosError with the seed and the faults so far, when `run` fails, when a fault cannot be brought about or healed, or
 * when the signal of the options is aborted
 * @throws RangeError when no plan can be drawn, or one names a fault that is not there
 */
export async function chaos<T>(options: ChaosOptions, run: (chaos: ChaosRun) => Promise<T>): Promise<T> {
  const { faults, clock = systemClock, signal: outer } = options;
  const plan = options.plan ?? planChaos({ ...options, seed: options.seed ?? Math.floor(systemRandom() * 2 ** 32) });
  const end = new AbortController();
  const signal = outer === undefined ? end.signal : AbortSignal.any([outer, end.signal]);
  const over = new AbortController();

  const { played, finished } = playChaos(plan, faults, clock, signal);
  const running = (async () => run({ plan, signal: over.signal }))();
  const whole = finished.then(() => {
    over.abort();
    return running;
  });
  const ended = await outcomeOf(Promise.race([running, whole, abortOf(outer)]));
  end.abort();
  over.abort();
  const healed = await outcomeOf(finished);
  if ('error' in ended) throw new ChaosError(plan, played, ended.error);
  if ('error' in healed) throw new ChaosError(plan, played, healed.error);
  return ended.value;
}

function outcomeOf<T>(promise: Promise<T>): Promise<Outcome<T>> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

/** Rejects with the signal's reason. */
function abortOf(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => {
      reject(signal?.reason as Error);
    };
    if (signal?.aborted === true) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
