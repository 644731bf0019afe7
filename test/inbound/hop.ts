import { mkdtempSync, rmSync } from 'node:fs';
import { request, type RequestOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  Controller,
  Get,
  Headers,
  Injectable,
  Module,
  Param,
  Post,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
  type INestApplication,
  type INestApplicationContext,
  type NestApplicationOptions,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, RpcException, Transport, type MicroserviceOptions } from '@nestjs/microservices';
import {
  InjectGrpcClient,
  InjectGrpcService,
  ResilientGrpcModule,
  type GrpcCallError,
  type GrpcClientSettings,
  type Resilient,
  type ResilientGrpcClient,
  type ResilientGrpcModuleOptions,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import {
  catchError,
  concatMap,
  defer,
  delay,
  firstValueFrom,
  from,
  map,
  of,
  retry,
  shareReplay,
  throwError,
  type Observable,
} from 'rxjs';
import { expect } from 'vitest';
import type { Order, OrdersClient, OrderEvent, WatchRequest } from '../../src/gen/orders.pb.js';

export const ORDERS_PROTO = join(import.meta.dirname, '../../protos/orders.proto');

/** A service between a caller and a downstream service. It serves gRPC and HTTP and calls the downstream service over gRPC. */
export interface Hop {
  /** URL of its gRPC server. */
  readonly url: string;
  /** URL of its HTTP server, such as 'http://127.0.0.1:3000'; empty for a microservice without HTTP. */
  readonly http: string;
  close(): Promise<void>;
}

export interface HopOptions {
  /** URL of the downstream service. */
  readonly downstream: string;
  readonly root?: ResilientGrpcModuleOptions;
  readonly client?: Partial<GrpcClientSettings>;
  /** @defaultValue true */
  readonly inheritAppConfig?: boolean;
  /** gRPC server: Nest's or this library's, which captures inbound calls without `inheritAppConfig`. @defaultValue 'nest' */
  readonly server?: 'nest' | 'resilient';
  /** True if the application is a microservice without HTTP. @defaultValue false */
  readonly alone?: boolean;
  readonly adapter?: () => Parameters<typeof NestFactory.create>[1];
  readonly logger?: NestApplicationOptions['logger'];
}

/** Form of a handler's call to the downstream server. The id of the requested order starts with this form. */
export type Way = 'plain' | 'operators' | 'awaited' | 'retried' | 'detached' | 'shared' | 'background' | 'callback';

type Orders = Resilient<OrdersClient>;

function callDownstream(orders: Orders, id: string): Observable<Order> | Promise<Order> {
  const [way] = id.split(':') as [Way];
  const get = () => orders.get({ id });
  switch (way) {
    case 'operators':
      return of(id).pipe(
        delay(5),
        concatMap(get),
        // Called in the async context of the first response.
        concatMap(() => get()),
        map((order) => order),
      );
    case 'awaited':
      return (async () => {
        await firstValueFrom(get());
        await new Promise((resolve) => setTimeout(resolve, 5));
        return firstValueFrom(get());
      })();
    case 'retried': {
      let failed = false;
      return defer(() => {
        if (failed) return get();
        failed = true;
        throw new Error('once more');
      }).pipe(retry({ count: 1, delay: 5 }));
    }
    case 'detached':
      return orders.get({ id }, { propagate: false });
    case 'background':
      // Responds while the call continues.
      get().subscribe();
      return of({ id } as Order);
    case 'shared':
      return get().pipe(shareReplay({ bufferSize: 1, refCount: true }));
    default:
      return get();
  }
}

/** Calls the downstream service with grpc-js's generated client. */
function callBack(client: ResilientGrpcClient, id: string): Promise<Order> {
  const callbacks = client.getClientByServiceName<{
    get(request: { id: string }, done: (error: Error | null, order: Order) => void): void;
  }>('Orders');
  return promisify((done: (error: Error | null, order: Order) => void) => callbacks.get({ id }, done))();
}

export async function startHop({ downstream, root, client, ...options }: HopOptions): Promise<Hop> {
  @Injectable()
  class CallingGuard implements CanActivate {
    constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Orders) {}

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const { params } = context.switchToHttp().getRequest<{ params: { id: string } }>();
      await firstValueFrom(this.orders.get({ id: `guard of ${params.id}` }));
      return true;
    }
  }

  /** Calls the downstream service only for ids that start with 'guarded:'. */
  @Injectable()
  class CallingRpcGuard implements CanActivate {
    constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Orders) {}

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const { id } = context.switchToRpc().getData<{ id: string }>();
      if (id.startsWith('guarded:')) await firstValueFrom(this.orders.get({ id: `guard of ${id}` }));
      return true;
    }
  }

  @Controller('orders')
  class OrdersController {
    constructor(
      @InjectGrpcService('orders', 'Orders') private readonly orders: Orders,
      @InjectGrpcClient('orders') private readonly client: ResilientGrpcClient,
    ) {}

    @GrpcMethod('Orders', 'Get')
    @UseGuards(CallingRpcGuard)
    get({ id }: { id: string }): Observable<Order> {
      // Nest maps unknown exceptions to UNKNOWN.
      return from(id.startsWith('callback:') ? callBack(this.client, id) : callDownstream(this.orders, id)).pipe(
        catchError(({ code, details }: GrpcCallError) =>
          throwError(() => new RpcException({ code, message: details })),
        ),
      );
    }

    @GrpcMethod('Orders', 'Watch')
    watch({ from: seed }: WatchRequest): Observable<OrderEvent> {
      return resumable((from: string) => this.orders.watch({ from }), {
        seed,
        cursor: ({ sequence }) => sequence,
        compare: (a, b) => Number(BigInt(a) - BigInt(b)),
        backoff: { initialBackoffMs: 20 },
      });
    }

    @Get(':id')
    one(@Param('id') id: string): Observable<Order> | Promise<Order> {
      return callDownstream(this.orders, id);
    }

    @Get('guarded/:id')
    @UseGuards(CallingGuard)
    guarded(@Param('id') id: string): Observable<Order> | Promise<Order> {
      return callDownstream(this.orders, id);
    }

    @Post(':id')
    post(@Param('id') id: string, @Headers('x-none') _none: string): Observable<Order> | Promise<Order> {
      return callDownstream(this.orders, id);
    }
  }

  const folder = mkdtempSync(join(tmpdir(), 'hop-'));
  const url = `unix:${join(folder, 'hop.sock')}`;
  const served = { url, package: 'orders.v1', protoPath: ORDERS_PROTO, loader: { longs: String } };
  const isResilient = options.server === 'resilient';

  @Module({
    imports: [
      ...(isResilient ? [ResilientGrpcServerModule.forRoot(served)] : []),
      ...(root === undefined ? [] : [ResilientGrpcModule.forRoot(root)]),
      ResilientGrpcModule.forFeature([
        { name: 'orders', protoPath: ORDERS_PROTO, loader: { longs: String }, url: downstream, ...client },
      ]),
    ],
    providers: [CallingGuard, CallingRpcGuard],
    controllers: [OrdersController],
  })
  class HopModule {}

  const settings = { logger: options.logger ?? false, abortOnError: false } as const;
  const close = async (app: INestApplicationContext): Promise<void> => {
    await app.close();
    rmSync(folder, { recursive: true });
  };
  const grpc: MicroserviceOptions = { transport: Transport.GRPC, options: served };
  if (options.alone === true) {
    const service = await NestFactory.createMicroservice<MicroserviceOptions>(HopModule, { ...grpc, ...settings });
    await service.listen();
    return { url, http: '', close: () => close(service) };
  }
  const adapter = options.adapter?.();
  const app: INestApplication =
    adapter === undefined
      ? await NestFactory.create(HopModule, settings)
      : await NestFactory.create(HopModule, adapter as never, settings);
  app.connectMicroservice<MicroserviceOptions>(isResilient ? { strategy: app.get(ResilientGrpcServer) } : grpc, {
    inheritAppConfig: options.inheritAppConfig ?? true,
  });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  return {
    url,
    http: (await app.getUrl()).replace('[::1]', '127.0.0.1'),
    close: () => close(app),
  };
}

/** Sends an HTTP request to a hop on a separate connection and resolves to the status. */
export function send(
  hop: Hop,
  path: string,
  { body, ...options }: RequestOptions & { readonly body?: string } = {},
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request(`${hop.http}/orders/${path}`, { agent: false, ...options }, (response) => {
      response.resume().once('end', () => {
        resolve(response.statusCode);
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

/** Expects the downstream call to be cancelled when the HTTP client disconnects from `hop`. */
export async function expectDisconnectCancels(hop: Hop, server: ScriptedGrpcServer): Promise<void> {
  const arrived = new Promise<AbortSignal>((resolve) => {
    server.script('Get', ({ signal }) => {
      resolve(signal);
      return { never: true };
    });
  });
  const controller = new AbortController();
  const response = send(hop, 'plain:1', { signal: controller.signal }).catch((error: unknown) => error);
  const signal = await arrived;
  controller.abort();
  await waitFor(() => signal.aborted);
  expect(await response).toMatchObject({ name: 'AbortError' });
}
