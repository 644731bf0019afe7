import { mkdtempSync, rmSync } from 'node:fs';
import { request, type RequestOptions } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
  InjectGrpcService,
  ResilientGrpcModule,
  type GrpcCallError,
  type GrpcClientSettings,
  type Resilient,
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

/** A service between a caller and another service, which it asks over gRPC. It is reached over gRPC and HTTP. */
export interface Hop {
  /** Of its gRPC server. */
  readonly url: string;
  /** Of its HTTP server: 'http://127.0.0.1:port'. */
  readonly http: string;
  close(): Promise<void>;
}

export interface HopOptions {
  /** Whom it asks. */
  readonly downstream: string;
  readonly root?: ResilientGrpcModuleOptions;
  readonly client?: Partial<GrpcClientSettings>;
  /** @defaultValue true */
  readonly inheritAppConfig?: boolean;
  /** Whose gRPC server it is. Ours sees inbound calls by itself, whatever `inheritAppConfig` says. @defaultValue 'nest' */
  readonly server?: 'nest' | 'resilient';
  /** A microservice alone, without HTTP. @defaultValue false */
  readonly alone?: boolean;
  readonly adapter?: () => Parameters<typeof NestFactory.create>[1];
  readonly logger?: NestApplicationOptions['logger'];
}

/** How a handler asks on, by the id of the order that it is asked for. */
export type Way = 'plain' | 'operators' | 'awaited' | 'retried' | 'outliving' | 'shared' | 'leaving';

type Orders = Resilient<OrdersClient>;

function askOn(orders: Orders, id: string): Observable<Order> | Promise<Order> {
  const [way] = id.split(':') as [Way];
  const ask = () => orders.get({ id });
  switch (way) {
    case 'operators':
      return of(id).pipe(
        delay(5),
        concatMap(ask),
        // Made from the answer of the first, in whatever context that comes.
        concatMap(() => ask()),
        map((order) => order),
      );
    case 'awaited':
      return (async () => {
        await firstValueFrom(ask());
        await new Promise((resolve) => setTimeout(resolve, 5));
        return firstValueFrom(ask());
      })();
    case 'retried': {
      let failed = false;
      return defer(() => {
        if (failed) return ask();
        failed = true;
        throw new Error('once more');
      }).pipe(retry({ count: 1, delay: 5 }));
    }
    case 'outliving':
      return orders.get({ id }, { propagate: false });
    case 'leaving':
      // Answers, and lets something go on.
      ask().subscribe();
      return of({ id } as Order);
    case 'shared':
      return ask().pipe(shareReplay({ bufferSize: 1, refCount: true }));
    default:
      return ask();
  }
}

/** Starts a hop. */
export async function startHop({ downstream, root, client, ...options }: HopOptions): Promise<Hop> {
  @Injectable()
  class AskingGuard implements CanActivate {
    constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Orders) {}

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const { params } = context.switchToHttp().getRequest<{ params: { id: string } }>();
      await firstValueFrom(this.orders.get({ id: `guard of ${params.id}` }));
      return true;
    }
  }

  /** Asks for those alone that are called 'guarded:…'. */
  @Injectable()
  class AskingRpcGuard implements CanActivate {
    constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Orders) {}

    async canActivate(context: ExecutionContext): Promise<boolean> {
      const { id } = context.switchToRpc().getData<{ id: string }>();
      if (id.startsWith('guarded:')) await firstValueFrom(this.orders.get({ id: `guard of ${id}` }));
      return true;
    }
  }

  @Controller('orders')
  class OrdersController {
    constructor(@InjectGrpcService('orders', 'Orders') private readonly orders: Orders) {}

    @GrpcMethod('Orders', 'Get')
    @UseGuards(AskingRpcGuard)
    get({ id }: { id: string }): Observable<Order> {
      // Nest makes UNKNOWN of what it does not know.
      return from(askOn(this.orders, id)).pipe(
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
      return askOn(this.orders, id);
    }

    @Get('guarded/:id')
    @UseGuards(AskingGuard)
    guarded(@Param('id') id: string): Observable<Order> | Promise<Order> {
      return askOn(this.orders, id);
    }

    @Post(':id')
    post(@Param('id') id: string, @Headers('x-none') _none: string): Observable<Order> | Promise<Order> {
      return askOn(this.orders, id);
    }
  }

  const folder = mkdtempSync(join(tmpdir(), 'hop-'));
  const url = `unix:${join(folder, 'hop.sock')}`;
  const served = { url, package: 'orders.v1', protoPath: ORDERS_PROTO, loader: { longs: String } };
  const ours = options.server === 'resilient';

  @Module({
    imports: [
      ...(ours ? [ResilientGrpcServerModule.forRoot(served)] : []),
      ...(root === undefined ? [] : [ResilientGrpcModule.forRoot(root)]),
      ResilientGrpcModule.forFeature([
        { name: 'orders', protoPath: ORDERS_PROTO, loader: { longs: String }, url: downstream, ...client },
      ]),
    ],
    providers: [AskingGuard, AskingRpcGuard],
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
  app.connectMicroservice<MicroserviceOptions>(ours ? { strategy: app.get(ResilientGrpcServer) } : grpc, {
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

/** Asks a hop over HTTP, on a connection of its own; gives the status. */
export function ask(
  hop: Hop,
  path: string,
  { body, ...options }: RequestOptions & { readonly body?: string } = {},
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(`${hop.http}/orders/${path}`, { agent: false, ...options }, (response) => {
      response.resume().once('end', () => {
        resolve(response.statusCode);
      });
    });
    asked.once('error', reject);
    asked.end(body);
  });
}

/** A client that asks `hop` and goes away ends the call that is made for it. */
export async function expectLeavingCancels(hop: Hop, server: ScriptedGrpcServer): Promise<void> {
  const arrived = new Promise<AbortSignal>((resolve) => {
    server.script('Get', ({ signal }) => {
      resolve(signal);
      return { never: true };
    });
  });
  const controller = new AbortController();
  const response = ask(hop, 'plain:1', { signal: controller.signal }).catch((error: unknown) => error);
  const signal = await arrived;
  controller.abort();
  await waitFor(() => signal.aborted);
  expect(await response).toMatchObject({ name: 'AbortError' });
}
