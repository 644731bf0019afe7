import type { Problems } from './problem.js';

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
 * Reads a Duration in proto3 JSON ("0.5s") as milliseconds. It must be greater than 0, or at least 0 if `zero` is true. Returns
 * `undefined` and adds a problem if it is invalid. The parser of grpc-js is not used because it reads "0.5s" as 5 nanoseconds.
 */
export function readDuration(value: unknown, path: string, problems: Problems, zero = false): number | undefined {
  const match = typeof value === 'string' ? DURATION.exec(value) : null;
  const ms = match && match[1] === '' ? toMs(match[2] ?? '') : undefined;
  if (ms !== undefined && (ms > 0 || zero)) return ms;
  const least = zero ? 'of 0 or more' : 'greater than 0';
  problems.add(path, `a duration ${least}, in seconds as a string`, value, meant(value) ?? '"0.5s" for half a second');
  return undefined;
}

// Shifts the decimal point in the text, because 0.07 × 1000 is 70.00000000000001.
function toMs(seconds: string): number {
  const [whole = '0', fraction = ''] = seconds.split('.');
  const shifted = fraction.padEnd(3, '0');
  return Number(`${whole}${shifted.slice(0, 3)}.${shifted.slice(3)}`);
}

function meant(value: unknown): string | undefined {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) {
    return `"${value}s" if it is in seconds, "${value / 1_000}s" if it is in milliseconds`;
  }
  if (typeof value === 'object' && value !== null && 'seconds' in value) {
    const nanos = 'nanos' in value ? Number(value.nanos) : 0;
    const seconds = Number(value.seconds) + nanos / 1e9;
    return Number.isFinite(seconds) && seconds > 0 ? `"${seconds}s"` : undefined;
  }
  const match = typeof value === 'string' ? WITH_UNIT.exec(value.trim()) : null;
  const amount = Number(match?.[1]);
  if (!(amount > 0)) return undefined;
  return `"${amount * (SECONDS_PER[match?.[2]?.toLowerCase() ?? 's'] ?? 1)}s"`;
}
