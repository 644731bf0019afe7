import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Controller, Get, Inject, Module, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { trace } from '@opentelemetry/api';
import { ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';
import { ORDERS_PROTO } from '../nest/places.js';
import { collectTelemetry, serveInstrumented } from './collected-telemetry.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  async get({ id }: { id: string }): Promise<object> {
    await new Promise((resolve) => setImmediate(resolve));
    trace.getTracer('upstream').startSpan('query').end();
    return { id };
  }
}

@Controller('orders')
class GatewayController {
  constructor(@Inject(getGrpcServiceToken('orders', 'Orders')) private readonly orders: Resilient<OrdersClient>) {}

  @Get(':id/observable')
  observable(@Param('id') id: string): Observable<unknown> {
    return this.orders.get({ id });
  }

  @Get(':id/promise')
  async promise(@Param('id') id: string): Promise<unknown> {
    await new Promise((resolve) => setImmediate(resolve));
    return firstValueFrom(this.orders.get({ id }));
  }

  @Get(':id/loop')
  async loop(@Param('id') id: string): Promise<unknown> {
    for await (const order of this.orders.get({ id })) return order;
    return undefined;
  }
}

/** Simulates an HTTP instrumentation: creates one span per request, and keeps the span active while the request is served. */
function traceRequest(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  trace.getTracer('http').startActiveSpan(`${request.method} ${request.url}`, (span) => {
    response.on('finish', () => {
      span.end();
    });
    next();
  });
}

it.each(['observable', 'promise', 'loop'])(
  'connects the HTTP request, the call, its attempt, the served call, and the work of the handler in one trace (%s)',
  async (how) => {
    const telemetry = collectTelemetry();
    const { url } = await serveInstrumented(OrdersController);
    @Module({
      imports: [
        ResilientGrpcTelemetryModule.forRoot(),
        ResilientGrpcModule.forFeature([{ name: 'orders', url, package: 'orders.v1', protoPath: ORDERS_PROTO }]),
      ],
      controllers: [GatewayController],
    })
    class GatewayModule {}
    const app = await NestFactory.create(GatewayModule, { logger: false, forceCloseConnections: true });
    onTestFinished(() => app.close());
    app.use(traceRequest);
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as AddressInfo;
    const ids = ['1', '2', '3'];
    const answers = await Promise.all(
      ids.map(async (id) => (await fetch(`http://127.0.0.1:${port}/orders/${id}/${how}`)).json()),
    );
    expect(answers).toMatchObject(ids.map((id) => ({ id })));
    for (const id of ids) {
      const spans = new Map(
        (await spansOfTrace(telemetry, `GET /orders/${id}/${how}`)).map((span) => [span.name, span]),
      );
      const path = [
        `GET /orders/${id}/${how}`,
        'Sent.orders.v1.Orders.Get',
        'Attempt.orders.v1.Orders.Get',
        'Recv.orders.v1.Orders.Get',
        'query',
      ];
      expect([...spans.keys()].sort()).toEqual([...path].sort());
      const parents = path.map((name) => spans.get(name)!.parentSpanContext?.spanId);
      const before = path.map((_, index) => spans.get(path[index - 1] ?? '')?.spanContext().spanId);
      expect(parents).toEqual(before);
    }
  },
);

async function spansOfTrace(telemetry: ReturnType<typeof collectTelemetry>, name: string) {
  const { traceId } = (await telemetry.span(name)).spanContext();
  return telemetry.spans().filter((span) => span.spanContext().traceId === traceId);
}
