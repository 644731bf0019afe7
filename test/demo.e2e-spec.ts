import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const DEMO = join(import.meta.dirname, '..', 'dist', 'demo.js');
interface Figures {
  readonly calls: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly unsafeInFlightFailed: number;
  readonly failedByCode: Readonly<Record<string, number>>;
  readonly attempts: number;
  readonly latencyMs: Readonly<Record<'p50' | 'p90' | 'p99', number>>;
}
type Report = Readonly<Record<(typeof CONTENDERS)[number], Figures>>;

const CONTENDERS = ['plain', 'tuned', 'resilient'] as const;

async function demo(...args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(process.execPath, [DEMO, ...args], { timeout: 60_000 });
}

/** Plays a scenario, and checks what is true of the figures whatever happened. */
async function play(scenario: string, seconds: number): Promise<Report> {
  const { stdout, stderr } = await demo('--scenario', scenario, '--seconds', String(seconds), '--json');
  expect(stderr).toBe('');
  const report = JSON.parse(stdout) as Report;
  expect(Object.keys(report)).toEqual(['scenario', 'seconds', ...CONTENDERS]);
  expect(report).toMatchObject({ scenario, seconds });
  for (const name of CONTENDERS) {
    expect(report[name]).toEqual({
      calls: expect.any(Number),
      succeeded: expect.any(Number),
      failed: expect.any(Number),
      failedByCode: expect.any(Object),
      unsafeInFlightFailed: expect.any(Number),
      duplicatedWrites: 0,
      lostWrites: 0,
      attempts: expect.any(Number),
      longestWaitMs: expect.any(Number),
      recoveryMs: expect.any(Number),
      latencyMs: { p50: expect.any(Number), p90: expect.any(Number), p99: expect.any(Number) },
    });
    const { calls, succeeded, failed, unsafeInFlightFailed, failedByCode, latencyMs } = report[name];
    expect(calls).toBeGreaterThan(0);
    expect(succeeded + failed + unsafeInFlightFailed).toBe(calls);
    expect(Object.values(failedByCode).reduce((sum, count) => sum + count, 0)).toBe(failed);
    expect(latencyMs.p50).toBeGreaterThan(0);
    expect(latencyMs.p90).toBeGreaterThanOrEqual(latencyMs.p50);
    expect(latencyMs.p99).toBeGreaterThanOrEqual(latencyMs.p90);
  }
  return report;
}

// Of the program itself, as `npm run demo` runs it: `npm test` builds it first.
describe('the demo in a terminal', () => {
  it.each([
    ['restart', 8],
    ['drain', 5],
    ['reset', 4],
    ['idle-cut', 4],
  ])(
    'prints one object for %s, in which our client lost nothing and did nothing twice',
    async (scenario, seconds) => {
      const report = await play(scenario, seconds);
      expect(report.resilient).toMatchObject({ failed: 0, failedByCode: {} });
      if (scenario === 'drain' || scenario === 'idle-cut') expect(report.resilient.unsafeInFlightFailed).toBe(0);
    },
    60_000,
  );

  it('says what overload costs, and that our client hardly adds to it', async () => {
    const { plain, resilient } = await play('overload', 5);
    expect(Object.keys(resilient.failedByCode).sort()).toEqual(['RESOURCE_EXHAUSTED', 'UNAVAILABLE']);
    expect(resilient.failed).toBeGreaterThan(resilient.calls / 2);
    expect(resilient.succeeded).toBeGreaterThan(0);
    // Every call that succeeded had an attempt, so no more than the rest was spent on those that failed.
    expect((resilient.attempts - resilient.succeeded) / resilient.failed).toBeLessThanOrEqual(1.1);
    expect(plain.attempts).toBe(plain.calls);
  }, 60_000);

  it('says how slow a tail is, and that hedging cuts it for few attempts more', { timeout: 60_000 }, async () => {
    const { plain, resilient } = await play('slow', 8);
    expect(resilient.failed).toBe(0);
    // Against the plain client's tail in the same run: what else runs on the machine slows both.
    expect(resilient.latencyMs.p99).toBeLessThan(plain.latencyMs.p99 / 3);
    expect(resilient.attempts / resilient.calls).toBeGreaterThan(1);
    // One call in twenty, and five.
    expect(resilient.attempts).toBeLessThanOrEqual(resilient.calls * 1.05 + 5);
  });

  it('puts the figures side by side for people, with what our client logged', async () => {
    const { stdout } = await demo('--scenario', 'restart', '--seconds', '6');
    expect(stdout).toContain('Nest ClientGrpc   + retryPolicy, keepalive   nestjs-resilient-grpc');
    expect(stdout).toMatch(/^reads {3}failed +[1-9]\d* +\d+ +0$/m);
    expect(stdout).toMatch(/^WARN \[ResilientGrpc:orders\] outage: /m);
    expect(stdout).toMatch(/^LOG {2}\[ResilientGrpc:orders\] back after /m);
  }, 60_000);

  it('shows of each scenario what it is about, and what the rival has there', async () => {
    const { stdout } = await demo('--scenario', 'overload', '--seconds', '4');
    expect(stdout).toContain('Nest ClientGrpc   + retryPolicy, retryThrottling   nestjs-resilient-grpc');
    expect(stdout).toMatch(/^attempts per call +1\.000 +1\.\d{3} +1\.\d{3}$/m);
    expect(stdout).toMatch(/^99 % of calls within( +\d+ ms){3}$/m);
    expect(stdout).not.toContain('done twice');
  }, 60_000);

  it('says what it takes when it is asked for something else', async () => {
    await expect(demo('--scenario', 'earthquake')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('restart|drain|reset|idle-cut|overload|slow'),
    });
    await expect(demo('--seconds', 'soon')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("'soon'"),
    });
  });
});
