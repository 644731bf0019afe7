import { expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { LastFailures, type FailedCall } from './last-failures.js';

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
