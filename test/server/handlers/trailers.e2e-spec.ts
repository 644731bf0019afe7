import { status, type Metadata, type StatusObject } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod, Payload, RpcException } from '@nestjs/microservices';
import { CallTrailers, type GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { serveOrders, type OrdersService } from './orders-service.js';

const leaks = captureLeaks();

type Fill = (trailers: Metadata) => void;
let fill: Fill;

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  get(@Payload() { id }: { id: string }, @CallTrailers() trailers: Metadata): object {
    fill(trailers);
    return { id };
  }

  @GrpcMethod('Orders', 'Watch')
  async *watch(@Payload() _request: object, @CallTrailers() trailers: Metadata): AsyncIterable<object> {
    yield { sequence: '1' };
    await Promise.resolve();
    fill(trailers);
  }

  @GrpcStreamMethod('Orders', 'Upload')
  async upload(@Payload() requests: GrpcRequestStream<object>, @CallTrailers() trailers: Metadata): Promise<object> {
    for await (const _ of requests);
    fill(trailers);
    return { count: 0 };
  }

  @GrpcStreamMethod('Orders', 'Session')
  async *session(
    @Payload() requests: GrpcRequestStream<object>,
    @CallTrailers() trailers: Metadata,
  ): AsyncIterable<object> {
    for await (const _ of requests);
    fill(trailers);
    yield {};
  }
}

let orders: OrdersService;
beforeAll(async () => {
  orders = await serveOrders(OrdersController);
});
beforeEach(() => {
  orders.log.lines.length = 0;
});
afterAll(async () => {
  await orders.close();
  await leaks.settled();
});

/** Functions that start a call of each kind. */
const CALLS: Readonly<Record<string, () => any>> = {
  unary: () => (orders.client as any).get({ id: '7' }, () => undefined),
  'server-streaming': () => (orders.client as any).watch({}).resume(),
  'client-streaming': () => {
    const call = (orders.client as any).upload(() => undefined);
    call.end();
    return call;
  },
  bidirectional: () => {
    const call = (orders.client as any).session().resume();
    call.end();
    return call;
  },
};

function statusOf(kind: string): Promise<StatusObject> {
  return new Promise((resolve) => {
    const call = CALLS[kind]!();
    call.on('error', () => undefined);
    call.on('status', resolve);
  });
}

describe.each(Object.keys(CALLS))('@CallTrailers() of a %s call', (kind) => {
  it(`sends the trailers of a ${kind} handler with the status OK`, async () => {
    fill = (trailers) => {
      trailers.set('x-cache', 'hit');
    };
    const { code, metadata } = await statusOf(kind);
    expect([code, metadata.get('x-cache')]).toEqual([status.OK, ['hit']]);
  });

  it(`sends the trailers of a ${kind} handler with an error status`, async () => {
    fill = (trailers) => {
      trailers.set('x-cache', 'miss');
      throw new RpcException({ code: status.NOT_FOUND, message: 'no such order' });
    };
    const { code, details, metadata } = await statusOf(kind);
    expect([code, details, metadata.get('x-cache')]).toEqual([status.NOT_FOUND, 'no such order', ['miss']]);
  });

  it(`sends the status of a ${kind} handler without the trailers that HTTP/2 forbids, and logs the omission`, async () => {
    fill = (trailers) => {
      trailers.set('connection', 'close');
      trailers.set('x-cache', 'hit');
    };
    const { code, metadata } = await statusOf(kind);
    expect([code, metadata.get('x-cache'), metadata.get('connection')]).toEqual([status.OK, ['hit'], []]);
    const log = orders.log.lines.map(({ level, text }) => `${level} ${text}`).join('\n');
    expect(log).toMatch(/^warn .*a part of a status was not sent/m);
    // The call succeeded, so no failure is logged.
    expect(log).not.toContain('handler failed');
  });
});

it('sends no custom trailers for a handler that sets none', async () => {
  fill = () => undefined;
  const { metadata } = await statusOf('unary');
  expect(Object.keys(metadata.getMap()).filter((key) => key.startsWith('x-'))).toEqual([]);
});
