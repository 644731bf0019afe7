/** How the upstream works on requests. */
export interface Work {
  /** Time of a read, give or take a tenth. */
  readonly readMs: number;
  readonly writeMs: number;
  /** Share of reads that take `slowFactor` times as long, 0 to 1: a tail. */
  readonly slowShare: number;
  readonly slowFactor: number;
  /** Refuses every unary call at once, as a server does that has more to do than it can. */
  readonly overloaded: boolean;
}

/** An upstream that is well. */
export const NORMAL_WORK: Work = { readMs: 5, writeMs: 20, slowShare: 0, slowFactor: 1, overloaded: false };

/** How long the next read takes. `tail` and `spread`: from 0 up to 1. */
export function nextReadMs({ readMs, slowShare, slowFactor }: Work, tail: number, spread: number): number {
  if (tail < slowShare) return readMs * slowFactor;
  return readMs * (0.9 + 0.2 * spread);
}

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/**
 * Numbers from 0 up to 1 that are spread evenly however few they are. Dice would give one contender a tail of 1 % where another has
 * 2 %, and then its 99th percentile says nothing.
 */
export function evenDraws(): () => number {
  let drawn = 0;
  return () => (++drawn * GOLDEN_RATIO) % 1;
}

/** How the upstream works now, until it is told otherwise. */
export class Workload {
  now = NORMAL_WORK;
  private readonly tails = new Map<string, () => number>();

  /** How long the next read of this sender takes. */
  nextReadMs(sender: string): number {
    const tail = this.tails.get(sender) ?? evenDraws();
    this.tails.set(sender, tail);
    return nextReadMs(this.now, tail(), Math.random());
  }
}
