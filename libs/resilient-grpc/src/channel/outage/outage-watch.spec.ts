import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import { DEFAULT_CLIENT_SETTINGS } from '../../client/settings/client-options.js';
import { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import type { Clock } from '../../time/clock.js';
import { OutageWatch } from './outage-watch.js';

/** Returns a clock whose timers of more than 5 ms fire early, as Node's timers may. */
function withEarlyTimers(clock: BusyClock, earlyMs: number): Clock {
  return {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    setTimer: (task, ms) => clock.setTimer(task, ms > 5 ? ms - earlyMs : ms),
    defer: (task) => {
      clock.defer(task);
    },
  };
}

describe.each([0, 0.7, 4])('outage with timers that fire %s ms early', (earlyMs) => {
  function watch() {
    const clock = new BusyClock();
    const reported: string[] = [];
    const outage: OutageWatch = new OutageWatch(
      500,
      {
        load: new LoadBaseline(0),
        clock: withEarlyTimers(clock, earlyMs),
        events: new EventHub({ client: 'orders' }, () => clock.epoch()),
        waiting: { calls: 0, size: 0 },
        connecting: () => undefined,
        connectTimeoutMs: 20_000,
      },
      (change) => {
        if (change === 'grace-ended')
          reported.push(`grace ended at ${clock.now()}, inside: ${String(outage.insideGrace)}`);
      },
    );
    outage.attemptFailed('refused');
    return { clock, outage, reported };
  }

  it('reports the end of the grace period only when calls without waitForReady may no longer wait', async () => {
    const { clock, reported } = watch();
    await clock.advanceAsync(2_000);
    expect(reported).toEqual(['grace ended at 500, inside: false']);
  });

  it('ends the outage without reporting the end of the grace period if a response arrived while the process was suspended', async () => {
    const { clock, outage, reported } = watch();
    clock.setTimer(() => outage.answered(), 600);
    clock.block(3_000);
    await clock.advanceAsync(5_000);
    expect([reported, outage.current]).toEqual([[], undefined]);
  });

  it('ends the outage after the channel has been READY for a second, even without calls', async () => {
    const { clock, outage } = watch();
    await clock.advanceAsync(100);
    outage.becameReady();
    await clock.advanceAsync(990);
    expect(outage.current).toBeDefined();
    await clock.advanceAsync(20);
    expect(outage.current).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it('returns true from isCalm a minute after the end of the outage', async () => {
    const { clock, outage } = watch();
    outage.becameReady();
    await clock.advanceAsync(1_010);
    expect([outage.current, outage.isCalm]).toEqual([undefined, false]);
    await clock.advanceAsync(58_980);
    expect(outage.isCalm).toBe(false);
    await clock.advanceAsync(1_020);
    expect(outage.isCalm).toBe(true);
  });

  it('continues the outage if the channel was READY for less than a second', async () => {
    const { clock, outage } = watch();
    outage.becameReady();
    await clock.advanceAsync(998);
    outage.becameUnready();
    await clock.advanceAsync(5_000);
    expect(outage.current).toBeDefined();
    expect(clock.pending).toBe(0);
  });
});

describe('calls that fail during an outage', () => {
  it('emits outage-grace-over once per outage, when a call fails after the grace period', async () => {
    const clock = new BusyClock();
    const events = new EventHub({ client: 'orders' }, () => clock.epoch());
    const reported: unknown[] = [];
    events.listen((event) => event.type === 'outage-grace-over' && reported.push(event.durationMs), false);
    const dependencies = { waiting: { calls: 0, size: 0 }, connecting: () => undefined, connectTimeoutMs: 20_000 };
    const outage = new OutageWatch(500, { load: new LoadBaseline(0), clock, events, ...dependencies }, () => undefined);
    outage.callsFailed(1);
    outage.attemptFailed('refused');
    await clock.advanceAsync(400);
    // A call with `waitForReady: false`.
    outage.callsFailed(1);
    expect(reported).toEqual([]);
    await clock.advanceAsync(300);
    outage.callsFailed(2);
    outage.callsFailed(1);
    expect(reported).toEqual([700]);
    outage.answered();
    await clock.advanceAsync(60_000);
    outage.attemptFailed('refused');
    await clock.advanceAsync(500);
    outage.callsFailed(1);
    expect(reported).toEqual([700, 500]);
    outage.close();
  });
});

describe('slow attempt to connect', () => {
  function watch() {
    const clock = new BusyClock();
    const events = new EventHub({ client: 'orders' }, () => clock.epoch());
    const reported: unknown[] = [];
    events.listen((event) => reported.push(event), false);
    const waiting = { calls: 1, size: 1 };
    const connecting = () => 'connecting';
    const dependencies = { load: new LoadBaseline(0), clock, events, waiting, connecting, connectTimeoutMs: 20_000 };
    return { clock, reported, waiting, outage: new OutageWatch(500, dependencies, () => undefined) };
  }
  const CALL = { path: '/orders.v1.Orders/Get' };
  const REPORT = expect.objectContaining({
    type: 'slow-connect',
    cause: 'connecting',
    waiting: 1,
    connectTimeoutMs: 20_000,
    graceMs: 500,
  });

  it('emits slow-connect after a call has waited for 1.5 s, at most once until the channel is READY', async () => {
    const { clock, reported, outage } = watch();
    outage.callQueued(CALL, false);
    await clock.advanceAsync(1_490);
    expect(reported).toEqual([]);
    await clock.advanceAsync(20);
    expect(reported).toEqual([REPORT]);
    outage.callQueued(CALL, false);
    await clock.advanceAsync(5_000);
    expect(reported).toHaveLength(1);
    outage.becameReady();
    outage.callQueued(CALL, false);
    await clock.advanceAsync(1_510);
    expect(reported).toHaveLength(2);
    expect(clock.pending).toBe(0);
  });

  it.each<[when: string, change: (watched: ReturnType<typeof watch>) => void]>([
    [
      'the channel becomes READY',
      ({ outage }) => {
        outage.becameReady();
      },
    ],
    ['the last waiting call ends', ({ waiting }) => (waiting.size = 0)],
    ['the channel is closed', ({ outage }) => outage.close()],
  ])('emits no slow-connect if %s within 1.5 s', async (_when, change) => {
    const watched = watch();
    watched.outage.callQueued(CALL, false);
    await watched.clock.advanceAsync(1_000);
    change(watched);
    await watched.clock.advanceAsync(5_000);
    expect([watched.reported, watched.clock.pending]).toEqual([[], 0]);
  });

  it('emits no slow-connect during an outage, which has its own event', async () => {
    const { clock, reported, outage } = watch();
    outage.callQueued(CALL, false);
    outage.attemptFailed(undefined);
    await clock.advanceAsync(5_000);
    expect(reported).toEqual([expect.objectContaining({ type: 'outage-start' })]);
  });

  it('emits slow-connect for a later waiting call if the first waiting call was cancelled', async () => {
    const { clock, reported, waiting, outage } = watch();
    outage.callQueued(CALL, false);
    waiting.size = 0;
    await clock.advanceAsync(2_000);
    waiting.size = 1;
    outage.callQueued(CALL, false);
    await clock.advanceAsync(1_510);
    expect(reported).toEqual([REPORT]);
  });

  it('emits slow-connect with 0 waiting calls if only waitForReady() has waited for 1.5 s, and does not count waitForReady() in waitedCalls of the outage', async () => {
    const { clock, reported, waiting, outage } = watch();
    waiting.calls = 0;
    outage.callQueued({ path: undefined }, false);
    await clock.advanceAsync(1_510);
    expect(reported).toEqual([expect.objectContaining({ type: 'slow-connect', waiting: 0 })]);
    outage.attemptFailed(undefined);
    outage.callQueued({ path: undefined }, false);
    outage.callQueued(CALL, false);
    outage.answered();
    expect(outage.past).toEqual([expect.objectContaining({ waitedCalls: 1 })]);
  });

  it('emits slow-connect later if the event loop was blocked while a call waited', async () => {
    const { clock, reported, outage } = watch();
    outage.callQueued(CALL, false);
    clock.block(1_400);
    await clock.advanceAsync(1_400 + 1_490);
    expect(reported).toEqual([]);
    await clock.advanceAsync(20);
    expect(reported).toEqual([REPORT]);
  });
});

describe('outages that repeat', () => {
  /** For each outage, the milliseconds for which a call that fails first may wait, up to the end of the outage. */
  async function waits(count: number, downMs: number, upMs: number): Promise<number[]> {
    const clock = new BusyClock();
    const events = new EventHub({ client: 'orders' }, () => clock.epoch());
    const dependencies = { waiting: { calls: 0, size: 0 }, connecting: () => undefined, connectTimeoutMs: 20_000 };
    const { outageGraceMs } = DEFAULT_CLIENT_SETTINGS;
    const load = new LoadBaseline(0);
    const outage = new OutageWatch(outageGraceMs, { load, clock, events, ...dependencies }, () => undefined);
    const waited: number[] = [];
    for (let number = 0; number < count; number++) {
      outage.attemptFailed('refused');
      let waitMs = 0;
      for (let ms = 0; ms < downMs; ms += 100) {
        await clock.advanceAsync(100);
        outage.attemptFailed('refused');
        if (outage.insideGrace) waitMs += 100;
      }
      waited.push(waitMs);
      outage.becameReady();
      outage.answered();
      await clock.advanceAsync(upMs);
    }
    expect(outage.past.map(({ durationMs }) => durationMs)).toEqual(Array<number>(count).fill(downMs));
    outage.close();
    return waited;
  }

  it.each([
    [8, 1_500, 7_000],
    [20, 3_000, 15_000],
  ])('let calls wait until the end in each of %i outages of %i ms with %i ms between them', async (count, down, up) => {
    expect(await waits(count, down, up)).toEqual(Array<number>(count).fill(down));
  });

  it('let calls wait less from the third one on if the server hardly serves between them', async () => {
    expect(await waits(5, 3_000, 1_000)).toEqual([3_000, 3_000, 400, 400, 400]);
  });
});
