import assert from 'node:assert/strict';
import { describe, expect, it } from 'vitest';
import { EventHub } from '../call/event-hub.js';
import { BusyClock } from '../../../../test/unit-support/busy-clock.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { ServerDrain } from './server-drain.js';
import type { GrpcServerEvent, ServerDrainReport } from '../call/server-event.js';

/** Imitates a server whose calls end on request, except the `stubborn` calls. */
class FakeServer {
  size = 0;
  ended = 0;
  endedByDrain = 0;
  completedByDrain = 0;
  stubborn = 0;
  sockets = 1;
  hasFinishingStream = false;
  connectionsCutOff = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly clock: VirtualClock,
    readonly log: string[],
  ) {}

  /** Adds calls that end on their own after `ms` milliseconds. */
  addCallsEndingIn(ms: number, count = 1): void {
    this.size += count;
    this.clock.setTimer(() => {
      this.end(count);
    }, ms);
  }

  addEndlessCalls(count: number): void {
    this.size += count;
    this.stubborn += count;
  }

  end(count: number): void {
    this.size -= count;
    this.ended += count;
    if (this.size === 0) for (const resolve of this.waiting.splice(0)) resolve();
  }

  openPaths(): ReadonlyMap<string, number> {
    return new Map([['/orders.v1.Orders/Watch', this.size]]);
  }

  notifyStreams(): Promise<void> {
    this.note('streams notified');
    return Promise.resolve();
  }

  endAll(): number {
    this.note('calls ended');
    const left = this.size;
    this.end(left - this.stubborn);
    return left;
  }

  whenOver(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve));
  }

  tryShutdown(callback: () => void): void {
    this.note('GOAWAY sent');
    if (this.stubborn === 0) this.sockets = 0;
    if (this.sockets === 0) callback();
  }

  forceShutdown(): void {
    this.note('forced');
    this.connectionsCutOff += this.sockets;
  }

  turnNotServing(): void {
    this.note('NOT_SERVING');
  }

  endWatches(): void {
    this.note('watches ended');
  }

  private note(step: string): void {
    this.log.push(`${String(this.clock.now())} ${step}`);
  }
}

const EMPTY_REPORT = { finished: 0, completed: 0, ended: 0, cutOff: 0, connectionsCutOff: 0 };

function drainOf({ timeoutMs = 10_000, readinessDelayMs = 0 }: { timeoutMs?: number; readinessDelayMs?: number }) {
  const clock = new BusyClock();
  const log: string[] = [];
  const server = new FakeServer(clock, log);
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  const reported: GrpcServerEvent[] = [];
  events.listen((event) => reported.push(event), false);
  const drain = new ServerDrain(
    { timeoutMs, readinessDelayMs },
    { clock, events, calls: server as never, health: server },
  );
  drain.setServer(server);
  const reports: ServerDrainReport[] = [];
  drain.onEnd((report) => reports.push(report));
  return { clock, log, server, drain, reported, reports };
}

describe('ServerDrain', () => {
  it('ends open calls 100 ms before the drain timeout and destroys the remaining connections at the timeout', async () => {
    const { clock, log, server, drain, reports } = drainOf({});
    server.addEndlessCalls(3);
    void drain.run();
    await clock.advanceAsync(20_000);
    expect(log.slice(4)).toEqual(['9900 calls ended', '10000 forced']);
    expect(reports).toEqual([{ ...EMPTY_REPORT, cutOff: 3, connectionsCutOff: 1, durationMs: 10_000 }]);
    expect(clock.pending).toBe(0);
  });

  it('destroys connections only 100 ms after it has ended the open calls, even if the process was blocked at that time', async () => {
    const { clock, log, server, drain } = drainOf({});
    server.addEndlessCalls(1);
    void drain.run();
    await clock.advanceAsync(9_000);
    clock.block(1_500);
    await clock.advanceAsync(20_000);
    expect(log.slice(4, 6)).toEqual(['10500 calls ended', '10600 forced']);
  });

  it('ends open calls 20 ms before a drain timeout of 200 ms', async () => {
    const { clock, log, server, drain } = drainOf({ timeoutMs: 200 });
    server.addEndlessCalls(1);
    void drain.run();
    await clock.advanceAsync(200);
    expect(log.slice(4, 6)).toEqual(['180 calls ended', '200 forced']);
  });

  it('counts the readiness delay toward the drain timeout', async () => {
    const { clock, server, drain, reports } = drainOf({ timeoutMs: 1_000, readinessDelayMs: 5_000 });
    server.addEndlessCalls(1);
    void drain.run();
    await clock.advanceAsync(1_000);
    expect(reports.map(({ durationMs }) => durationMs)).toEqual([1_000]);
  });

  it('drains the server once if begin() and run() are called repeatedly', async () => {
    const { clock, log, drain, reports } = drainOf({});
    drain.begin();
    drain.begin();
    const first = drain.run();
    expect(drain.run()).toBe(first);
    await clock.advanceAsync(0);
    drain.begin();
    await drain.run();
    expect(log.filter((line) => line.endsWith('NOT_SERVING'))).toHaveLength(1);
    expect(reports).toHaveLength(1);
  });

  it('runs the drain automatically before the drain timeout if another shutdown hook hangs', async () => {
    const { clock, log, server, drain, reports } = drainOf({});
    server.addEndlessCalls(1);
    drain.begin();
    await clock.advanceAsync(9_899);
    expect(log).toEqual(['0 NOT_SERVING']);
    await clock.advanceAsync(101);
    expect(reports.map(({ cutOff, durationMs }) => ({ cutOff, durationMs }))).toEqual([
      { cutOff: 1, durationMs: 10_000 },
    ]);
  });

  it('reports the start and the end of a drain', async () => {
    const { clock, server, drain, reported } = drainOf({});
    server.addCallsEndingIn(50, 2);
    void drain.run();
    await clock.advanceAsync(50);
    expect(reported.map(({ at: _at, ...event }) => event)).toEqual([
      { type: 'drain', phase: 'begin', running: 2 },
      { type: 'drain', phase: 'end', ...EMPTY_REPORT, finished: 2, durationMs: 50 },
    ]);
  });

  it('drains nothing if no server is set, and drains a server that is set after the drain began', async () => {
    const clock = new VirtualClock();
    const server = new FakeServer(clock, []);
    const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
    const dependencies = { clock, events, calls: server as never, connections: server, health: server };
    const drain = new ServerDrain({ timeoutMs: 10_000, readinessDelayMs: 5_000 }, dependencies);
    drain.begin();
    await drain.ready;
    await drain.run();
    expect(server.log).toEqual([]);
    expect(clock.pending).toBe(0);
    // Sets a server that was about to listen when the drain began.
    drain.setServer(server);
    expect(server.log).toEqual(['0 NOT_SERVING']);
    void drain.run();
    await clock.advanceAsync(10_000);
    expect(server.log.at(-1)).toBe('5000 forced');
    expect(clock.pending).toBe(0);
  });

  it('clears the timers of a drain immediately if notifying the streams fails, so that the process can exit', async () => {
    const { clock, server, drain } = drainOf({});
    server.notifyStreams = () => Promise.reject(new Error('broken'));
    const failed = expect(drain.run()).rejects.toThrow('broken');
    await clock.advanceAsync(0);
    await failed;
    expect(clock.pending).toBe(0);
  });

  it.each<[what: string, breaks: Partial<FakeServer>]>([
    ['streams', { notifyStreams: () => Promise.reject(new Error('broken')) }],
    ['calls', { endAll: () => assert.fail('broken') }],
    ['connections', { tryShutdown: () => assert.fail('broken') }],
  ])('forces the shutdown and rejects run() if draining the %s fails', async (_what, breaks) => {
    const { clock, log, server, drain } = drainOf({});
    server.addEndlessCalls(1);
    Object.assign(server, breaks);
    drain.begin();
    // Must ignore the error, because an unhandled rejection would end the process and fail the test run.
    drain.runInBackground();
    const notified = drain.streamsNotified().catch(() => 'failed');
    await clock.advanceAsync(10_000);
    expect(log.at(-1)).toMatch(/forced$/);
    await notified;
    await expect(drain.run()).rejects.toThrow('broken');
    expect(clock.pending).toBe(0);
  });

  it.each([true, false])(
    "reports to onEnd() listeners whether a drain cut off a response stream with onDrain: 'finish': %s",
    async (hasFinishingStream) => {
      const { clock, server, drain } = drainOf({});
      server.addEndlessCalls(1);
      server.hasFinishingStream = hasFinishingStream;
      const reported: boolean[] = [];
      drain.onEnd((_report, _cutOff, hasCutOffStream) => reported.push(hasCutOffStream));
      drain.runInBackground();
      await clock.advanceAsync(10_000);
      expect(reported).toEqual([hasFinishingStream]);
    },
  );

  it('notifies all onEnd() listeners of a drain even if one of them throws', async () => {
    const { clock, drain, reports } = drainOf({});
    drain.onEnd(() => assert.fail('log is down'));
    drain.onEnd((report) => reports.push(report));
    void drain.run();
    await clock.advanceAsync(0);
    expect(reports).toHaveLength(2);
    expect(await drain.run()).toEqual(reports[0]);
  });
});
