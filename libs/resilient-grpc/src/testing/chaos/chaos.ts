import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import { systemRandom } from '../../time/random.js';
import { ChaosError } from './chaos-error.js';
import type { ChaosFault } from './chaos-fault.js';
import { planChaos } from './plan-chaos.js';
import type { ChaosPlan, ChaosPlanOptions } from './plan-chaos.js';
import { playChaos } from './play-chaos.js';
import { within } from './within.js';

// Longer than a ChildServer's start may take: its own error says more.
const DEFAULT_GRACE_MS = 20_000;

/** Options of chaos, whatever it plays. */
export interface ChaosSettings {
  readonly faults: readonly ChaosFault[];
  /** Ends it at once, and heals what lasts. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How long, in milliseconds, chaos waits for each `begin`, for each `end`, and for what runs behind its signal; then it
   * fails, and says for which. @defaultValue 20 000
   */
  readonly graceMs?: number | undefined;
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

/** A plan to draw, or one to play. */
export type ChaosOptions = DrawnChaos | PlannedChaos;

/** What is known to what runs under chaos. */
export interface ChaosRun {
  readonly plan: ChaosPlan;
  /** Aborted when the plan is over, its quiet time included, or chaos was ended. */
  readonly signal: AbortSignal;
}

/**
 * Runs `run` while faults come and go by a plan, and resolves to its result when it has ended; what is left of the plan is not
 * played then. Load runs until `signal`: `while (!signal.aborted)`. When this settles every fault is healed, but for one that
 * the error names. A fault may take longer than planned, as the start of a server does: what follows then comes later, never
 * closer.
 * @throws ChaosError with the seed and the faults so far, when `run` fails, when a fault cannot be brought about or healed, when
 * one of them hangs, or when the signal of the options is aborted
 * @throws RangeError when no plan can be drawn, or one names a fault that is not there
 */
export async function chaos<T>(options: ChaosOptions, run: (chaos: ChaosRun) => Promise<T>): Promise<T> {
  const { faults, clock = systemClock, signal: aborted, graceMs = DEFAULT_GRACE_MS } = options;
  if (!(graceMs > 0)) throw new RangeError(`chaos: expected graceMs as a length above 0, got ${graceMs}`);
  const plan = options.plan ?? planChaos({ ...options, seed: options.seed ?? Math.floor(systemRandom() * 2 ** 32) });
  if (aborted?.aborted === true) throw new ChaosError(plan, [], [aborted.reason]);
  const end = new AbortController();
  const over = new AbortController();

  const { played, finished } = playChaos(plan, { faults, clock, ended: end.signal, aborted, graceMs });
  const running = (async () => run({ plan, signal: over.signal }))();
  const whole = finished.then(() => {
    over.abort();
    return within(running, { clock, ms: graceMs, what: 'what runs did not end behind its signal', signal: end.signal });
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

/** Rejects with the signal's reason, unless it was forgotten before. */
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
