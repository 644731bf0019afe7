import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextPace, type ReleaseStep } from './next-pace.js';
import { DEFAULT_RELEASE_POLICY } from './release-policy.js';

const STEP: ReleaseStep = {
  perSecond: 100,
  startPerSecond: 50,
  floorPerSecond: 0,
  deadlinePacePerSecond: 0,
  good: 0,
  slow: 0,
  failed: 0,
  quiet: 0,
  outstanding: 0,
  outstandingBefore: 0,
  sinceSlowedMs: Infinity,
  isStreamLimited: false,
};

const decide = (step: Partial<ReleaseStep>) => nextPace({ ...STEP, ...step }, DEFAULT_RELEASE_POLICY);

describe('nextPace', () => {
  it.each<[string, Partial<ReleaseStep>, number, string]>([
    ['increases the release pace after usual responses', { good: 1, outstanding: 9 }, 125, 'answered'],
    ['increases the release pace if no call is in flight', {}, 125, 'answered'],
    ['keeps the release pace if no response arrived', { outstanding: 1 }, 100, 'no-answer'],
    [
      'keeps the release pace while calls wait for a free stream, even if deadlines require more',
      { good: 1, deadlinePacePerSecond: 900, isStreamLimited: true },
      100,
      'stream-limit',
    ],
    [
      'raises the release pace to the floor while calls wait for a free stream',
      { good: 1, floorPerSecond: 200, isStreamLimited: true },
      200,
      'stream-limit',
    ],
    [
      'reduces the release pace after slow responses while calls wait for a free stream',
      { slow: 1, isStreamLimited: true },
      60,
      'too-slow',
    ],
    [
      'increases the release pace faster if deadlines require it',
      { good: 1, deadlinePacePerSecond: 1_000 },
      135,
      'answered',
    ],
    [
      'increases the release pace only to the pace that deadlines require',
      { good: 1, deadlinePacePerSecond: 130 },
      130,
      'answered',
    ],
    [
      'keeps the release pace if no response arrived, even if deadlines require more',
      { outstanding: 1, deadlinePacePerSecond: 900 },
      100,
      'no-answer',
    ],
    ['increases the release pace if a quarter of the responses are slow', { good: 6, slow: 2 }, 125, 'answered'],
    ['reduces the release pace if more than a quarter of the responses are slow', { good: 5, slow: 2 }, 60, 'too-slow'],
    ['reduces the release pace after failures', { good: 5, failed: 2 }, 60, 'too-slow'],
    [
      'reduces the release pace after slow responses, even if deadlines require more',
      { slow: 1, deadlinePacePerSecond: 900 },
      60,
      'too-slow',
    ],
    [
      'does not raise a release pace that failures have reduced, if responses are slow',
      { perSecond: 10, slow: 1 },
      10,
      'too-slow',
    ],
    ['reduces the release pace at most once per 300 ms', { slow: 1, sinceSlowedMs: 299 }, 100, 'slowed'],
    ['reduces the release pace again after 300 ms', { slow: 1, sinceSlowedMs: 300 }, 60, 'too-slow'],
    [
      'does not reduce the release pace while the number of calls in flight falls',
      { slow: 9, outstanding: 8, outstandingBefore: 10 },
      100,
      'catching-up',
    ],
    [
      'reduces the release pace while the number of calls in flight falls only slightly',
      { slow: 9, outstanding: 9, outstandingBefore: 10 },
      60,
      'too-slow',
    ],
    [
      'reduces the release pace if only a few calls were in flight before their number fell',
      { slow: 9, outstanding: 1, outstandingBefore: 9 },
      60,
      'too-slow',
    ],
    [
      'reduces the release pace after failures while the number of calls in flight falls',
      { failed: 9, outstanding: 1, outstandingBefore: 10 },
      60,
      'too-slow',
    ],
    [
      'raises the release pace to the floor while the number of calls in flight falls',
      { slow: 1, outstandingBefore: 10, floorPerSecond: 190 },
      190,
      'catching-up',
    ],
    [
      'does not reduce the release pace below the starting pace after slow responses',
      { slow: 1, perSecond: 60 },
      50,
      'too-slow',
    ],
    ['reduces the release pace below the starting pace after failures', { failed: 1, perSecond: 50 }, 30, 'too-slow'],
    [
      'does not reduce the release pace below a quarter of the starting pace after failures',
      { failed: 1, perSecond: 13 },
      12.5,
      'too-slow',
    ],
    [
      'does not reduce the release pace below the floor after slow responses',
      { slow: 1, floorPerSecond: 90 },
      90,
      'too-slow',
    ],
    [
      'does not reduce the release pace below the floor after failures',
      { failed: 1, floorPerSecond: 90 },
      90,
      'too-slow',
    ],
    [
      'raises the release pace to the floor even within 300 ms after a reduction',
      { slow: 1, sinceSlowedMs: 0, floorPerSecond: 190 },
      190,
      'slowed',
    ],
    [
      'raises the release pace to the floor even if no response arrived',
      { outstanding: 1, floorPerSecond: 190 },
      190,
      'no-answer',
    ],
    ['raises the release pace to the floor after usual responses', { good: 1, floorPerSecond: 190 }, 190, 'answered'],
    ['counts quiet streams of a release as accepted', { quiet: 3, failed: 1 }, 125, 'answered'],
    ['does not count quiet streams of a release as fast', { quiet: 30, good: 2, slow: 1 }, 60, 'too-slow'],
  ])('%s', (_, step, perSecond, because) => {
    expect(decide(step)).toEqual({ perSecond, because });
  });

  it('returns a release pace of at least the floor, and at most the larger of the floor and 1.35 times the previous pace', () => {
    const figures = fc.record({
      perSecond: fc.double({ min: 0.1, max: 1e5, noNaN: true }),
      floorPerSecond: fc.double({ min: 0, max: 1e5, noNaN: true }),
      deadlinePacePerSecond: fc.double({ min: 0, max: 1e6, noNaN: true }),
      good: fc.nat(50),
      slow: fc.nat(50),
      failed: fc.nat(50),
      quiet: fc.nat(50),
      outstanding: fc.nat(50),
      outstandingBefore: fc.nat(50),
      sinceSlowedMs: fc.nat(1_000),
    });
    fc.assert(
      fc.property(figures, (step) => {
        const { perSecond } = decide({ ...step, startPerSecond: step.perSecond / 2 });
        expect(perSecond).toBeGreaterThanOrEqual(step.floorPerSecond);
        expect(perSecond).toBeLessThanOrEqual(Math.max(step.perSecond * 1.35, step.floorPerSecond));
      }),
    );
  });
});
