import { describe, expect, it } from 'vitest';
import { runScenario } from './run-scenario.js';
import type { Run, Scenario } from './scenario.js';

function scenario(body: (run: Run) => Promise<object>): Scenario {
  const measure = async (run: Run) => {
    await body(run);
    return { calls: 1 };
  };
  return { name: 'tea', promise: 'Tea.', bounds: { calls: { atLeast: 1 } }, measure };
}

describe('runScenario()', () => {
  const lines: string[] = [];
  const options = { length: 'short', which: 'all', seed: 1, report: (line: string) => void lines.push(line) } as const;

  /** A scenario with three cleanups; the second one fails. */
  function badlyCleanedUp(cleaned: string[], failWith?: Error): Scenario {
    return scenario(async ({ onEnd }) => {
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
    'runScenario() passes the option `which` to measure() of the scenario: %s',
    async (which) => {
      let received: Run | undefined;
      await runScenario(
        scenario((run) => Promise.resolve((received = run))),
        { ...options, which },
      );
      expect(received?.which).toBe(which);
    },
  );

  it('runScenario() runs the remaining cleanups after one fails, and rejects with the error of that cleanup', async () => {
    const cleaned: string[] = [];
    await expect(runScenario(badlyCleanedUp(cleaned), options)).rejects.toThrow('no cleanup');
    expect(cleaned).toEqual(['last', 'first']);
  });

  it('runScenario() rejects with the error of the scenario, even if a cleanup fails later', async () => {
    const cleaned: string[] = [];
    await expect(runScenario(badlyCleanedUp(cleaned, new Error('the cause')), options)).rejects.toThrow('the cause');
    expect(cleaned).toEqual(['last', 'first']);
    expect(lines).toContain('cleanup failed: Error: no cleanup');
  });
});
