import { jitter, type Random } from '../../time/random.js';

const TIMEOUT_GROWTH = 2;
const MAX_TIMEOUT_MS = 120_000;
const AGE_JITTER = 0.1;

/** Input for the timeout of a connection attempt. */
export interface ConnectTimeoutInput {
  /** Timeout of the first attempt, in milliseconds. */
  readonly baseMs: number;
  /** Number of consecutive attempts to the same address that timed out. */
  readonly timeouts: number;
  readonly graceMs: number;
  /** True during an outage whose grace period has not expired. */
  readonly insideGrace: boolean;
}

/**
 * Returns the timeout of a connection attempt in milliseconds. It doubles each time an attempt to the same address times out, up to two
 * minutes, except during a grace period that is longer than `baseMs`. If many clients connect to a busy server, their handshakes can take
 * longer than `baseMs`. Without the increase, these clients would keep the server busy with handshakes that they have already abandoned. A
 * `baseMs` above two minutes is used unchanged.
 */
export function connectTimeoutMs({ baseMs, timeouts, graceMs, insideGrace }: ConnectTimeoutInput): number {
  // Several short attempts that fit into the grace period find a recovered server sooner than one long attempt.
  if (insideGrace && baseMs < graceMs) return baseMs;
  return Math.max(Math.min(baseMs * TIMEOUT_GROWTH ** timeouts, MAX_TIMEOUT_MS), baseMs);
}

/**
 * Returns the age at which a channel is replaced, in milliseconds. The jitter prevents the clients of one server from reconnecting at the
 * same time.
 */
export function connectionAgeMs(maxAgeMs: number, random: Random): number {
  return jitter(maxAgeMs, AGE_JITTER, random);
}
