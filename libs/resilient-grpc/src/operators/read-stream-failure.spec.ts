import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CircuitOpenError } from '../errors/circuit-open-error.js';
import { ConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import { DeadlineError } from '../errors/deadline-error.js';
import { GrpcCallError, type FailureReason } from '../errors/grpc-call-error.js';
import { IdleTimeoutError } from '../errors/idle-timeout-error.js';
import type { StatusCode } from '../status/status-code.js';
import { readStreamFailure } from './read-stream-failure.js';

function callError(reason: FailureReason, code: StatusCode, retryAfterMs?: number): GrpcCallError {
  const metadata = new Metadata();
  metadata.set('grpc-retry-pushback-ms', '250');
  return new GrpcCallError({
    code,
    // What would be judged otherwise, did not the reason come first.
    details: 'Connection dropped',
    metadata,
    client: 'orders',
    path: '/orders.v1.Orders/Watch',
    peer: undefined,
    reason,
    reachedServer: 'yes',
    attempts: [],
    notRetriedBecause: 'committed',
    retryAfterMs,
  });
}

const grpcJs = (code: number, details: unknown, extra: object = {}) =>
  Object.assign(new Error(`${String(code)}: ${String(details)}`), { code, details }, extra);

describe('what an error says about the next call of a stream', () => {
  it.each([
    ['a call of ours', callError('server', 14, 700), 'server', 14],
    ['a call of ours that was lost', callError('connection-lost', 14), 'connection-lost', 14],
    ["grpc-js's own", grpcJs(14, 'Connection dropped'), 'connection-lost', 14],
    ["a server's status from grpc-js", grpcJs(13, 'boom'), 'server', 13],
    ['a status without a text', grpcJs(14, undefined), 'server', 14],
    ['a bound on one call', new DeadlineError(5), 'attempt-timeout', 4],
    ['silence', new IdleTimeoutError(5), 'stream-idle', 14],
    ['an open circuit', new CircuitOpenError('orders', 5), 'circuit-open', 14],
    ['a full limit', new ConcurrencyLimitError(1, 0), 'concurrency-limit', 8],
    ['an abort', Object.assign(new Error('left'), { name: 'AbortError', code: 14 }), 'cancelled', 14],
    ['an error of the program', new TypeError('slip'), undefined, undefined],
    ['an error with a code that is none of gRPC', grpcJs(404, 'Connection dropped'), undefined, undefined],
    ['an error of Node', Object.assign(new Error(), { code: 'ECONNRESET' }), undefined, undefined],
    ['a text', 'no', undefined, undefined],
    ['null', null, undefined, undefined],
    ['nothing', undefined, undefined, undefined],
  ])('%s', (_, error, reason, code) => {
    expect(readStreamFailure(error)).toMatchObject({ reason, code });
  });

  it.each([
    ['none', {}, undefined],
    ['a number', { retryAfterMs: 700 }, 700],
    ['0', { retryAfterMs: 0 }, 0],
    ['what no timer can take', { retryAfterMs: NaN }, undefined],
    ['what is no length', { retryAfterMs: -5 }, undefined],
    ['a text', { retryAfterMs: '700' }, undefined],
  ])('when to try again, of %s', (_, extra, retryAfterMs) => {
    expect(readStreamFailure(grpcJs(14, 'busy', extra)).retryAfterMs).toBe(retryAfterMs);
  });

  it.each([
    ["trailers of grpc-js's", callError('server', 14).metadata, { kind: 'delay', ms: 250 }],
    ['trailers without one', new Metadata(), { kind: 'none' }],
    ['no trailers', undefined, { kind: 'none' }],
    ['metadata of something else', { get: 'a text' }, { kind: 'none' }],
    ['headers of fetch', new Map([['grpc-retry-pushback-ms', '7']]), { kind: 'none' }],
  ])('the pushback, in %s', (_, metadata, pushback) => {
    expect(readStreamFailure(grpcJs(14, 'busy', { metadata })).pushback).toEqual(pushback);
  });
});
