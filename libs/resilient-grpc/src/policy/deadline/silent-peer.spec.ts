import { describe, expect, it } from 'vitest';
import { checkReceived, silenceMs, silenceRemedy, type ReceivedBytes } from './silent-peer.js';

/** Runs a check every 250 ms, the first at 250 ms, and returns the last result. `bytes` lists the total received bytes at each check. */
const runChecks = (...bytes: readonly number[]) =>
  bytes.reduce<ReceivedBytes | undefined>(
    (last, read, index) => checkReceived(last, read, (index + 1) * 250),
    undefined,
  );

describe('silenceMs', () => {
  it.each([
    [
      'counts the silence of a peer from the first check that read the current byte count',
      runChecks(7, 7, 7, 7),
      7,
      0,
      1_000,
      750,
    ],
    [
      'counts the silence of a peer from the start of the attempt if the silence began earlier',
      runChecks(7, 7, 7, 7),
      7,
      600,
      1_000,
      400,
    ],
    [
      'reports no silence of a peer if data arrived after the last check',
      runChecks(7, 7, 7, 7),
      8,
      0,
      1_000,
      undefined,
    ],
    [
      'reports no silence of a peer if data arrived more than 500 ms after the start of the attempt',
      runChecks(7, 7, 9, 9),
      9,
      0,
      1_000,
      undefined,
    ],
    ['reports no silence of a peer if it lasted less than 250 ms', runChecks(7, 7), 7, 300, 549, undefined],
    ['reports no silence of a peer before the first check', runChecks(), 7, 0, 200, undefined],
    [
      'reports no silence of a peer if the checks were delayed, because data may be unread',
      runChecks(7, 7),
      7,
      0,
      1_001,
      undefined,
    ],
  ])('%s', (_title, last, bytesRead, startedAt, now, expected) => {
    expect(silenceMs(last, bytesRead, startedAt, now)).toBe(expected);
  });
});

it.each([
  ['the given time if the silence began earlier', 500, 500],
  ['the start of the silence if that is later than the given time', 100, 750],
])('counts the silence of a peer from %s', (_title, countFrom, expected) => {
  expect(silenceMs(runChecks(7, 7, 7, 7), 7, 600, 1_000, countFrom)).toBe(expected);
});

describe('silenceRemedy', () => {
  it('recommends keepalive for a silent peer only if keepalive is off', () => {
    expect(silenceRemedy(5_049, false)).toBe(
      'nothing received on the connection for 5.0 s: the server is slow, stuck, or unreachable; set keepalive to detect connections that no longer respond',
    );
    expect(silenceRemedy(5_049, true)).toBe(
      'nothing received on the connection for 5.0 s: the server is slow, stuck, or unreachable',
    );
  });

  it('recommends a longer timeout if a peer was silent for less than 5 s', () => {
    expect(silenceRemedy(4_949, false)).toBe(
      'nothing received on the connection for 4.9 s: the server is slow, stuck, or unreachable; if it is only slow, raise the timeout',
    );
  });
});
