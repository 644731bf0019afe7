const GROWTH = 1.6;
const MAX_TIMEOUT_MS = 120_000;

/**
 * Returns the timeout of connection attempt `tries` (0: the first) in milliseconds. It grows with each attempt, because many TLS
 * clients of a busy server would otherwise never finish their handshakes. A `baseMs` above two minutes is used unchanged.
 */
export function connectTimeoutMs(baseMs: number, tries: number): number {
  return Math.max(Math.min(baseMs * GROWTH ** tries, MAX_TIMEOUT_MS), baseMs);
}
