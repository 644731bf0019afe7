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
}
type Report = Readonly<Record<(typeof CONTENDERS)[number], Figures>>;

const CONTENDERS = ['plain', 'tuned', 'resilient'] as const;

async function demo(...args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(process.execPath, [DEMO, ...args], { timeout: 60_000 });
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
        });
        const { calls, succeeded, failed, unsafeInFlightFailed, failedByCode } = report[name];
        expect(calls).toBeGreaterThan(0);
        expect(succeeded + failed + unsafeInFlightFailed).toBe(calls);
        expect(Object.values(failedByCode).reduce((sum, count) => sum + count, 0)).toBe(failed);
      }
      expect(report.resilient).toMatchObject({ failed: 0, failedByCode: {} });
      if (scenario === 'drain' || scenario === 'idle-cut') expect(report.resilient.unsafeInFlightFailed).toBe(0);
    },
    60_000,
  );

  it('puts the figures side by side for people, with what our client logged', async () => {
    const { stdout } = await demo('--scenario', 'restart', '--seconds', '6');
    expect(stdout).toContain('Nest ClientGrpc   + retryPolicy, keepalive   nestjs-resilient-grpc');
    expect(stdout).toMatch(/^reads {3}failed +[1-9]\d* +\d+ +0$/m);
    expect(stdout).toMatch(/^WARN \[ResilientGrpc:orders\] outage: /m);
    expect(stdout).toMatch(/^LOG {2}\[ResilientGrpc:orders\] back after /m);
  }, 60_000);

  it('says what it takes when it is asked for something else', async () => {
    await expect(demo('--scenario', 'earthquake')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('restart|drain|reset|idle-cut'),
    });
    await expect(demo('--seconds', 'soon')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining("'soon'"),
    });
  });
});
