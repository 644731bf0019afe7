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

/** How long the next read takes. `random`: from 0 up to 1. */
export function nextReadMs({ readMs, slowShare, slowFactor }: Work, random: () => number): number {
  if (random() < slowShare) return readMs * slowFactor;
  return readMs * (0.9 + 0.2 * random());
}
