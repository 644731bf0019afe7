import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import { LogLimiter } from './log-limiter.js';

function make(maxKinds?: number) {
  const clock = new VirtualClock();
  const written: string[] = [];
  const limit = new LogLimiter<string>(
    clock,
    (text, repeats, isOfOthers) => {
      written.push(`${text}${repeats === 0 ? '' : ` +${repeats}`}${repeats > 0 && isOfOthers ? ' of others' : ''}`);
    },
    maxKinds === undefined ? {} : { maxKinds },
  );
  const add = (kind: string, text: string) => limit.log(kind, text);
  return { clock, written, limit, add };
}

describe('LogLimiter', () => {
  it('writes the first log entry of a kind, counts repeats, and writes the latest repeat with the count', () => {
    const { clock, written, add } = make();
    for (let i = 1; i <= 100; i++) add('a', `failure ${i}`);
    expect(written).toEqual(['failure 1']);
    clock.advance(60_000);
    expect(written).toEqual(['failure 1', 'failure 100 +99']);
  });

  it('writes one summary of log entries per interval while repeats continue', () => {
    const { clock, written, add } = make();
    for (let second = 0; second < 180; second++) {
      add('a', `failure ${second}`);
      clock.advance(1_000);
    }
    expect(written).toEqual(['failure 0', 'failure 59 +59', 'failure 119 +60', 'failure 179 +60']);
  });

  it('writes a log entry immediately if an interval without repeats has passed', () => {
    const { clock, written, add } = make();
    add('a', 'one');
    clock.advance(60_000);
    expect(written).toEqual(['one']);
    add('a', 'two');
    expect(written).toEqual(['one', 'two']);
  });

  it('limits each kind of log entry separately', () => {
    const { written, add } = make();
    add('a', 'of a');
    add('b', 'of b');
    add('a', 'of a again');
    expect(written).toEqual(['of a', 'of b']);
  });

  it('limits log entries of all kinds beyond maxKinds as one kind', () => {
    const { clock, written, add } = make(2);
    for (const kind of ['a', 'b', 'c', 'd', 'e', 'a']) add(kind, `of ${kind}`);
    expect(written).toEqual(['of a', 'of b', 'of c']);
    expect(clock.pending).toBe(3);
    clock.advance(60_000);
    expect(written.slice(3)).toEqual(['of a +1', 'of e +2 of others']);
    // After the earlier kinds have expired, later kinds are counted separately.
    clock.advance(120_000);
    for (const kind of ['d', 'd', 'e']) add(kind, `of ${kind}`);
    expect(written.slice(5)).toEqual(['of d', 'of e']);
  });

  it('writes suppressed log entries and clears all timers on close()', () => {
    const { clock, written, limit, add } = make();
    add('a', 'one');
    add('a', 'two');
    add('b', 'three');
    limit.close();
    expect(written).toEqual(['one', 'three', 'two +1']);
    expect(clock.pending).toBe(0);
  });

  it('drops suppressed log entries and clears all timers on clear()', () => {
    const { clock, written, limit, add } = make();
    add('a', 'one');
    add('a', 'two');
    expect(limit.isLimiting('a')).toBe(true);
    limit.clear();
    expect(written).toEqual(['one']);
    expect(clock.pending).toBe(0);
    expect(limit.isLimiting('a')).toBe(false);
  });

  it('writes up to maxLines() log lines per interval immediately, and applies later changes of maxLines()', () => {
    const clock = new VirtualClock();
    const written: string[] = [];
    let maxLines = 3;
    const limit = new LogLimiter<string>(clock, (text, repeats) => written.push(`${clock.now()} ${text} +${repeats}`), {
      maxLines: () => maxLines,
    });
    for (let second = 0; second < 10; second++) {
      limit.log('a', `failure ${second}`);
      clock.advance(1_000);
    }
    expect(written).toEqual(['0 failure 0 +0', '1000 failure 1 +0', '2000 failure 2 +0']);
    maxLines = 1;
    clock.advance(51_999);
    expect(written).toHaveLength(3);
    clock.advance(1);
    expect(written.slice(3)).toEqual(['62000 failure 9 +7']);
    limit.log('a', 'later');
    maxLines = 2;
    limit.log('a', 'latest');
    expect(written.slice(4)).toEqual(['62000 latest +2']);
    clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });
});
