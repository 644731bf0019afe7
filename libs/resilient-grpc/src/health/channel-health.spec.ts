import { describe, expect, it } from 'vitest';
import type { Connectivity } from '../call/connectivity.js';
import { channelHealth } from './channel-health.js';

const outage = { since: new Date(1_000), graceEndsAt: new Date(6_000), attempts: 3, flapping: false };
const of = (connectivity: Partial<Connectivity>, epochNow = 2_000, accepting = true) =>
  channelHealth(
    {
      target: 'orders:1',
      connectivity: { state: 'READY', since: new Date(0), ...connectivity },
      accepting,
      recentCalls: () => ({ windowMs: 30_000.4, ended: 20, failed: 19, codes: {} }),
    },
    true,
    epochNow,
  );

describe('health of a channel', () => {
  it.each([
    ['READY', {}, 2_000, true, 'up'],
    ['idle', { state: 'IDLE' }, 2_000, true, 'up'],
    ['connecting for the first time', { state: 'CONNECTING' }, 2_000, true, 'up'],
    ['in an outage inside its grace', { state: 'TRANSIENT_FAILURE', outage }, 5_999, true, 'degraded'],
    ['in an outage beyond its grace', { state: 'TRANSIENT_FAILURE', outage }, 6_000, true, 'down'],
    ['READY again in an outage that is not over', { outage }, 7_000, true, 'down'],
    ['draining', {}, 2_000, false, 'down'],
    ['closed', { state: 'SHUTDOWN' }, 2_000, false, 'down'],
  ] as const)('that is %s', (_, connectivity, now, accepting, status) => {
    expect(of(connectivity, now, accepting).status).toBe(status);
  });

  it('tells the state, its last error and the outage', () => {
    expect(of({ state: 'TRANSIENT_FAILURE', lastError: 'connect ECONNREFUSED', outage }).details).toEqual({
      state: 'TRANSIENT_FAILURE',
      target: 'orders:1',
      since: '1970-01-01T00:00:00.000Z',
      lastError: 'connect ECONNREFUSED',
      calls: { windowMs: 30_000, ended: 20, failed: 19 },
      message: 'outage; calls wait',
      outage: {
        since: '1970-01-01T00:00:01.000Z',
        graceEndsAt: '1970-01-01T00:00:06.000Z',
        attempts: 3,
        flapping: false,
      },
    });
  });
});
