import { expect, it } from 'vitest';
import { MAX_TIMER_MS, type Timer } from '../../time/clock.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { DeadlineTimer } from './deadline-timer.js';

/** A clock whose wall clock can be set, and whose timers last 24 days at most and fire `earlyMs` early, like Node's timers. */
class SettableClock extends VirtualClock {
  stepMs = 0;
  earlyMs = 0;

  override epoch(): number {
    return super.epoch() + this.stepMs;
  }

  override setTimer(task: () => void, ms: number): Timer {
    return super.setTimer(task, Math.min(Math.max(ms - this.earlyMs, 0.1), MAX_TIMER_MS));
  }
}

/** Starts a timer whose deadline is `ms` milliseconds from now. Returns the clock, and the monotonic times at which the deadline passed. */
function start(ms: number, earlyMs = 0) {
  const clock = new SettableClock();
  clock.earlyMs = earlyMs;
  const passed: number[] = [];
  const timer = new DeadlineTimer(clock.epoch() + ms, clock, () => passed.push(clock.now()));
  return { clock, passed, timer };
}

it.each([
  ['back', -20_000],
  ['forward', 20_000],
])('ends a call when its time has elapsed on the monotonic clock, even if the wall clock is set %s', (_, stepMs) => {
  const { clock, passed } = start(1_000);
  clock.advance(300);
  clock.stepMs = stepMs;
  clock.advance(699);
  expect(passed).toEqual([]);
  clock.advance(1);
  expect(passed).toEqual([1_000]);
  expect(clock.pending).toBe(0);
});

it('does not end a call early if a timer fires early', () => {
  const { clock, passed } = start(1_000, 0.5);
  clock.advance(999.9);
  expect(passed).toEqual([]);
  clock.advance(1);
  expect(passed).toHaveLength(1);
  expect(passed[0]).toBeGreaterThanOrEqual(1_000);
});

it('ends a call at a deadline that is further away than the longest timer', () => {
  const { clock, passed } = start(MAX_TIMER_MS + 5_000);
  clock.advance(MAX_TIMER_MS + 4_999);
  expect(passed).toEqual([]);
  clock.advance(1);
  expect(passed).toEqual([MAX_TIMER_MS + 5_000]);
});

it('does not end a call after its deadline timer was cleared', () => {
  const { clock, passed, timer } = start(1_000);
  timer.clear();
  clock.advance(1_000);
  expect(passed).toEqual([]);
});
