import { describe, expect, it } from 'vitest';
import {
  decideOnce,
  judgeOnce,
  mayHaveRun,
  noteOnce,
  type OnceDecision,
  type OnceEnd,
  type OnceProgress,
} from './decide-once.js';
import type { OnceMark } from './once-fields.js';

const FRESH: OnceProgress = { scope: 's1', mayHaveRun: false, rescopes: 0 };
const RAN: OnceProgress = { ...FRESH, mayHaveRun: true };
const ASKS: OnceProgress = { ...FRESH, scope: undefined };
const REFUSED: Partial<OnceEnd> = { isPathRefused: true };

function end(mark: OnceMark | undefined, change: Partial<OnceEnd> = {}): OnceEnd {
  return { mark, reached: 'yes', isPathRefused: false, ...change };
}

/** Each end, with the decisions of a call that cannot have run, and of one that may have, and whether the attempt may have run. */
const ENDS: readonly [OnceMark | undefined, Partial<OnceEnd>, fresh: OnceDecision, ran: OnceDecision, runs: boolean][] =
  [
    [undefined, {}, 'by-policy', 'by-policy', true],
    [undefined, { reached: 'maybe' }, 'by-policy', 'by-policy', true],
    [undefined, { reached: 'no' }, 'by-policy', 'by-policy', false],
    // A proxy may have passed it on before.
    [undefined, REFUSED, 'refused', 'refused', true],
    ['running', {}, 'wait', 'wait', true],
    ['elsewhere', {}, 'rescope', 'in-doubt', false],
    ['released', {}, 'by-policy', 'by-policy', false],
    ['not-run', {}, 'by-policy', 'by-policy', false],
    ['guarded', {}, 'by-policy', 'by-policy', false],
    ['kept', {}, 'final', 'final', true],
    ['replayed', {}, 'final', 'final', true],
    ['in-doubt', {}, 'final', 'final', false],
    ['mismatch', {}, 'final', 'final', false],
    ['late', {}, 'final', 'final', false],
    ['closed', {}, 'final', 'final', false],
    ['unknown', {}, 'final', 'final', false],
    ['of-a-later-version' as OnceMark, {}, 'final', 'final', false],
  ];

describe('decideOnce', () => {
  it('sends a call on its own path if a question is refused, unless an attempt may have run', () => {
    expect(decideOnce(ASKS, end(undefined, REFUSED))).toBe('plain');
    expect(decideOnce({ ...ASKS, mayHaveRun: true }, end(undefined, REFUSED))).toBe('refused');
  });

  it.each(ENDS)(
    'after %s %o decides %s, or if an earlier attempt may have run %s',
    (mark, change, fresh, ran, runs) => {
      expect(decideOnce(FRESH, end(mark, change))).toBe(fresh);
      expect(decideOnce(RAN, end(mark, change))).toBe(ran);
      expect(mayHaveRun(FRESH, end(mark, change))).toBe(runs);
      // An attempt that asks runs no handler.
      expect(mayHaveRun(ASKS, end(mark, change))).toBe(false);
    },
  );

  it('takes over the scope of four refusals, then sends the call on its own path', () => {
    const decisions = [0, 1, 2, 3, 4].map((rescopes) => decideOnce({ ...FRESH, rescopes }, end('elsewhere')));
    expect(decisions).toEqual(['rescope', 'rescope', 'rescope', 'rescope', 'plain']);
    expect(decideOnce({ ...RAN, rescopes: 4 }, end('elsewhere'))).toBe('in-doubt');
  });
});

describe('judgeOnce', () => {
  it.each<[string, OnceProgress, OnceEnd, isOver: boolean, object]>([
    ['a lost attempt', FRESH, end(undefined, { reached: 'maybe' }), false, { decision: 'by-policy', reached: 'maybe' }],
    ['a lost attempt after the last begin', FRESH, end(undefined), true, { decision: 'final', reached: 'yes' }],
    ['a lost question', ASKS, end(undefined, { reached: 'maybe' }), true, { decision: 'by-policy', reached: 'no' }],
    ['a refused path', ASKS, end(undefined, REFUSED), false, { decision: 'plain', reached: 'no' }],
    ['another store', FRESH, end('elsewhere'), false, { decision: 'rescope', reached: 'no' }],
    ['a store that was lost', RAN, end('elsewhere'), false, { decision: 'in-doubt', reached: 'maybe' }],
    ['a store that failed', FRESH, end('not-run'), false, { decision: 'by-policy', reached: 'no' }],
    ['a guard', FRESH, end('guarded'), false, { decision: 'by-policy', reached: 'yes' }],
    ['an end', FRESH, end('kept'), false, { decision: 'final', reached: 'yes' }],
  ])('judges %s', (_name, progress, shown, isOver, expected) => {
    expect(judgeOnce(progress, shown, isOver)).toEqual(expected);
  });
});

describe('noteOnce', () => {
  it('counts the stores that the call has named, and its question', () => {
    const rescope = { decision: 'rescope', reached: 'no' } as const;
    const asked = noteOnce(ASKS, 'elsewhere', rescope, 's1');
    expect(asked).toEqual({ ...FRESH, rescopes: 1 });
    expect(noteOnce(asked, 'elsewhere', rescope, 's2')).toEqual({ scope: 's2', mayHaveRun: false, rescopes: 2 });
  });

  it('never forgets that an attempt may have run', () => {
    const lost = noteOnce(FRESH, undefined, { decision: 'by-policy', reached: 'maybe' }, 's2');
    expect(lost).toEqual(RAN);
    expect(noteOnce(lost, 'not-run', { decision: 'by-policy', reached: 'no' }, 's2')).toEqual(RAN);
  });
});
