/** An application as users of ts-proto write it: generated interfaces, call options, and a stream read by `for await`. */
import 'reflect-metadata';
import { createRequire } from 'node:module';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { loadPackageDefinition, type GrpcObject, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { InjectGrpcService, ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import {
  ORDERS_SERVICE_NAME,
  ORDERS_V1_PACKAGE_NAME,
  type GetOrderRequest,
  type Order,
  type OrderEvent,
  type OrdersClient,
  type WatchRequest,
} from '../../../src/gen/orders.pb.js';

const protoPath = process.argv[2] ?? 'protos/orders.proto';
const loader = { longs: String };

function orderNumber(id: string, sequence: string): Order {
  return { id, requestId: '', item: 'tea', quantity: 1, sequence };
}

/** A server with two of the methods; gives its address and how to stop it. */
async function startServer(): Promise<{ url: string; stop: () => void }> {
  const { orders } = loadPackageDefinition(loadSync(protoPath, loader)) as { orders: { v1: GrpcObject } } & GrpcObject;
  const server = new Server();
  server.addService((orders.v1['Orders'] as ServiceClientConstructor).service, {
    get(call: ServerUnaryCall<GetOrderRequest, Order>, answer: sendUnaryData<Order>) {
      answer(null, orderNumber(call.request.id, call.getDeadline() === Infinity ? '0' : '1'));
    },
    watch(call: ServerWritableStream<WatchRequest, OrderEvent>) {
      for (let sequence = BigInt(call.request.from) + 1n; sequence <= 9007199254740995n; sequence++)
        call.write({ sequence: String(sequence), order: undefined });
      call.end();
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { url: `127.0.0.1:${port}`, stop: () => server.forceShutdown() };
}

@Injectable()
class Reader {
  constructor(@InjectGrpcService('orders', ORDERS_SERVICE_NAME) private readonly orders: Resilient<OrdersClient>) {}

  async read(): Promise<{ order: Order; sequences: string[] }> {
    const order = await firstValueFrom(this.orders.get({ id: '7' }, { timeoutMs: 2_000 }));
    const sequences: string[] = [];
    for await (const event of this.orders.watch({ from: '9007199254740991' })) sequences.push(event.sequence);
    return { order, sequences };
  }

  /** As Nest's own client is used: the mapped interface goes wherever the generated one is asked for. */
  plain(): OrdersClient {
    return this.orders;
  }

  /** What must not compile. */
  wrong(): void {
    // @ts-expect-error the request has no such field
    this.orders.get({ identifier: '7' });
    // @ts-expect-error a length is a number
    this.orders.get({ id: '7' }, { timeoutMs: '2s' });
    // @ts-expect-error 64-bit numbers are strings in this program
    this.orders.watch({ from: 7 });
  }
}

const server = await startServer();

@Module({
  imports: [
    ResilientGrpcModule.forFeature([
      { name: 'orders', url: server.url, package: ORDERS_V1_PACKAGE_NAME, protoPath, loader },
    ]),
  ],
  providers: [Reader],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
const read = await app.get(Reader).read();
await app.close();
server.stop();
// Nothing is ended by force: a timer or socket left behind would keep this process alive.
const nest = createRequire(import.meta.url)('@nestjs/core/package.json') as { version: string };
process.stdout.write(`${JSON.stringify({ nest: nest.version, ...read })}\n`);
