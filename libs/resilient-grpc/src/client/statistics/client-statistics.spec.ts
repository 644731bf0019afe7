import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { MethodStatistics, LastFailures, type FailedCall } from './client-statistics.js';

const SECOND_MS = 1_000;

const create = () => new MethodStatistics({ path: '/a.B/C', kind: 'unary' }, () => undefined, 0);
const failure = (code: StatusCode) => ({ code, reason: 'server', details: '' }) as const;

describe('MethodStatistics', () => {
  it('counts the calls of the last 30 to 60 seconds, or of the lifetime of the statistics if that is shorter', () => {
    const statistics = create();
    statistics.succeeded(undefined, 5 * SECOND_MS);
    expect(statistics.recentCalls(10 * SECOND_MS)).toMatchObject({ windowMs: 10 * SECOND_MS, ended: 1 });
    statistics.failed(failure(StatusCode.UNAVAILABLE), true, 40 * SECOND_MS);
    expect(statistics.recentCalls(59 * SECOND_MS)).toMatchObject({ windowMs: 59 * SECOND_MS, ended: 2, failed: 1 });
    expect(statistics.recentCalls(61 * SECOND_MS)).toMatchObject({
      windowMs: 31 * SECOND_MS,
      ended: 1,
      codes: { UNAVAILABLE: 1 },
    });
    expect(statistics.recentCalls(91 * SECOND_MS)).toMatchObject({
      windowMs: 31 * SECOND_MS,
      ended: 0,
      failed: 0,
      codes: {},
    });
  });

  it('discards all samples of a method after a long time without calls', () => {
    const statistics = create();
    for (const at of [10, 40]) {
      statistics.failed(failure(StatusCode.INTERNAL), true, at * SECOND_MS);
      statistics.answered(5, at * SECOND_MS);
    }
    expect(statistics.recentCalls(1_000 * SECOND_MS)).toMatchObject({ ended: 0, codes: {} });
    expect(statistics.snapshot(1_000 * SECOND_MS).latency).toBeUndefined();
    statistics.succeeded(undefined, 1_000 * SECOND_MS);
    const { windowMs, ended } = statistics.recentCalls(1_000 * SECOND_MS);
    expect(ended).toBe(1);
    expect(windowMs).toBeGreaterThanOrEqual(30 * SECOND_MS);
    expect(windowMs).toBeLessThan(60 * SECOND_MS);
  });

  it('counts an invalid status code as UNKNOWN', () => {
    const statistics = create();
    // Safe: a server may send any number.
    statistics.failed(failure(99 as StatusCode), true, 1);
    expect(statistics.recentCalls(2).codes).toEqual({ UNKNOWN: 1 });
  });

  it('reports latency percentiles of the last 30 to 60 seconds with an error below 1/16, and accepts latencies outside the range of the histogram', () => {
    const statistics = create();
    expect(statistics.snapshot(0).latency).toBeUndefined();
    for (let ms = 1; ms <= 100; ms++) statistics.answered(ms, ms % 2 === 0 ? 10 * SECOND_MS : 40 * SECOND_MS);
    const { p50Ms, p90Ms, p99Ms, maxMs } = statistics.snapshot(50 * SECOND_MS).latency!;
    for (const [actual, expected] of [
      [p50Ms, 50],
      [p90Ms, 90],
      [p99Ms, 99],
      [maxMs, 100],
    ] as const) {
      expect(Math.abs(actual / expected - 1)).toBeLessThan(1 / 16);
    }
    statistics.answered(0, 50 * SECOND_MS);
    statistics.answered(1e12, 50 * SECOND_MS);
    expect(statistics.snapshot(50 * SECOND_MS).latency?.maxMs).toBeGreaterThan(3_000_000);
  });
});

const makeFailure = (change: Partial<FailedCall> = {}): FailedCall => ({
  path: '/a.B/C',
  code: StatusCode.UNAVAILABLE,
  reason: 'outage',
  details: 'lost',
  peer: undefined,
  ...change,
});

it('groups failures by method, code, and reason, and shows the details of the latest failure in each group', () => {
  const log = new LastFailures();
  log.add(makeFailure(), 1_000);
  log.add(makeFailure({ path: '/a.B/D' }), 2_000);
  log.add(makeFailure({ code: StatusCode.INTERNAL }), 2_000);
  log.add(makeFailure({ reason: 'server' }), 2_000);
  log.add(makeFailure({ details: 'x'.repeat(1_000), peer: '10.0.0.7:1' }), 3_000);
  const others = log.snapshot();
  const latest = others.pop();
  expect(others).toMatchObject([
    { path: '/a.B/D', count: 1 },
    { code: 'INTERNAL', count: 1 },
    { reason: 'server', count: 1 },
  ]);
  expect(latest).toEqual({
    path: '/a.B/C',
    code: 'UNAVAILABLE',
    reason: 'outage',
    details: `${'x'.repeat(200)}…`,
    peer: '10.0.0.7:1',
    count: 2,
    firstAt: '1970-01-01T00:00:01.000Z',
    lastAt: '1970-01-01T00:00:03.000Z',
  });
});

it('drops the least recent kind of failure if there are more than 20 kinds', () => {
  const log = new LastFailures();
  for (let kind = 0; kind < 20; kind++) log.add(makeFailure({ path: `/a.B/${kind}` }), kind);
  log.add(makeFailure({ path: '/a.B/0' }), 20);
  log.add(makeFailure({ path: '/a.B/new' }), 21);
  const paths = log.snapshot().map(({ path }) => path);
  expect(paths).toHaveLength(20);
  expect(paths).not.toContain('/a.B/1');
  expect(paths.slice(-2)).toEqual(['/a.B/0', '/a.B/new']);
});

it('masks credentials in the details of a failure, and shows the details on one line', () => {
  const log = new LastFailures();
  log.add(makeFailure({ details: 'redis://app:hunter2@cache\nBearer abc.def.ghi' }), 1_000);
  expect(log.snapshot()[0]?.details).toBe('redis://***@cache\\u000aBearer ***');
});
