/** Random number generator, injected for tests. Returns a number in [0, 1). */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** Returns `value` with a uniform jitter of ± `fraction` (0.2: 80% to 120%). */
export function jitter(value: number, fraction: number, random: Random): number {
  return value * (1 - fraction + 2 * fraction * random());
}
