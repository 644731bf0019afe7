import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { codeBlocks } from '../docs/markdown.js';
import { recordTiming } from '../support/timing.js';

// Runs the program that `npm run demo` runs; `npm run pack:check` builds it first.
const DEMO = join(import.meta.dirname, '../../dist/demo.js');
const CONTENDERS = ['plain', 'tuned', 'resilient'] as const;

interface CallFigures {
  readonly calls: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly unsafeInFlightFailed: number;
  readonly failedByCode: Readonly<Record<string, number>>;
}

async function demo(...args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(process.execPath, [DEMO, ...args], { timeout: 280_000 });
}

/** Runs a scenario and returns the figures of each contender. */
async function figuresOf(scenario: string, seconds: number): Promise<Record<(typeof CONTENDERS)[number], any>> {
  const { stdout, stderr } = await demo('--scenario', scenario, '--seconds', String(seconds), '--json');
  expect(stderr).toBe('');
  const report = JSON.parse(stdout) as Record<string, any>;
  expect(Object.keys(report)).toEqual(['scenario', 'seconds', ...CONTENDERS]);
  expect(report).toMatchObject({ scenario, seconds });
  return report as never;
}

/** Runs a scenario of calls and checks the invariants of its figures. */
async function callsIn(scenario: string, seconds: number) {
  const report = await figuresOf(scenario, seconds);
  for (const name of CONTENDERS) {
    const { calls, succeeded, failed, unsafeInFlightFailed, failedByCode } = report[name] as CallFigures;
    expect(report[name]).toMatchObject({ duplicatedWrites: 0, lostWrites: 0 });
    expect(calls).toBeGreaterThan(0);
    expect(succeeded + failed + unsafeInFlightFailed).toBe(calls);
    expect(Object.values(failedByCode).reduce((sum, count) => sum + count, 0)).toBe(failed);
  }
  return report;
}

const OURS = /^(LOG|WARN|ERROR) +\[ResilientGrpc(:orders)?\]/;
/** Replaces the numbers in a log line with '#'. */
const maskNumbers = (line: string) => line.replaceAll(/\d+(\.\d+)?/g, '#');

// Sequential, because parallel scenarios would distort each other. The timeout is longer than that of `demo`.
describe('terminal demo', { timeout: 300_000 }, () => {
  it('reports no failed calls of our client, except unsafe calls in flight, while the server restarts', async () => {
    expect((await callsIn('restart', 6)).resilient).toMatchObject({ failed: 0, failedByCode: {} });
  });

  it('reports no failed calls of our client while two servers are restarted in turn', async () => {
    const { resilient } = await callsIn('rolling', 6);
    expect(resilient).toMatchObject({ failed: 0, unsafeInFlightFailed: 0 });
  });

  it('reports that our client recovers after a server was frozen', { tags: ['timed'] }, async ({ task }) => {
    const { plain, resilient } = await callsIn('freeze', 8);
    expect(resilient.failedByCode).toEqual({ DEADLINE_EXCEEDED: resilient.failed });
    expect(resilient.failed).toBeGreaterThan(0);
    expect(resilient.recoveryMs).toBeGreaterThan(0);
    // About two thirds of the calls that can succeed start after the freeze, so the assertion fails for a client that does not recover.
    expect(resilient.succeeded).toBeGreaterThan(plain.succeeded / 2);
    recordTiming(task, 'time from the end of the freeze until the first success, ms', resilient.recoveryMs, {
      atMost: 1_500,
    });
  });

  it('delivers each event of the feed to our client once and in sequence, despite all faults that end streams', async () => {
    const { plain, resilient } = await figuresOf('feed', 15);
    expect(resilient).toMatchObject({ lostEvents: 0, repeatedEvents: 0, outOfOrder: 0 });
    expect(resilient.events).toBeGreaterThan(0);
    // The plain client restarts its feed at the original cursor, which shows that the faults occurred.
    expect(plain.repeatedEvents).toBeGreaterThan(0);
  });

  it("refuses some calls at three times the capacity, and serves more calls in time than Nest's servers", async () => {
    const { plain, tuned, resilient } = await figuresOf('overload', 4);
    for (const figures of [plain, tuned]) {
      expect(figures.refused).toBe(0);
      expect(figures.ranExpired).toBeGreaterThan(resilient.ranExpired);
      expect(figures.good / figures.offered).toBeLessThan(resilient.good / resilient.offered);
    }
    expect(resilient.refused).toBeGreaterThan(0);
  });

  it('prints the figures of the clients side by side, and at most six log lines of our client, as docs/operate/logs.md shows', async () => {
    const { stdout } = await demo('--scenario', 'restart', '--seconds', '30');
    expect(stdout).toContain('Nest ClientGrpc   + retryPolicy, keepalive   nestjs-resilient-grpc');
    expect(stdout).toMatch(/^reads {3}failed +[1-9]\d* +\d+ +0$/m);
    const lines = stdout.split('\n').filter((line) => OURS.test(line));
    expect(lines.length).toBeLessThanOrEqual(6);
    const shown = codeBlocks('docs/operate/logs.md')[0]!
      .text.split('\n')
      .filter((line) => OURS.test(line));
    // A write may or may not be in flight when the server is killed, so its log line is compared separately.
    const inFlight = (line: string) => line.includes('the call may have reached the server');
    const logged = lines.filter((line) => !inFlight(line)).map(maskNumbers);
    expect(logged).toEqual(shown.filter((line) => !inFlight(line)).map(maskNumbers));
    expect(shown.filter(inFlight)).toHaveLength(1);
    for (const line of lines.filter(inFlight))
      expect(line).toMatch(/^WARN \[ResilientGrpc:orders\] \/orders\.v1\.Orders\/Create at /);
  });

  it('rejects an invalid argument, and lists the accepted names or quotes the invalid number', async () => {
    await expect(demo('--scenario', 'earthquake')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('restart|rolling|freeze|feed|overload'),
    });
    await expect(demo('--seconds', 'soon')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("'soon'"),
    });
  });
});
