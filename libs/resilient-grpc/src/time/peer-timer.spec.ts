import { describe, expect, it } from 'vitest';
import { BusyClock } from '../../../../test/unit-support/busy-clock.js';
import type { Clock } from './clock.js';
import { PeerTimer, setPollTimer } from './peer-timer.js';

function make(ms: number) {
  const clock = new BusyClock();
  const firedAt: number[] = [];
  const timer = new PeerTimer(clock, ms, () => firedAt.push(clock.now()));
  return { clock, firedAt, timer };
}

/** Returns `clock` with some of its functions replaced. */
function withFunctions(clock: Clock, functions: Partial<Clock>): Clock {
  return {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    setTimer: (task, ms) => clock.setTimer(task, ms),
    defer: (task) => {
      clock.defer(task);
    },
    ...functions,
  };
}

describe('PeerTimer', () => {
  it.each([1, 49, 50, 100, 300, 1_234, 20_000])(
    'runs the task of a PeerTimer once after %i ms if the process is not paused',
    (ms) => {
      const { clock, firedAt } = make(ms);
      clock.advance(ms - 0.5);
      expect(firedAt).toEqual([]);
      clock.advance(3 * ms);
      expect([firedAt, clock.pending]).toEqual([[expect.closeTo(ms, 2)], 0]);
    },
  );

  it('does not run the task of a PeerTimer if clear() is called before the task is due', () => {
    for (const after of [0, 1, 60, 99.9]) {
      const { clock, firedAt, timer } = make(100);
      if (after > 0) clock.advance(after);
      timer.clear();
      clock.advance(1_000);
      expect([firedAt, clock.pending]).toEqual([[], 0]);
    }
  });

  it('sets no timer and never runs the task of a PeerTimer if the time is infinite', () => {
    const { clock, firedAt } = make(Infinity);
    expect(clock.pending).toBe(0);
    clock.advance(2 ** 40);
    expect(firedAt).toEqual([]);
  });

  it('starts the time of a PeerTimer in the first event-loop turn after the creation of the timer, because written data has been sent by then', () => {
    const { clock, firedAt } = make(100);
    clock.block(400);
    clock.advance(499);
    expect(firedAt).toEqual([]);
    clock.advance(1);
    expect(firedAt).toEqual([500]);
  });

  it('does not run the task of a PeerTimer if data that is read in the turn of expiry clears the timer', () => {
    const { clock, firedAt, timer } = make(100);
    // A PeerTimer divides its time into parts. clear() runs in the turn in which the last part ends, after the timer of that part.
    clock.advance(60);
    clock.setTimer(() => timer.clear(), 40);
    clock.advance(1_000);
    expect([firedAt, clock.pending]).toEqual([[], 0]);
  });

  it.each([
    ['at the end of the time', 100, 60, 120, 230],
    ['in the middle of the time', 300, 110, 200, 510],
    ['for longer than the whole time', 100, 60, 3_000, 3_110],
    ['from the start of the time', 100, 0, 90, 190],
  ])("repeats the part of a PeerTimer's time in which the process was paused (%s)", (_where, ms, from, blockMs, at) => {
    const { clock, firedAt } = make(ms);
    if (from > 0) clock.advance(from);
    clock.block(blockMs);
    clock.advance(10_000);
    expect(firedAt).toEqual([expect.closeTo(at, 2)]);
  });

  it('runs the task of a PeerTimer after twice the time if the process is always late', () => {
    const { clock, firedAt } = make(800);
    clock.advance(0);
    for (let turn = 0; turn < 30; turn++) {
      clock.block(200);
      clock.advance(200);
    }
    // Each part of 100 ms takes 200 ms. The first four parts are measured again, and the next four count toward the time.
    expect(firedAt).toEqual([8 * 200]);
  });

  it('delays the task of a PeerTimer by a long pause plus at most 5 s', () => {
    const { clock, firedAt } = make(300_000);
    clock.advance(299_000);
    clock.block(60_000);
    clock.advance(600_000);
    expect(firedAt[0]).toBeGreaterThanOrEqual(359_000);
    expect(firedAt[0]).toBeLessThanOrEqual(365_000);
  });

  it.each([0.4, 12.3, 1_000.4])(
    'runs the task of a PeerTimer of %s ms once if timers have a resolution of 1 ms',
    (ms) => {
      const clock = new BusyClock();
      const whole = withFunctions(clock, { setTimer: (task, after) => clock.setTimer(task, Math.round(after)) });
      let runs = 0;
      new PeerTimer(whole, ms, () => (runs += 1));
      clock.advance(3 * ms + 10);
      expect([runs, clock.pending]).toEqual([1, 0]);
    },
  );

  it('runs the task of a PeerTimer if the timers are fake and the clock does not advance', () => {
    const clock = new BusyClock();
    const still = withFunctions(clock, { now: () => 7 });
    let runs = 0;
    new PeerTimer(still, 1_000, () => (runs += 1));
    clock.advance(1_100);
    expect([runs, clock.pending]).toEqual([1, 0]);
  });

  it('does not treat usual event-loop lag as a pause in a PeerTimer', () => {
    const { clock, firedAt } = make(100);
    clock.advance(99);
    clock.block(45);
    clock.advance(45);
    expect(firedAt).toEqual([144]);
  });
});

describe('setPollTimer', () => {
  it.each<[blockedMs: number, stoppedMs: number]>([
    [0, 0],
    [150, 0],
    [151, 51],
    [5_000, 4_900],
  ])('reports an event-loop block of %i ms, from the start of a 100 ms poll, as a stop of %i ms', (blockedMs, ms) => {
    const clock = new BusyClock();
    const reported: number[] = [];
    setPollTimer(clock, 100, (stoppedMs) => reported.push(stoppedMs));
    clock.block(blockedMs);
    clock.advance(10_000);
    expect(reported).toEqual([ms]);
  });
});
