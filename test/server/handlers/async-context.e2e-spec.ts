import { AsyncLocalStorage } from 'node:async_hooks';
import { Controller, UseGuards, type CallHandler, type CanActivate, type ExecutionContext } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod } from '@nestjs/microservices';
import { GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { concat, concatMap, defer, last, map, Observable, of } from 'rxjs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { serveOrders, type OrdersService } from './orders-service.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** The store of a call, as nestjs-cls keeps it. */
const store = new AsyncLocalStorage<string>();
let calls = 0;

class EnteringGuard implements CanActivate {
  canActivate(): boolean {
    store.enterWith(String(++calls));
    return true;
  }
}

const runningInterceptor = {
  intercept: (_context: ExecutionContext, next: CallHandler) =>
    new Observable((subscriber) => store.run(String(++calls), () => next.handle().subscribe(subscriber))),
};

interface Message {
  readonly messageId: string;
}
const seen = () => ({ messageId: store.getStore() ?? '0' });
type Handlers = Record<'session' | 'upload', (requests: GrpcRequestStream<Message>) => unknown>;
let handlers: Handlers;

const OPERATORS: Handlers = {
  session: (requests) =>
    concat(
      requests.pipe(concatMap(() => of(seen()))),
      defer(() => of(seen())),
    ),
  upload: (requests) =>
    requests.pipe(
      map(() => store.getStore()),
      last(),
      map((before) => ({ count: before === store.getStore() ? store.getStore() : 0 })),
    ),
};
const LOOPS: Handlers = {
  async *session(requests) {
    for await (const _request of requests) yield seen();
    yield seen();
  },
  async upload(requests) {
    let before: string | undefined;
    for await (const _request of requests) before = store.getStore();
    return { count: before === store.getStore() ? store.getStore() : 0 };
  },
};
const PROMISES: Handlers = {
  session: async (requests) => OPERATORS.session(requests),
  upload: async (requests) => OPERATORS.upload(requests),
};
const KINDS = [
  ['operators', OPERATORS],
  ['promises of operators', PROMISES],
  ['for await', LOOPS],
] as const;

@Controller()
class InterceptedController {
  @GrpcStreamMethod('Orders', 'Session')
  session(requests: GrpcRequestStream<Message>): unknown {
    return handlers.session(requests);
  }

  @GrpcStreamMethod('Orders', 'Upload')
  upload(requests: GrpcRequestStream<Message>): unknown {
    return handlers.upload(requests);
  }

  @GrpcMethod('Orders', 'Watch')
  async *watch(): AsyncGenerator<{ sequence: string }> {
    for (;;) yield { sequence: store.getStore() ?? '0' };
  }
}

@Controller()
@UseGuards(EnteringGuard)
class GuardedController extends InterceptedController {}

describe.each([
  ['an interceptor runs the handler in a store', InterceptedController, runningInterceptor],
  ['a guard enters a store', GuardedController, undefined],
] as const)('async context of handlers, if %s', (_title, controller, interceptor) => {
  let orders: OrdersService;
  beforeAll(async () => {
    orders = await serveOrders(controller, {}, interceptor);
  });
  afterEach(() => {
    calls = 0;
  });
  afterAll(() => orders.close());

  it.each(KINDS)('keeps the store of each bidirectional call in %s', async (_kind, kind) => {
    handlers = kind;
    const streams = [0, 1, 2].map(() => orders.client.session());
    const received = streams.map(async (stream) => {
      const ids: string[] = [];
      for await (const { messageId } of stream as AsyncIterable<Message>) ids.push(messageId);
      return ids;
    });
    for (let round = 0; round < 3; round++) {
      for (const stream of streams) await new Promise((written) => stream.write({ messageId: '1' }, written));
    }
    for (const stream of streams) stream.end();
    expect((await Promise.all(received)).sort()).toEqual([1, 2, 3].map((id) => Array<string>(4).fill(String(id))));
  });

  it.each(KINDS)('keeps the store of each client-streaming call in %s', async (_kind, kind) => {
    handlers = kind;
    const counts = [0, 1, 2].map(
      () =>
        new Promise<string | undefined>((resolve) => {
          const stream = orders.client.upload({}, (_error, value) => resolve(String(value?.count)));
          for (let sent = 0; sent < 3; sent++) stream.write({ requestId: 'x' });
          setImmediate(() => stream.end());
        }),
    );
    expect((await Promise.all(counts)).sort()).toEqual(['1', '2', '3']);
  });

  it('keeps the store of each response stream in its generator', async () => {
    const streams = [0, 1].map(() => orders.client.watch({ from: '0' }));
    const sequences = streams.map(async (stream) => {
      const found = new Set<string>();
      let received = 0;
      for await (const { sequence } of stream as AsyncIterable<{ sequence: string }>) {
        found.add(sequence);
        if (++received === 500) break;
      }
      return [...found];
    });
    expect((await Promise.all(sequences)).sort()).toEqual([['1'], ['2']]);
  });
});
