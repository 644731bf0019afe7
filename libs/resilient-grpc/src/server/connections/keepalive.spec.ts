import { describe, expect, it } from 'vitest';
import { takeKeepalive } from './keepalive.js';

describe('keepalive of the server', () => {
  it('is taken out of what grpc-js is given', () => {
    const given = {
      'grpc.keepalive_time_ms': 60_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.max_concurrent_streams': 7,
    };
    expect(takeKeepalive(given)).toEqual({
      serverOptions: { 'grpc.max_concurrent_streams': 7 },
      keepalive: { keepaliveTimeMs: 60_000, keepaliveTimeoutMs: 5_000 },
    });
  });

  it.each([undefined, 2 ** 31 - 1, 2 ** 40, 0])('is off where grpc-js has it off (%s)', (time) => {
    const given = time === undefined ? {} : { 'grpc.keepalive_time_ms': time };
    expect(takeKeepalive(given).keepalive).toEqual({ keepaliveTimeMs: Infinity, keepaliveTimeoutMs: 20_000 });
  });

  it('stays with grpc-js where connections cannot be seen', () => {
    const given = { 'grpc.keepalive_time_ms': 60_000 };
    expect(takeKeepalive(given, false)).toEqual({
      serverOptions: given,
      keepalive: { keepaliveTimeMs: Infinity, keepaliveTimeoutMs: 20_000 },
    });
  });
});
