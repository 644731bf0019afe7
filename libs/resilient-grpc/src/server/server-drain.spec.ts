import assert from 'node:assert/strict';
import { describe, expect, it } from 'vitest';
import { EventHub } from '../call/event-hub.js';
import { VirtualClock } from '../testing/virtual-clock.js';
import { ServerDrain } from './server-drain.js';
import type { GrpcServerEvent, ServerDrainReport } from '../call/server-event.js';

/** A server with calls that end when they are told to, or not. */
class FakeServer {
  size = 0;
  ended = 0;
  endedByDrain = 0;
  completedByDrain = 0;
  stubborn = 0;
  sockets = 1;
  isAttached = true;
  /** True if grpc-js waits for a session whose end it has missed. */
  neverShut = false;
  cutOff = 0;
  noCallIsOpen = (): boolean => false;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly clock: VirtualClock,
    readonly log: string[],
  ) {}

  /** Calls that end by themselves, so many milliseconds from now. */
  callsThatEndIn(ms: number, count = 1): void {
    this.size += count;
    this.clock.setTimer(() => {
      this.end(count);
    }, ms);
  }

  callsThatNeverEnd(count: number): void {
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
    this.note('streams told');
    return Promise.resolve();
  }

  endAll(): number {
    this.note('all ended');
    const left = this.size;
    this.end(left - this.stubborn);
    return left;
  }

  whenOver(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve));
  }

  announceEnd(): void {
    this.note('told to go');
    if (this.stubborn === 0) this.sockets = 0;
  }

  endHalfRequests(noCallIsOpen: () => boolean): void {
    this.note('half requests ended');
    this.noCallIsOpen = noCallIsOpen;
  }

  destroyAll(): void {
    this.note('sockets destroyed');
    this.cutOff += this.sockets;
  }

  closed(): Promise<void> {
    return this.sockets === 0 ? Promise.resolve() : new Promise(() => undefined);
  }

  tryShutdown(callback: () => void): void {
    this.note('shut down');
    if (this.sockets === 0 && !this.neverShut) callback();
  }

  forceShutdown(): void {
    this.note('forced');
  }

  turnNotServing(): void {
    this.note('NOT_SERVING');
  }

  endWatches(): void {
    this.note('watches ended');
  }

  private note(what: string): void {
    this.log.push(`${String(this.clock.now())} ${what}`);
  }
}

const QUIET = { finished: 0, completed: 0, ended: 0, cutOff: 0, connectionsCutOff: 0 };

function drainOf({ timeoutMs = 10_000, readinessDelayMs = 0 }: { timeoutMs?: number; readinessDelayMs?: number }) {
  const clock = new VirtualClock();
  const log: string[] = [];
  const server = new FakeServer(clock, log);
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  const told: GrpcServerEvent[] = [];
  events.listen((event) => told.push(event), false);
  const drain = new ServerDrain(
    { timeoutMs, readinessDelayMs },
    { clock, events, calls: server, connections: server, health: server },
  );
  drain.serve(server);
  const reports: ServerDrainReport[] = [];
  drain.onEnd((report) => reports.push(report));
  return { clock, log, server, drain, told, reports };
}

describe('the drain of a server', () => {
  it('is done at once where nothing is open', async () => {
    const { clock, log, drain, reports } = drainOf({});
    void drain.run();
    await clock.advanceAsync(0);
    expect(log).toEqual([
      '0 NOT_SERVING',
      '0 told to go',
      '0 shut down',
      '0 watches ended',
      '0 streams told',
      '0 half requests ended',
      '0 all ended',
      '0 sockets destroyed',
      '0 forced',
    ]);
    expect(reports).toEqual([{ ...QUIET, durationMs: 0 }]);
    expect(clock.pending).toBe(0);
  });

  it('does not wait for grpc-js when all sockets are closed', async () => {
    const { clock, server, drain, reports } = drainOf({});
    server.neverShut = true;
    void drain.run();
    await clock.advanceAsync(0);
    expect(reports).toEqual([{ ...QUIET, durationMs: 0 }]);
  });

  it('waits for grpc-js if the connections are not seen', async () => {
    const { clock, server, drain, reports } = drainOf({});
    Object.assign(server, { isAttached: false, neverShut: true, sockets: 0 });
    void drain.run();
    await clock.advanceAsync(9_999);
    expect(reports).toEqual([]);
    await clock.advanceAsync(1);
    expect(reports).toHaveLength(1);
  });

  it('lets calls finish, and reports them', async () => {
    const { clock, server, drain, reports } = drainOf({});
    server.callsThatEndIn(300, 12);
    void drain.run();
    await clock.advanceAsync(300);
    expect(reports).toEqual([{ ...QUIET, finished: 12, durationMs: 300 }]);
  });

  it('ends what is left a moment before the time is over, and forces the rest when it is', async () => {
    const { clock, log, server, drain, reports } = drainOf({});
    server.callsThatNeverEnd(3);
    void drain.run();
    await clock.advanceAsync(20_000);
    expect(log.slice(5)).toEqual(['9900 all ended', '10000 sockets destroyed', '10000 forced']);
    expect(reports).toEqual([{ ...QUIET, cutOff: 3, connectionsCutOff: 1, durationMs: 10_000 }]);
    expect(clock.pending).toBe(0);
  });

  it('keeps its time where that is short', async () => {
    const { clock, log, server, drain } = drainOf({ timeoutMs: 200 });
    server.callsThatNeverEnd(1);
    void drain.run();
    await clock.advanceAsync(200);
    expect(log.slice(5, 7)).toEqual(['180 all ended', '200 sockets destroyed']);
  });

  it('serves everything in the readiness delay, with health NOT_SERVING', async () => {
    const { clock, log, drain } = drainOf({ readinessDelayMs: 5_000 });
    drain.begin();
    await clock.advanceAsync(1_000);
    void drain.run();
    await clock.advanceAsync(3_999);
    expect(log).toEqual(['0 NOT_SERVING']);
    await clock.advanceAsync(1);
    expect(log.slice(1, 3)).toEqual(['5000 told to go', '5000 shut down']);
  });

  it('has its delay within its time', async () => {
    const { clock, server, drain, reports } = drainOf({ timeoutMs: 1_000, readinessDelayMs: 5_000 });
    server.callsThatNeverEnd(1);
    void drain.run();
    await clock.advanceAsync(1_000);
    expect(reports.map(({ durationMs }) => durationMs)).toEqual([1_000]);
  });

  it('is one drain, whoever asks and however often', async () => {
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

  it('runs by itself before its time is over where hooks of others hang', async () => {
    const { clock, log, server, drain, reports } = drainOf({});
    server.callsThatNeverEnd(1);
    drain.begin();
    await clock.advanceAsync(9_899);
    expect(log).toEqual(['0 NOT_SERVING']);
    await clock.advanceAsync(101);
    expect(reports.map(({ cutOff, durationMs }) => ({ cutOff, durationMs }))).toEqual([
      { cutOff: 1, durationMs: 10_000 },
    ]);
  });

  it('tells of its begin and its end', async () => {
    const { clock, server, drain, told } = drainOf({});
    server.callsThatEndIn(50, 2);
    void drain.run();
    await clock.advanceAsync(50);
    expect(told.map(({ at: _at, ...event }) => event)).toEqual([
      { type: 'drain', phase: 'begin', running: 2 },
      { type: 'drain', phase: 'end', ...QUIET, finished: 2, durationMs: 50 },
    ]);
  });

  it('has nothing to do where nothing was served', async () => {
    const clock = new VirtualClock();
    const server = new FakeServer(clock, []);
    const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
    const dependencies = { clock, events, calls: server, connections: server, health: server };
    const drain = new ServerDrain({ timeoutMs: 10_000, readinessDelayMs: 5_000 }, dependencies);
    drain.begin();
    await drain.readiness();
    await drain.run();
    expect(server.log).toEqual([]);
    expect(clock.pending).toBe(0);
    // It was about to listen.
    drain.serve(server);
    expect(server.log).toEqual(['0 NOT_SERVING']);
    void drain.run();
    await clock.advanceAsync(10_000);
    expect(server.log.at(-1)).toBe('5000 forced');
    expect(clock.pending).toBe(0);
  });

  it('lets go of half requests when no call is left, and not while there is one', async () => {
    const { clock, log, server, drain } = drainOf({});
    server.callsThatEndIn(300);
    void drain.run();
    await clock.advanceAsync(299);
    expect(log).not.toContainEqual(expect.stringContaining('half requests'));
    await clock.advanceAsync(1);
    expect(log).toContain('300 half requests ended');
    expect(server.noCallIsOpen()).toBe(true);
    server.size = 1;
    expect(server.noCallIsOpen()).toBe(false);
  });

  it.each<[what: string, breaks: Partial<FakeServer>]>([
    ['streams', { notifyStreams: () => Promise.reject(new Error('broken')) }],
    ['calls', { endAll: () => assert.fail('broken') }],
    ['connections', { announceEnd: () => assert.fail('broken') }],
  ])('forces the end where something of the %s fails, and says so to who waits for it', async (_what, breaks) => {
    const { clock, log, server, drain } = drainOf({});
    server.callsThatNeverEnd(1);
    Object.assign(server, breaks);
    drain.begin();
    // A rejection that nobody hears would end the process, and fails this run.
    drain.runInBackground();
    const told = drain.streamsNotified().catch(() => 'told');
    await clock.advanceAsync(10_000);
    expect(log.slice(-2)).toEqual([expect.stringMatching(/sockets destroyed$/), expect.stringMatching(/forced$/)]);
    await told;
    await expect(drain.run()).rejects.toThrow('broken');
    expect(clock.pending).toBe(0);
  });

  it('is over for all though the log is down', async () => {
    const { clock, drain, reports } = drainOf({});
    drain.onEnd(() => assert.fail('log is down'));
    drain.onEnd((report) => reports.push(report));
    void drain.run();
    await clock.advanceAsync(0);
    expect(reports).toHaveLength(2);
    expect(await drain.run()).toEqual(reports[0]);
  });
});
