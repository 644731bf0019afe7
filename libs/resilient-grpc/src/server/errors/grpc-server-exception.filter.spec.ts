import { Metadata } from '@grpc/grpc-js';
import { Logger, NotFoundException, type HttpException, type Type } from '@nestjs/common';
import { FILTER_CATCH_EXCEPTIONS } from '@nestjs/common/constants.js';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { RpcException } from '@nestjs/microservices';
import { firstValueFrom, type Observable } from 'rxjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { GrpcServerExceptionFilter } from './grpc-server-exception.filter.js';

const exception = new NotFoundException('no order 7');
const call = { metadata: new Metadata(), cancelled: false, getDeadline: () => Infinity, once: () => {} };

/** What Nest throws in a handler of a microservice if a guard returns false. */
const forbidden = new RpcException('Forbidden resource');

function catchException(
  kind: string,
  args: unknown[],
  thrown: HttpException | RpcException = exception,
): Promise<unknown> {
  const host = new ExecutionContextHost(args);
  host.setType(kind);
  const failed = new GrpcServerExceptionFilter().catch(thrown, host) as Observable<never>;
  return firstValueFrom(failed).then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );
}

describe('GrpcServerExceptionFilter', () => {
  beforeAll(() => Logger.overrideLogger(false));

  it.each([
    ['with the arguments (data, metadata, call)', [{ id: '7' }, call.metadata, call]],
    ['with the arguments (call, callback)', [call, () => {}]],
  ])('maps an HttpException to the matching gRPC status in a handler %s', async (_, args) => {
    expect(await catchException('rpc', args)).toEqual({ code: 5, details: 'no order 7', message: 'no order 7' });
  });

  it.each([
    ['with the arguments (data, metadata, call)', [{ id: '7' }, call.metadata, call]],
    ['with the arguments (call, callback)', [call, () => {}]],
  ])('maps a guard that returns false to PERMISSION_DENIED before a handler %s', async (_, args) => {
    const denied = { code: 7, details: 'Forbidden resource', message: 'Forbidden resource' };
    expect(await catchException('rpc', args, forbidden)).toEqual(denied);
  });

  it('leaves other RpcExceptions to other filters', () => {
    const caught = Reflect.getMetadata(FILTER_CATCH_EXCEPTIONS, GrpcServerExceptionFilter) as readonly Type[];
    const isCaught = (thrown: unknown) => caught.some((type) => thrown instanceof type);
    const others = ['no order 7', { code: 9, message: 'sold' }, { code: 16, message: 'Forbidden resource' }];
    expect([forbidden, ...others.map((error) => new RpcException(error))].map(isCaught)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  it.each([
    ['an HttpException', exception, 'Internal server error'],
    ['a guard that returns false', forbidden, 'Forbidden resource'],
  ])("lets Nest's own filter handle %s of a handler of another transport", async (_, thrown, message) => {
    const args = [{ id: '7' }, { getPattern: () => 'orders' }];
    expect(await catchException('rpc', args, thrown)).toEqual({ status: 'error', message });
  });

  it.each(['http', 'graphql', 'ws'])(
    'rethrows an exception in a context of type %s if the filter has no HttpAdapterHost',
    (kind) => {
      for (const thrown of [exception, forbidden])
        expect(() => catchException(kind, [{}, {}, {}], thrown)).toThrow(thrown);
    },
  );
});
