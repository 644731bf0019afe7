import { jitter, type Random } from '../../time/random.js';
import { backoffMs } from '../retry/retry-policy.js';
import { StatusCode } from '../../status/status-code.js';

/** Maximum backoff after the first failed connection attempt, in milliseconds. grpc-js multiplies it by 1.6 after each further failure. */
const FIRST_BACKOFF_MS = 1_000;
/** Largest share by which it is shorter. */
const FIRST_BACKOFF_JITTER = 0.5;
/** Maximum backoff in milliseconds, before grpc-js's jitter of ±20%. */
export const MAX_BACKOFF_MS = 5_000;
/** The same with `transport: 'grpc-js'`, where a longer one would often miss the server by seconds that plain clients do not. */
export const GRPC_JS_MAX_BACKOFF_MS = 250;
const GROWTH = 1.6;

/** Lifetime in milliseconds below which a connection that closes without a response counts as a failed connection attempt. */
export const SHORT_LIVED_MS = 1_000;

/**
 * Returns the first backoff of an outage, in milliseconds, which is at most `maxMs`. grpc-js itself does not jitter the first backoff, so the clients
 * of one server would otherwise reconnect at the same moment.
 */
export function firstBackoffMs(maxMs: number, random: Random): number {
  return Math.round(Math.min(FIRST_BACKOFF_MS, maxMs) * (1 - FIRST_BACKOFF_JITTER * random()));
}

/**
 * Returns the milliseconds until the next connection attempt, given that `count` consecutive connections (1 or more) closed immediately
 * after they were established. Replaces grpc-js's backoff, which READY resets, with the backoff of failed connection attempts.
 */
export function shortLivedBackoffMs(count: number, random: Random): number {
  const backoff = { initialBackoffMs: FIRST_BACKOFF_MS, maxBackoffMs: MAX_BACKOFF_MS, backoffMultiplier: GROWTH };
  return backoffMs(backoff, Math.max(count - 1, 0), random);
}

/** Minimum interval between two updates of a channel's addresses, in milliseconds. */
const MIN_INTERVAL_MS = 100;
/** Maximum interval between updates without addresses, in milliseconds. */
const MAX_EMPTY_INTERVAL_MS = 1_000;
/** Pause after an update, as a multiple of its duration. */
const INTERVAL_PER_DURATION = 10;
/**
 * Maximum pause after an update, in milliseconds. The pause is limited, because a process that was suspended during an update must not keep
 * old addresses for minutes.
 */
const MAX_INTERVAL_MS = 5_000;

/** Returns the milliseconds from the start of an update to the next one. */
export function updateIntervalMs(emptyUpdates: number): number {
  return Math.min(MIN_INTERVAL_MS * 2 ** Math.max(0, emptyUpdates - 1), MAX_EMPTY_INTERVAL_MS);
}

export function pauseAfterUpdateMs(tookMs: number): number {
  return Math.min(tookMs * INTERVAL_PER_DURATION, MAX_INTERVAL_MS);
}

const TIMEOUT_GROWTH = 2;
const MAX_TIMEOUT_MS = 120_000;
const AGE_JITTER = 0.1;

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

/** Maximum jitter, as a share of the delay to which it is added. */
const DNS_JITTER = 0.2;
/** Maximum delay in milliseconds while lookups fail, before jitter. If `refreshMs` is longer, the delay is `refreshMs`. */
const MAX_FAILURE_DELAY_MS = 30_000;

/**
 * Returns the milliseconds from the end of one lookup to the next. `failures`: consecutive lookups that failed; the delay doubles with
 * each, because the lookups of many clients would otherwise keep a name server overloaded. The delay is never shorter than `refreshMs`,
 * which is at least grpc-js's minimum interval between two lookups.
 */
export function dnsRefreshDelayMs(refreshMs: number, failures: number, random: Random): number {
  const delayMs = Math.max(refreshMs, Math.min(refreshMs * 2 ** failures, MAX_FAILURE_DELAY_MS));
  return delayMs * (1 + DNS_JITTER * random());
}

/**
 * Class of a failed connection attempt. 'refused': no listener, a reset, or a target that does not resolve. 'timeout': no response.
 * 'not-http2': the peer closed the connection, reset it after its TLS handshake had begun, or does not use the expected protocol (HTTP/2,
 * with or without TLS).
 */
export type ReconnectClass = 'refused' | 'timeout' | 'not-http2';

export interface EarlyReconnectInput {
  readonly insideGrace: boolean;
  /** True if calls wait, or one has failed since the last attempt because there was no connection. */
  readonly wanted: boolean;
  /** Milliseconds since the outage began. */
  readonly outageMs: number;
  /** True if the last established connection closed immediately, without a response. */
  readonly lastClosedImmediately: boolean;
  /** Class of the last failed connection attempt; `undefined` after any other failure, such as a failed TLS handshake. */
  readonly failure: ReconnectClass | undefined;
  /** Number of failed connection attempts in this outage, including the latest. */
  readonly connectAttempts: number;
}

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 250;
/** Maximum delay in a long outage, and its length. */
const LATE_DELAY_MS = 1_000;
const LATE_MS = 60_000;
const JITTER = 0.5;
const TIMEOUT_DELAY_MS = 500;
const NOT_HTTP2_DELAY_MS = 700;
const NOT_HTTP2_JITTER = 0.2;

/** Returns the milliseconds to wait instead of the backoff, or `undefined` to keep the backoff. */
export function earlyReconnectMs(input: EarlyReconnectInput, random: Random): number | undefined {
  const { insideGrace, wanted, outageMs, lastClosedImmediately, failure, connectAttempts } = input;
  // After a connection that closed immediately, the backoff is kept, because it limits connections to a server that closes each connection
  // immediately. The shared grace period of flapping outages limits connections to a server that fails more slowly.
  if (!wanted || lastClosedImmediately) return undefined;
  // Afterward, only attempts that cost the server nothing stay quick: callers whose calls fail get the server back as soon as it listens.
  if (!insideGrace && failure !== 'refused') return undefined;
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
      const late = insideGrace ? 0 : Math.min(outageMs / LATE_MS, 1) * (LATE_DELAY_MS - MAX_DELAY_MS);
      return jitter(Math.min(grown, MAX_DELAY_MS + late), JITTER, random);
    }
    // Other failures keep the backoff. A failed TLS handshake, for example, costs a starting server more than the client.
    case undefined:
      return undefined;
  }
}

const BACKOFF = Object.freeze({ initialBackoffMs: 1_000, maxBackoffMs: 30_000, backoffMultiplier: 1.6 });
/**
 * Minimum duration in milliseconds of a healthy Watch. A Watch that received a response and lasted this long restarts without a backoff.
 */
const MIN_HEALTHY_MS = 1_000;
/** Maximum delay of a restart in milliseconds. */
const MAX_RESTART_DELAY_MS = 100;

export interface EndedWatch {
  readonly answered: boolean;
  readonly livedMs: number;
  /** Number of consecutive failed Watches before this one. */
  readonly failures: number;
  /** Status of the Watch. */
  readonly end: { readonly code: number; readonly http?: string | undefined };
}

export type NextWatch =
  /**
   * The server does not implement the health service. The server counts as healthy, and the service is not called again on this connection.
   */
  | { readonly kind: 'unimplemented' }
  /** The next Watch starts within 100 ms. */
  | { readonly kind: 'restart'; readonly delayMs: number; readonly failures: number }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly failures: number };

/**
 * Decides the step after a Watch that ended (gRFC A17). A response resets the backoff. If the server ends the Watch right after its
 * response, the next Watch waits for the first backoff. Without this wait, the client would call such a server without a pause.
 */
export function nextWatch({ answered, livedMs, failures, end }: EndedWatch, random: Random): NextWatch {
  if (end.code === StatusCode.UNIMPLEMENTED && end.http === undefined) return { kind: 'unimplemented' };
  const before = answered ? 0 : failures;
  if (answered && livedMs >= MIN_HEALTHY_MS) {
    return { kind: 'restart', delayMs: MAX_RESTART_DELAY_MS * random(), failures: before };
  }
  return { kind: 'retry', delayMs: backoffMs(BACKOFF, before, random), failures: before + 1 };
}
