import { describe, expect, it } from 'vitest';
import { VirtualClock } from './virtual-clock.js';

describe('VirtualClock', () => {
  it('stands still until it is advanced, in monotonic and in epoch time alike', () => {
    const clock = new VirtualClock(1_000_000);
    expect([clock.now(), clock.epoch()]).toEqual([0, 1_000_000]);
    clock.advance(250);
    expect([clock.now(), clock.epoch()]).toEqual([250, 1_000_250]);
  });

  it('runs timers in the order in which they are due, ties in the order they were set, at their own time', () => {
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

  it('runs what a timer sets when that falls due in the same advance', () => {
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

  it('forgets a timer that was cleared, also by a timer before it', () => {
    const clock = new VirtualClock();
    let ran = false;
    const late = clock.setTimer(() => (ran = true), 20);
    clock.setTimer(() => clock.clearTimer(late), 10);
    clock.advance(100);
    expect(ran).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it('runs deferred tasks and timers of a negative length at an advance of nothing', () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.defer(() => seen.push('deferred'));
    clock.setTimer(() => seen.push('negative'), -5);
    expect(seen).toEqual([]);
    clock.advance(0);
    expect(seen).toEqual(['deferred', 'negative']);
  });

  it('lets promises run between timers when advanced asynchronously', async () => {
    const clock = new VirtualClock();
    const sleep = (ms: number) => new Promise<void>((resolve) => clock.setTimer(resolve, ms));
    const seen: number[] = [];
    void (async () => {
      for (let i = 0; i < 3; i += 1) {
        await sleep(100);
        seen.push(clock.now());
      }
    })();
    await clock.advanceAsync(1_000);
    expect(seen).toEqual([100, 200, 300]);
    expect(clock.now()).toBe(1_000);
  });

  it('refuses a timer of NaN, which Node would run at once', () => {
    expect(() => new VirtualClock().setTimer(() => undefined, NaN)).toThrow('a timer of NaN ms');
  });
});
