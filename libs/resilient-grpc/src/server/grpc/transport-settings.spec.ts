import { describe, expect, it } from 'vitest';
import { transportSettings } from './transport-settings.js';

describe('transportSettings', () => {
  it.each([
    [undefined, 60_000],
    [5_000, 5_000],
    [2 ** 31 - 1, undefined],
    [2 ** 40, undefined],
    [0, undefined],
  ])('with an interval of %s between pings, pings every %s ms', (given, intervalMs) => {
    const options = given === undefined ? {} : { 'grpc.keepalive_time_ms': given };
    const { keepalive } = transportSettings(options, 1);
    expect(keepalive).toEqual(intervalMs === undefined ? undefined : { intervalMs, timeoutMs: 20_000 });
  });
});
