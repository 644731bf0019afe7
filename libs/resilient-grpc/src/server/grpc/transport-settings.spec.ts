import { describe, expect, it } from 'vitest';
import { transportKeepalive } from './grpc-server-options.js';

describe('transportKeepalive', () => {
  it.each([
    [undefined, 60_000],
    [5_000, 5_000],
    [2 ** 31 - 1, Infinity],
    [2 ** 40, Infinity],
    [0, Infinity],
  ])('with an interval of %s between pings, pings every %s ms', (given, used) => {
    const options = given === undefined ? {} : { 'grpc.keepalive_time_ms': given };
    expect(transportKeepalive(options)).toEqual({ keepaliveTimeMs: used, keepaliveTimeoutMs: 20_000 });
  });
});
