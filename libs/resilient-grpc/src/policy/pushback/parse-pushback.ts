/** What a server asked for with `grpc-retry-pushback-ms`. */
export type Pushback =
  | { readonly kind: 'none' }
  /** Send again after exactly `ms` milliseconds, if it is to be sent again. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Do not send again. */
  | { readonly kind: 'stop'; readonly because: 'negative' | 'malformed' | 'repeated' };

/** No pushback: what nearly every attempt has. */
export const NO_PUSHBACK: Pushback = { kind: 'none' };

const INTEGER = /^[+-]?\d+$/;

// A longer timer fires at once (Node).
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Reads all values of `grpc-retry-pushback-ms` in the trailers of an attempt
 * (https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback; repeated values as grpc-go has them).
 */
export function parsePushback(values: readonly (string | Buffer)[]): Pushback {
  const [value] = values;
  if (value === undefined) return NO_PUSHBACK;
  if (values.length > 1) return { kind: 'stop', because: 'repeated' };
  const text = value.toString();
  // A6: what cannot be read means "do not retry". parseInt would take '10ms', and make NaN of 'soon', whose timer fires at once.
  if (!INTEGER.test(text)) return { kind: 'stop', because: 'malformed' };
  const ms = Number(text);
  if (ms < 0) return { kind: 'stop', because: 'negative' };
  return { kind: 'delay', ms: Math.min(Math.abs(ms), LONGEST_MS) };
}
