import { jitter, type Random } from '../../time/random.js';

/** Input for the decision to end the backoff before the next connection attempt early. */
export interface EarlyReconnectInput {
  /** True during an outage whose grace has not expired. */
  readonly insideGrace: boolean;
  /** True if a call is waiting for the channel. */
  readonly waiting: boolean;
  /** True if the connection before the outage closed immediately, without a response. */
  readonly lastShortLived: boolean;
  /** Error message of the failed connection attempt. */
  readonly failure: string;
  /** Failed connection attempts in this outage, including this one. */
  readonly connectAttempts: number;
}

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 250;
const GROWTH = 1.6;
const JITTER = 0.5;
const AFTER_TIMEOUT_MS = 500;
const AFTER_NO_HTTP2_MS = 700;
const NO_HTTP2_JITTER = 0.2;

// Failures that are fast and unambiguous: no listener, or no such name (for a unix socket, no such file). Slow failures and TLS
// failures are excluded, because repeating them would cost a starting server more than the client.
const QUICK_AND_PLAIN = /\bE(?:CONNREFUSED|CONNRESET|NOTFOUND|NOENT|AI_AGAIN)\b|^Name resolution failed\b/;

// The client ended the attempt at its connect timeout. The backoff counts from the start of the attempt, so with the default
// timeout it has long expired. With a short timeout, a recovered server must not wait seconds for the next attempt.
const TIMED_OUT = /^timed out after /;

// The peer accepted, then closed the connection or sent something other than HTTP/2 or TLS, as a proxy does while its server
// restarts. No TLS handshake was completed. Eight attempts fit into the default grace, where the backoff allows three.
const NO_HTTP2 = /^(?:Protocol error|Failed to connect)\b|wrong version number|disconnected before secure TLS/;

/** Returns the milliseconds to wait instead of the backoff, or `undefined` to keep the backoff. */
export function earlyReconnectMs(input: EarlyReconnectInput, random: Random): number | undefined {
  const { insideGrace, waiting, lastShortLived, failure, connectAttempts } = input;
  // The backoff limits connections to a server that closes each one immediately. The shared grace of flapping outages limits
  // connections to a server that fails more slowly.
  if (!insideGrace || !waiting || lastShortLived) return undefined;
  if (TIMED_OUT.test(failure)) return jitter(AFTER_TIMEOUT_MS, JITTER, random);
  if (NO_HTTP2.test(failure)) return jitter(AFTER_NO_HTTP2_MS, NO_HTTP2_JITTER, random);
  if (!QUICK_AND_PLAIN.test(failure)) return undefined;
  const grown = FIRST_DELAY_MS * GROWTH ** Math.max(connectAttempts - 1, 0);
  return jitter(Math.min(grown, MAX_DELAY_MS), JITTER, random);
}
