import { describe, expect, it } from 'vitest';
import type { Connectivity } from '../call/connectivity.js';
import { channelHealth } from './grpc-channel.health-indicator.js';

const outage = { since: new Date(1_000), graceEndsAt: new Date(6_000), connectAttempts: 3, flapping: false };
/** Reads the health at `now`, in monotonic milliseconds. */
const read = (connectivity: Partial<Connectivity>, now = 2_000, accepting = true, waitingCalls = 0, failed = 19) =>
  channelHealth(
    {
      target: 'orders:1',
      connectivity: { state: 'READY', since: new Date(0), ...connectivity },
      accepting,
      waitingCalls,
      outageGraceMs: 5_000,
      isGraceOver: connectivity.outage !== undefined && now >= connectivity.outage.graceEndsAt.getTime(),
      unreachableMs: now,
      recentCalls: () => ({ windowMs: 30_000.4, ended: 20, failed, codes: {} }),
    } as never,
    true,
  );

describe('channelHealth', () => {
  it.each([
    ['up if READY', {}, 2_000, true, 'up'],
    ['up if IDLE', { state: 'IDLE' }, 2_000, true, 'up'],
    ['up if connecting for the first time, within the grace period', { state: 'CONNECTING' }, 2_000, true, 'up'],
    ['degraded in an outage within its grace period', { state: 'TRANSIENT_FAILURE', outage }, 5_999, true, 'degraded'],
    ['down in an outage beyond its grace period', { state: 'TRANSIENT_FAILURE', outage }, 6_000, true, 'down'],
    [
      'down beyond the grace period of an outage that has not ended, even if READY again',
      { outage },
      7_000,
      true,
      'down',
    ],
    ['down if draining', {}, 2_000, false, 'down'],
    ['down if closed', { state: 'SHUTDOWN' }, 2_000, false, 'down'],
  ] as const)('reports a channel as %s', (_, connectivity, now, accepting, status) => {
    expect(read(connectivity, now, accepting).status).toBe(status);
  });

  it.each([
    ['up within the grace period', 5_000, 1, 1, 'up', undefined],
    ['up beyond the grace period if no call is waiting and none has failed', 60_000, 0, 0, 'up', undefined],
    ['degraded beyond the grace period if a call is waiting', 5_001, 1, 0, 'degraded', 'not connected yet; calls wait'],
    [
      'degraded beyond the grace period if calls have failed',
      5_001,
      0,
      1,
      'degraded',
      'not connected yet; calls have failed',
    ],
  ])('reports a channel that connects for the first time as %s', (_, now, waiting, failed, status, message) => {
    const health = read({ state: 'CONNECTING' }, now, true, waiting, failed);
    expect([health.status, health.details.message]).toEqual([status, message]);
  });

  it.each([
    ['omits lastError from the health of a READY channel', 'READY', {}, false],
    ['omits lastError from the health of an IDLE channel', 'IDLE', {}, false],
    ['includes lastError in the health of a READY channel in an outage', 'READY', { outage }, true],
    ['includes lastError in the health of a CONNECTING channel', 'CONNECTING', {}, true],
  ] as const)('%s', (_, state, more, expected) => {
    expect('lastError' in read({ state, lastError: 'connect ECONNREFUSED', ...more }).details).toBe(expected);
  });

  it('includes the state, the last error with its remedy, and the outage in the health details of a channel, but no doctor command', () => {
    const doctorCommand = 'npx nestjs-resilient-grpc doctor orders:1 --key /etc/tls/client-key.pem';
    const lastFailure = { kind: 'refused', remedy: 'start the server', doctorCommand } as const;
    const lastError = 'connect ECONNREFUSED';
    expect(read({ state: 'TRANSIENT_FAILURE', lastError, lastFailure, outage }).details).toEqual({
      state: 'TRANSIENT_FAILURE',
      target: 'orders:1',
      since: '1970-01-01T00:00:00.000Z',
      lastError: 'connect ECONNREFUSED',
      remedy: 'start the server',
      calls: { windowMs: 30_000, ended: 20, failed: 19 },
      message: 'outage; calls wait',
      outage: {
        since: '1970-01-01T00:00:01.000Z',
        graceEndsAt: '1970-01-01T00:00:06.000Z',
        connectAttempts: 3,
        flapping: false,
      },
    });
  });
});
