import { describe, expect, it } from 'vitest';
import { VirtualClock } from './virtual-clock.js';

describe('VirtualClock', () => {
  it('advances the monotonic and epoch time of a virtual clock by the milliseconds passed to advance()', () => {
    const clock = new VirtualClock(1_000_000);
    expect([clock.now(), clock.epoch()]).toEqual([0, 1_000_000]);
    clock.advance(250);
    expect([clock.now(), clock.epoch()]).toEqual([250, 1_000_250]);
  });

  it('runs virtual timers in the order of their due times and then of their creation', () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name}@${clock.now()}`);
    clock.setTimer(note('c'), 30);
    clock.setTimer(note('a'), 10);
    clock.setTimer(note('b1'), 20);
    clock.setTimer(note('b2'), 20);
    clock.setTimer(note('never'), 31);
    clock.advance(30);
    expect(seen).toEqual(['a@10', 'b1@20', 'b2@20', 'c@30']);
    expect(clock.nextTimerInMs).toBe(1);
  });

  it('runs a virtual timer that another timer has set if the new timer is due within the same advance()', () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    const tick = () => {
      seen.push(clock.now());
      clock.setTimer(tick, 100);
    };
    clock.setTimer(tick, 100);
    clock.advance(350);
    expect(seen).toEqual([100, 200, 300]);
    expect(clock.pending).toBe(1);
  });

  it('does not run a virtual timer that an earlier timer cleared', () => {
    const clock = new VirtualClock();
    let ran = false;
    const late = clock.setTimer(() => (ran = true), 20);
    clock.setTimer(() => late.clear(), 10);
    clock.advance(100);
    expect(ran).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it('runs deferred tasks and virtual timers with a negative delay on advance(0)', () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.defer(() => seen.push('deferred'));
    clock.setTimer(() => seen.push('negative'), -5);
    expect(seen).toEqual([]);
    clock.advance(0);
    expect(seen).toEqual(['deferred', 'negative']);
  });

  it('runs promise callbacks between virtual timers in advanceAsync()', async () => {
    const clock = new VirtualClock();
    const virtualTime = (ms: number) => new Promise<void>((resolve) => clock.setTimer(resolve, ms));
    const seen: number[] = [];
    void (async () => {
      for (let i = 0; i < 3; i += 1) {
        await virtualTime(100);
        seen.push(clock.now());
      }
    })();
    await clock.advanceAsync(1_000);
    expect(seen).toEqual([100, 200, 300]);
    expect(clock.now()).toBe(1_000);
  });

  it('rejects a virtual timer of NaN ms, which Node would run after 1 ms', () => {
    expect(() => new VirtualClock().setTimer(() => undefined, NaN)).toThrow(
      'VirtualClock: expected a delay in milliseconds, got NaN',
    );
  });
});
