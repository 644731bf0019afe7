const MS_PER_UNIT: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** `grpc-timeout` has eight digits at most: 27 hours in milliseconds. */
const MAX_MS = 99_999_999;

/**
 * The length that a `grpc-timeout` header names, in milliseconds; undefined where it is none
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
 */
export function parseGrpcTimeout(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const perUnit = MS_PER_UNIT[unit];
  return perUnit === undefined ? undefined : Number(digits) * perUnit;
}

/** `ms` milliseconds as a `grpc-timeout` header; `undefined` if they are too many for one in milliseconds. */
export function formatGrpcTimeout(ms: number): string | undefined {
  return ms <= MAX_MS ? `${String(Math.ceil(ms))}m` : undefined;
}
