import { jitter, type Random } from '../../time/random.js';

/**
 * Class of a failed connection attempt. 'refused': no listener, a reset, or a target that does not resolve. 'timeout': no response.
 * 'not-http2': the peer closed the connection, reset it after its TLS handshake had begun, or does not use the expected protocol (HTTP/2,
 * with or without TLS). 'other': any other failure, for example a failed TLS handshake, or credentials that are not ready.
 */
export type ReconnectClass = 'refused' | 'timeout' | 'not-http2' | 'other';

/** Input for the decision to reconnect before the backoff ends. */
export interface EarlyReconnectInput {
  /** True during an outage whose grace period has not expired. */
  readonly insideGrace: boolean;
  /** True if a call is waiting for the channel. */
  readonly waiting: boolean;
  /** True if the last established connection closed immediately, without a response. */
  readonly lastClosedImmediately: boolean;
  /** Class of the last failed connection attempt; `undefined` if the last error does not describe a failed attempt. */
  readonly failure: ReconnectClass | undefined;
  /** Number of failed connection attempts in this outage, including the latest. */
  readonly connectAttempts: number;
}

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 250;
const GROWTH = 1.6;
const JITTER = 0.5;
const TIMEOUT_DELAY_MS = 500;
const NOT_HTTP2_DELAY_MS = 700;
const NOT_HTTP2_JITTER = 0.2;

/** Returns the milliseconds to wait instead of the backoff, or `undefined` to keep the backoff. */
export function earlyReconnectMs(input: EarlyReconnectInput, random: Random): number | undefined {
  const { insideGrace, waiting, lastClosedImmediately, failure, connectAttempts } = input;
  // After a connection that closed immediately, the backoff is kept, because it limits connections to a server that closes each connection
  // immediately. The shared grace period of flapping outages limits connections to a server that fails more slowly.
  if (!insideGrace || !waiting || lastClosedImmediately) return undefined;
  switch (failure) {
    case 'timeout':
      // The backoff is measured from the start of the attempt, so it ends long before the default timeout. With a short timeout,
      // calls must not wait seconds for the next attempt if the server has recovered.
      return jitter(TIMEOUT_DELAY_MS, JITTER, random);
    case 'not-http2':
      // A proxy accepts connections and closes them while its server is restarting. Seven or eight attempts fit into the default grace
      // period; the backoff would allow three.
      return jitter(NOT_HTTP2_DELAY_MS, NOT_HTTP2_JITTER, random);
    case 'refused': {
      const grown = FIRST_DELAY_MS * GROWTH ** Math.max(connectAttempts - 1, 0);
      return jitter(Math.min(grown, MAX_DELAY_MS), JITTER, random);
    }
    // These failures keep the backoff. A failed TLS handshake, for example, costs a starting server more than the client.
    case 'other':
    case undefined:
      return undefined;
  }
}
