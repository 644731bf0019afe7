import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import {
  Injectable,
  Module,
  VersioningType,
  type CanActivate,
  type DynamicModule,
  type ExecutionContext,
  type INestApplication,
  type NestInterceptor,
  type Type,
} from '@nestjs/common';
import { NestFactory, type AbstractHttpAdapter } from '@nestjs/core';
import { GrpcClients, ResilientGrpcModule, type GrpcClientSettings } from 'nestjs-resilient-grpc';
import { ResilientGrpcDashboardModule, type ResilientGrpcDashboardOptions } from 'nestjs-resilient-grpc/dashboard';
import {
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { map } from 'rxjs';
import type { OrdersClient } from '../../src/gen/orders.pb.js';

export const ORDERS_PROTO = join(import.meta.dirname, '../../protos/orders.proto');

/** Dependency of `KeyGuard`, provided by a separate module. */
@Injectable()
class Keys {
  readonly right = 'sesame';
}

@Module({ providers: [Keys], exports: [Keys] })
export class KeysModule {}

/** Admits requests whose `x-key` header is the key. */
@Injectable()
export class KeyGuard implements CanActivate {
  constructor(private readonly keys: Keys) {}

  canActivate(context: ExecutionContext): boolean {
    const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string | undefined> }>();
    return headers['x-key'] === this.keys.right;
  }
}

export interface DashboardAppOptions {
  readonly clients?: readonly (GrpcClientSettings & { readonly name: string | symbol })[];
  readonly dashboard?: ResilientGrpcDashboardOptions;
  readonly adapter?: () => AbstractHttpAdapter;
  /** Global prefix of the application's routes. */
  readonly prefix?: string;
  /** True if the application enables URI versioning with the default version 1. */
  readonly versioned?: boolean;
  /** True if a global interceptor wraps every response in `{ data }`. */
  readonly wrapped?: boolean;
  readonly interceptors?: readonly NestInterceptor[];
  /** Options of the application's gRPC server. `controllers` contains its handlers. */
  readonly server?: ResilientGrpcServerOptions;
  readonly controllers?: readonly Type[];
  readonly port?: number;
  readonly readinessDelayMs?: number;
  /** Runs during the shutdown. The HTTP server closes only after the returned promise has resolved. */
  readonly beforeClosed?: () => Promise<void>;
}

/** An application with a dashboard. */
export interface DashboardApp {
  readonly app: INestApplication;
  readonly url: string;
  readonly port: number;
  readonly clients: GrpcClients;
  orders(client: string): OrdersClient;
  close(): Promise<void>;
}

/**
 * A module whose shutdown hook runs after those of all other modules that are not global. Nest calls the shutdown hooks of the root module
 * first, then those of the imported modules level by level, and those of the global modules last.
 */
function lastToClose(hook: () => Promise<void>): DynamicModule {
  class Deep {}
  const provider = { provide: 'last to close', useValue: { beforeApplicationShutdown: hook } };
  let module: DynamicModule = { module: Deep, providers: [provider] };
  for (let depth = 0; depth < 8; depth++) module = { module: class {}, imports: [module] };
  return module;
}

export async function startDashboardApp({
  clients = [],
  dashboard = { public: true },
  adapter,
  prefix,
  versioned = false,
  wrapped = false,
  interceptors = [],
  server,
  controllers = [],
  port = 0,
  readinessDelayMs = 0,
  beforeClosed,
}: DashboardAppOptions = {}): Promise<DashboardApp> {
  const contract = { protoPath: ORDERS_PROTO, package: 'orders.v1', loader: { longs: String } };
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ drain: { readinessDelayMs } }),
      ResilientGrpcModule.forFeature(clients.map((one) => ({ ...contract, ...one }))),
      ResilientGrpcDashboardModule.forRoot(dashboard),
      ...(server === undefined ? [] : [ResilientGrpcServerModule.forRoot(server)]),
      ...(beforeClosed === undefined ? [] : [lastToClose(beforeClosed)]),
    ],
    controllers: [...controllers],
  })
  class AppModule {}
  // The application does not force-close connections, so the dashboard must close its own.
  const options = { logger: false, forceCloseConnections: false } as const;
  const app = await (adapter === undefined
    ? NestFactory.create(AppModule, options)
    : NestFactory.create(AppModule, adapter(), options));
  if (prefix !== undefined) app.setGlobalPrefix(prefix);
  if (versioned) app.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
  if (wrapped)
    app.useGlobalInterceptors({ intercept: (_context, next) => next.handle().pipe(map((data) => ({ data }))) });
  app.useGlobalInterceptors(...interceptors);
  if (server !== undefined) {
    app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) });
    await app.startAllMicroservices();
  }
  await app.listen(port, '127.0.0.1');
  const url = await app.getUrl();
  const all = app.get(GrpcClients);
  return {
    app,
    url,
    port: Number(new URL(url).port),
    clients: all,
    orders: (client) => all.get(client).getService<OrdersClient>('Orders'),
    close: () => app.close(),
  };
}

/** Server-sent events received on a separate connection. */
export class Events {
  readonly received: { readonly event: string; readonly data: any; readonly atMs: number }[] = [];
  ended = false;

  private constructor(readonly response: IncomingMessage) {
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      text += chunk;
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const event = /^event: (.*)$/m.exec(text.slice(0, end))?.[1];
        const data = JSON.parse(/^data: (.*)$/m.exec(text.slice(0, end))?.[1] ?? 'null');
        if (event !== undefined) this.received.push({ event, data, atMs: performance.now() });
        text = text.slice(end + 2);
      }
    });
    response.once('close', () => (this.ended = true));
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<Events> {
    const request = httpRequest(url, { headers, agent: false });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return new Events(response);
  }

  last(event: string): any {
    return this.received.findLast((one) => one.event === event)?.data;
  }

  /** The state of a client after all received events. */
  client(key: string): any {
    const known: Record<string, unknown> = {};
    for (const { data } of this.received)
      for (const one of data.clients ?? []) if (one.key === key) Object.assign(known, one);
    return known;
  }

  close(): void {
    this.response.destroy();
  }
}
