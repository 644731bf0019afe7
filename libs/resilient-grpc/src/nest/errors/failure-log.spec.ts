import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { GrpcCallError, type GrpcCallFailure } from '../../errors/grpc-call-error.js';
import type { EventFields, LogSink } from '../../telemetry/log/library-logger.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { FailureLog, closeFailureLogs } from './failure-log.js';
import { toHttpException } from './to-http-exception.js';

const makeFailure = (change: Partial<GrpcCallFailure> = {}) =>
  new GrpcCallError({
    code: 13,
    details: 'no table',
    metadata: new Metadata(),
    client: 'orders',
    path: '/orders.v1.Orders/Get',
    peer: '10.0.0.7:50051',
    reason: 'server',
    reachedServer: 'yes',
    attempts: [],
    notRetriedBecause: 'fatal-status',
    retryAfterMs: undefined,
    ...change,
  });

function make() {
  const clock = new VirtualClock();
  const lines: { readonly level: string; readonly msg: string; readonly fields: EventFields }[] = [];
  const write: LogSink['write'] = (level, msg, fields) => lines.push({ level, msg, fields });
  return { clock, lines, log: new FailureLog({ write, isDebugEnabled: false }, clock) };
}

describe('FailureLog', () => {
  it('logs the remedy in full, even if the status details are truncated', () => {
    const { lines, log } = make();
    const remedy = `to diagnose, run: npx nestjs-resilient-grpc doctor ${'orders.'.repeat(40)}shop:50051`;
    log.log(makeFailure({ details: 'no table '.repeat(100), remedy }), '500', true);
    expect(lines[0]?.msg).toMatch(/INTERNAL: no table no table .{250,300}… \(to diagnose, run: /);
    expect(lines[0]?.msg).toContain(` (${remedy}) (server, reached the server: yes)`);
  });

  it('logs at most one line a minute for each method, code, and response, and counts the failed calls in between', () => {
    const { clock, lines, log } = make();
    for (let i = 0; i < 100; i++) log.log(makeFailure(), '500', true);
    log.log(makeFailure({ code: 14 }), '503', false);
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).toEqual([
      'error orders /orders.v1.Orders/Get at 10.0.0.7:50051 failed: INTERNAL: no table (server, reached the server: yes); the caller received 500',
      'warn orders /orders.v1.Orders/Get at 10.0.0.7:50051 failed: UNAVAILABLE: no table (server, reached the server: yes); the caller received 503',
    ]);
    clock.advance(60_000);
    expect(lines.slice(2).map(({ msg }) => msg)).toEqual([
      `${lines[0]!.msg} (98 more in the last minute, the last one 60 s ago)`,
    ]);
    expect(lines[2]?.fields).toEqual({
      client: 'orders',
      event: 'call-failed',
      path: '/orders.v1.Orders/Get',
      peer: '10.0.0.7:50051',
      code: 'INTERNAL',
      details: 'no table',
      reason: 'server',
      reachedServer: 'yes',
      answered: '500',
      isFault: true,
      repeats: 98,
    });
    log.close();
    expect(clock.pending).toBe(0);
  });

  it.each([16, 7] as const)('logs that the server rejected the credential of the call if the code is %i', (code) => {
    const { lines, log } = make();
    log.log(makeFailure({ code }), '401', false);
    expect(lines[0]?.msg).toContain('at 10.0.0.7:50051 rejected the credential of the call: ');
  });

  it('logs a call as failed, not as rejected, if its credentials could not be obtained', () => {
    const { lines, log } = make();
    log.log(makeFailure({ code: 16, reason: 'not-sent', reachedServer: 'no' }), '401', false);
    expect(lines[0]?.msg).toContain(' failed: UNAUTHENTICATED');
  });

  it.each([
    'outage',
    'connection-lost',
    'circuit-open',
    'draining',
    'closed',
    'cancelled',
    'inbound-cancelled',
  ] as const)('does not log a failed call with reason %s', (reason) => {
    const { lines, log } = make();
    log.log(makeFailure({ reason }), '503', false);
    expect(lines).toEqual([]);
  });

  it('masks secrets and escapes line breaks in the status details of a failed call', () => {
    const { lines, log } = make();
    log.log(makeFailure({ details: 'a\nFAKE Bearer hush' }), '500', true);
    expect(lines[0]?.msg).toContain('a\\u000aFAKE Bearer ***');
    expect(JSON.stringify(lines)).not.toContain('hush');
  });
});

describe('toHttpException', () => {
  it('sets the call error as the cause of the HTTP exception and omits the details of the error from the message', () => {
    const error = makeFailure();
    const exception = toHttpException(error);
    expect(exception.cause).toBe(error);
    expect(exception.message).toBe('Internal server error');
  });

  it.each<[what: string, change: Partial<GrpcCallFailure>]>([
    ['this process', { reason: 'not-sent', reachedServer: 'no' }],
    ['a proxy', { reason: 'server', reachedServer: 'maybe' }],
    ['a transport', { reason: 'refused', reachedServer: 'no' }],
    ['a server without details', { details: '' }],
  ])('returns the standard HTTP message for a status from %s', (_what, change) => {
    expect(toHttpException(makeFailure({ code: 5, details: 'db-7.internal', ...change })).getResponse()).toEqual({
      statusCode: 404,
      message: 'Not Found',
      code: 'NOT_FOUND',
    });
  });

  it.each<[reason: GrpcCallFailure['reason'], status: number]>([
    ['cancelled', 499],
    ['inbound-cancelled', 499],
    ['server', 500],
    ['connection-lost', 500],
  ])('maps CANCELLED with reason %s to HTTP status %i', (reason, status) => {
    expect(toHttpException(makeFailure({ code: 1, reason })).getStatus()).toBe(status);
  });

  it.each([
    [14, 0, 0],
    [14, 1, 1],
    [14, 1_000, 1],
    [8, 1_000.5, 2],
    [14, Infinity, undefined],
    [14, undefined, undefined],
    [4, 1_000, undefined],
  ] as const)('maps code %i and retryAfterMs %s to retryAfterSeconds %s', (code, retryAfterMs, seconds) => {
    expect(toHttpException(makeFailure({ code, retryAfterMs })).retryAfterSeconds).toBe(seconds);
  });

  it('maps retryAfterMs 0 to retryAfterSeconds 1 for a call that failed during an outage, so that callers do not retry at once', () => {
    expect(toHttpException(makeFailure({ code: 14, reason: 'outage', retryAfterMs: 0 })).retryAfterSeconds).toBe(1);
  });
});

it('writes the pending lines of all failure logs when an application closes', () => {
  const logs = [make(), make()];
  for (const { log } of logs) for (let i = 0; i < 3; i++) log.log(makeFailure(), '500', true);
  closeFailureLogs();
  expect(logs.map(({ lines, clock }) => [lines.length, clock.pending])).toEqual([
    [2, 0],
    [2, 0],
  ]);
});
