/**
 * Two modules use the client of a company package that includes its own copy of nestjs-resilient-grpc. The application calls the same
 * server through another copy.
 */
import 'reflect-metadata';
import { Orders, OrdersClientModule, type OrdersClient } from '@example/orders-client';
import { Controller, Get, Injectable, Module, Param } from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import {
  GrpcToHttpExceptionFilter,
  InjectGrpcClient,
  InjectGrpcService,
  ResilientGrpcModule,
  isGrpcCallError,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, map, toArray, type Observable } from 'rxjs';

let url = '';

@Injectable()
class Cart {
  constructor(readonly orders: Orders) {}
}

@Injectable()
class Invoices {
  // The other copy's client, injected by this copy's decorator.
  constructor(
    @InjectGrpcService('orders', 'Orders') readonly orders: Resilient<OrdersClient>,
    @InjectGrpcClient('orders') readonly client: ResilientGrpcClient,
  ) {}
}

@Controller('orders')
class OrdersController {
  constructor(private readonly orders: Orders) {}

  @Get(':id')
  get(@Param('id') id: string): Promise<unknown> {
    return this.orders.order(id);
  }
}

/** The application's own client. */
@Injectable()
class Stock {
  constructor(
    @InjectGrpcService('stock', 'Orders') readonly orders: Resilient<OrdersClient>,
    @InjectGrpcClient('stock') readonly client: ResilientGrpcClient,
  ) {}
}

function application(): new () => unknown {
  @Module({ imports: [OrdersClientModule.register(url)], providers: [Cart], controllers: [OrdersController] })
  class CartModule {}

  @Module({ imports: [OrdersClientModule.register(url)], providers: [Invoices] })
  class InvoicesModule {}

  const stock = {
    name: 'stock',
    url,
    protoPath: 'protos/orders.proto',
    loader: { longs: String },
    outageGraceMs: 60_000,
  };
  @Module({
    imports: [ResilientGrpcModule.forRoot(), ResilientGrpcModule.forFeature([stock]), CartModule, InvoicesModule],
    providers: [Stock, { provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }],
  })
  class AppModule {}
  return AppModule;
}

const idsOf = async (calls: readonly Observable<{ id: string }>[]): Promise<string[]> =>
  Promise.all(calls.map(async (call) => (await firstValueFrom(call)).id));

async function main(): Promise<void> {
  const server = await ScriptedGrpcServer.start({
    protoPath: 'protos/orders.proto',
    loader: { longs: String },
    scripts: {
      Get: ({ request }) => {
        const { id } = request as { id: string };
        return id === '0' ? { status: 'NOT_FOUND', details: 'no such order' } : { message: { id, item: 'tea' } };
      },
      Watch: { messages: [{ sequence: '1' }, { sequence: '2' }] },
    },
  });
  url = server.url;
  const app = await NestFactory.create(application(), { logger: ['error', 'fatal'] });
  const [cart, invoices, stock] = [app.get(Cart), app.get(Invoices), app.get(Stock)];
  const readIds = () => idsOf([invoices.orders.get({ id: '7' }), stock.orders.get({ id: '8' })]);
  const before = await readIds();

  // Both clients survive a restart, each on its own connections.
  await server.stop('kill-connections');
  const during = readIds();
  await waitFor(() => [invoices.client, stock.client].every(({ connectivity }) => connectivity.outage !== undefined), {
    timeoutMs: 60_000,
  });
  await server.restart();

  const error: unknown = await cart.orders.order('0').catch((failure: unknown) => failure);
  const feed = resumable((from: bigint) => invoices.orders.watch({ from: String(from) }), {
    cursor: ({ sequence }) => BigInt(sequence),
    seed: 0n,
  });
  await app.listen(0, '127.0.0.1');
  const output = {
    copies: invoices.client.constructor !== stock.client.constructor,
    before,
    during: await during,
    // The library's own load-balancing policy in grpc-js reports this data, which the public channel API does not provide.
    seen: [invoices.client, stock.client].map((client) => {
      const { connections, outages } = client.snapshot();
      return { connections: connections.map(({ state, ended }) => ({ state, ended })), outages: outages.total };
    }),
    sequences: await lastValueFrom(
      feed.pipe(
        map(({ sequence }) => sequence),
        toArray(),
      ),
    ),
    notFound: isGrpcCallError(error, 'NOT_FOUND'),
    http: (await fetch(`${await app.getUrl()}/orders/0`, { headers: { connection: 'close' } })).status,
  };
  await app.close();
  await server.close();
  console.log(JSON.stringify(output));
}

void main();
