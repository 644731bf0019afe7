import { Controller, type CanActivate, type ExecutionContext, UseGuards, type PipeTransform } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Payload } from '@nestjs/microservices';
import {
  getGrpcClientToken,
  ResilientGrpcModule,
  type GrpcClientSettings,
  type MethodOptions,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import {
  CallOnce,
  Once,
  ResilientGrpcServerModule,
  type OnceOptions,
  type OnceWrite,
  type ResilientGrpcServer,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import type { CreateOrderRequest, Order, OrdersClient } from '../../src/gen/orders.pb.js';
import { ORDERS_PROTO } from '../support/orders-app.js';
import { startMicroservice } from '../server/served-orders.js';

/** What a test lets the handler do; by default, it counts the write and answers at once. */
export type CreateHandler = (request: CreateOrderRequest, key: string | undefined, once: OnceWrite) => unknown;

export interface Writes {
  readonly server: ResilientGrpcServer;
  /** Item of each write, in the order of the effects. */
  readonly done: string[];
  /** Number of requests that the guard has seen. */
  guarded: number;
  handler: CreateHandler;
  /** Throws to refuse a request. */
  guard: (metadata: { get(key: string): unknown[] }) => void;
  readonly url: string;
  close(): Promise<void>;
}

/** Starts a server whose `Create` is an `@Once()` handler, and which is closed at the end of the test. */
export async function serveWrites(
  once: OnceOptions = {},
  options: Partial<ResilientGrpcServerOptions> = {},
): Promise<Writes> {
  const writes: { -readonly [K in keyof Writes]?: Writes[K] } = { done: [], guarded: 0, guard: () => undefined };
  class Guard implements CanActivate {
    canActivate(context: ExecutionContext): boolean {
      writes.guarded = (writes.guarded ?? 0) + 1;
      writes.guard?.(context.getArgByIndex(1));
      return true;
    }
  }
  @Controller()
  class OrdersController {
    // Outermost, so that the guard would run after that of the library if that one were a guard like others.
    @UseGuards(Guard)
    @Once()
    @GrpcMethod('Orders', 'Create')
    create(@Payload() request: CreateOrderRequest, @CallOnce() once: OnceWrite): unknown {
      return writes.handler?.(request, once.key, once);
    }

    @GrpcMethod('Orders', 'Get')
    get({ id }: { id: string }): Partial<Order> {
      return { id };
    }
  }
  const given: ResilientGrpcServerOptions = {
    package: 'orders.v1',
    protoPath: ORDERS_PROTO,
    loader: { longs: String },
    url: '127.0.0.1:0',
    once,
    ...options,
  };
  const { app, server } = await startMicroservice({
    module: class AppModule {},
    imports: [ResilientGrpcServerModule.forRoot(given)],
    controllers: [OrdersController],
  });
  writes.handler = ({ item, quantity }) => {
    writes.done?.push(item);
    return { item, quantity, sequence: String(writes.done?.length) };
  };
  const url = `127.0.0.1:${String(server.port)}`;
  return Object.assign(writes, { server, url, close: () => app.close() }) as Writes;
}

/** Serves `Create` by `controller`, whose other methods may be anything. */
export async function serveController(
  controller: new () => object,
  options: Partial<ResilientGrpcServerOptions> = {},
  pipe?: PipeTransform,
): Promise<string> {
  Controller()(controller);
  const grpc = ResilientGrpcServerModule.forRootAsync({
    useFactory: () => ({
      ...{ package: 'orders.v1', protoPath: ORDERS_PROTO, loader: { longs: String }, url: '127.0.0.1:0' },
      once: {},
      ...options,
    }),
  });
  const module = { module: class AppModule {}, imports: [grpc], controllers: [controller] };
  const { server } = await startMicroservice(module, (app) => {
    if (pipe !== undefined) app.useGlobalPipes(pipe);
  });
  return `127.0.0.1:${String(server.port)}`;
}

/** Starts a proxy to `url` that is closed at the end of the test. */
export async function proxyTo(url: string): Promise<FaultProxy> {
  return closedAfterTest(FaultProxy.start(url));
}

export interface Writer {
  readonly client: ResilientGrpcClient;
  readonly orders: Resilient<OrdersClient>;
}

let writers = 0;

/** Starts a client whose `Create` has a key for each call; it is closed at the end of the test. */
export async function writerTo(
  url: string,
  create: MethodOptions = { once: true },
  settings: Partial<GrpcClientSettings> = {},
): Promise<Writer> {
  const name = `writer-${String((writers += 1))}`;
  class AppModule {}
  const app = await NestFactory.createApplicationContext(
    {
      module: AppModule,
      imports: [
        ResilientGrpcModule.forFeature([
          {
            ...{ name, url, package: 'orders.v1', protoPath: ORDERS_PROTO, loader: { longs: String } },
            ...{ methods: { Create: { timeoutMs: 10_000, ...create } }, ...settings },
          },
        ]),
      ],
    },
    { logger: false, abortOnError: false },
  );
  onTestFinished(() => app.close());
  const client = app.get<ResilientGrpcClient>(getGrpcClientToken(name));
  return { client, orders: client.getService<OrdersClient>('Orders') };
}
