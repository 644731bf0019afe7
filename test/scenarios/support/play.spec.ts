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

  /** A situation with three clean-ups, of which the second fails. */
  function badlyCleanedUp(cleaned: string[], failWith?: Error): Situation {
    return situation(async ({ onEnd }) => {
      onEnd(() => cleaned.push('first'));
      onEnd(() => {
        throw new Error('no clean-up');
      });
      onEnd(() => cleaned.push('last'));
      if (failWith !== undefined) throw failWith;
      return {};
    });
  }

  it.each(['counts', 'all'] as const)('passes the kind of bounds to its situation: %s', async (which) => {
    let given: Run | undefined;
    await playSituation(
      situation((run) => Promise.resolve((given = run))),
      { ...options, which },
    );
    expect(given?.which).toBe(which);
  });

  it('continues the cleanup after a cleanup fails, and rejects with that error', async () => {
    const cleaned: string[] = [];
    await expect(playSituation(badlyCleanedUp(cleaned), options)).rejects.toThrow('no clean-up');
    expect(cleaned).toEqual(['last', 'first']);
  });

  it('rejects with the error of the situation, even if a cleanup fails after it', async () => {
    const cleaned: string[] = [];
    await expect(playSituation(badlyCleanedUp(cleaned, new Error('the cause')), options)).rejects.toThrow('the cause');
    expect(cleaned).toEqual(['last', 'first']);
    expect(lines).toContain('clean-up failed: Error: no clean-up');
  });
});
