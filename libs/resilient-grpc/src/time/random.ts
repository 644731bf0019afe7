/** Chance as a port: a number in [0, 1). */
export type Random = () => number;

/** The chance of this process. */
export const systemRandom: Random = () => Math.random();

/** `value` spread evenly by ± `fraction` (0.2: from 80 % to 120 %). */
export function jitter(value: number, fraction: number, random: Random): number {
  return value * (1 - fraction + 2 * fraction * random());
}
