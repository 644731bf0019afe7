import { seededRandom } from '../seeded-random.js';

/** Lengths from the first to the second, both included, in milliseconds. */
export type RangeMs = readonly [from: number, to: number];

/** A fault as a plan knows it. */
export interface PlannedFault {
  /** Told apart by it, in the plan and in what failed. */
  readonly name: string;
  /** How often it is drawn, against the others; 0 for never. @defaultValue 1 */
  readonly weight?: number | undefined;
  /** How long it lasts. @defaultValue [0, 0] */
  readonly forMs?: RangeMs | undefined;
}

/** What a plan is drawn from. */
export interface ChaosPlanOptions {
  /** Any integer of 32 bits, with a sign or without. */
  readonly seed: number;
  /** Length of the whole: a fault must fit, at the longest that `distanceMs` and its `forMs` may draw, before `quietMs`. */
  readonly durationMs: number;
  readonly faults: readonly PlannedFault[];
  /** Time from the end of one fault to the beginning of the next, and before the first. @defaultValue [500, 1 500] */
  readonly distanceMs?: RangeMs | undefined;
  /** Time at the end in which nothing is at fault. @defaultValue a quarter of `durationMs` */
  readonly quietMs?: number | undefined;
}

/** A fault of a plan: begins at `atMs` and lasts `forMs`. */
export interface ChaosStep {
  readonly atMs: number;
  readonly fault: string;
  readonly forMs: number;
}

/** Which faults when: a value that can be printed, changed by hand and played again. */
export interface ChaosPlan {
  readonly seed: number;
  readonly durationMs: number;
  /** In order, one at a time. */
  readonly steps: readonly ChaosStep[];
}

const DEFAULT_DISTANCE_MS: RangeMs = [500, 1_500];

/**
 * Draws a plan: the same for the same options, and for a shorter one the beginning of it. One fault at a time, so that what
 * fails has one reason.
 * @throws RangeError that names the option that cannot be
 */
export function planChaos(options: ChaosPlanOptions): ChaosPlan {
  const { seed, durationMs, faults, distanceMs = DEFAULT_DISTANCE_MS, quietMs = durationMs / 4 } = options;
  validate({ seed, durationMs, faults, distanceMs, quietMs });
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

/** A whole number of the range, evenly. */
function between([from, to]: RangeMs, chance: number): number {
  return from + Math.floor(chance * (to - from + 1));
}

function draw(faults: readonly PlannedFault[], chance: number): PlannedFault {
  let left = chance * sumOf(faults);
  for (const fault of faults) {
    left -= fault.weight ?? 1;
    if (left < 0) return fault;
  }
  // Rounding can leave the very end of the range over.
  return found(faults.findLast(({ weight = 1 }) => weight > 0));
}

function sumOf(faults: readonly PlannedFault[]): number {
  return faults.reduce((sum, { weight = 1 }) => sum + weight, 0);
}

function found(fault: PlannedFault | undefined): PlannedFault {
  if (fault === undefined) throw new RangeError('chaos: expected faults of which one has a weight above 0');
  return fault;
}

type ValidOptions = Required<ChaosPlanOptions> & { readonly distanceMs: RangeMs; readonly quietMs: number };

function validate({ seed, durationMs, faults, distanceMs, quietMs }: ValidOptions): void {
  const names = faults.map(({ name }) => name);
  const checks: readonly (readonly [boolean, string])[] = [
    [Number.isInteger(seed) && seed >= -(2 ** 31) && seed < 2 ** 32, `seed as an integer of 32 bits, got ${seed}`],
    [Number.isFinite(durationMs) && durationMs > 0, `durationMs as a length above 0, got ${durationMs}`],
    [isRange(distanceMs) && distanceMs[1] > 0, `distanceMs as [from, to] above 0, got ${JSON.stringify(distanceMs)}`],
    [quietMs >= 0 && quietMs < durationMs, `quietMs from 0 to below ${durationMs}, got ${quietMs}`],
    [
      faults.every(({ weight = 1 }) => weight >= 0 && weight < Infinity) && sumOf(faults) > 0,
      'faults of which one has a weight above 0, and none one below',
    ],
    [new Set(names).size === names.length, `names that tell faults apart, got ${names.join(', ')}`],
    ...faults.map(({ name, forMs = [0, 0] }) => {
      return [isRange(forMs), `forMs of ${name} as [from, to], got ${JSON.stringify(forMs)}`] as const;
    }),
  ];
  const wrong = checks.find(([holds]) => !holds);
  if (wrong !== undefined) throw new RangeError(`chaos: expected ${wrong[1]}`);
  // Whatever the seed: a plan that is empty by chance would be a test that proves nothing now and then.
  const longestMs = Math.max(...faults.filter(({ weight = 1 }) => weight > 0).map(({ forMs = [0, 0] }) => forMs[1]));
  const neededMs = distanceMs[1] + longestMs;
  const roomMs = durationMs - quietMs;
  if (neededMs <= roomMs) return;
  throw new RangeError(
    `chaos: no fault is sure to fit: it may take ${neededMs} ms with its distance, and there are ${roomMs}; ` +
      'lengthen durationMs, shorten distanceMs or quietMs',
  );
}

function isRange([from, to]: RangeMs): boolean {
  return Number.isInteger(from) && Number.isInteger(to) && from >= 0 && to >= from;
}
