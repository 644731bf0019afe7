import { describe, expect, it } from 'vitest';
import { BusyClock } from '../testing/busy-clock.js';
import type { Clock } from './clock.js';
import { PeerTimer } from './peer-timer.js';

function make(ms: number) {
  const clock = new BusyClock();
  const firedAt: number[] = [];
  const timer = new PeerTimer(clock, ms, () => firedAt.push(clock.now()));
  return { clock, firedAt, timer };
}

/** `clock`, except for some of its functions. */
function changed(clock: Clock, functions: Partial<Clock>): Clock {
  return {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    setTimer: (task, ms) => clock.setTimer(task, ms),
    clearTimer: (timer) => {
      clock.clearTimer(timer);
    },
    defer: (task) => {
      clock.defer(task);
    },
    ...functions,
  };
}

describe('PeerTimer', () => {
  it.each([1, 49, 50, 100, 300, 1_234, 20_000])('runs its task once, after %i ms, in a process that runs', (ms) => {
    const { clock, firedAt } = make(ms);
    clock.advance(ms - 0.5);
    expect(firedAt).toEqual([]);
    clock.advance(3 * ms);
    expect([firedAt, clock.pending]).toEqual([[expect.closeTo(ms, 2)], 0]);
  });

  it('never runs its task when it is cleared, at whatever time', () => {
    for (const after of [0, 1, 60, 99.9]) {
      const { clock, firedAt, timer } = make(100);
      if (after > 0) clock.advance(after);
      timer.clear();
      clock.advance(1_000);
      expect([firedAt, clock.pending]).toEqual([[], 0]);
    }
  });

  it('never runs its task, and sets no timer, when the time is infinite', () => {
    const { clock, firedAt } = make(Infinity);
    expect(clock.pending).toBe(0);
    clock.advance(2 ** 40);
    expect(firedAt).toEqual([]);
  });

  it('starts when a turn of the event loop has passed, in which what was written has left', () => {
    const { clock, firedAt } = make(100);
    clock.block(400);
    clock.advance(499);
    expect(firedAt).toEqual([]);
    clock.advance(1);
    expect(firedAt).toEqual([500]);
  });

  it('is cleared by what is read in the turn in which the time is over', () => {
    const { clock, firedAt, timer } = make(100);
    // The last part has begun. The timer below fires in the turn in which it ends, after its own timer.
    clock.advance(60);
    clock.setTimer(() => timer.clear(), 40);
    clock.advance(1_000);
    expect([firedAt, clock.pending]).toEqual([[], 0]);
  });

  it.each([
    ['covers its end', 100, 60, 120, 230],
    ['lies in the middle of it', 300, 110, 200, 510],
    ['is longer than itself', 100, 60, 3_000, 3_110],
    ['begins with it', 100, 0, 90, 190],
  ])(
    'measures a part again in which the process stood still, where the standstill %s',
    (_where, ms, from, blockMs, at) => {
      const { clock, firedAt } = make(ms);
      if (from > 0) clock.advance(from);
      clock.block(blockMs);
      clock.advance(10_000);
      expect(firedAt).toEqual([expect.closeTo(at, 2)]);
    },
  );

  it('decides after twice its time in a process that is always late', () => {
    const { clock, firedAt } = make(800);
    clock.advance(0);
    for (let turn = 0; turn < 30; turn++) {
      clock.block(200);
      clock.advance(200);
    }
    // Parts of 100 ms, each of which takes 200: four that are measured again, and four that count.
    expect(firedAt).toEqual([8 * 200]);
  });

  it('counts a standstill of a long time as no more than five seconds too few', () => {
    const { clock, firedAt } = make(300_000);
    clock.advance(299_000);
    clock.block(60_000);
    clock.advance(600_000);
    expect(firedAt[0]).toBeGreaterThanOrEqual(359_000);
    expect(firedAt[0]).toBeLessThanOrEqual(365_000);
  });

  it.each([0.4, 12.3, 1_000.4])('runs its task after %s ms where timers are whole milliseconds', (ms) => {
    const clock = new BusyClock();
    const whole = changed(clock, { setTimer: (task, after) => clock.setTimer(task, Math.round(after)) });
    let runs = 0;
    new PeerTimer(whole, ms, () => (runs += 1));
    clock.advance(3 * ms + 10);
    expect([runs, clock.pending]).toEqual([1, 0]);
  });

  it('runs its task where the clock stands still and only timers are fake', () => {
    const clock = new BusyClock();
    const still = changed(clock, { now: () => 7 });
    let runs = 0;
    new PeerTimer(still, 1_000, () => (runs += 1));
    clock.advance(1_100);
    expect([runs, clock.pending]).toEqual([1, 0]);
  });

  it('takes the usual lag of an event loop for no standstill', () => {
    const { clock, firedAt } = make(100);
    clock.advance(99);
    clock.block(45);
    clock.advance(45);
    expect(firedAt).toEqual([144]);
  });
});
