import { NO_PUSHBACK, parsePushback, PUSHBACK_KEY, type Pushback } from '../policy/pushback/parse-pushback.js';
import { reasonByText, type StreamFailure } from '../policy/resume/stream-failure.js';
import { failureReason, statusOf } from './error-status.js';

/** Reads the reason, the status code, the pushback, and the retry delay from the error that ended a call of a stream. */
export function readStreamFailure(error: unknown): StreamFailure {
  // The cast is safe: every value is checked before use.
  const properties = (typeof error === 'object' && error !== null ? error : {}) as Readonly<Record<string, unknown>>;
  const code = statusOf(error);
  const { retryAfterMs, details, metadata } = properties;
  const byText = code === undefined ? undefined : reasonByText(code, typeof details === 'string' ? details : '');
  const afterMs = typeof retryAfterMs === 'number' && retryAfterMs >= 0 ? retryAfterMs : undefined;
  return { reason: failureReason(error) ?? byText, code, pushback: pushbackOf(metadata), retryAfterMs: afterMs };
}

/**
 * Returns the pushback in `metadata`. Checks the shape of `metadata`, not its class, because grpc-js's `Metadata` is not loaded here and
 * may exist in several copies.
 */
function pushbackOf(metadata: unknown): Pushback {
  if (!isReadable(metadata)) return NO_PUSHBACK;
  const values = metadata.get(PUSHBACK_KEY);
  if (!Array.isArray(values) || values.length === 0) return NO_PUSHBACK;
  return parsePushback(values.map(String));
}

function isReadable(metadata: unknown): metadata is { get(key: string): unknown } {
  return typeof metadata === 'object' && metadata !== null && 'get' in metadata && typeof metadata.get === 'function';
}
