import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { PATIENCE } from '../../src/patience.js';

const DEMO = join(import.meta.dirname, '../../dist/demo.js');
/** Figures of calls. */
export interface Figures {
  readonly calls: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly unsafeInFlightFailed: number;
  readonly failedByCode: Readonly<Record<string, number>>;
  readonly attempts: number;
  readonly connectionsReplaced: number;
  readonly recoveryMs: number;
  readonly lastFailureMs: number;
  readonly latencyMs: Readonly<Record<'p50' | 'p90' | 'p99', number>>;
}
export interface FeedFigures {
  readonly events: number;
  readonly lostEvents: number;
  readonly repeatedEvents: number;
  readonly outOfOrder: number;
  readonly longestGapMs: number;
}
export interface SessionFigures {
  readonly sessionMessages: number;
  readonly sessionLost: number;
  readonly sessionRepeated: number;
}
/** Figures of a rolling restart of two servers. */
export interface RollingFigures extends FeedFigures {
  readonly failedCalls: number;
  readonly failedWrites: number;
  readonly duplicatedWrites: number;
  readonly lostWrites: number;
  readonly streamsLost: number;
  readonly restarts: number;
}
/** Figures of a server that receives more calls than it can serve. */
export interface OverloadFigures {
  readonly offered: number;
  readonly good: number;
  readonly refused: number;
  readonly ranExpired: number;
  readonly p99Ms: number;
  readonly goodAgainMs: number;
}
export type Report<F = Figures> = Readonly<Record<(typeof CONTENDERS)[number], F>>;

export const CONTENDERS = ['plain', 'tuned', 'resilient'] as const;

/** Load of each client. */
export const CALLS_PER_SECOND = 200 / PATIENCE;

/** Timeout of tests that run the demo. It is longer than the 280 s after which `demo` kills a demo that hangs. */
export const DEMO_LIMIT = { timeout: 300_000 };

export async function demo(...args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  return promisify(execFile)(process.execPath, [DEMO, ...args], { timeout: 280_000 });
}

export const FEED_FIGURES = {
  events: expect.any(Number),
  lostEvents: expect.any(Number),
  repeatedEvents: expect.any(Number),
  outOfOrder: expect.any(Number),
  longestGapMs: expect.any(Number),
};

/** Runs a scenario and returns its JSON report. */
export async function reportOf<T>(scenario: string, seconds: number, ...more: readonly string[]): Promise<T> {
  const { stdout, stderr } = await demo('--scenario', scenario, '--seconds', String(seconds), ...more, '--json');
  expect(stderr).toBe('');
  return JSON.parse(stdout) as T;
}

/** Runs a scenario and returns its report, which must contain only the scenario, its duration, and the figures. */
export async function figuresOf<F>(scenario: string, seconds: number, ...more: readonly string[]): Promise<Report<F>> {
  const report = await reportOf<Report<F>>(scenario, seconds, ...more);
  expect(Object.keys(report)).toEqual(['scenario', 'seconds', ...CONTENDERS]);
  expect(report).toMatchObject({ scenario, seconds });
  return report;
}

/** Runs a scenario of calls and checks the invariants of its figures. */
export async function runScenario<F = object>(
  scenario: string,
  seconds: number,
  more: object = {},
): Promise<Report<Figures & F>> {
  const report = await figuresOf<Figures & F>(scenario, seconds);
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
      connectionsReplaced: expect.any(Number),
      connectionLosses: name === 'resilient' ? expect.any(Number) : null,
      longestWaitMs: expect.any(Number),
      recoveryMs: expect.any(Number),
      lastFailureMs: expect.any(Number),
      latencyMs: { p50: expect.any(Number), p90: expect.any(Number), p99: expect.any(Number) },
      ...more,
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
