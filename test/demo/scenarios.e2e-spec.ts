import { describe, expect, it, vi } from 'vitest';
import {
  type Figures,
  type FeedFigures,
  type OverloadFigures,
  type RollingFigures,
  type Report,
  CALLS_PER_SECOND,
  CONTENDERS,
  DEMO_LIMIT,
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
  it('reports no failed calls of our client, except unsafe calls in flight, and no lost or duplicated writes in the demo scenario restart', async () => {
    const report = await runScenario('restart', 6);
    expect(report.resilient).toMatchObject({ failed: 0, failedByCode: {} });
  });

  it("runs the demo with Nest's own server", async () => {
    const { plain, resilient } = await figuresOf<Figures>('restart', 6, '--server', 'nest');
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

  it('rejects an invalid argument of the demo, and lists the accepted names or quotes the invalid number', async () => {
    await expect(demo('--scenario', 'earthquake')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('restart|rolling|freeze|feed|overload'),
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

  it("refuses some demo calls at three times the capacity, and serves more calls in time than Nest's servers", async () => {
    const { plain, tuned, resilient } = await figuresOf<OverloadFigures>('overload', 4);
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
});
