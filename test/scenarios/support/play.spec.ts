import { describe, expect, it } from 'vitest';
import { playSituation } from './play.js';
import type { Run, Situation } from './situation.js';

function situation(play: (run: Run) => Promise<object>): Situation {
  const measure = async (run: Run) => {
    await play(run);
    return { calls: 1 };
  };
  return { name: 'tea', promise: 'Tea.', bounds: { calls: { atLeast: 1 } }, play: measure };
}

describe('playSituation()', () => {
  const lines: string[] = [];
  const options = { length: 'short', which: 'all', seed: 1, say: (line: string) => void lines.push(line) } as const;

  /** A situation with three cleanups; the second one fails. */
  function badlyCleanedUp(cleaned: string[], failWith?: Error): Situation {
    return situation(async ({ onEnd }) => {
      onEnd(() => cleaned.push('first'));
      onEnd(() => {
        throw new Error('no cleanup');
      });
      onEnd(() => cleaned.push('last'));
      if (failWith !== undefined) throw failWith;
      return {};
    });
  }

  it.each(['counts', 'all'] as const)(
    'playSituation() passes the option `which` to play() of the situation: %s',
    async (which) => {
      let received: Run | undefined;
      await playSituation(
        situation((run) => Promise.resolve((received = run))),
        { ...options, which },
      );
      expect(received?.which).toBe(which);
    },
  );

  it('playSituation() runs the remaining cleanups after one fails, and rejects with the error of that cleanup', async () => {
    const cleaned: string[] = [];
    await expect(playSituation(badlyCleanedUp(cleaned), options)).rejects.toThrow('no cleanup');
    expect(cleaned).toEqual(['last', 'first']);
  });

  it('playSituation() rejects with the error of the situation, even if a cleanup fails later', async () => {
    const cleaned: string[] = [];
    await expect(playSituation(badlyCleanedUp(cleaned, new Error('the cause')), options)).rejects.toThrow('the cause');
    expect(cleaned).toEqual(['last', 'first']);
    expect(lines).toContain('cleanup failed: Error: no cleanup');
  });
});
