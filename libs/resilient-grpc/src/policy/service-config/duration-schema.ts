import { converted, type Schema } from '../options/option-schemas.js';

// proto3 JSON: seconds with up to nine decimals, followed by 's'.
const DURATION = /^(-?)(\d{1,12}(?:\.\d{1,9})?)s$/;
const WITH_UNIT = /^(\d+(?:\.\d+)?)\s*(ms|millis|s|sec|seconds?|m|min|minutes?|h)?$/i;
const SECONDS_PER: Readonly<Record<string, number>> = {
  ms: 0.001,
  millis: 0.001,
  m: 60,
  min: 60,
  minute: 60,
  minutes: 60,
  h: 3_600,
};

/**
 * A Duration in proto3 JSON ("0.5s") or in grpc-js's form (`{ seconds, nanos }`), converted to milliseconds. It must be above 0, or at
 * least 0 if `allowsZero` is true. The service config parser of grpc-js is not used because it reads a timeout of "0.5s" as 5 nanoseconds.
 * `suggest` returns the text to write instead of an invalid value. If it returns `undefined`, the error suggests the converted value for a duration in another form, and an example
 * for any other value.
 */
export function duration(
  allowsZero = false,
  suggest: (value: unknown) => string | undefined = () => undefined,
): Schema<number> {
  return converted(
    `a duration ${allowsZero ? 'of 0 or more' : 'above 0'}, in seconds as a string`,
    (value) => {
      const match = DURATION.exec(textOf(value) ?? '');
      const ms = match && match[1] === '' ? toMs(match[2] ?? '') : undefined;
      return ms !== undefined && (ms > 0 || allowsZero) ? ms : undefined;
    },
    (value) => suggest(value) ?? suggestDuration(value) ?? '"0.5s" for half a second',
  );
}

/** Returns a duration as a string; `undefined` for a value that is neither a string nor in grpc-js's form. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null || !('seconds' in value)) return undefined;
  const nanos = 'nanos' in value ? Number(value.nanos) : 0;
  return `${(Number(value.seconds) + nanos / 1e9).toFixed(9)}s`;
}

// Shifts the decimal point in the text, because 0.07 × 1000 is 70.00000000000001.
function toMs(seconds: string): number {
  const [whole = '0', fraction = ''] = seconds.split('.');
  const shifted = fraction.padEnd(3, '0');
  return Number(`${whole}${shifted.slice(0, 3)}.${shifted.slice(3)}`);
}

/** Returns the duration to write, in quotes, instead of a number or a string with another unit. */
function suggestDuration(value: unknown): string | undefined {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) {
    return `"${seconds(value)}" if it is in seconds, "${seconds(value / 1_000)}" if it is in milliseconds`;
  }
  const match = typeof value === 'string' ? WITH_UNIT.exec(value.trim()) : null;
  const amount = Number(match?.[1]);
  if (!(amount > 0)) return undefined;
  return `"${seconds(amount * (SECONDS_PER[match?.[2]?.toLowerCase() ?? 's'] ?? 1))}"`;
}

// Rounds to nine decimals, because a product such as 9 × 0.001 has more decimals than a Duration permits.
function seconds(amount: number): string {
  return `${amount.toFixed(9).replace(/\.?0+$/, '')}s`;
}
