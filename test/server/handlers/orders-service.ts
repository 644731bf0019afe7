import { type Client, credentials, loadPackageDefinition, type GrpcObject } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { INestMicroservice, NestInterceptor, Type } from '@nestjs/common';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import {
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import type {
  ClientDuplexStream,
  ClientReadableStream,
  ClientUnaryCall,
  ClientWritableStream,
  Metadata,
  ServiceError,
} from '@grpc/grpc-js';
import { CapturedLog } from '../../support/captured-log.js';
import { ORDERS_PROTO } from '../../support/orders-app.js';

type Callback<T> = (error: ServiceError | null, value?: T) => void;

/** grpc-js's own client of `orders.v1.Orders`. */
export interface PlainOrders extends Client {
  get(request: { id: string }, options: { deadline?: number }, callback: Callback<{ id: string }>): ClientUnaryCall;
  get(
    request: { id: string },
    metadata: Metadata,
    options: { deadline?: number },
    callback: Callback<{ id: string }>,
  ): ClientUnaryCall;
  watch(request: { from: string }, options?: { deadline?: number }): ClientReadableStream<{ sequence: string }>;
  session(): ClientDuplexStream<{ messageId: string }, { messageId: string }>;
  upload(
    options: { deadline?: number },
    callback: Callback<{ count: number }>,
  ): ClientWritableStream<{ requestId: string }>;
}

/** A ResilientGrpcServer of `orders.v1.Orders` and a plain grpc-js client for it. */
export interface OrdersService {
  readonly server: ResilientGrpcServer;
  readonly client: PlainOrders;
  readonly log: CapturedLog;
  /** Creates a client with its own connection to `url`. @defaultValue the URL of the server */
  newClient(url?: string): PlainOrders;
  close(): Promise<void>;
}

// Nest has one logger per process.
const log = new CapturedLog();

/** Starts a microservice with `controller`, whose methods are handlers of `Orders`. */
export async function serveOrders(
  controller: Type,
  options: Partial<ResilientGrpcServerOptions> = {},
  interceptor?: NestInterceptor,
): Promise<OrdersService> {
  const module = await Test.createTestingModule({
    imports: [
      ResilientGrpcServerModule.forRoot({
        package: 'orders.v1',
        protoPath: ORDERS_PROTO,
        loader: { longs: String },
        url: '127.0.0.1:0',
        ...options,
      }),
    ],
    controllers: [controller],
  })
    .setLogger(log)
    .compile();
  const server = module.get(ResilientGrpcServer);
  const app: INestMicroservice = module.createNestMicroservice<MicroserviceOptions>({ strategy: server });
  if (interceptor !== undefined) app.useGlobalInterceptors(interceptor);
  await app.listen();
  const clients: Client[] = [];
  const newClient = (url = `127.0.0.1:${server.port}`): PlainOrders => {
    const client = new OrdersClient(url, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    clients.push(client);
    return client;
  };
  return {
    server,
    client: newClient(),
    log,
    newClient,
    close: async () => {
      for (const client of clients) client.close();
      await app.close();
    },
  };
}

const contract = loadPackageDefinition(loadSync(ORDERS_PROTO, { longs: String })) as GrpcObject & {
  orders: { v1: { Orders: new (...args: ConstructorParameters<typeof Client>) => PlainOrders } };
};
export const OrdersClient = contract.orders.v1.Orders;
