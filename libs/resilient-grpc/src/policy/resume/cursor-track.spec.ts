import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareNumbers, CursorTrack, MAX_OVERLAP } from './cursor-track.js';

/**
 * Returns the result of `take` for each message, followed by the cursor. In `steps`, 'call' starts a call, an object with `heartbeat` is a
 * heartbeat, and any other value is the cursor of a message.
 */
function takeAll(seed: unknown, steps: readonly unknown[], compare = compareNumbers) {
  const track = new CursorTrack<unknown>(seed, compare);
  const seen: unknown[] = [];
  for (const step of steps) {
    if (step === 'call') track.callBegan();
    else if (typeof step === 'object' && step !== null && 'heartbeat' in step) track.heartbeat(step.heartbeat);
    else seen.push(track.take(step));
  }
  return [...seen, track.cursor];
}

const byId = (a: unknown, b: unknown): number => Number(BigInt(a as string) - BigInt(b as string));

const NOT_COMPARABLE_TWICE = ['not-comparable', 'not-comparable'];

describe('CursorTrack.take', () => {
  it.each<[string, unknown, readonly unknown[], readonly unknown[]]>([
    ['reports ascending cursors as newer', 0, [1, 2, 5], ['newer', 'newer', 'newer', 5]],
    ['accepts a first cursor that equals the seed', 3, [3, 4], ['newer', 'newer', 4]],
    ['accepts a first cursor that equals the seed, even in a later call', 0, ['call', 0, 1], ['newer', 'newer', 1]],
    [
      'reports cursors up to the last cursor as overlap at the start of a call',
      0,
      [1, 2, 'call', 1, 2, 3],
      ['newer', 'newer', 'overlap', 'overlap', 'newer', 3],
    ],
    [
      'reports a regression if a lower cursor follows a newer cursor in a later call',
      0,
      [1, 2, 'call', 2, 3, 2],
      ['newer', 'newer', 'overlap', 'newer', 'went-back', 3],
    ],
    [
      'reports a regression if a lower cursor follows a newer cursor in the first call',
      0,
      [2, 1],
      ['newer', 'went-back', 2],
    ],
    ['reports a repeated cursor as the same', 0, [1, 1, 2, 2], ['newer', 'same', 'newer', 'same', 2]],
    [
      'reports a repeated cursor as overlap in the next call',
      0,
      [1, 1, 'call', 1, 1, 2],
      ['newer', 'same', 'overlap', 'overlap', 'newer', 2],
    ],
    ['compares bigint cursors with numbers', 0, [1n, 2, 2n, 3n], ['newer', 'newer', 'same', 'newer', 3n]],
    [
      'distinguishes bigint cursors beyond the precision of a number',
      2n ** 60n,
      [2n ** 60n + 1n, 2n ** 60n + 2n],
      ['newer', 'newer', 2n ** 60n + 2n],
    ],
    ['accepts cursors up to 2^53 - 1', 0, [2 ** 53 - 2, 2 ** 53 - 1], ['newer', 'newer', 2 ** 53 - 1]],
    [
      'reports cursors of 2^53 or more as not comparable',
      0,
      [1, 2 ** 53, 2 ** 60],
      ['newer', ...NOT_COMPARABLE_TWICE, 1],
    ],
    ['reports cursors of -(2^53) or less as not comparable', 0, [-(2 ** 53), -1e300], [...NOT_COMPARABLE_TWICE, 0]],
    ['accepts the cursor Infinity, which is not a rounded number', 0, [1, Infinity], ['newer', 'newer', Infinity]],
    ['reports the cursor NaN as not comparable', 0, [1, NaN], ['newer', 'not-comparable', 1]],
    ['reports a string cursor as not comparable if there is no compare function', 0, ['1'], ['not-comparable', 0]],
    [
      'reports the cursors undefined and null as not comparable',
      0,
      [undefined, null],
      ['not-comparable', 'not-comparable', 0],
    ],
  ])('%s', (_, seed, steps, expected) => {
    expect(takeAll(seed, ['call', ...steps])).toEqual(expected);
  });

  it('uses the compare function for cursors that are 64-bit ids in strings', () => {
    const steps = ['call', '9', '10', 'call', '9', '10', '18446744073709551615'];
    expect(takeAll('0', steps, byId)).toEqual([
      'newer',
      'newer',
      'overlap',
      'overlap',
      'newer',
      '18446744073709551615',
    ]);
  });

  it('uses the compare function for cursors that are numbers beyond 2^53', () => {
    expect(takeAll(0, ['call', 2 ** 60], (a, b) => Number(a) - Number(b))).toEqual(['newer', 2 ** 60]);
  });

  it('never drops a message silently if 64-bit ids are read as numbers', () => {
    const id = fc.bigInt({ min: 2n ** 53n - 9n, max: 2n ** 53n + 9n });
    const ids = fc.uniqueArray(id, { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(ids, fc.nat(4), (unordered, resumedAfter) => {
        const sorted = unordered.toSorted((a, b) => (a < b ? -1 : 1)).map(Number);
        const seen = takeAll(0, ['call', ...sorted.slice(0, resumedAfter), 'call', ...sorted.slice(resumedAfter)]);
        const firstRejected = seen.indexOf('not-comparable');
        // The first cursor that is not comparable ends the stream, so later cursors do not count.
        const before = firstRejected === -1 ? seen.slice(0, -1) : seen.slice(0, firstRejected);
        expect(before.every((place) => place === 'newer')).toBe(true);
      }),
      { examples: [[[2n ** 53n, 2n ** 53n + 1n], 1]] },
    );
  });

  it('ignores an undefined cursor seed before the first message', () => {
    expect(takeAll(undefined, ['call', '9', '10'], byId)).toEqual(['newer', 'newer', '10']);
  });

  it('reports the cursors undefined, null, and NaN as not comparable even if the compare function accepts them', () => {
    const loose = (a: unknown, b: unknown): number => ((a as number) < (b as number) ? -1 : a === b ? 0 : +(a! > b!));
    expect(takeAll(0, [1, undefined, null, NaN], loose)).toEqual([
      'newer',
      'not-comparable',
      'not-comparable',
      'not-comparable',
      1,
    ]);
  });

  it('reports a cursor as not comparable if the compare function does not return a number', () => {
    expect(takeAll(0, [1], () => true as unknown as number)).toEqual(['not-comparable', 0]);
    expect(takeAll(0, [1], () => NaN)).toEqual(['not-comparable', 0]);
  });

  it('reports too much overlap after more than MAX_OVERLAP repeated messages in one call', () => {
    const repeats = Array<number>(MAX_OVERLAP).fill(5);
    const allowed = repeats.map(() => 'overlap');
    expect(takeAll(0, ['call', 5, 'call', ...repeats, 6])).toEqual(['newer', ...allowed, 'newer', 6]);
    expect(takeAll(0, ['call', 5, 'call', ...repeats, 5]).slice(-2)).toEqual(['too-much-overlap', 5]);
    const twice = ['call', 5, 'call', ...repeats, 'call', ...repeats, 6];
    expect(takeAll(0, twice).slice(-2)).toEqual(['newer', 6]);
  });
});

describe('CursorTrack.heartbeat', () => {
  it.each<[string, readonly unknown[], readonly unknown[]]>([
    ['advances the cursor if the heartbeat is newer', [1, { heartbeat: 7 }], ['newer', 7]],
    ['advances the cursor on a heartbeat before the first message', [{ heartbeat: 7 }], [7]],
    ['ignores a heartbeat that is not newer', [5, { heartbeat: 3 }, { heartbeat: 5 }, 6], ['newer', 'newer', 6]],
    [
      'ignores a heartbeat without a comparable cursor',
      [5, { heartbeat: undefined }, { heartbeat: NaN }, { heartbeat: 'x' }, 6],
      ['newer', 'newer', 6],
    ],
    ['compares later messages with the heartbeat', [{ heartbeat: 7 }, 7, 6], ['same', 'went-back', 7]],
    [
      'counts messages up to the heartbeat as overlap in the next call',
      [1, { heartbeat: 7 }, 'call', 6, 7, 8],
      ['newer', 'overlap', 'overlap', 'newer', 8],
    ],
  ])('%s', (_, steps, expected) => {
    expect(takeAll(0, ['call', ...steps])).toEqual(expected);
  });
});

describe('CursorTrack.heartbeat before the first message', () => {
  it('replaces an undefined cursor seed with the first heartbeat, but keeps a newer seed', () => {
    expect(takeAll(undefined, ['call', { heartbeat: '7' }, '8'], byId)).toEqual(['newer', '8']);
    expect(takeAll(undefined, ['call', { heartbeat: '7' }], byId)).toEqual(['7']);
    expect(takeAll(undefined, ['call', { heartbeat: undefined }, '8'], byId)).toEqual(['newer', '8']);
    expect(takeAll(9, ['call', { heartbeat: 0 }])).toEqual([9]);
  });
});

describe('CursorTrack.progressed', () => {
  it('reports progress if a message or a heartbeat has advanced the cursor since the call started', () => {
    const track = new CursorTrack<number>(0, compareNumbers);
    expect(track.progressed).toBe(false);
    const progressed = (step: () => void): boolean => {
      track.callBegan();
      step();
      return track.progressed;
    };
    expect(progressed(() => undefined)).toBe(false);
    expect(progressed(() => track.take(0))).toBe(true);
    expect(progressed(() => track.take(0))).toBe(false);
    expect(progressed(() => track.take(1))).toBe(true);
    expect(progressed(() => track.heartbeat(1))).toBe(false);
    expect(progressed(() => track.heartbeat(2))).toBe(true);
  });
});
