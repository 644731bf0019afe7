import 'reflect-metadata';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Module } from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import { Args, GraphQLModule, Query, Resolver } from '@nestjs/graphql';
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius';
import {
  GrpcToHttpExceptionFilter,
  GrpcToRpcExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  isGrpcCallError,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import type { OrdersClient } from '../nest/orders-client.js';

@Resolver()
class OrdersResolver {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Query('order')
  order(@Args('id') id: string): Observable<object> {
    return this.orders.create({ requestId: id, item: 'tea' });
  }

  @Query('awaited')
  async awaited(@Args('id') id: string): Promise<object> {
    return firstValueFrom(this.orders.create({ requestId: id, item: 'tea' }));
  }
}

const leaks = captureLeaks();
afterAll(() => leaks.settled());

describe.each([
  ['GrpcToHttpExceptionFilter', GrpcToHttpExceptionFilter],
  ['GrpcToRpcExceptionFilter', GrpcToRpcExceptionFilter],
])('failed call under GraphQL with %s', (name, filter) => {
  it(`passes the error of a failed call unchanged to GraphQL's error handling, even if ${name} is bound`, async () => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
    server.script('Create', { status: 'NOT_FOUND', details: 'no order' });
    const seen: unknown[] = [];

    @Module({
      imports: [
        ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }]),
        GraphQLModule.forRoot<MercuriusDriverConfig>({
          driver: MercuriusDriver,
          typeDefs: `type Order { id: String } type Query { order(id: String!): Order, awaited(id: String!): Order }`,
          errorFormatter: (execution) => {
            seen.push(...execution.errors.map(({ originalError }) => originalError));
            return { statusCode: 418, response: execution };
          },
        }),
      ],
      providers: [OrdersResolver, { provide: APP_FILTER, useClass: filter }],
    })
    class AppModule {}

    const app = await NestFactory.create(AppModule, new FastifyAdapter(), { logger: false, abortOnError: false });
    await app.listen(0, '127.0.0.1');
    const post = async (query: string) => {
      const answer = await fetch(`${await app.getUrl()}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query }),
      });
      return answer.status;
    };
    expect(await post('{ order(id: "7") { id } }')).toBe(418);
    expect(await post('{ awaited(id: "7") { id } }')).toBe(418);
    expect(seen).toHaveLength(2);
    for (const error of seen) expect(isGrpcCallError(error, 'NOT_FOUND')).toBe(true);
    server.script('Create', { message: { id: '7' } });
    expect(await post('{ awaited(id: "7") { id } }')).toBe(200);
    await app.close();
    await server.close();
  });
});
