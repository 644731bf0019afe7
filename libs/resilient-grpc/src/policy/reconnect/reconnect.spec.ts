import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CONNECT_FAILURES } from '../connect-failure/connect-failures.js';
import {
  pauseAfterUpdateMs,
  updateIntervalMs,
  firstBackoffMs,
  shortLivedBackoffMs,
  connectionAgeMs,
  connectTimeoutMs,
  earlyReconnectMs,
  nextWatch,
  type EarlyReconnectInput,
} from './reconnect-times.js';

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const middle = () => 0.5;

const RESTART = {
  insideGrace: true,
  wanted: true,
  outageMs: 0,
  lastClosedImmediately: false,
  failure: 'refused',
  connectAttempts: 1,
} as const;

describe('earlyReconnectMs', () => {
  it.each<[condition: string, change: Partial<EarlyReconnectInput>, expectedMs: number]>([
    ['after 100 ms if one attempt has failed', {}, 100],
    ['after 160 ms if two attempts have failed', { connectAttempts: 2 }, 160],
    ['after 250 ms if three attempts have failed', { connectAttempts: 3 }, 250],
    ['after 250 ms if 500 attempts have failed', { connectAttempts: 500 }, 250],
    ['after 250 ms at the end of the grace period', { connectAttempts: 9, insideGrace: false }, 250],
    ['after 625 ms half a minute later', { connectAttempts: 99, insideGrace: false, outageMs: 30_000 }, 625],
    ['after 1 s from a minute on', { connectAttempts: 99, insideGrace: false, outageMs: 600_000 }, 1_000],
    ['after 500 ms if the last attempt took the whole connect timeout', { failure: 'timeout' }, 500],
    ['after 500 ms for any number of attempts that timed out', { failure: 'timeout', connectAttempts: 9 }, 500],
    ['after 700 ms if the peer does not use HTTP/2', { failure: 'not-http2' }, 700],
    [
      'after 700 ms for any number of attempts to a peer that does not use HTTP/2',
      { failure: 'not-http2', connectAttempts: 9 },
      700,
    ],
  ])('reconnects early %s', (_, change, expected) => {
    expect(earlyReconnectMs({ ...RESTART, ...change }, middle)).toBeCloseTo(expected);
  });

  it.each<[condition: string, change: Partial<EarlyReconnectInput>]>([
    ['outside the grace period after a timeout', { insideGrace: false, failure: 'timeout' }],
    ['outside the grace period if the peer does not use HTTP/2', { insideGrace: false, failure: 'not-http2' }],
    ['if no call waits or fails', { wanted: false }],
    ['if the last connection closed immediately', { lastClosedImmediately: true }],
    ['after a failed TLS handshake', { failure: CONNECT_FAILURES['tls-failed'].reconnect }],
    ['if the last error does not describe a failed connection attempt', { failure: undefined }],
  ])('does not reconnect early %s', (_, change) => {
    expect(earlyReconnectMs({ ...RESTART, ...change }, middle)).toBeUndefined();
  });

  it('makes at least six connection attempts within 4.5 s (the shortest default grace period) and at most nine within 5 s if the peer does not use HTTP/2', () => {
    const failure = 'not-http2';
    const waitMs = (random: number, connectAttempts: number) =>
      earlyReconnectMs({ ...RESTART, failure, connectAttempts }, () => random) ?? 0;
    fc.assert(
      fc.property(fc.array(chance, { minLength: 9, maxLength: 9 }), (randoms) => {
        const waits = randoms.map((random, index) => waitMs(random, index + 1));
        const sum = (count: number) => waits.slice(0, count).reduce((total, ms) => total + ms, 0);
        expect(sum(5)).toBeLessThan(4_500);
        expect(sum(9)).toBeGreaterThan(5_000);
      }),
    );
  });

  it('returns a reconnect delay between 50 ms and 375 ms if the connection was refused', () => {
    fc.assert(
      fc.property(fc.nat(10_000), chance, (connectAttempts, random) => {
        const ms = earlyReconnectMs({ ...RESTART, connectAttempts }, () => random);
        expect(ms).toBeGreaterThanOrEqual(50);
        expect(ms).toBeLessThanOrEqual(375);
      }),
    );
  });
});

describe('shortLivedBackoffMs', () => {
  it('increases the backoff after short-lived connections by a factor of 1.6, from 1 s to 5 s', () => {
    expect([1, 2, 3, 4, 5, 99].map((count) => shortLivedBackoffMs(count, middle))).toEqual([
      1_000,
      1_600,
      expect.closeTo(2_560),
      expect.closeTo(4_096),
      5_000,
      5_000,
    ]);
  });

  it('opens 10 to 35 connections in 60 s to a server that closes them immediately', () => {
    fc.assert(
      fc.property(chance, (random) => {
        let connections = 0;
        for (let now = 0; now < 60_000; now += shortLivedBackoffMs(connections, () => random)) connections++;
        expect(connections).toBeLessThanOrEqual(35);
        expect(connections).toBeGreaterThanOrEqual(10);
      }),
    );
  });
});

describe('connectTimeoutMs', () => {
  it.each([
    [20_000, 0, 20_000],
    [20_000, 1, 40_000],
    [20_000, 2, 80_000],
    [20_000, 3, 120_000],
    [20_000, 5_000, 120_000],
    [300_000, 3, 300_000],
  ])(
    'maps a base connect timeout of %i ms after %i timeouts to a connect timeout of %i ms',
    (baseMs, timeouts, expected) => {
      const input = { baseMs, timeouts, graceMs: 5_000, insideGrace: false };
      expect(connectTimeoutMs(input)).toBe(expected);
    },
  );

  it.each([
    [1_000, 5_000, true, 1_000],
    [1_000, 5_000, false, 4_000],
    [5_000, 5_000, true, 20_000],
  ])(
    'maps a base connect timeout of %i ms after 2 timeouts and a grace period of %i ms (inside the grace period: %s) to a connect timeout of %i ms',
    (baseMs, graceMs, insideGrace, ms) => {
      expect(connectTimeoutMs({ baseMs, timeouts: 2, graceMs, insideGrace })).toBe(ms);
    },
  );
});

describe('connectionAgeMs', () => {
  it.each([
    [0, 54_000],
    [0.5, 60_000],
    [1, 66_000],
  ])('varies the maximum age of a connection by ±10% (random number %d: age of %i ms)', (random, expected) => {
    expect(connectionAgeMs(60_000, () => random)).toBeCloseTo(expected);
  });
});

describe('firstBackoffMs', () => {
  it.each([
    [0, 5_000, 1_000],
    [0.5, 1_000, 750],
    [1, 1_000, 500],
    [1, 300, 150],
  ])('is at most the given one, and at least half of it (random number %d of %i ms: %i ms)', (random, ms, expected) => {
    expect(firstBackoffMs(ms, () => random)).toBe(expected);
  });
});

describe('nextWatch', () => {
  const end = { code: 14 };

  it.each([
    [0, middle, 1_000],
    [0, () => 0, 800],
    [0, () => 1, 1_200],
    [1, middle, 1_600],
    [7, middle, 26_844],
    [8, middle, 30_000],
    [99, middle, 30_000],
  ])('retries a health Watch that failed before its first response, after %i failures', (failures, random, delayMs) => {
    const next = nextWatch({ answered: false, livedMs: 5_000, failures, end }, random);
    expect(next).toEqual({ kind: 'retry', delayMs: expect.closeTo(delayMs, 0) as number, failures: failures + 1 });
  });

  it.each([
    [1_000, middle, { kind: 'restart', delayMs: 50, failures: 0 }],
    [1_000, () => 0, { kind: 'restart', delayMs: 0, failures: 0 }],
    [999, middle, { kind: 'retry', delayMs: 1_000, failures: 1 }],
  ])('resets the backoff of a health Watch that received a response and lasted %i ms', (livedMs, random, next) => {
    expect(nextWatch({ answered: true, livedMs, failures: 7, end }, random)).toEqual(next);
  });
});

describe('updateIntervalMs', () => {
  it.each([
    [0, 100],
    [1, 100],
    [2, 200],
    [4, 800],
    [5, 1_000],
    [5_000, 1_000],
  ])('maps %i resolver updates without addresses to an update interval of %i ms', (emptyUpdates, expected) => {
    expect(updateIntervalMs(emptyUpdates)).toBe(expected);
  });
});

describe('pauseAfterUpdateMs', () => {
  it.each([
    [0, 0],
    [30, 300],
    [500, 5_000],
    [60_000, 5_000],
  ])('maps an address update that took %i ms to a pause of %i ms before the next update', (tookMs, expected) => {
    expect(pauseAfterUpdateMs(tookMs)).toBe(expected);
  });
});
