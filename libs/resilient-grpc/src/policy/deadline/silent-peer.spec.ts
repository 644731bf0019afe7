import { describe, expect, it } from 'vitest';
import { silenceMs, silenceRemedy } from './silent-peer.js';

it.each([
  ['from the last bytes', 250, 0, 0, 750],
  ['from the start of the attempt if the silence began earlier', 250, 600, 600, 400],
  ['from the given time if the silence began earlier', 250, 600, 500, 500],
  ['from the last bytes if they are later than the given time', 250, 600, 100, 750],
  ['unless bytes arrived more than 500 ms after the start of the attempt', 600, 0, 0, undefined],
  ['unless it lasted less than 250 ms', 800, 300, 300, undefined],
])('counts the silence of a peer %s', (_title, readAt, startedAt, countFrom, expected) => {
  expect(silenceMs(readAt, startedAt, 1_000, countFrom)).toBe(expected);
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
