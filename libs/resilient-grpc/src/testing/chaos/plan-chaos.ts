import { describeData, describeValue } from '../../policy/options/describe-value.js';
import { argumentCheck, isInteger } from '../argument-check.js';
import { seededRandom } from '../seeded-random.js';

/** An inclusive range of durations in milliseconds. Both bounds are integers of 0 or more. */
export type RangeMs = readonly [from: number, to: number];

/** A fault to plan. */
export interface PlannedFault {
  /** Unique name in the plan and in error messages. */
  readonly name: string;
  /** Relative frequency, 0 or more; 0 excludes the fault. @defaultValue 1 */
  readonly weight?: number | undefined;
  /** Duration of the fault in milliseconds. @defaultValue [0, 0] */
  readonly forMs?: RangeMs | undefined;
}

/** Options of `planChaos`. */
export interface ChaosPlanOptions {
  /** A signed or unsigned 32-bit integer. If all other options are equal, the same seed produces the same plan. */
  readonly seed: number;
  /** Total duration in milliseconds. At least the sum of the longest distance, the longest fault, and `quietMs`. */
  readonly durationMs: number;
  readonly faults: readonly PlannedFault[];
  /**
   * Time in milliseconds before the first fault, and between the end of a fault and the start of the next. The upper bound must be above 0.
   * @defaultValue [500, 1500]
   */
  readonly distanceMs?: RangeMs | undefined;
  /**
   * Time without faults at the end of the plan, in milliseconds; 0 or more, and less than `durationMs`.
   * @defaultValue a quarter of `durationMs`
   */
  readonly quietMs?: number | undefined;
}

/** A step of a plan: `fault` starts at `atMs` and lasts for `forMs`. */
export interface ChaosStep {
  readonly atMs: number;
  readonly fault: string;
  readonly forMs: number;
}

/** A schedule of faults. A plain value that can be printed, edited, and replayed. */
export interface ChaosPlan {
  readonly seed: number;
  readonly durationMs: number;
  /** The steps in chronological order. Faults never overlap. */
  readonly steps: readonly ChaosStep[];
}

const DEFAULT_DISTANCE_MS: RangeMs = [500, 1_500];

const check = argumentCheck('chaos');

const RANGE = '[from, to] in whole milliseconds, with 0 <= from <= to';

/**
 * Generates a plan. Equal options produce equal plans; a shorter `durationMs` produces the beginning of the plan. Faults never overlap, so
 * that a failure has a single cause.
 * @throws RangeError that names the invalid option
 */
export function planChaos(options: ChaosPlanOptions): ChaosPlan {
  const { seed, durationMs, faults, distanceMs, quietMs } = validated(options);
  const random = seededRandom(seed);
  const steps: ChaosStep[] = [];
  for (let atMs = between(distanceMs, random()); ;) {
    const fault = draw(faults, random());
    const forMs = between(fault.forMs ?? [0, 0], random());
    if (atMs + forMs > durationMs - quietMs) return { seed, durationMs, steps };
    steps.push({ atMs, fault: fault.name, forMs });
    atMs += forMs + between(distanceMs, random());
  }
}

/** Returns an integer in the range, uniformly distributed. */
function between([from, to]: RangeMs, chance: number): number {
  return from + Math.floor(chance * (to - from + 1));
}

function draw(faults: readonly PlannedFault[], chance: number): PlannedFault {
  let remaining = chance * sumOf(faults);
  for (const fault of faults) {
    remaining -= fault.weight ?? 1;
    if (remaining < 0) return fault;
  }
  // Returns the last fault with a weight if rounding errors have kept `remaining` at 0 or above. Safe cast: valid options have a fault with
  // a weight above 0.
  return faults.findLast(({ weight = 1 }) => weight > 0) as PlannedFault;
}

function sumOf(faults: readonly PlannedFault[]): number {
  return faults.reduce((sum, { weight = 1 }) => sum + weight, 0);
}

type ValidOptions = Required<ChaosPlanOptions> & { readonly distanceMs: RangeMs; readonly quietMs: number };

/** Returns the options, completed with the defaults. */
function validated({
  seed,
  durationMs,
  faults,
  distanceMs = DEFAULT_DISTANCE_MS,
  ...more
}: ChaosPlanOptions): ValidOptions {
  check(isInteger(seed, -(2 ** 31), 2 ** 32 - 1), 'seed to be a 32-bit integer', seed);
  check(Number.isFinite(durationMs) && durationMs > 0, 'durationMs to be greater than 0', durationMs);
  check(isRange(distanceMs) && distanceMs[1] > 0, `distanceMs to be ${RANGE} and to > 0`, distanceMs);
  const { quietMs = durationMs / 4 } = more;
  const isQuiet = Number.isFinite(quietMs) && quietMs >= 0 && quietMs < durationMs;
  check(isQuiet, `quietMs to be at least 0 and less than ${durationMs}`, quietMs);
  // JavaScript callers can pass any value.
  const list: readonly unknown[] = Array.isArray(faults) ? faults : [];
  if (list.length === 0) throw invalid('faults to contain at least one fault', describeValue(faults));
  for (const fault of list)
    check(typeof fault === 'object' && fault !== null, 'faults to be objects with a name', fault);
  const names = faults.map(({ name }) => name);
  const repeated = names.find((name, index) => names.indexOf(name) < index);
  if (repeated !== undefined)
    throw invalid('faults to have unique names', `several faults named ${describeData(repeated)}`);
  for (const { name, weight = 1, forMs = [0, 0] } of faults) {
    const of = `of ${describeData(name)} to be`;
    check(Number.isFinite(weight) && weight >= 0, `weight ${of} a finite number of 0 or more`, weight);
    check(isRange(forMs), `forMs ${of} ${RANGE}`, forMs);
  }
  if (sumOf(faults) === 0) throw invalid('at least one weight to be above 0', 'only weights of 0');
  // Checked independently of the seed. With some seeds, the plan would otherwise be empty, and the test would prove nothing.
  const longestMs = Math.max(...faults.filter(({ weight = 1 }) => weight > 0).map(({ forMs = [0, 0] }) => forMs[1]));
  const neededMs = distanceMs[1] + longestMs;
  const roomMs = durationMs - quietMs;
  if (neededMs > roomMs) {
    throw new RangeError(
      `chaos: expected durationMs minus quietMs to be at least ${neededMs}, the longest distance plus the longest fault, got ${roomMs}; ` +
        'increase durationMs, or reduce distanceMs or quietMs',
    );
  }
  return { seed, durationMs, faults, distanceMs, quietMs };
}

function invalid(expected: string, received: string): RangeError {
  return new RangeError(`chaos: expected ${expected}, got ${received}`);
}

function isRange(range: unknown): range is RangeMs {
  if (!Array.isArray(range) || range.length !== 2) return false;
  const [from, to] = range as readonly unknown[];
  return isInteger(from, 0) && isInteger(to, Number(from));
}
