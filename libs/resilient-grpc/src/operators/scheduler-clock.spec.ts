import { describe, expect, it } from 'vitest';
import { VirtualScheduler } from '../testing/virtual-scheduler.js';
import { PeerTimer } from '../time/peer-timer.js';
import { schedulerClock } from './scheduler-clock.js';

describe('schedulerClock', () => {
  it('fires a PeerTimer in scheduler time, and does not fire a cleared one', async () => {
    const scheduler = new VirtualScheduler();
    const clock = schedulerClock(scheduler);
    const firedAt: number[] = [];
    new PeerTimer(clock, 100, () => firedAt.push(clock.epoch()));
    const cleared = new PeerTimer(clock, 300, () => firedAt.push(clock.now()));
    await scheduler.pass(100);
    expect(firedAt).toEqual([100]);
    cleared.clear();
    await scheduler.pass(1_000);
    expect([firedAt, scheduler.pending]).toEqual([[100], 0]);
  });
});
