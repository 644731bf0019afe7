import { MAX_TIMER_MS } from '../../time/clock.js';

export const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

export type Pushback =
  | { readonly kind: 'none' }
  /** If the call is retried, retry after exactly `ms` milliseconds. */
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'stop'; readonly because: 'negative' | 'malformed' | 'repeated' };

/** Absence of pushback; shared, because nearly all attempts have none. */
export const NO_PUSHBACK: Pushback = { kind: 'none' };

const INTEGER = /^[+-]?\d+$/;

/**
 * Parses all values of `grpc-retry-pushback-ms` in the trailers of an attempt
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback). As in grpc-go, repeated values mean "do not retry".
 */
export function parsePushback(values: readonly (string | Buffer)[]): Pushback {
  const [value] = values;
  if (value === undefined) return NO_PUSHBACK;
  if (values.length > 1) return { kind: 'stop', because: 'repeated' };
  const text = value.toString();
  // gRFC A6: an unparseable value means "do not retry". parseInt would accept '10ms', and return NaN for 'soon', which would fire a
  // timer immediately.
  if (!INTEGER.test(text)) return { kind: 'stop', because: 'malformed' };
  const ms = Number(text);
  if (ms < 0) return { kind: 'stop', because: 'negative' };
  return { kind: 'delay', ms: Math.min(Math.abs(ms), MAX_TIMER_MS) };
}
