const MS_PER_UNIT: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Maximum `grpc-timeout` in the unit `m` (milliseconds): eight digits, about 27.8 hours. */
const MAX_MS = 99_999_999;

/**
 * Parses a `grpc-timeout` header into milliseconds; returns `undefined` if it is invalid
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
 */
export function parseGrpcTimeout(text: string): number | undefined {
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const perUnit = MS_PER_UNIT[unit];
  return perUnit === undefined ? undefined : Number(digits) * perUnit;
}

/** Formats `ms` as a `grpc-timeout` header in whole milliseconds, rounded up; returns `undefined` for more than eight digits. */
export function formatGrpcTimeout(ms: number): string | undefined {
  return ms <= MAX_MS ? `${String(Math.ceil(ms))}m` : undefined;
}
