import { describe, expect, it } from 'vitest';
import { takeKeepalive } from './grpc-server-options.js';

describe('takeKeepalive', () => {
  it('removes keepalive from the server options passed to grpc-js', () => {
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

  it.each([undefined, 2 ** 31 - 1, 2 ** 40, 0])(
    'turns keepalive off for each value that turns it off in grpc-js (%s)',
    (time) => {
      const given = time === undefined ? {} : { 'grpc.keepalive_time_ms': time };
      expect(takeKeepalive(given).keepalive).toEqual({ keepaliveTimeMs: Infinity, keepaliveTimeoutMs: 20_000 });
    },
  );

  it('leaves keepalive to grpc-js if connections cannot be observed', () => {
    const given = { 'grpc.keepalive_time_ms': 60_000 };
    expect(takeKeepalive(given, false)).toEqual({
      serverOptions: given,
      keepalive: { keepaliveTimeMs: Infinity, keepaliveTimeoutMs: 20_000 },
    });
  });
});
