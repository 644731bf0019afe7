/** A client whose module is loaded lazily. The client closes with the application. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { LazyModuleLoader, NestFactory } from '@nestjs/core';
import { GrpcClients, InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import type { Order, OrdersClient } from '../../../src/gen/orders.pb.js';

// Nest calls no shutdown hooks of lazily loaded modules, so the root module imports `forRoot()`, whose hooks close the clients.
@Module({ imports: [ResilientGrpcModule.forRoot()] })
class AppModule {}

@Injectable()
class Reader {
  constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>) {}

  order(id: string): Promise<Order> {
    return firstValueFrom(this.orders.get({ id }));
  }
}

function lazyModule(): new () => unknown {
  @Module({
    imports: [
      ResilientGrpcModule.forFeature([
        { name: 'orders', url: process.env['ORDERS_URL'] ?? 'orders:50051', protoPath: 'protos/orders.proto' },
      ]),
    ],
    providers: [Reader],
  })
  class OrdersModule {}
  return OrdersModule;
}

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'fatal'] });
  const clients = app.get(GrpcClients);
  const before = [...clients].length;
  const loader = app.get(LazyModuleLoader);
  const loaded = await loader.load(lazyModule);
  const { item } = await loaded.get(Reader).order('7');
  const names = [...clients].map(({ name }) => name);
  const client = [...clients][0]!;
  await app.close();
  console.log(JSON.stringify({ before, item, names, after: client.connectivity.state }));
}

void main();
