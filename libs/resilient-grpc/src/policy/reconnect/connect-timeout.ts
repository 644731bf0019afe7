const GROWTH = 1.6;
const LONGEST_MS = 120_000;

/**
 * How long try number `tries` (0 = first) may take to connect. It grows, as a crowd of TLS clients at a busy server would
 * otherwise never finish; a `baseMs` above two minutes is kept as it is.
 */
export function connectTimeoutMs(baseMs: number, tries: number): number {
  return Math.max(Math.min(baseMs * GROWTH ** tries, LONGEST_MS), baseMs);
}
