/** A program without HTTP: interfaces from ts-proto, call options, error handling by status, and a stream read with `for await`. */
import 'reflect-metadata';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { InjectGrpcService, ResilientGrpcModule, isGrpcCallError, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import {
  ORDERS_SERVICE_NAME,
  ORDERS_V1_PACKAGE_NAME,
  type Order,
  type OrdersClient,
} from '../../../src/gen/orders.pb.js';

@Injectable()
class Reader {
  constructor(@InjectGrpcService('orders', ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>) {}

  async order(id: string): Promise<Order | undefined> {
    try {
      return await firstValueFrom(this.orders.get({ id }, { timeoutMs: 60_000 }));
    } catch (error) {
      if (isGrpcCallError(error, 'NOT_FOUND') && error.reachedServer === 'yes') return undefined;
      throw error;
    }
  }

  async sequences(from: string): Promise<string[]> {
    const sequences: string[] = [];
    for await (const event of this.orders.watch({ from })) sequences.push(event.sequence);
    return sequences;
  }

  /** The mapped interface is assignable to the generated one, as with Nest's own client. */
  plain(): OrdersClient {
    return this.orders;
  }

  /** Calls that must not compile. */
  wrong(): void {
    // @ts-expect-error the request has no such field
    this.orders.get({ identifier: '7' });
    // @ts-expect-error a duration is a number
    this.orders.get({ id: '7' }, { timeoutMs: '2s' });
    // @ts-expect-error 64-bit numbers are strings in this program
    this.orders.watch({ from: 7 });
  }
}

const protoPath = 'protos/orders.proto';
const client = {
  name: 'orders',
  url: process.env['ORDERS_URL'] ?? 'orders:50051',
  package: ORDERS_V1_PACKAGE_NAME,
  protoPath,
};

@Module({
  imports: [ResilientGrpcModule.forFeature([{ ...client, loader: { longs: String } }])],
  providers: [Reader],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'fatal'] });
  const reader = app.get(Reader);
  const [order, none] = [await reader.order('7'), await reader.order('0')];
  const sequences = await reader.sequences('9007199254740991');
  await app.close();
  // This program does not call process.exit(), so a leaked timer or socket would keep it running.
  console.log(JSON.stringify({ order, none: none === undefined, sequences }));
}

void main();
