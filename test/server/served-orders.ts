import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { credentials, loadPackageDefinition, type ServiceClientConstructor, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Controller, Module, type DynamicModule, type INestApplication, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, type AsyncMicroserviceOptions } from '@nestjs/microservices';
import {
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { NEVER, startWith, type Observable } from 'rxjs';
import { onTestFinished } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import { CapturedLog } from '../support/captured-log.js';
import { closedAfterTest } from '../support/closed-after-test.js';

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  get({ id }: { id: string }): object {
    return { id };
  }

  @GrpcMethod('Orders', 'Watch')
  watch(): Observable<object> {
    return NEVER.pipe(startWith({ sequence: '1' }));
  }
}

/** An application with an orders server on a Unix socket. */
export interface ServedOrders {
  /** A hybrid application with an HTTP server. */
  readonly app: INestApplication;
  /** The address for clients. */
  readonly url: string;
  readonly log: CapturedLog;
  readonly server: ResilientGrpcServer;
}

/** Options of an orders server at `url`. */
export function ordersOptions(url: string, more: Partial<ResilientGrpcServerOptions> = {}): ResilientGrpcServerOptions {
  return { package: 'orders.v1', protoPath: ORDERS_PROTO, loader: { longs: String }, url, ...more };
}

/** A module with the orders controller and the module `server`. */
export function ordersModule(server: DynamicModule): DynamicModule {
  @Module({})
  class OrdersModule {}
  return { module: OrdersModule, imports: [server], controllers: [OrdersController] };
}

/** The URL of a new Unix socket; its folder is removed after the test. */
export function ownUrl(): string {
  const folder = mkdtempSync(join(tmpdir(), 'orders-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  return `unix:${join(folder, 'grpc.sock')}`;
}

/** Creates an application with the given root module without starting it; it is closed after the test. */
export async function createApplication(module: DynamicModule): Promise<Pick<ServedOrders, 'app' | 'log'>> {
  const log = new CapturedLog();
  const app = await closedAfterTest<INestApplication>(NestFactory.create(module, { logger: log, abortOnError: false }));
  return { app, log };
}

/** Starts a microservice with `module`, which has one server; it is closed after the test. */
export async function startMicroservice(
  module: DynamicModule,
  prepare: (app: INestMicroservice) => void = () => undefined,
): Promise<{ readonly app: INestMicroservice; readonly log: CapturedLog; readonly server: ResilientGrpcServer }> {
  const log = new CapturedLog();
  const app = await NestFactory.createMicroservice<AsyncMicroserviceOptions>(module, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger: log,
    abortOnError: false,
  });
  onTestFinished(() => app.close());
  prepare(app);
  await app.listen();
  return { app, log, server: app.get(ResilientGrpcServer) };
}

/** Texts of the warnings in `log`. */
export function warningsOf({ lines }: CapturedLog): string[] {
  return lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
}

/** Creates the application without starting it; it is closed after the test. */
export async function serveOrders(options: Partial<ResilientGrpcServerOptions> = {}): Promise<ServedOrders> {
  const url = options.url ?? ownUrl();
  const module = ordersModule(ResilientGrpcServerModule.forRoot(ordersOptions(url, options)));
  const { app, log } = await createApplication(module);
  const server = app.get(ResilientGrpcServer);
  app.connectMicroservice({ strategy: server }, { inheritAppConfig: true });
  return { app, url, log, server };
}

/** Starts the servers of an application: gRPC, then HTTP. */
export async function startServers(served: ServedOrders): Promise<ServedOrders> {
  await served.app.startAllMicroservices();
  await served.app.listen(0, '127.0.0.1');
  return served;
}

/** Creates a grpc-js client from a .proto file; it is closed after the test. */
function clientOf(url: string, file: string, service: string) {
  let found: any = loadPackageDefinition(loadSync(file, { enums: String, oneofs: true, defaults: false }));
  for (const name of service.split('.')) found = found[name];
  const client = new (found as ServiceClientConstructor)(url, credentials.createInsecure());
  onTestFinished(() => {
    client.close();
  });
  /** Resolves to the response, or to a string like '14 details' if the call fails. */
  const unary = (method: string, request: object): Promise<any> =>
    new Promise((resolve) => {
      client[method]!(request, { deadline: Date.now() + 20_000 }, (error: ServiceError | null, reply: unknown) => {
        resolve(error === null ? reply : `${String(error.code)} ${error.details}`);
      });
    });
  /** Opens a stream and collects its messages and its error. */
  const open = (method: string, request?: object) => {
    const seen: any[] = [];
    const call = request === undefined ? client[method]!() : client[method]!(request);
    call.on('data', (message: unknown) => seen.push(message));
    call.on('error', (error: ServiceError) => seen.push(`${String(error.code)} ${error.details}`));
    return { call, seen };
  };
  return { client, unary, open };
}

const from = createRequire(import.meta.url);
const protoOf = (name: string, file: string) => join(dirname(from.resolve(name)), file);

/** Proto file of the standard health service. */
export const HEALTH_PROTO = protoOf('grpc-health-check', '../../proto/health/v1/health.proto');
export const REFLECTION_PROTO = protoOf('@grpc/reflection', '../proto/grpc/reflection/v1/reflection.proto');

export const healthOf = (url: string) => clientOf(url, HEALTH_PROTO, 'grpc.health.v1.Health');
export const reflectionOf = (url: string) => clientOf(url, REFLECTION_PROTO, 'grpc.reflection.v1.ServerReflection');
export const ordersOf = (url: string) => clientOf(url, ORDERS_PROTO, 'orders.v1.Orders');
