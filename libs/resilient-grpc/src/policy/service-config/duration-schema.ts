import { converted, type Schema } from '../options/option-schemas.js';

// proto3 JSON: seconds with up to nine decimals, followed by 's'.
const DURATION = /^(-?)(\d{1,12}(?:\.\d{1,9})?)s$/;
/**
 * A Duration in proto3 JSON ("0.5s") or in grpc-js's form (`{ seconds, nanos }`), converted to milliseconds. It must be above 0, or at
 * least 0 if `allowsZero` is true. The service config parser of grpc-js is not used because it reads a timeout of "0.5s" as 5 nanoseconds.
 */
export function duration(allowsZero = false): Schema<number> {
  return converted(
    `a duration ${allowsZero ? 'of 0 or more' : 'above 0'}, in seconds as a string such as "0.5s"`,
    (value) => {
      const match = DURATION.exec(textOf(value) ?? '');
      const ms = match && match[1] === '' ? toMs(match[2] ?? '') : undefined;
      return ms !== undefined && (ms > 0 || allowsZero) ? ms : undefined;
    },
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
