import { Metadata } from '@grpc/grpc-js';
import { Logger, NotFoundException } from '@nestjs/common';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { firstValueFrom, type Observable } from 'rxjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { GrpcServerExceptionFilter } from './grpc-server-exception.filter.js';

const exception = new NotFoundException('no order 7');
const call = { metadata: new Metadata(), cancelled: false, getDeadline: () => Infinity, once: () => {} };

function catchException(kind: string, args: unknown[]): Promise<unknown> {
  const host = new ExecutionContextHost(args);
  host.setType(kind);
  const failed = new GrpcServerExceptionFilter().catch(exception, host) as Observable<never>;
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

  it("lets Nest's own filter handle an exception from a handler of another transport", async () => {
    expect(await catchException('rpc', [{ id: '7' }, { getPattern: () => 'orders' }])).toEqual({
      status: 'error',
      message: 'Internal server error',
    });
  });

  it.each(['http', 'graphql', 'ws'])(
    'rethrows an HttpException in a context of type %s if the filter has no HttpAdapterHost',
    (kind) => {
      expect(() => catchException(kind, [{}, {}, {}])).toThrow(exception);
    },
  );
});
