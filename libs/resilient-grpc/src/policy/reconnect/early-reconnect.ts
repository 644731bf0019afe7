import { jitter, type Random } from '../../time/random.js';

/** What decides whether the backoff before the next try to connect is ended early. */
export interface EarlyReconnectInput {
  /** An outage is on, inside its grace. */
  readonly insideGrace: boolean;
  /** A call waits for the channel. */
  readonly waiting: boolean;
  /** The connection before the outage died at once, without an answer. */
  readonly lastShortLived: boolean;
  /** Text of the failed try. */
  readonly failure: string;
  /** Failed tries in this outage, this one included. */
  readonly tries: number;
}

const FIRST_MS = 100;
const LONGEST_MS = 250;
const GROWTH = 1.6;
const JITTER = 0.5;
const AFTER_TIMEOUT_MS = 500;
const AFTER_NO_HTTP2_MS = 700;
const NO_HTTP2_JITTER = 0.2;

// Quick and plain: nothing listens, or there is no such name (for a unix socket: no such file). What is slow or speaks of
// TLS would cost a starting server more than it costs us.
const QUICK_AND_PLAIN = /\bE(?:CONNREFUSED|CONNRESET|NOTFOUND|NOENT|AI_AGAIN)\b|^Name resolution failed\b/;

// Ended here, at the connect timeout. Such a try was slow enough by itself: under the usual timeout the backoff, which counts
// from its beginning, is over long before. Under a short one a peer that got well must not be left alone for seconds.
const TIMED_OUT = /^timed out after /;

// The peer accepted, then closed the connection or sent something other than HTTP/2 or TLS, as a proxy does whose server restarts.
// No TLS handshake was completed. Eight attempts fit into the default grace, where the backoff makes three.
const NO_HTTP2 = /^(?:Protocol error|Failed to connect)\b|wrong version number|disconnected before secure TLS/;

/** Milliseconds to wait instead of the backoff, or undefined: leave it to the backoff. */
export function earlyReconnectMs(input: EarlyReconnectInput, random: Random): number | undefined {
  const { insideGrace, waiting, lastShortLived, failure, tries } = input;
  // A server that dies right away each time is held off by the backoff; one that comes and goes more slowly, by the one grace
  // that its outages share.
  if (!insideGrace || !waiting || lastShortLived) return undefined;
  if (TIMED_OUT.test(failure)) return jitter(AFTER_TIMEOUT_MS, JITTER, random);
  if (NO_HTTP2.test(failure)) return jitter(AFTER_NO_HTTP2_MS, NO_HTTP2_JITTER, random);
  if (!QUICK_AND_PLAIN.test(failure)) return undefined;
  const grown = FIRST_MS * GROWTH ** Math.max(tries - 1, 0);
  return jitter(Math.min(grown, LONGEST_MS), JITTER, random);
}
