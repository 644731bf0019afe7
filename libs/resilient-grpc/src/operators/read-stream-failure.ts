import { isCircuitOpenError } from '../errors/circuit-open-error.js';
import { isConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import { isDeadlineError } from '../errors/deadline-error.js';
import { isGrpcCallError } from '../errors/grpc-call-error.js';
import { isIdleTimeoutError } from '../errors/idle-timeout-error.js';
import { NO_PUSHBACK, parsePushback, type Pushback } from '../policy/pushback/parse-pushback.js';
import { reasonByText, type StreamFailure } from '../policy/resume/stream-failure.js';
import { isStatusCode, type StatusCode } from '../status/status-code.js';

const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/** Reads reason, status code, pushback, and retry delay from the error with which a call of a stream ended. */
export function readStreamFailure(error: unknown): StreamFailure {
  // The cast is safe: every value is checked before use.
  const properties = (typeof error === 'object' && error !== null ? error : {}) as Readonly<Record<string, unknown>>;
  const code = isStatusCode(properties.code) ? properties.code : undefined;
  const { retryAfterMs, details, metadata } = properties;
  const afterMs = typeof retryAfterMs === 'number' && retryAfterMs >= 0 ? retryAfterMs : undefined;
  return { reason: reasonOf(error, code, details), code, pushback: pushbackOf(metadata), retryAfterMs: afterMs };
}

function reasonOf(error: unknown, code: StatusCode | undefined, details: unknown): string | undefined {
  if (isGrpcCallError(error)) return error.reason;
  // A `deadline` or `idleTimeout` inside the factory bounds one of several calls, not the stream.
  if (isDeadlineError(error)) return 'attempt-timeout';
  if (isIdleTimeoutError(error)) return 'stream-idle';
  if (isCircuitOpenError(error)) return 'circuit-open';
  if (isConcurrencyLimitError(error)) return 'concurrency-limit';
  if (error instanceof Error && error.name === 'AbortError') return 'cancelled';
  return code === undefined ? undefined : reasonByText(code, typeof details === 'string' ? details : '');
}

/** Checks the shape, not the class: grpc-js's `Metadata` is not loaded here and may exist in several copies. */
function pushbackOf(metadata: unknown): Pushback {
  if (!isReadable(metadata)) return NO_PUSHBACK;
  const values = metadata.get(PUSHBACK_KEY);
  if (!Array.isArray(values) || values.length === 0) return NO_PUSHBACK;
  return parsePushback(values.map(String));
}

function isReadable(metadata: unknown): metadata is { get(key: string): unknown } {
  return typeof metadata === 'object' && metadata !== null && 'get' in metadata && typeof metadata.get === 'function';
}
