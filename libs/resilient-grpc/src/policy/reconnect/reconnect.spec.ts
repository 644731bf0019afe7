import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { connectTimeoutMs } from './connect-timeout.js';
import { earlyReconnectMs } from './early-reconnect.js';
import { shortLivedBackoffMs } from './short-lived-backoff.js';

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const middle = () => 0.5;

const RESTART = {
  insideGrace: true,
  waiting: true,
  lastShortLived: false,
  failure: 'connect ECONNREFUSED 127.0.0.1:50051',
  connectAttempts: 1,
};

const TIMED_OUT = 'timed out after 0.5 s: the TCP connection was not accepted';

const WRONG_VERSION = '0A00010B:SSL routines:ssl3_get_record:wrong version number:../deps/openssl/x.c:355:';
const DISCONNECTED = 'Client network socket disconnected before secure TLS connection was established';

describe('earlyReconnectMs', () => {
  it.each([
    ['after a restart', {}, 100],
    ['after 160 ms at the second attempt', { connectAttempts: 2 }, 160],
    ['after 250 ms at the third attempt', { connectAttempts: 3 }, 250],
    ['after 250 ms at the 500th attempt', { connectAttempts: 500 }, 250],
    ['if the attempt was reset', { failure: 'Error: read ECONNRESET' }, 100],
    ['if the name does not resolve', { failure: 'getaddrinfo ENOTFOUND orders' }, 100],
    ['if the resolver failed', { failure: 'Name resolution failed for target dns:orders:50051' }, 100],
    ['if the unix socket does not exist', { failure: 'connect ENOENT /run/orders.sock' }, 100],
    ['after 500 ms if the attempt took the whole connect timeout', { failure: TIMED_OUT }, 500],
    ['after 500 ms for any number of attempts that timed out', { failure: TIMED_OUT, connectAttempts: 9 }, 500],
    ['after 700 ms if the peer sent something other than HTTP/2', { failure: 'Protocol error' }, 700],
    ['after 700 ms if the peer closed the connection', { failure: 'Failed to connect' }, 700],
    [
      'after 700 ms for any number of connections that the peer closed',
      { failure: 'Failed to connect', connectAttempts: 9 },
      700,
    ],
    ['after 700 ms if the peer sent something other than TLS', { failure: `80AC:error:${WRONG_VERSION}` }, 700],
    ['after 700 ms if the peer closed the connection before TLS', { failure: DISCONNECTED }, 700],
  ])('reconnects early %s', (_, change, expected) => {
    expect(earlyReconnectMs({ ...RESTART, ...change }, middle)).toBeCloseTo(expected);
  });

  it.each([
    ['outside the grace period', { insideGrace: false }],
    ['if no call is waiting', { waiting: false }],
    ['if the last connection closed immediately', { lastShortLived: true }],
    ['if the network timed out', { failure: 'connect ETIMEDOUT 10.0.0.1:50051' }],
    ['if TLS failed', { failure: 'self-signed certificate in certificate chain' }],
  ])('leaves the reconnect to the backoff %s', (_, change) => {
    expect(earlyReconnectMs({ ...RESTART, ...change }, middle)).toBeUndefined();
  });

  it('fits six to nine attempts into the shortest default grace period if the peer does not speak HTTP/2', () => {
    const failure = 'Protocol error';
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

  it('stays between 50 ms and 375 ms', () => {
    fc.assert(
      fc.property(fc.nat(10_000), chance, (tries, random) => {
        const ms = earlyReconnectMs({ ...RESTART, connectAttempts: tries }, () => random);
        expect(ms).toBeGreaterThanOrEqual(50);
        expect(ms).toBeLessThanOrEqual(375);
      }),
    );
  });
});

describe('shortLivedBackoffMs', () => {
  it('grows from 1 s by a factor of 1.6 to 5 s', () => {
    expect([1, 2, 3, 4, 5, 99].map((count) => shortLivedBackoffMs(count, middle))).toEqual([
      1_000,
      1_600,
      expect.closeTo(2_560),
      expect.closeTo(4_096),
      5_000,
      5_000,
    ]);
  });

  it('opens at most 35 connections in 60 s to a server that closes them immediately', () => {
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
    [20_000, 1, 32_000],
    [20_000, 3, 81_920],
    [20_000, 4, 120_000],
    [20_000, 5_000, 120_000],
    [300_000, 3, 300_000],
  ])('returns for a base of %i ms after %i attempts a timeout of %i ms', (base, tries, expected) => {
    expect(connectTimeoutMs(base, tries)).toBeCloseTo(expected);
  });
});
