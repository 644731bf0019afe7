import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import { BusyClock } from '../../testing/busy-clock.js';
import type { Clock } from '../../time/clock.js';
import { OutageWatch } from './outage-watch.js';

/** A clock whose timers come early once each time they are set for more than a moment, as Node's may. */
function hasty(clock: BusyClock, earlyMs: number): Clock {
  return {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    setTimer: (task, ms) => clock.setTimer(task, ms > 5 ? ms - earlyMs : ms),
    clearTimer: (timer) => {
      clock.clearTimer(timer);
    },
    defer: (task) => {
      clock.defer(task);
    },
  };
}

describe.each([0, 0.7, 4])('an outage, where timers come %s ms early', (earlyMs) => {
  function watch() {
    const clock = new BusyClock();
    const told: string[] = [];
    const owner = {
      ready: false,
      lastError: 'refused',
      connecting: undefined,
      waiting: { size: 0 },
      outageBegan: () => undefined,
      graceEnded: () => told.push(`grace ended at ${clock.now()}, inside: ${String(outage.insideGrace)}`),
      changed: () => undefined,
    };
    const outage: OutageWatch = new OutageWatch(
      500,
      owner,
      new LoadBaseline(0),
      hasty(clock, earlyMs),
      new EventHub({ client: 'orders' }, () => clock.epoch()),
    );
    outage.attemptFailed();
    return { clock, owner, outage, told };
  }

  it('tells of the end of its grace when no call may wait any more', async () => {
    const { clock, told } = watch();
    await clock.advanceAsync(2_000);
    expect(told).toEqual(['grace ended at 500, inside: false']);
  });

  it('is over before its grace where a standstill of this process hid the answer of the server', async () => {
    const { clock, outage, told } = watch();
    clock.setTimer(() => outage.answered(), 600);
    clock.block(3_000);
    await clock.advanceAsync(5_000);
    expect([told, outage.current]).toEqual([[], undefined]);
  });

  it('ends when the channel has been READY for a second, though nobody calls', async () => {
    const { clock, owner, outage } = watch();
    await clock.advanceAsync(100);
    owner.ready = true;
    outage.becameReady();
    await clock.advanceAsync(990);
    expect(outage.current).toBeDefined();
    await clock.advanceAsync(20);
    expect(outage.current).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('goes on where the channel was READY for less', async () => {
    const { clock, owner, outage } = watch();
    owner.ready = true;
    outage.becameReady();
    await clock.advanceAsync(998);
    owner.ready = false;
    outage.becameUnready();
    await clock.advanceAsync(5_000);
    expect(outage.current).toBeDefined();
    expect(clock.pending).toBe(0);
  });
});

describe('a slow attempt to connect', () => {
  function watch() {
    const clock = new BusyClock();
    const events = new EventHub({ client: 'orders' }, () => clock.epoch());
    const reported: unknown[] = [];
    events.listen((event) => reported.push(event), false);
    const owner = {
      ready: false,
      lastError: undefined,
      connecting: 'connecting',
      waiting: { size: 1 },
      outageBegan: () => undefined,
      graceEnded: () => undefined,
      changed: () => undefined,
    };
    return { clock, reported, owner, outage: new OutageWatch(500, owner, new LoadBaseline(0), clock, events) };
  }
  const REPORT = expect.objectContaining({ type: 'slow-connect', cause: 'connecting', waiting: 1 });

  it('is reported when calls have waited for 1.5 s, once until the channel is READY', async () => {
    const { clock, reported, owner, outage } = watch();
    outage.callHeld();
    await clock.advanceAsync(1_490);
    expect(reported).toEqual([]);
    await clock.advanceAsync(20);
    expect(reported).toEqual([REPORT]);
    outage.callHeld();
    await clock.advanceAsync(5_000);
    expect(reported).toHaveLength(1);
    owner.ready = true;
    outage.becameReady();
    owner.ready = false;
    outage.callHeld();
    await clock.advanceAsync(1_510);
    expect(reported).toHaveLength(2);
    expect(clock.pending).toBe(0);
  });

  it.each<[when: string, change: (watched: ReturnType<typeof watch>) => void]>([
    [
      'the channel is READY',
      ({ owner, outage }) => {
        owner.ready = true;
        outage.becameReady();
      },
    ],
    ['no call is waiting any more', ({ owner }) => (owner.waiting.size = 0)],
    ['the channel is closed', ({ outage }) => outage.close()],
  ])('is not reported if %s before that', async (_when, change) => {
    const watched = watch();
    watched.outage.callHeld();
    await watched.clock.advanceAsync(1_000);
    change(watched);
    await watched.clock.advanceAsync(5_000);
    expect([watched.reported, watched.clock.pending]).toEqual([[], 0]);
  });

  it('is not reported in an outage, which is reported itself', async () => {
    const { clock, reported, outage } = watch();
    outage.callHeld();
    outage.attemptFailed();
    await clock.advanceAsync(5_000);
    expect(reported).toEqual([expect.objectContaining({ type: 'outage-start' })]);
  });

  it('is reported for a later call if the first one was cancelled', async () => {
    const { clock, reported, owner, outage } = watch();
    outage.callHeld();
    owner.waiting.size = 0;
    await clock.advanceAsync(2_000);
    owner.waiting.size = 1;
    outage.callHeld();
    await clock.advanceAsync(1_510);
    expect(reported).toEqual([REPORT]);
  });

  it('does not count time in which this process did not run', async () => {
    const { clock, reported, outage } = watch();
    outage.callHeld();
    clock.block(1_400);
    await clock.advanceAsync(1_450);
    expect(reported).toEqual([]);
  });
});
