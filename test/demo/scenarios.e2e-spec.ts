import { describe, expect, it, vi } from 'vitest';
import {
  type Figures,
  type FeedFigures,
  type OverloadFigures,
  type ReplicasFigures,
  type RollingFigures,
  type ShutdownFigures,
  type Report,
  CALLS_PER_SECOND,
  CONTENDERS,
  DEMO_LIMIT,
  DRAIN_MS,
  demo,
  FEED_FIGURES,
  reportOf,
  figuresOf,
  runScenario,
} from '../support/demo-run.js';
import { recordTiming } from '../support/timing.js';

// Runs the program that `npm run demo` runs; `npm run pack:check` builds it first. Two scenarios run at a time, because they mostly wait.
vi.setConfig({ maxConcurrency: 2 });

describe.concurrent('terminal demo', DEMO_LIMIT, () => {
  it.each([
    ['restart', 6],
    ['drain', 5],
    ['reset', 4],
    ['idle-cut', 4],
  ])(
    'reports no failed calls of our client, except unsafe calls in flight, and no lost or duplicated writes in the demo scenario %s',
    async (scenario, seconds) => {
      const report = await runScenario(scenario, seconds);
      expect(report.resilient).toMatchObject({ failed: 0, failedByCode: {} });
      if (scenario === 'drain' || scenario === 'idle-cut') expect(report.resilient.unsafeInFlightFailed).toBe(0);
    },
  );

  it('reports failed calls and few additional attempts of our client in the demo scenario overload', async () => {
    const { plain, resilient } = await runScenario('overload', 5);
    expect(Object.keys(resilient.failedByCode).sort()).toEqual(['RESOURCE_EXHAUSTED', 'UNAVAILABLE']);
    expect(resilient.failed).toBeGreaterThan(resilient.calls / 2);
    expect(resilient.succeeded).toBeGreaterThan(0);
    // Each successful call had at least one attempt, so failed calls had at most the remaining attempts.
    expect((resilient.attempts - resilient.succeeded) / resilient.failed).toBeLessThanOrEqual(1.1);
    expect(plain.attempts).toBe(plain.calls);
  });

  it("runs the demo with Nest's own server", async () => {
    const { plain, resilient } = await figuresOf<Figures>('drain', 3, '--server', 'nest');
    expect(plain.succeeded).toBeGreaterThan(0);
    expect(resilient).toMatchObject({ failed: 0, duplicatedWrites: 0, lostWrites: 0 });
  });

  it('prints the figures of the demo clients side by side, and the log lines of our client', async () => {
    const { stdout } = await demo('--scenario', 'restart', '--seconds', '6');
    expect(stdout).toContain('Nest ClientGrpc   + retryPolicy, keepalive   nestjs-resilient-grpc');
    expect(stdout).toMatch(/^reads {3}failed +[1-9]\d* +\d+ +0$/m);
    expect(stdout).toMatch(/^WARN \[ResilientGrpc:orders\] outage: /m);
    expect(stdout).toMatch(/^LOG {2}\[ResilientGrpc:orders\] reconnected after /m);
  });

  it('prints only the figures relevant to the demo scenario, and the settings of the tuned client', async () => {
    const { stdout } = await demo('--scenario', 'overload', '--seconds', '4');
    expect(stdout).toContain('Nest ClientGrpc   + retryPolicy, retryThrottling   nestjs-resilient-grpc');
    expect(stdout).toMatch(/^attempts per call +1\.000 +1\.\d{3} +1\.\d{3}$/m);
    expect(stdout).toMatch(/^99% of calls within( +\d+ ms){3}$/m);
    expect(stdout).not.toContain('executed twice');
  });

  it('rejects an invalid argument of the demo, and lists the accepted names or quotes the invalid number', async () => {
    await expect(demo('--scenario', 'earthquake')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'restart|drain|reset|idle-cut|overload|overload-server|slow|feed|freeze|blackhole|shutdown|rolling|replicas',
      ),
    });
    await expect(demo('--seconds', 'soon')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("'soon'"),
    });
    await expect(demo('--server', 'apache')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('resilient|nest'),
    });
  });
});

// Sequential, because parallel scenarios would distort the recorded durations.
describe('terminal demo, timed scenarios', DEMO_LIMIT, () => {
  it(
    'reduces the tail latency of our client in the demo by hedging with few additional attempts',
    { tags: ['timed'] },
    async ({ task }) => {
      const { plain, resilient } = await runScenario('slow', 8);
      expect(resilient.failed).toBe(0);
      expect(resilient.attempts / resilient.calls).toBeGreaterThan(1);
      // The bound is one extra attempt per twenty calls, plus five.
      expect(resilient.attempts).toBeLessThanOrEqual(resilient.calls * 1.05 + 5);
      const ratio = resilient.latencyMs.p99 / plain.latencyMs.p99;
      recordTiming(task, 'p99 of hedged calls, relative to the plain client', ratio, { atMost: 1 / 3 });
    },
  );

  it(
    'keeps the connection of our client to a frozen server in the demo, and recovers when the server resumes',
    { tags: ['timed'] },
    async ({ task }) => {
      const { plain, resilient } = await runScenario<FeedFigures>('freeze', 8, FEED_FIGURES);
      expect(resilient.failedByCode).toEqual({ DEADLINE_EXCEEDED: resilient.failed });
      expect(resilient.failed).toBeGreaterThan(0);
      expect(resilient).toMatchObject({ connectionsReplaced: 0, connectionLosses: 0 });
      expect(resilient.recoveryMs).toBeGreaterThan(0);
      expect(resilient).toMatchObject({ lostEvents: 0, repeatedEvents: 0, outOfOrder: 0 });
      // About two thirds of the calls that can succeed start after the freeze, so the assertion fails for a client that does not recover.
      expect(resilient.succeeded).toBeGreaterThan(plain.succeeded / 2);
      recordTiming(task, 'time from the end of the freeze until the first success, ms', resilient.recoveryMs, {
        atMost: 1_500,
      });
      recordTiming(task, 'time from the end of the freeze until the last failure, ms', resilient.lastFailureMs, {
        atMost: 1_500,
      });
      recordTiming(task, 'longest gap in the feed, ms', resilient.longestGapMs, { atMost: 1_500 });
    },
  );

  it(
    'fails no call and loses no stream of our client in the demo while two servers are restarted in turn',
    { tags: ['timed'] },
    async ({ task }) => {
      type RollingReport = Report<RollingFigures & Figures> & {
        readonly server: string;
        readonly exitMs: readonly number[];
      };
      const report = await reportOf<RollingReport>('rolling', 6);
      expect(Object.keys(report)).toEqual(['scenario', 'seconds', 'server', 'exitMs', ...CONTENDERS]);
      expect(report.server).toBe('resilient');
      expect(report.exitMs).toHaveLength(4);
      const { plain, resilient } = report;
      expect(resilient).toMatchObject({
        failedCalls: 0,
        failedWrites: 0,
        duplicatedWrites: 0,
        lostWrites: 0,
        restarts: 4,
      });
      expect(resilient).toMatchObject({ streamsLost: 0, lostEvents: 0, repeatedEvents: 0, outOfOrder: 0 });
      expect(resilient.calls).toBeGreaterThan(6 * 0.95 * CALLS_PER_SECOND);
      // Each write of any of the three clients is an event for all 50 feeds of our client.
      expect(resilient.events).toBeGreaterThan(6 * 3 * 50 * 3);
      // The plain client restarted its streams and received duplicates, which shows that the servers ended the streams.
      expect(plain.repeatedEvents).toBeGreaterThan(0);
      // A server exits within its drain timeout, 3 s times DEMO_PATIENCE.
      recordTiming(task, 'longest time from SIGTERM until a server exits, ms', Math.max(...report.exitMs), {
        atMost: 3_000,
      });
    },
  );

  it(
    'ejects unhealthy replicas in the demo, and sends no retry to a replica that the call has already tried',
    { tags: ['timed'] },
    async ({ task }) => {
      const seconds = 20;
      const { plain, tuned, resilient } = await figuresOf<ReplicasFigures>('replicas', seconds);
      for (const figures of [plain, tuned, resilient]) {
        expect(figures).toEqual({
          calls: expect.any(Number),
          failed: expect.any(Number),
          triedAgain: expect.any(Number),
          p99Ms: expect.any(Number),
          ejections: expect.any(Number),
        });
        expect(figures.calls).toBeGreaterThan(seconds * 0.95 * CALLS_PER_SECOND);
      }
      // Replicas were unhealthy, and grpc-js ejected at least one. But it sent at least one retry to a replica that the call had already
      // tried.
      expect(plain).toMatchObject({ triedAgain: 0, ejections: 0 });
      expect(plain.failed).toBeGreaterThan(0);
      expect(tuned.ejections).toBeGreaterThan(0);
      expect(tuned.triedAgain).toBeGreaterThan(0);
      // On a busy machine, a few attempts time out after a response has started, so they are not retried.
      expect(resilient.failed).toBeLessThan(plain.failed / 4);
      const failedShare = resilient.failed / resilient.calls;
      recordTiming(task, 'share of our calls that failed', failedShare, { atMost: 0.001 });
      expect(resilient.triedAgain).toBe(0);
      expect(resilient.ejections).toBeGreaterThanOrEqual(1);
      const ratio = resilient.p99Ms / plain.p99Ms;
      recordTiming(task, 'p99 of our calls, relative to the plain client', ratio, { atMost: 1 / 2 });
    },
  );

  it("refuses some demo calls at three times the capacity, and serves more calls in time than Nest's servers", async () => {
    const { plain, tuned, resilient } = await figuresOf<OverloadFigures>('overload-server', 4);
    for (const figures of [plain, tuned, resilient]) {
      expect(figures).toEqual({
        offered: expect.any(Number),
        good: expect.any(Number),
        refused: expect.any(Number),
        ranExpired: expect.any(Number),
        p99Ms: expect.any(Number),
        goodAgainMs: expect.any(Number),
      });
    }
    for (const figures of [plain, tuned]) {
      expect(figures.refused).toBe(0);
      expect(figures.ranExpired).toBeGreaterThan(resilient.ranExpired);
      expect(figures.good / figures.offered).toBeLessThan(resilient.good / resilient.offered);
    }
    expect(resilient.refused).toBeGreaterThan(0);
  });

  it(
    'ends a process of the demo despite hanging calls, and never reports a truncated export as a success',
    { tags: ['timed'] },
    async ({ task }) => {
      const { plain, resilient } = await figuresOf<ShutdownFigures>('shutdown', 4);
      for (const figures of [plain, resilient]) {
        expect(figures).toEqual({
          exitMs: expect.any(Number),
          killed: expect.any(Boolean),
          idleExitMs: expect.any(Number),
          clientsClosedMs: figures === resilient ? expect.any(Number) : null,
          unaryInFlight: expect.any(Number),
          unaryFailed: expect.any(Number),
          streamsCompleted: expect.any(Number),
          exportsFailed: expect.any(Number),
          exportsTruncated: 0,
          feed: expect.any(String),
          openHandles: expect.any(Number),
        });
        expect(figures.unaryInFlight).toBeGreaterThan(0);
      }
      expect(plain).toMatchObject({ killed: true, feed: 'running' });
      expect(plain.openHandles).toBeGreaterThan(0);
      // The feed and the short export completed; the long export failed.
      expect(resilient).toMatchObject({ killed: false, unaryFailed: 0, streamsCompleted: 2, exportsFailed: 1 });
      expect(resilient).toMatchObject({ feed: 'completed', openHandles: 0 });
      const { clientsClosedMs, exitMs, idleExitMs } = resilient;
      recordTiming(task, 'time from the signal until the clients are closed, ms', clientsClosedMs!, {
        atMost: DRAIN_MS + 200,
      });
      recordTiming(task, 'time from the signal until the process exits, ms', exitMs, { atMost: DRAIN_MS + 500 });
      recordTiming(task, 'time from the signal until an idle process exits, ms', idleExitMs, { atMost: 500 });
    },
  );
});
