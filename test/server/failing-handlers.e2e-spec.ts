import { execFile } from 'node:child_process';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { Metadata, type StatusObject } from '@grpc/grpc-js';
import {
  Catch,
  Controller,
  NotFoundException,
  UseFilters,
  type ArgumentsHost,
  type ExceptionFilter,
} from '@nestjs/common';
import { GrpcMethod, GrpcStreamCall, GrpcStreamMethod, RpcException } from '@nestjs/microservices';
import { GrpcException } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { map, throwError, type Observable } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { serveOrders, type PlainOrders } from './handlers/orders-service.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Rejects with an error that contains the command line and its exit code. */
const login = () => promisify(execFile)(process.execPath, ['-e', 'process.exit(7)', '--', '--password=hunter2']);
const withTrailers = (...trailers: [key: string, value: string][]): RpcException => {
  const metadata = new Metadata();
  for (const [key, value] of trailers) metadata.add(key, value);
  return new RpcException({ code: 5, message: 'no order 7', metadata });
};

@Catch()
class OwnFilter implements ExceptionFilter {
  catch(exception: Error): Observable<never> {
    return throwError(() => ({ code: 9, message: `from the filter: ${exception.message}` }));
  }
}

/** A filter for HTTP that also receives the errors of gRPC handlers, for example in a hybrid application. */
@Catch()
class HttpFilter implements ExceptionFilter {
  catch(_: unknown, host: ArgumentsHost): void {
    host.switchToHttp().getResponse<{ status(code: number): void }>().status(500);
  }
}

describe('failing handler', () => {
  /** Serves a unary method that fails, and a stream that fails after one message. */
  async function serveFailing(fail: () => unknown, ...filters: ExceptionFilter[]) {
    @Controller()
    @UseFilters(...filters)
    class FailingController {
      @GrpcMethod('Orders', 'Get')
      async getOrder(): Promise<object> {
        await fail();
        return {};
      }

      @GrpcMethod('Orders', 'Watch')
      async *watch(): AsyncGenerator<object> {
        yield { sequence: '1' };
        await fail();
      }
    }

    const { client, log } = await closedAfterTest(serveOrders(FailingController));
    log.lines.length = 0;
    return { log, unary: () => unaryStatus(client), stream: () => streamStatus(client) };
  }
  const throwing = (error: unknown) => () => {
    throw error;
  };

  it('logs the details of an error whose `code` is an exit code, and hides them from the client', async () => {
    const { unary, stream, log } = await serveFailing(login);
    for (const status of [await unary(), await stream()]) {
      expect(status).toMatchObject({ code: 2, details: 'Internal server error' });
    }
    const failed = '/orders.v1.Orders/Watch: handler failed: Error: Command failed: ';
    expect(log.lines.map(({ text }) => text)).toContainEqual(expect.stringContaining(failed));
  });

  it.each([
    ['returns a rejected promise', () => Promise.reject(new Error('secret'))],
    [
      'throws synchronously',
      () => {
        throw new Error('secret');
      },
    ],
  ])(
    'logs the error that an exception filter for HTTP throws if a unary handler %s, and hides it from the client',
    async (_, fail) => {
      @Controller()
      @UseFilters(new HttpFilter())
      class FilteredController {
        @GrpcMethod('Orders', 'Get')
        getOrder(): unknown {
          return fail();
        }
      }
      const { client, log } = await closedAfterTest(serveOrders(FilteredController));
      expect(await unaryStatus(client)).toMatchObject({ code: 2, details: 'Internal server error' });
      expect(log.lines.filter(({ level }) => level === 'error').map(({ text }) => text)).toContain(
        '/orders.v1.Orders/Get: handler failed: TypeError: host.switchToHttp(...).getResponse(...).status is not a function',
      );
    },
  );

  it.each([
    [new RangeError('page_size must be at most 100'), 2],
    [Object.assign(new RangeError('page_size must be at most 100'), { code: 11 }), 11],
  ])('sends the message of an RpcException that contains %o, as Nest does', async (error, code) => {
    const { unary } = await serveFailing(throwing(new RpcException(error)));
    expect(await unary()).toMatchObject({ code, details: 'page_size must be at most 100' });
  });

  it('sends a status without the trailers that HTTP/2 forbids', async () => {
    const error = withTrailers(
      ['connection', 'close'],
      ['content-length', '7'],
      ['grpc-status', '0'],
      ['x-shard', 'a'],
    );
    const { unary, stream } = await serveFailing(throwing(error));
    for (const status of [await unary(), await stream()]) {
      expect(status).toMatchObject({ code: 5, details: 'no order 7' });
      expect(status.metadata.get('connection')).toEqual([]);
      expect(status.metadata.get('x-shard')).toEqual(['a']);
    }
  });

  it('sends a status if an exception repeats a trailer that HTTP allows only once', async () => {
    const { unary, stream, log } = await serveFailing(throwing(withTrailers(['etag', 'a'], ['etag', 'b'])));
    for (const status of [await unary(), await stream()])
      expect(status).toMatchObject({ code: 5, details: 'no order 7' });
    expect(log.lines.filter(({ text }) => text.includes('handler failed'))).toEqual([]);
  });

  it('sends the start of an exception message that is too long to send, and logs it', async () => {
    const error = new GrpcException('NOT_FOUND', 'no order '.repeat(12_000));
    const { unary, stream, log } = await serveFailing(throwing(error));
    for (const status of [await unary(), await stream()])
      expect(status).toMatchObject({ code: 5, details: expect.stringMatching(/^no order .{5000}/) });
    const cut = log.lines.filter(({ text }) => text.includes('a part of a status was not sent'));
    expect(cut.map(({ text }) => /^[^:]+/.exec(text)?.[0])).toEqual([
      '/orders.v1.Orders/Get',
      '/orders.v1.Orders/Watch',
    ]);
  });

  it('sends the status of an error that an async generator throws, without passing the error to an exception filter', async () => {
    const { unary, stream } = await serveFailing(throwing(new Error('oh')), new OwnFilter());
    expect(await unary()).toMatchObject({ code: 9, details: 'from the filter: oh' });
    expect(await stream()).toMatchObject({ code: 2, details: 'Internal server error' });
    for (const [error, code] of [
      [new GrpcException('NOT_FOUND', 'no order №7'), 5],
      [new RpcException({ code: 8, message: 'no order №7' }), 8],
      [new NotFoundException('no order №7'), 5],
    ] as const) {
      expect(await (await serveFailing(throwing(error), new OwnFilter())).stream()).toMatchObject({
        code,
        details: 'no order №7',
      });
    }
  });
});

describe('response that does not match its proto', () => {
  it('ends a call of each kind with INTERNAL if a response does not match its proto, and logs the method, its handler, and the problem', async () => {
    @Controller()
    class WrongController {
      @GrpcMethod('Orders', 'Get')
      forgetsReturn(): void {
        // A user forgets to return the order.
      }

      @GrpcMethod('Orders', 'Watch')
      async *wrongOrder(): AsyncGenerator<object> {
        yield { sequence: '1' };
        yield { sequence: '2', order: 'order 7' };
        yield { sequence: '3' };
      }

      @GrpcStreamMethod('Orders', 'Session')
      wrongReply(requests: Observable<object>): Observable<unknown> {
        return requests.pipe(map(() => 'order 7'));
      }

      @GrpcStreamCall('Orders', 'Upload')
      wrongUpload(call: Readable, answer: (error: null, reply: unknown) => void): void {
        call.resume();
        call.on('end', () => {
          answer(null, 7);
        });
      }
    }
    const { client, log } = await closedAfterTest(serveOrders(WrongController));
    log.lines.length = 0;
    const got: unknown[] = [];
    const statuses = [
      await unaryStatus(client),
      await streamStatus(client, (message) => got.push(message)),
      await new Promise<StatusObject>((resolve) => {
        const call = client.session();
        call.on('data', () => undefined).on('error', () => undefined);
        call.on('status', resolve);
        call.write({ messageId: '1' });
      }),
      await new Promise<StatusObject>((resolve) => {
        const call = client.upload(deadline(), () => undefined);
        call.on('status', resolve);
        call.end();
      }),
    ];
    for (const status of statuses) expect(status).toMatchObject({ code: 13, details: 'Error serializing response' });
    expect(got).toEqual([expect.objectContaining({ sequence: '1' })]);
    expect(log.lines).toEqual(
      [
        ['Get', 'forgetsReturn', '.orders.v1.Order: object expected, got undefined'],
        ['Watch', 'wrongOrder', '.orders.v1.OrderEvent.order: object expected'],
        ['Session', 'wrongReply', '.orders.v1.SessionReply: object expected, got a string'],
        ['Upload', 'wrongUpload', '.orders.v1.UploadReply: object expected, got a number'],
      ].map(([method, handler, problem]) => ({
        level: 'error',
        context: 'ResilientGrpcServer',
        text:
          `/orders.v1.Orders/${method!}: handler failed: TypeError: the response of WrongController.${handler!} does not match the proto: ` +
          `${problem!}; the caller received INTERNAL`,
      })),
    );
  });
});

describe('unreadable requests', () => {
  it('logs the method and the reason if a request does not match its proto', async () => {
    @Controller()
    class EchoController {
      @GrpcMethod('Orders', 'Get')
      get(): object {
        return {};
      }

      @GrpcStreamMethod('Orders', 'Session')
      session(requests: Observable<object>): Observable<object> {
        return requests;
      }
    }
    const { client, log } = await closedAfterTest(serveOrders(EchoController));
    log.lines.length = 0;
    const unchanged = (bytes: Buffer) => bytes;
    // Field 15, with the invalid wire type 7.
    const bytes = Buffer.from([0x7f]);
    const path = (method: string) => `/orders.v1.Orders/${method}`;
    const calls = [
      client.makeUnaryRequest(path('Get'), unchanged, unchanged, bytes, deadline(), () => undefined),
      client.makeBidiStreamRequest(path('Session'), unchanged, unchanged, deadline()).end(bytes),
    ];
    const statuses = calls.map((call) => {
      call.on('data', () => undefined).on('error', () => undefined);
      return new Promise((resolve) => call.on('status', resolve));
    });
    for (const status of statuses) expect(await status).toMatchObject({ code: 13 });
    const text = (method: string) =>
      expect.stringMatching(
        `^${path(method)}: a request cannot be deserialized: invalid wire type 7 .*; the caller received`,
      );
    const logged = ['Get', 'Session'].map((method) => ({
      level: 'warn',
      context: 'ResilientGrpcServer',
      text: text(method) as string,
    }));
    expect(log.lines).toEqual(logged);
  });
});

function unaryStatus(client: PlainOrders): Promise<StatusObject> {
  return new Promise((resolve) => {
    client.get({ id: '7' }, deadline(), () => undefined).on('status', resolve);
  });
}

function streamStatus(client: PlainOrders, onMessage: (message: unknown) => unknown = () => undefined) {
  return new Promise<StatusObject>((resolve) => {
    const call = client.watch({ from: '0' }, deadline());
    call.on('data', onMessage).on('error', () => undefined);
    call.on('status', resolve);
  });
}

const deadline = () => ({ deadline: Date.now() + 60_000 });
