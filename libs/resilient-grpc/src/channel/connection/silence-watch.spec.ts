import { expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { SilenceWatch } from './silence-watch.js';

it('checks connections only while calls are active, with one timer', () => {
  const clock = new VirtualClock();
  const checks: number[] = [];
  let active = true;
  const watch = new SilenceWatch(
    () => [{ checkReceived: (now) => checks.push(now) }],
    () => active,
    clock,
  );
  watch.wake();
  watch.wake();
  clock.advance(1_000);
  expect([checks.length, clock.pending]).toEqual([4, 1]);
  active = false;
  clock.advance(250);
  expect([checks.length, clock.pending]).toEqual([5, 0]);
  watch.wake();
  watch.stop();
  clock.advance(1_000);
  expect(checks).toHaveLength(5);
});
