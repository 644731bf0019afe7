import { describe, expect, it } from 'vitest';
import type { Connectivity } from '../call/connectivity.js';
import { channelHealth } from './channel-health.js';

const outage = { since: new Date(1_000), graceEndsAt: new Date(6_000), attempts: 3, flapping: false };
const of = (connectivity: Partial<Connectivity>, epochNow = 2_000, accepting = true, waitingCalls = 0, failed = 19) =>
  channelHealth(
    {
      target: 'orders:1',
      connectivity: { state: 'READY', since: new Date(0), ...connectivity },
      accepting,
      waitingCalls,
      outageGraceMs: 5_000,
      recentCalls: () => ({ windowMs: 30_000.4, ended: 20, failed, codes: {} }),
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

  it.each([
    ['the time of a grace', 5_000, 1, 1, 'up'],
    ['longer, while nobody needs it', 60_000, 0, 0, 'up'],
    ['longer, while a call waits', 5_001, 1, 0, 'degraded'],
    ['longer, and calls have failed', 5_001, 0, 1, 'degraded'],
  ])('that connects for the first time for %s', (_, now, waiting, failed, status) => {
    expect(of({ state: 'CONNECTING' }, now, true, waiting, failed).status).toBe(status);
  });

  it.each([
    ['READY', {}, false],
    ['IDLE', {}, false],
    ['READY', { outage }, true],
    ['CONNECTING', {}, true],
  ] as const)('that is %s with %o tells its last error: %s', (state, more, tells) => {
    expect('lastError' in of({ state, lastError: 'connect ECONNREFUSED', ...more }).details).toBe(tells);
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
