/**
 * Factor for a busy machine. Most timeouts of the demo are multiplied by this factor, for example drain timeouts, our client's outage grace
 * period, and the time until a process is killed. The call rate is divided by the same factor.
 */
export const PATIENCE = parsePatience(process.env['DEMO_PATIENCE'] ?? '1');

/** @throws Error if `value`, the value of the environment variable `DEMO_PATIENCE`, is not a finite number of at least 1 */
export function parsePatience(value: string): number {
  const patience = Number(value);
  if (Number.isFinite(patience) && patience >= 1) return patience;
  throw new Error(`DEMO_PATIENCE: expected a number of at least 1, got '${value}'; write DEMO_PATIENCE=4`);
}
