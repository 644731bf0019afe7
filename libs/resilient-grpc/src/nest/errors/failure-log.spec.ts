import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { GrpcCallError, type GrpcCallFailure } from '../../errors/grpc-call-error.js';
import type { LogLine } from '../../telemetry/log/log-line.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { FailureLog } from './failure-log.js';
import { toHttpException } from './to-http-exception.js';

const failure = (change: Partial<GrpcCallFailure> = {}) =>
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
  const lines: LogLine[] = [];
  const keep = (line: LogLine) => lines.push(line);
  return { clock, lines, log: new FailureLog({ warn: keep, error: keep }, clock) };
}

describe('the log of what a filter did not tell', () => {
  it('has one line a minute for each method, code and answer, with a count', () => {
    const { clock, lines, log } = make();
    for (let i = 0; i < 100; i++) log.log(failure(), '500', true);
    log.log(failure({ code: 14 }), '503', false);
    expect(lines.map(({ level, msg }) => `${level} ${msg}`)).toEqual([
      'error answered 500, as orders /orders.v1.Orders/Get at 10.0.0.7:50051 failed: INTERNAL: no table (server, reached the server: yes)',
      'warn answered 503, as orders /orders.v1.Orders/Get at 10.0.0.7:50051 failed: UNAVAILABLE: no table (server, reached the server: yes)',
    ]);
    clock.advance(60_000);
    expect(lines.slice(2).map(({ msg }) => msg)).toEqual([`${lines[0]!.msg} (99 more in the last minute)`]);
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
      repeats: 99,
    });
    log.close();
    expect(clock.pending).toBe(0);
  });

  it('has at most 21 kinds a minute, of however many methods', () => {
    const { clock, lines, log } = make();
    for (let method = 0; method < 1_000; method++)
      log.log(failure({ path: `/orders.v1.Orders/M${method}` }), '500', true);
    expect(lines).toHaveLength(21);
    expect(clock.pending).toBeLessThanOrEqual(21);
    clock.advance(60_000);
    expect(lines.slice(21).map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/Orders\/M999 at .* \(979 more in the last minute, of other methods and codes too\)$/),
    ]);
    clock.advance(60_000);
    expect([lines.length, clock.pending]).toEqual([22, 0]);
  });

  it('has one line for a method and code of a thousand clients', () => {
    const { lines, log } = make();
    for (let tenant = 0; tenant < 1_000; tenant++) log.log(failure({ client: `tenant-${tenant}` }), '500', true);
    expect(lines).toHaveLength(1);
    log.close();
    expect(lines.map(({ fields }) => fields['repeats'])).toEqual([undefined, 999]);
  });

  it.each([16, 7] as const)('says of code %i that it was this process that was refused', (code) => {
    const { lines, log } = make();
    log.log(failure({ code }), '401', false);
    expect(lines[0]?.msg).toContain('at 10.0.0.7:50051 refused this process as its caller: ');
  });

  it('says of credentials that could not be had that the call failed', () => {
    const { lines, log } = make();
    log.log(failure({ code: 16, reason: 'not-sent', reachedServer: 'no' }), '401', false);
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
  ] as const)('leaves %s to the log of the client', (reason) => {
    const { lines, log } = make();
    log.log(failure({ reason }), '503', false);
    expect(lines).toEqual([]);
  });

  it('has no secret and no line of the server’s making', () => {
    const { lines, log } = make();
    log.log(failure({ details: 'a\nFAKE Bearer hush' }), '500', true);
    expect(lines[0]?.msg).toContain('a\\u000aFAKE Bearer ***');
    expect(JSON.stringify(lines)).not.toContain('hush');
  });
});

describe('a failed call, as an HttpException', () => {
  it('has the error as its cause, and a message that may be shown', () => {
    const error = failure();
    const exception = toHttpException(error);
    expect(exception.cause).toBe(error);
    expect(exception.message).toBe('Internal server error');
  });

  it.each<[what: string, change: Partial<GrpcCallFailure>]>([
    ['this process', { reason: 'not-sent', reachedServer: 'no' }],
    ['a proxy', { reason: 'server', reachedServer: 'maybe' }],
    ['a transport', { reason: 'refused', reachedServer: 'no' }],
    ['a server that says nothing', { details: '' }],
  ])('has the usual words where the text is of %s', (_what, change) => {
    expect(toHttpException(failure({ code: 5, details: 'db-7.internal', ...change })).getResponse()).toEqual({
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
  ])('is that of a caller who left only where one did: CANCELLED for %s is %i', (reason, status) => {
    expect(toHttpException(failure({ code: 1, reason })).getStatus()).toBe(status);
  });

  it.each([
    [14, 1, 1],
    [14, 1_000, 1],
    [8, 1_000.5, 2],
    [14, Infinity, undefined],
    [14, undefined, undefined],
    [4, 1_000, undefined],
  ] as const)('with code %i after %s ms has %s seconds to wait', (code, retryAfterMs, seconds) => {
    expect(toHttpException(failure({ code, retryAfterMs })).retryAfterSeconds).toBe(seconds);
  });
});
