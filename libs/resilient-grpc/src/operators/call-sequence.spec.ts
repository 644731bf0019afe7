import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { CircuitOpenError, ConcurrencyLimitError, DeadlineError, IdleTimeoutError } from '../errors/operator-errors.js';
import { GrpcCallError, type FailureReason } from '../errors/grpc-call-error.js';
import type { StatusCode } from '../status/status-code.js';
import { readStreamFailure } from './call-sequence.js';

function makeCallError(reason: FailureReason, code: StatusCode, retryAfterMs?: number): GrpcCallError {
  const metadata = new Metadata();
  metadata.set('grpc-retry-pushback-ms', '250');
  return new GrpcCallError({
    code,
    // These details indicate a lost connection if the error has no `reason`.
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

const makeGrpcJsError = (code: number, details: unknown, extra: object = {}) =>
  Object.assign(new Error(`${String(code)}: ${String(details)}`), { code, details }, extra);

describe('readStreamFailure', () => {
  it.each([
    ['a GrpcCallError', makeCallError('server', 14, 700), 'server', 14],
    ['a GrpcCallError for a lost connection', makeCallError('connection-lost', 14), 'connection-lost', 14],
    ['a lost connection from grpc-js', makeGrpcJsError(14, 'Connection dropped'), 'connection-lost', 14],
    ['a server status from grpc-js', makeGrpcJsError(13, 'boom'), 'server', 13],
    ['a status without details', makeGrpcJsError(14, undefined), 'server', 14],
    ['a DeadlineError', new DeadlineError(5), 'attempt-timeout', 4],
    ['an IdleTimeoutError', new IdleTimeoutError(5), 'stream-idle', 14],
    ['a CircuitOpenError', new CircuitOpenError('orders', 5), 'circuit-open', 14],
    ['a ConcurrencyLimitError', new ConcurrencyLimitError(1, 0), 'concurrency-limit', 8],
    ['an AbortError', Object.assign(new Error('aborted'), { name: 'AbortError', code: 14 }), 'cancelled', 14],
    ['an application error', new TypeError('slip'), undefined, undefined],
    ["an error with a code outside gRPC's range", makeGrpcJsError(404, 'Connection dropped'), undefined, undefined],
    ['a Node error', Object.assign(new Error(), { code: 'ECONNRESET' }), undefined, undefined],
    ['a string', 'no', undefined, undefined],
    ['null', null, undefined, undefined],
    ['undefined', undefined, undefined, undefined],
  ])('reads the reason and the code of %s', (_, error, reason, code) => {
    expect(readStreamFailure(error)).toMatchObject({ reason, code });
  });

  it.each([
    ['missing', {}, undefined],
    ['a number', { retryAfterMs: 700 }, 700],
    ['0', { retryAfterMs: 0 }, 0],
    ['NaN', { retryAfterMs: NaN }, undefined],
    ['a negative number', { retryAfterMs: -5 }, undefined],
    ['a string', { retryAfterMs: '700' }, undefined],
  ])('reads retryAfterMs from an error only if it is a non-negative number (value: %s)', (_, extra, retryAfterMs) => {
    expect(readStreamFailure(makeGrpcJsError(14, 'busy', extra)).retryAfterMs).toBe(retryAfterMs);
  });

  it.each([
    ['grpc-js trailers', makeCallError('server', 14).metadata, { kind: 'delay', ms: 250 }],
    ['trailers without a pushback', new Metadata(), { kind: 'none' }],
    ['an error without trailers', undefined, { kind: 'none' }],
    ['metadata of another type', { get: 'a text' }, { kind: 'none' }],
    ['fetch headers', new Map([['grpc-retry-pushback-ms', '7']]), { kind: 'none' }],
  ])('reads the pushback of an error only from metadata like that of grpc-js (source: %s)', (_, metadata, pushback) => {
    expect(readStreamFailure(makeGrpcJsError(14, 'busy', { metadata })).pushback).toEqual(pushback);
  });
});
