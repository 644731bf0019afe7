import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareNumbers, CursorTrack, MAX_OVERLAP } from './cursor-track.js';

/** What becomes of messages with these cursors; 'call' begins a call, { beat } is a heartbeat. */
function places(seed: unknown, steps: readonly unknown[], compare = compareNumbers) {
  const track = new CursorTrack<unknown>(seed, compare);
  const seen: unknown[] = [];
  for (const step of steps) {
    if (step === 'call') track.callBegan();
    else if (typeof step === 'object' && step !== null && 'beat' in step) track.beat(step.beat);
    else seen.push(track.take(step));
  }
  return [...seen, track.cursor];
}

const byId = (a: unknown, b: unknown): number => Number(BigInt(a as string) - BigInt(b as string));

const NEITHER = ['not-comparable', 'not-comparable'];

describe('the place of a message', () => {
  it.each<[string, unknown, readonly unknown[], readonly unknown[]]>([
    ['in order is newer', 0, [1, 2, 5], ['newer', 'newer', 'newer', 5]],
    ['of the first message may be the seed, or before it', 3, [3, 4], ['newer', 'newer', 4]],
    ['of a first message that comes with a later call may be the seed too', 0, ['call', 0, 1], ['newer', 'newer', 1]],
    [
      'up to the last one is overlap at the beginning of a call',
      0,
      [1, 2, 'call', 1, 2, 3],
      ['newer', 'newer', 'overlap', 'overlap', 'newer', 3],
    ],
    [
      'before the last one is back, once the call has brought something newer',
      0,
      [1, 2, 'call', 2, 3, 2],
      ['newer', 'newer', 'overlap', 'newer', 'went-back', 3],
    ],
    ['before the last one is back within the first call', 0, [2, 1], ['newer', 'went-back', 2]],
    ['that several have is the same', 0, [1, 1, 2, 2], ['newer', 'same', 'newer', 'same', 2]],
    [
      'that several have is overlap in the next call',
      0,
      [1, 1, 'call', 1, 1, 2],
      ['newer', 'same', 'overlap', 'overlap', 'newer', 2],
    ],
    ['may be a bigint among numbers', 0, [1n, 2, 2n, 3n], ['newer', 'newer', 'same', 'newer', 3n]],
    [
      'is told apart beyond what a number holds',
      2n ** 60n,
      [2n ** 60n + 1n, 2n ** 60n + 2n],
      ['newer', 'newer', 2n ** 60n + 2n],
    ],
    [
      'is told up to the last number that has no neighbour of the same value',
      0,
      [2 ** 53 - 2, 2 ** 53 - 1],
      ['newer', 'newer', 2 ** 53 - 1],
    ],
    ['that is a number beyond that cannot be compared', 0, [1, 2 ** 53, 2 ** 60], ['newer', ...NEITHER, 1]],
    ['that is a number beyond that, below 0, cannot either', 0, [-(2 ** 53), -1e300], [...NEITHER, 0]],
    ['may be Infinity, which is no rounded one', 0, [1, Infinity], ['newer', 'newer', Infinity]],
    ['that is NaN cannot be compared', 0, [1, NaN], ['newer', 'not-comparable', 1]],
    ['that is a text where numbers were promised cannot be compared', 0, ['1'], ['not-comparable', 0]],
    ['that is nothing cannot be compared', 0, [undefined, null], ['not-comparable', 'not-comparable', 0]],
  ])('%s', (_, seed, steps, expected) => {
    expect(places(seed, ['call', ...steps])).toEqual(expected);
  });

  it('is by the compare function where there is one: ids of 64 bits in a text', () => {
    const steps = ['call', '9', '10', 'call', '9', '10', '18446744073709551615'];
    expect(places('0', steps, byId)).toEqual(['newer', 'newer', 'overlap', 'overlap', 'newer', '18446744073709551615']);
  });

  it('is by the compare function where there is one: numbers of any size', () => {
    expect(places(0, ['call', 2 ** 60], (a, b) => Number(a) - Number(b))).toEqual(['newer', 2 ** 60]);
  });

  it('is never dropped in silence, where ids of 64 bits are read as numbers', () => {
    const id = fc.bigInt({ min: 2n ** 53n - 9n, max: 2n ** 53n + 9n });
    const ids = fc.uniqueArray(id, { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(ids, fc.nat(4), (unordered, resumedAfter) => {
        const sorted = unordered.toSorted((a, b) => (a < b ? -1 : 1)).map(Number);
        const seen = places(0, ['call', ...sorted.slice(0, resumedAfter), 'call', ...sorted.slice(resumedAfter)]);
        const firstLoud = seen.indexOf('not-comparable');
        // From there on nothing is looked at: it ends the stream.
        const before = firstLoud === -1 ? seen.slice(0, -1) : seen.slice(0, firstLoud);
        expect(before.every((place) => place === 'newer')).toBe(true);
      }),
      { examples: [[[2n ** 53n, 2n ** 53n + 1n], 1]] },
    );
  });

  it('needs nothing of the seed before a message has come', () => {
    expect(places(undefined, ['call', '9', '10'], byId)).toEqual(['newer', 'newer', '10']);
  });

  it('that is nothing cannot be compared either where a compare function would call it equal', () => {
    const loose = (a: unknown, b: unknown): number => ((a as number) < (b as number) ? -1 : a === b ? 0 : +(a! > b!));
    expect(places(0, [1, undefined, null, NaN], loose)).toEqual([
      'newer',
      'not-comparable',
      'not-comparable',
      'not-comparable',
      1,
    ]);
  });

  it('cannot be told where a compare function gives no number', () => {
    expect(places(0, [1], () => true as unknown as number)).toEqual(['not-comparable', 0]);
    expect(places(0, [1], () => NaN)).toEqual(['not-comparable', 0]);
  });

  it('is too much overlap after so many messages that were had', () => {
    const had = Array<number>(MAX_OVERLAP).fill(5);
    const allowed = had.map(() => 'overlap');
    expect(places(0, ['call', 5, 'call', ...had, 6])).toEqual(['newer', ...allowed, 'newer', 6]);
    expect(places(0, ['call', 5, 'call', ...had, 5]).slice(-2)).toEqual(['too-much-overlap', 5]);
    const twice = ['call', 5, 'call', ...had, 'call', ...had, 6];
    expect(places(0, twice).slice(-2)).toEqual(['newer', 6]);
  });
});

describe('a heartbeat', () => {
  it.each<[string, readonly unknown[], readonly unknown[]]>([
    ['moves the cursor on where it is newer', [1, { beat: 7 }], ['newer', 7]],
    ['moves it on before the first message', [{ beat: 7 }], [7]],
    ['that is not newer changes nothing', [5, { beat: 3 }, { beat: 5 }, 6], ['newer', 'newer', 6]],
    [
      'without a cursor changes nothing',
      [5, { beat: undefined }, { beat: NaN }, { beat: 'x' }, 6],
      ['newer', 'newer', 6],
    ],
    ['has told of everything up to it', [{ beat: 7 }, 7, 6], ['same', 'went-back', 7]],
    [
      'is what the next call overlaps with',
      [1, { beat: 7 }, 'call', 6, 7, 8],
      ['newer', 'overlap', 'overlap', 'newer', 8],
    ],
  ])('%s', (_, steps, expected) => {
    expect(places(0, ['call', ...steps])).toEqual(expected);
  });
});

describe('a heartbeat before the first message', () => {
  it('is beyond a seed that is nothing, and not beyond one that is later', () => {
    expect(places(undefined, ['call', { beat: '7' }, '8'], byId)).toEqual(['newer', '8']);
    expect(places(undefined, ['call', { beat: '7' }], byId)).toEqual(['7']);
    expect(places(undefined, ['call', { beat: undefined }, '8'], byId)).toEqual(['newer', '8']);
    expect(places(9, ['call', { beat: 0 }])).toEqual([9]);
  });
});

describe('progress of a call', () => {
  it('is a cursor that advanced since it began, by a message or a heartbeat', () => {
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
    expect(progressed(() => track.beat(1))).toBe(false);
    expect(progressed(() => track.beat(2))).toBe(true);
  });
});
