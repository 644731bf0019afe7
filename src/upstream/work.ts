/** Timing and failures of the upstream's handlers. */
export interface Work {
  /** Duration of a read that is not slow, ±10%. */
  readonly readMs: number;
  readonly writeMs: number;
  /** Share of reads, 0 to 1, that take `slowFactor` times as long. */
  readonly slowShare: number;
  readonly slowFactor: number;
  /** True if the upstream rejects every unary call immediately, like an overloaded server. */
  readonly overloaded: boolean;
  /** True if the upstream fails every unary call immediately with UNAVAILABLE, like a server whose database is unreachable. */
  readonly failing: boolean;
}

export const NORMAL_WORK: Work = {
  readMs: 5,
  writeMs: 20,
  slowShare: 0,
  slowFactor: 1,
  overloaded: false,
  failing: false,
};

/**
 * Returns the duration of the next read. `tail` selects slow reads, and `spread` sets the deviation of the others. Both are at least 0 and
 * below 1.
 */
export function nextReadMs({ readMs, slowShare, slowFactor }: Work, tail: number, spread: number): number {
  if (tail < slowShare) return readMs * slowFactor;
  return readMs * (0.9 + 0.2 * spread);
}

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/**
 * Returns a function that returns numbers in [0, 1), evenly distributed even in small samples. With random numbers, one contender
 * might get 1% slow reads and another 2%, and their 99th percentiles could not be compared.
 */
export function evenDraws(): () => number {
  let drawn = 0;
  return () => (++drawn * GOLDEN_RATIO) % 1;
}

/** The current work settings of the upstream. */
export class Workload {
  now = NORMAL_WORK;
  private readonly tails = new Map<string, () => number>();

  /** Returns the duration of the next read of the contender `sender`. */
  nextReadMs(sender: string): number {
    const tail = this.tails.get(sender) ?? evenDraws();
    this.tails.set(sender, tail);
    return nextReadMs(this.now, tail(), Math.random());
  }
}
