import { expect, it } from 'vitest';
import { BusyClock } from '../../../../test/unit-support/busy-clock.js';
import { RunningTime } from './running-time.js';

it('counts at most 2 s of the time for which the process is blocked, and all other time between start() and stop()', () => {
  const clock = new BusyClock();
  const time = new RunningTime(clock);
  clock.advance(500);
  expect(time.now()).toBe(0);
  time.start();
  clock.advance(10_500);
  expect(time.now()).toBe(10_500);
  clock.block(60_000);
  clock.advance(59_999);
  expect(time.now()).toBe(12_000);
  clock.advance(1);
  expect(time.now()).toBe(12_000);
  time.start();
  clock.advance(5_000);
  expect(time.now()).toBe(17_000);
  time.stop();
  clock.advance(5_000);
  expect([time.now(), clock.pending]).toEqual([17_000, 0]);
});
