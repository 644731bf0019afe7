import { describe, expect, it } from 'vitest';
import { whyNotJudged } from './sentinel.js';
import { verdictOf } from './verdict.js';

describe('verdictOf', () => {
  const failures = { figure: 'reads failed', bound: { atMost: 0 }, timed: false };
  const latency = { figure: 'first answer, ms', bound: { atMost: 500 }, timed: true };

  it.each([
    ['reports a count within its bound as kept', { ...failures, value: 0, ok: true }, false, 'kept'],
    [
      'reports a count above its bound as broken on a quiet machine',
      { ...failures, value: 1, ok: false },
      false,
      'broken',
    ],
    [
      'reports a count above its bound as broken even on a busy machine',
      { ...failures, value: 1, ok: false },
      true,
      'broken',
    ],
    [
      'reports a duration within its bound as kept even on a busy machine',
      { ...latency, value: 499.9, ok: true },
      true,
      'kept',
    ],
    [
      'reports a duration above its bound as broken on a quiet machine',
      { ...latency, value: 501, ok: false },
      false,
      'broken',
    ],
    [
      'does not judge a duration above its bound on a busy machine',
      { ...latency, value: 501, ok: false },
      true,
      'not judged',
    ],
    [
      'reports a missing duration as broken even on a busy machine',
      { ...latency, value: undefined, ok: false },
      true,
      'broken',
    ],
  ] as const)('%s', (_, judgment, isMachineBusy, verdict) => {
    expect(verdictOf(judgment, isMachineBusy)).toBe(verdict);
  });
});

describe('whyNotJudged', () => {
  it('judges durations measured on a quiet machine, or on a system that does not report its CPU time', () => {
    expect(whyNotJudged({ maxTimerDelayMs: 100, othersPercent: 20, stolenPercent: 10 })).toBeUndefined();
    expect(whyNotJudged({ maxTimerDelayMs: 3 })).toBeUndefined();
  });

  it('names every figure of the machine load that is too high', () => {
    expect(whyNotJudged({ maxTimerDelayMs: 101.2, othersPercent: 48.4, stolenPercent: 11 })).toBe(
      'other programs used 48% of the CPU, the host withheld 11% of the CPU, timers fired up to 101 ms late',
    );
  });
});
