import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { LogDeduplicator } from './log-deduplicator.js';

function make(most?: number) {
  const clock = new VirtualClock();
  const written: string[] = [];
  const limit = new LogDeduplicator<string>(
    clock,
    60_000,
    (text, count, isOfOthers) => {
      written.push(`${text} +${count}${isOfOthers ? ' of others' : ''}`);
    },
    most,
  );
  const say = (kind: string, text: string) => limit.say(kind, text, (line) => written.push(line));
  return { clock, written, limit, say };
}

describe('texts that repeat', () => {
  it('are told once, then counted, and told again with the count', () => {
    const { clock, written, say } = make();
    for (let i = 1; i <= 100; i++) say('a', `failure ${i}`);
    expect(written).toEqual(['failure 1']);
    clock.advance(60_000);
    expect(written).toEqual(['failure 1', 'failure 100 +99']);
  });

  it('are told once in its time while they go on', () => {
    const { clock, written, say } = make();
    for (let second = 0; second < 180; second++) {
      say('a', `failure ${second}`);
      clock.advance(1_000);
    }
    expect(written).toEqual(['failure 0', 'failure 59 +59', 'failure 119 +60', 'failure 179 +60']);
  });

  it('are told at once again after a quiet time', () => {
    const { clock, written, say } = make();
    say('a', 'one');
    clock.advance(60_000);
    expect(written).toEqual(['one']);
    say('a', 'two');
    expect(written).toEqual(['one', 'two']);
  });

  it('are counted by kind', () => {
    const { written, say } = make();
    say('a', 'of a');
    say('b', 'of b');
    say('a', 'of a again');
    expect(written).toEqual(['of a', 'of b']);
  });

  it('are one kind more where there are too many kinds', () => {
    const { clock, written, say } = make(2);
    for (const kind of ['a', 'b', 'c', 'd', 'e', 'a']) say(kind, `of ${kind}`);
    expect(written).toEqual(['of a', 'of b', 'of c']);
    expect(clock.pending).toBe(3);
    clock.advance(60_000);
    expect(written.slice(3)).toEqual(['of a +1', 'of e +2 of others']);
    // As soon as there is room they are kinds of their own again.
    clock.advance(120_000);
    for (const kind of ['d', 'd', 'e']) say(kind, `of ${kind}`);
    expect(written.slice(5)).toEqual(['of d', 'of e']);
  });

  it('that were held back are told at the end, and no timer stays', () => {
    const { clock, written, limit, say } = make();
    say('a', 'one');
    say('a', 'two');
    say('b', 'three');
    limit.close();
    expect(written).toEqual(['one', 'three', 'two +1']);
    expect(clock.pending).toBe(0);
  });
});
