import { describe, expect, it } from 'vitest';
import { BusyClock } from '../../../../test/unit-support/busy-clock.js';
import { Wait } from './wait.js';

function make(ms: number, readsFirst = false) {
  const clock = new BusyClock();
  const ends: number[] = [];
  const wait = new Wait(clock, ms, readsFirst);
  void wait.over.then(() => ends.push(clock.now()));
  return { clock, ends, wait };
}

describe('Wait', () => {
  it('ends a Wait after its time', async () => {
    const { clock, ends } = make(100);
    await clock.advanceAsync(99);
    expect(ends).toEqual([]);
    await clock.advanceAsync(1);
    expect(ends).toEqual([100]);
    expect(clock.pending).toBe(0);
  });

  it('ends a Wait early and clears its timer on end(), even if end() is called twice', async () => {
    const { clock, ends, wait } = make(100);
    await clock.advanceAsync(40);
    wait.end();
    expect(clock.pending).toBe(0);
    wait.end();
    await clock.advanceAsync(1_000);
    expect(ends).toHaveLength(1);
  });

  it('ends a Wait `ms` after its latest restart(ms)', async () => {
    const { clock, ends, wait } = make(100);
    await clock.advanceAsync(40);
    wait.restart(20);
    await clock.advanceAsync(1_000);
    expect(ends).toEqual([60]);
  });

  it.each<[readsFirst: boolean, order: string[]]>([
    [false, ['wait', 'data']],
    [true, ['data', 'wait']],
  ])(
    'reads pending data before the end of a Wait only if readsFirst is true (readsFirst: %s)',
    async (readsFirst, order) => {
      const { clock, wait } = make(100, readsFirst);
      const seen: string[] = [];
      void wait.over.then(() => seen.push('wait'));
      clock.setTimer(() => seen.push('data'), 150);
      clock.block(200);
      await clock.advanceAsync(1_000);
      expect(seen).toEqual(order);
    },
  );
});
