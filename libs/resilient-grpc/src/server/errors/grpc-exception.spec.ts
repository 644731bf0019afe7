import { Metadata, status } from '@grpc/grpc-js';
import { serverErrorToStatus } from '@grpc/grpc-js/build/src/server-call.js';
import { BaseRpcExceptionFilter, RpcException } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import type { GrpcCallError } from '../../errors/grpc-call-error.js';
import { statusDetailsOf } from '../../errors/status-details.js';
import { GrpcException } from './grpc-exception.js';

/** Returns the error with which Nest fails a handler's Observable. */
async function throughNest(exception: unknown): Promise<any> {
  const failed = new BaseRpcExceptionFilter().catch(exception, undefined as never);
  return firstValueFrom(failed).then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );
}

describe('GrpcException', () => {
  it('creates a GrpcException that is an RpcException of Nest and has the details as its message', () => {
    const cause = new Error('row 7');
    const exception = new GrpcException('NOT_FOUND', 'no order 7', { cause });
    expect(exception).toBeInstanceOf(RpcException);
    expect(exception).toMatchObject({ name: 'GrpcException', message: 'no order 7', code: 5, details: 'no order 7' });
    expect(exception.cause).toBe(cause);
  });

  it('produces the same status from a GrpcException through Nest and through grpc-js alone', async () => {
    const exception = new GrpcException('RESOURCE_EXHAUSTED', 'no more', { metadata: { 'x-shard': 'a' } });
    for (const error of [await throughNest(exception), exception]) {
      const status = serverErrorToStatus(error);
      expect(status).toMatchObject({ code: 8, details: 'no more' });
      expect((status.metadata as Metadata).getMap()).toEqual({ 'x-shard': 'a' });
    }
  });

  it('creates a GrpcException from a numeric status code', () => {
    expect([new GrpcException(9, '').code, new GrpcException(status.ABORTED, '').code]).toEqual([9, 10]);
  });

  it('limits the code type of a GrpcException to gRPC error codes and their names', () => {
    type Code = ConstructorParameters<typeof GrpcException>[0];
    expectTypeOf<Exclude<status, status.OK>>().toExtend<Code>();
    expectTypeOf<GrpcCallError['code' | 'codeName']>().toExtend<Code>();
    expectTypeOf<0>().not.toExtend<Code>();
    expectTypeOf<404>().not.toExtend<Code>();
    expectTypeOf<'OK'>().not.toExtend<Code>();
    expectTypeOf<status.OK>().not.toExtend<Code>();
  });

  it('adds the given status details, followed by RetryInfo, to the trailers of a GrpcException', () => {
    const statusDetails = [{ typeUrl: 'google.rpc.ErrorInfo', value: { reason: 'QUOTA' } }];
    const exception = new GrpcException('UNAVAILABLE', 'later', { statusDetails, retryAfterMs: 1_500 });
    expect(statusDetailsOf(exception.getError().metadata)).toEqual([
      { typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: { reason: 'QUOTA', domain: '', metadata: {} } },
      { typeUrl: 'type.googleapis.com/google.rpc.RetryInfo', value: { retryDelayMs: 1_500 } },
    ]);
    expect(new GrpcException('ABORTED', 'again').getError().metadata.getMap()).toEqual({});
  });

  it('copies the metadata given to a GrpcException and hides it from logs', () => {
    const metadata = new Metadata();
    metadata.set('x-token', 'hush');
    const exception = new GrpcException('INTERNAL', 'oh', { metadata, retryAfterMs: 1 });
    metadata.set('x-token', 'later');
    expect(exception.metadata.get('x-token')).toEqual(['hush']);
    expect(JSON.stringify(exception)).not.toContain('hush');
    expect(Object.keys(exception)).not.toContain('metadata');
  });

  it('accepts the grpc-retry-pushback-ms trailer in a GrpcException', () => {
    const exception = new GrpcException('UNAVAILABLE', '', { metadata: { 'grpc-retry-pushback-ms': '500' } });
    expect(exception.metadata.get('grpc-retry-pushback-ms')).toEqual(['500']);
  });

  it('replaces lone surrogates in the details of a GrpcException', () => {
    expect(new GrpcException('INTERNAL', 'half \ud83d').getError()).toMatchObject({
      details: 'half \ufffd',
      message: 'half \ufffd',
    });
  });

  const expected = "code: expected a status name such as 'NOT_FOUND', or a number from 1 to 16, got";
  it.each<[what: string, make: () => GrpcException, message: string]>([
    ['an unknown status name', () => new GrpcException('MISSING' as 'ABORTED', ''), `${expected} "MISSING"`],
    ['a misspelled status name', () => new GrpcException('NOTFOUND' as 'NOT_FOUND', ''), `${expected} "NOTFOUND"`],
    [
      'a code that is the name of an inherited object property',
      () => new GrpcException('toString' as 'ABORTED', ''),
      `${expected} "toString"`,
    ],
    ['the code OK', () => new GrpcException('OK' as 'ABORTED', ''), `${expected} "OK"`],
    [
      'an object with code and message, as for RpcException',
      () => new GrpcException({ code: 5, message: 'no order 7' } as never, undefined as never),
      `${expected} an object with code, message`,
    ],
    ['the code 0', () => new GrpcException(0 as 1, ''), `${expected} 0`],
    ['an HTTP status as the code', () => new GrpcException(404 as 5, ''), `${expected} 404`],
    [
      'a negative retryAfterMs',
      () => new GrpcException('UNAVAILABLE', '', { retryAfterMs: -1 }),
      'retryAfterMs: expected a number of milliseconds, 0 or more, got -1',
    ],
    [
      'a status detail with an unknown field',
      () => new GrpcException('ABORTED', '', { statusDetails: [{ typeUrl: 'google.rpc.Help', value: { link: 1 } }] }),
      'statusDetails[0].value.link: unknown field of google.rpc.Help; known fields: links',
    ],
    [
      'a metadata value that is not a string',
      () => new GrpcException('ABORTED', '', { metadata: { 'x-at': 5 as unknown as string } }),
      'metadata["x-at"]: expected a string or an array of strings, got number',
    ],
    [
      'a metadata key that gRPC reserves',
      () => new GrpcException('ABORTED', '', { metadata: { 'grpc-status': '0' } }),
      `metadata["grpc-status"]: expected a key that does not start with 'grpc-', which gRPC reserves`,
    ],
  ])('rejects a GrpcException with %s', (_, make, message) => {
    expect(make).toThrow(new TypeError(message));
  });
});
