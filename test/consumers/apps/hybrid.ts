/** An application that serves HTTP and gRPC and calls an upstream from both. */
import 'reflect-metadata';
import { Controller, Get, Module, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import { InjectGrpcService, ResilientGrpcModule, getGrpcServiceToken, type Resilient } from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { firstValueFrom, type Observable } from 'rxjs';
import type { GetOrderRequest, Order, OrderEvent, OrdersClient, WatchRequest } from '../../../src/gen/orders.pb.js';

const contract = { package: 'orders.v1', protoPath: 'protos/orders.proto', loader: { longs: String } };

@Controller('orders')
class OrdersController {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  @Get(':id')
  read(@Param('id') id: string): Observable<Order> {
    return this.orders.get({ id });
  }

  @GrpcMethod('Orders')
  get({ id }: GetOrderRequest): Observable<Order> {
    return this.orders.get({ id });
  }

  @GrpcMethod('Orders')
  async *watch(@Payload() { from }: WatchRequest): AsyncIterable<OrderEvent> {
    for await (const event of this.orders.watch({ from })) yield event;
  }
}

@Module({
  imports: [
    ResilientGrpcModule.forRoot({ propagate: { deadline: true } }),
    ResilientGrpcModule.forFeature([{ ...contract, name: 'orders', url: process.env['ORDERS_URL'] ?? 'orders:50051' }]),
    ResilientGrpcServerModule.forRoot({ ...contract, url: '127.0.0.1:0' }),
  ],
  controllers: [OrdersController],
})
class AppModule {}

/** Calls the application over gRPC, as another service would. */
async function grpcResponses(url: string): Promise<unknown> {
  const client = ResilientGrpcModule.forFeature([{ ...contract, name: 'relay', url }]);
  const caller = await NestFactory.createApplicationContext(client, { logger: ['error', 'fatal'] });
  const relay = caller.get<Resilient<OrdersClient>>(getGrpcServiceToken('relay', 'Orders'));
  const sequences: string[] = [];
  for await (const { sequence } of relay.watch({ from: '9007199254740993' })) sequences.push(sequence);
  // `order.sequence` shows whether a deadline reached the upstream server.
  const order = await firstValueFrom(relay.get({ id: '7' }, { timeoutMs: 60_000 }));
  await caller.close();
  return { order, sequences };
}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'fatal'] });
  const server = app.get(ResilientGrpcServer);
  app.connectMicroservice({ strategy: server }, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  const http = await fetch(`${await app.getUrl()}/orders/7`, { headers: { connection: 'close' } });
  const output = { http: (await http.json()) as Order, grpc: await grpcResponses(`127.0.0.1:${server.port}`) };
  await app.close();
  console.log(JSON.stringify(output));
}

void main();
