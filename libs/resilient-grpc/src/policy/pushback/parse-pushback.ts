import { MAX_TIMER_MS } from '../../time/clock.js';

export const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

export type Pushback =
  | { readonly kind: 'none' }
  /** If the call is retried, retry after exactly `ms` milliseconds. */
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'stop' };

/** Absence of pushback; shared, because nearly all attempts have none. */
export const NO_PUSHBACK: Pushback = { kind: 'none' };

/** An integer of 0 or more. */
const INTEGER = /^(?:\+?\d+|-0+)$/;

/**
 * Parses all values of `grpc-retry-pushback-ms` in the trailers of an attempt
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback). As in grpc-go, repeated values mean "do not retry".
 */
export function parsePushback(values: readonly (string | Buffer)[]): Pushback {
  const [value] = values;
  if (value === undefined) return NO_PUSHBACK;
  const text = value.toString();
  // gRFC A6: an unparseable or negative value means "do not retry". parseInt would accept '10ms', and return NaN for 'soon', which would
  // fire a timer immediately.
  if (values.length > 1 || !INTEGER.test(text)) return { kind: 'stop' };
  return { kind: 'delay', ms: Math.min(Math.abs(Number(text)), MAX_TIMER_MS) };
}
