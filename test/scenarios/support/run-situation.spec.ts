import { describe, expect, it } from 'vitest';
import { runSituation } from './run-situation.js';
import type { Run, Situation } from './situation.js';

function situation(body: (run: Run) => Promise<object>): Situation {
  const measure = async (run: Run) => {
    await body(run);
    return { calls: 1 };
  };
  return { name: 'tea', promise: 'Tea.', bounds: { calls: { atLeast: 1 } }, measure };
}

describe('runSituation()', () => {
  const lines: string[] = [];
  const options = { length: 'short', which: 'all', seed: 1, report: (line: string) => void lines.push(line) } as const;

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
    'runSituation() passes the option `which` to measure() of the situation: %s',
    async (which) => {
      let received: Run | undefined;
      await runSituation(
        situation((run) => Promise.resolve((received = run))),
        { ...options, which },
      );
      expect(received?.which).toBe(which);
    },
  );

  it('runSituation() runs the remaining cleanups after one fails, and rejects with the error of that cleanup', async () => {
    const cleaned: string[] = [];
    await expect(runSituation(badlyCleanedUp(cleaned), options)).rejects.toThrow('no cleanup');
    expect(cleaned).toEqual(['last', 'first']);
  });

  it('runSituation() rejects with the error of the situation, even if a cleanup fails later', async () => {
    const cleaned: string[] = [];
    await expect(runSituation(badlyCleanedUp(cleaned, new Error('the cause')), options)).rejects.toThrow('the cause');
    expect(cleaned).toEqual(['last', 'first']);
    expect(lines).toContain('cleanup failed: Error: no cleanup');
  });
});
