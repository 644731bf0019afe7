/**
 * Factor for a busy machine. The demo multiplies most of its timeouts by this factor, such as drain times, our client's outage grace
 * period, and the time until it kills a process. It divides the call rate by the same factor.
 */
export const PATIENCE = parsePatience(process.env['DEMO_PATIENCE'] ?? '1');

/** @throws Error if `value`, the value of the environment variable `DEMO_PATIENCE`, is not a number of at least 1 */
export function parsePatience(value: string): number {
  const patience = Number(value);
  if (Number.isFinite(patience) && patience >= 1) return patience;
  throw new Error(`DEMO_PATIENCE: expected a number of at least 1, got '${value}'; write DEMO_PATIENCE=4`);
}
