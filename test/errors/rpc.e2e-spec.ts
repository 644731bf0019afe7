import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { Controller, Get, Logger, Module, UseFilters, type INestApplication, type Provider } from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import { ClientProxyFactory, GrpcMethod, MessagePattern, Transport } from '@nestjs/microservices';
import {
  GrpcToHttpExceptionFilter,
  GrpcToRpcExceptionFilter,
  InjectGrpcService,
  ResilientGrpcModule,
  GrpcConfigurationError,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, type Observable } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { failureOf } from '../calls/support.js';
import { freePort } from '../support/free-port.mjs';
import { ORDERS_PROTO } from '../nest/places.js';
import type { OrdersClient } from '../nest/orders-client.js';
import { CapturedLog } from '../support/captured-log.js';
import { startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { detailed } from './http-cases.js';

const contract = { package: 'orders.v1', protoPath: ORDERS_PROTO, loader: { longs: String } };
const SECRET = 'table customers_eu of db-7.internal, key hush';

/** Serves orders from an upstream. */
@Controller()
class OrdersController {
  constructor(@InjectGrpcService('upstream', 'Orders') private readonly upstream: Resilient<OrdersClient>) {}

  @GrpcMethod('Orders', 'Create')
  create(order: { requestId: string; item: string }): Observable<object> {
    return this.upstream.create(order);
  }

  @GrpcMethod('Orders', 'Get')
  async get({ id }: { id: string }): Promise<object> {
    return firstValueFrom(this.upstream.create({ requestId: id, item: 'tea' }));
  }

  @GrpcMethod('Orders', 'Watch')
  watch(request: { from: string }): Observable<object> {
    return this.upstream.watch(request);
  }

  @MessagePattern('order')
  order(id: string): Observable<object> {
    return this.upstream.create({ requestId: id, item: 'tea' });
  }

  @Get('order')
  overHttp(): Observable<object> {
    return this.upstream.create({ requestId: '7', item: 'tea' });
  }
}

const leaks = captureLeaks();
const sockets = mkdtempSync(join(tmpdir(), 'rpc-errors-'));
let upstream: ScriptedGrpcServer;
let started = 0;
const closing: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  upstream = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
});
beforeEach(() => {
  upstream.reset();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});
afterAll(async () => {
  await upstream.close();
  rmSync(sockets, { recursive: true });
  await leaks.settled();
});

interface Served {
  readonly orders: OrdersApp['orders'];
  readonly app: INestApplication;
  readonly log: CapturedLog;
}

type Kind = 'nest' | 'resilient';

async function serve(kind: Kind, providers: readonly Provider[]): Promise<Served> {
  const url = `unix:${join(sockets, `${(started += 1)}.sock`)}`;
  @Module({
    imports: [
      ResilientGrpcModule.forFeature([{ ...contract, name: 'upstream', url: upstream.url }]),
      ...(kind === 'resilient' ? [ResilientGrpcServerModule.forRoot({ ...contract, url })] : []),
    ],
    controllers: [OrdersController],
    providers: [...providers],
  })
  class AppModule {}

  const log = new CapturedLog();
  const app = await NestFactory.create(AppModule, { logger: log, abortOnError: false });
  closing.push(() => app.close());
  app.connectMicroservice(
    kind === 'resilient'
      ? { strategy: app.get(ResilientGrpcServer) }
      : { transport: Transport.GRPC, options: { ...contract, url } },
    { inheritAppConfig: true },
  );
  await app.startAllMicroservices();
  const client = await startOrdersApp({ url });
  closing.push(() => client.close());
  // Nest has one logger per process, which the client's application replaced.
  Logger.overrideLogger(log);
  return { orders: client.orders, app, log };
}

const filter = (options?: ConstructorParameters<typeof GrpcToRpcExceptionFilter>[0]): Provider => ({
  provide: APP_FILTER,
  useFactory: () => new GrpcToRpcExceptionFilter(options),
});

const order = { requestId: '1', item: 'tea', quantity: 1 };
const EXPOSED = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED'];
const ERRORS = Object.keys(status).filter((name) => /^[A-Z]/.test(name) && name !== 'OK');

describe.each<[name: string, kind: Kind]>([
  ["Nest's gRPC server", 'nest'],
  ['ResilientGrpcServer', 'resilient'],
])('failed upstream call on %s', (name, kind) => {
  it(`hides upstream messages on ${name}, and all upstream codes except UNAVAILABLE, DEADLINE_EXCEEDED, and RESOURCE_EXHAUSTED, if relay is not set`, async () => {
    const { orders } = await serve(kind, [{ provide: APP_FILTER, useClass: GrpcToRpcExceptionFilter }]);
    const trailers = { ...detailed('NOT_FOUND', SECRET, { retryAfterMs: 9_000 }), 'x-secret': 'hush' };
    for (const code of ERRORS) {
      upstream.script('Create', { status: code as 'INTERNAL', details: SECRET, trailers });
      const failure = await failureOf(orders.create(order));
      const sent = EXPOSED.includes(code) ? code : 'INTERNAL';
      expect(failure.message).toMatch(new RegExp(`^\\d+ ${sent}: A call to another server failed: ${sent}$`));
      expect(failure.reason).toBe('server');
      expect(failure.retryAfterMs).toBe(EXPOSED.includes(code) ? 9_000 : undefined);
      expect(JSON.stringify([failure.metadata.getMap(), failure.statusDetails])).not.toContain('hush');
    }
  });

  it(`relays listed codes without debug info or application trailers on ${name}`, async () => {
    const { orders } = await serve(kind, [filter({ relay: ['NOT_FOUND', 'INVALID_ARGUMENT', 'INTERNAL'] })]);
    const info = {
      typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo',
      value: { reason: 'NONE', domain: 'shop', metadata: {} },
    };
    const trailers = {
      ...detailed('NOT_FOUND', 'x', {
        statusDetails: [info, { typeUrl: 'google.rpc.DebugInfo', value: { stackEntries: [SECRET] } }],
        retryAfterMs: 1_500,
      }),
      'x-secret': 'hush',
      'grpc-retry-pushback-ms': '700',
    };
    upstream.script('Create', { status: 'NOT_FOUND', details: 'no order №7', trailers });
    upstream.script('Watch', { messages: [{ sequence: '1' }], status: 'NOT_FOUND', details: 'no order №7', trailers });
    for (const call of [orders.create(order), orders.get({ id: '7' }), orders.watch({ from: '0' })]) {
      const failure = await failureOf(call);
      expect(failure).toMatchObject({ codeName: 'NOT_FOUND', details: 'no order №7' });
      expect(failure.statusDetails[0]).toEqual(info);
      expect(failure.statusDetails.map(({ typeUrl }) => typeUrl.split('.').at(-1))).toEqual(['ErrorInfo', 'RetryInfo']);
      expect(failure.metadata.get('grpc-retry-pushback-ms')).toEqual(['700']);
      expect(JSON.stringify([failure.metadata.getMap(), failure.statusDetails])).not.toContain('hush');
    }
    // For INTERNAL, only the code is relayed, never the message.
    upstream.script('Create', { status: 'INTERNAL', details: SECRET });
    expect((await failureOf(orders.create(order))).message).toBe(
      '13 INTERNAL: A call to another server failed: INTERNAL',
    );
    upstream.script('Create', { status: 'ALREADY_EXISTS', details: SECRET });
    expect((await failureOf(orders.create(order))).codeName).toBe('INTERNAL');
  });

  it(`hides messages of client-created errors, which contain addresses, on ${name} even if relay lists the code`, async () => {
    const { orders } = await serve(kind, [filter({ relay: ['UNAVAILABLE'] })]);
    upstream.script('Create', { never: true });
    const failing = failureOf(orders.create(order));
    await expect.poll(() => upstream.counts('Create').calls).toBe(1);
    await upstream.close();
    expect((await failing).message).toBe('14 UNAVAILABLE: A call to another server failed: UNAVAILABLE');
    upstream = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  });

  it(`returns the code of an upstream status on ${name}, but no retry delay, if the RetryInfo exceeds the maximum of a Duration`, async () => {
    const { orders } = await serve(kind, [filter()]);
    // The largest 64-bit integer, in seconds.
    const value = Uint8Array.of(10, 10, 8, ...new Uint8Array(8).fill(255), 127);
    const trailers = detailed('UNAVAILABLE', 'x', { statusDetails: [{ typeUrl: 'google.rpc.RetryInfo', value }] });
    upstream.script('Get', { status: 'UNAVAILABLE', details: 'x', trailers });
    upstream.script('Create', { status: 'UNAVAILABLE', details: 'x', trailers });
    const failure = await failureOf(orders.get({ id: '7' }));
    expect(failure.message).toBe('14 UNAVAILABLE: A call to another server failed: UNAVAILABLE');
    expect(failure.retryAfterMs).toBeUndefined();
  });

  it(`truncates a relayed status to the size limit of trailers on ${name}`, async () => {
    const { orders } = await serve(kind, [filter({ relay: ['NOT_FOUND'] })]);
    const statusDetails = [
      { typeUrl: 'google.rpc.DebugInfo', value: {} },
      ...Array.from({ length: 50 }, (_, at) => ({
        typeUrl: 'google.rpc.LocalizedMessage',
        value: { locale: 'en', message: `${at}${'x'.repeat(100)}` },
      })),
    ];
    upstream.script('Create', {
      status: 'NOT_FOUND',
      details: '☕'.repeat(1_100),
      trailers: detailed('NOT_FOUND', 'x', { statusDetails, retryAfterMs: 100 }),
    });
    const failure = await failureOf(orders.create(order));
    expect(failure.details).toBe(`${'☕'.repeat(227)}...`);
    expect(failure.retryAfterMs).toBe(100);
    expect(failure.statusDetails).toHaveLength(1);
  });

  it(`logs the hidden upstream status on ${name}`, async () => {
    const { orders, log } = await serve(kind, [filter({ relay: ['NOT_FOUND'] })]);
    for (const [code, details] of [
      ['PERMISSION_DENIED', 'not for you'],
      ['NOT_FOUND', 'no order'],
    ] as const) {
      upstream.script('Create', { status: code, details });
      for (let i = 0; i < 5; i++) await failureOf(orders.create(order));
    }
    const logged = log.lines.filter(({ level }) => level === 'warn' || level === 'error');
    expect(logged.map(({ level, text }) => `${level} ${text.replace(/at \S+/, 'at …')}`)).toEqual([
      'error upstream /orders.v1.Orders/Create at … rejected the credential of the call: ' +
        'PERMISSION_DENIED: not for you (server, reached the server: yes); the caller received INTERNAL',
    ]);
    for (const close of closing.splice(0).reverse()) await close();
    // The last of the suppressed lines is logged on shutdown, with the number of the others.
    expect(log.lines.map(({ text }) => text)).toContain(`${logged[0]!.text} (3 more in the last minute)`);
  });
});

describe('failed upstream call on other transports', () => {
  it('sends an error object with the code of a failed upstream call over TCP', async () => {
    @Module({
      imports: [ResilientGrpcModule.forFeature([{ ...contract, name: 'upstream', url: upstream.url }])],
      controllers: [OrdersController],
      providers: [filter({ relay: ['NOT_FOUND'] })],
    })
    class AppModule {}

    const options = { host: '127.0.0.1', port: await freePort() };
    const app = await NestFactory.createMicroservice(AppModule, {
      transport: Transport.TCP,
      options,
      logger: false,
      abortOnError: false,
    });
    await app.listen();
    const client = ClientProxyFactory.create({ transport: Transport.TCP, options });
    const send = () => firstValueFrom(client.send<unknown>('order', '7')).catch((error: unknown) => error);
    upstream.script('Create', { status: 'NOT_FOUND', details: 'no order' });
    expect(await send()).toEqual({ status: 'error', code: 'NOT_FOUND', message: 'no order' });
    upstream.script('Create', {
      status: 'UNAVAILABLE',
      details: SECRET,
      trailers: detailed('UNAVAILABLE', 'x', { retryAfterMs: 1_500 }),
    });
    const text = 'A call to another server failed: UNAVAILABLE';
    expect(await send()).toEqual({ status: 'error', code: 'UNAVAILABLE', message: text, retryAfterMs: 1_500 });
    upstream.script('Create', { status: 'PERMISSION_DENIED', details: SECRET });
    expect(await send()).toMatchObject({ code: 'INTERNAL', message: 'A call to another server failed: INTERNAL' });
    await client.close();
    await app.close();
  });

  it.each<[what: string, providers: Provider[]]>([
    ['with the RPC filter', [{ provide: APP_FILTER, useClass: GrpcToRpcExceptionFilter }]],
    ['without a filter', []],
  ])('lets Nest handle the error of a failed call over HTTP %s', async (_what, providers) => {
    const { app, log } = await serve('nest', providers);
    await app.listen(0, '127.0.0.1');
    upstream.script('Create', { status: 'NOT_FOUND', details: SECRET });
    const answer = await fetch(`${await app.getUrl()}/order`);
    expect([answer.status, await answer.json()]).toEqual([500, { statusCode: 500, message: 'Internal server error' }]);
    expect(log.lines.filter(({ level }) => level === 'error').map(({ context }) => context)).toEqual([
      'ExceptionsHandler',
    ]);
  });

  it('reveals no message of an upstream fault over HTTP if the application created the RPC filter itself', async () => {
    const { app } = await serve('nest', [filter()]);
    await app.listen(0, '127.0.0.1');
    upstream.script('Create', { status: 'INTERNAL', details: SECRET });
    const answer = await fetch(`${await app.getUrl()}/order`);
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('hush');
  });

  it('maps the error of a failed call for HTTP and gRPC in a hybrid application with one filter per transport', async () => {
    @Controller()
    @UseFilters(new GrpcToRpcExceptionFilter({ relay: ['NOT_FOUND'] }))
    class RpcController {
      constructor(@InjectGrpcService('upstream', 'Orders') private readonly upstream: Resilient<OrdersClient>) {}
      @GrpcMethod('Orders', 'Create')
      create(one: { requestId: string; item: string }): Observable<object> {
        return this.upstream.create(one);
      }
    }
    @Controller()
    class HttpController {
      constructor(@InjectGrpcService('upstream', 'Orders') private readonly upstream: Resilient<OrdersClient>) {}
      @Get('order')
      order(): Observable<object> {
        return this.upstream.create(order);
      }
    }
    const url = `unix:${join(sockets, `${(started += 1)}.sock`)}`;
    @Module({
      imports: [ResilientGrpcModule.forFeature([{ ...contract, name: 'upstream', url: upstream.url }])],
      controllers: [HttpController, RpcController],
      providers: [{ provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }],
    })
    class AppModule {}
    const app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
    closing.push(() => app.close());
    app.connectMicroservice({ transport: Transport.GRPC, options: { ...contract, url } }, { inheritAppConfig: true });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    const client = await startOrdersApp({ url });
    closing.push(() => client.close());
    upstream.script('Create', { status: 'NOT_FOUND', details: 'no order' });
    expect(await failureOf(client.orders.create(order))).toMatchObject({ codeName: 'NOT_FOUND', details: 'no order' });
    expect((await fetch(`${await app.getUrl()}/order`)).status).toBe(404);
  });

  it('lets Nest handle the error of a failed call if the HTTP filter runs in a microservice', async () => {
    const without = await serve('nest', []);
    const withFilter = await serve('nest', [{ provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }]);
    upstream.script('Create', { status: 'NOT_FOUND', details: SECRET });
    const [one, other] = [
      await failureOf(without.orders.create(order)),
      await failureOf(withFilter.orders.create(order)),
    ];
    expect(other.message).toBe(one.message);
    expect(other.message).toBe('2 UNKNOWN: Internal server error');
  });
});

describe('invalid filter options', () => {
  it.each<[options: unknown, path: string, message: RegExp]>([
    [{ relay: ['NOT-FOUND'] }, 'GrpcToRpcExceptionFilter.relay[0]', /^expected .*, got "NOT-FOUND"/],
    [{ relay: ['OK'] }, 'GrpcToRpcExceptionFilter.relay[0]', /got "OK"/],
    [{ relay: 'NOT_FOUND' }, 'GrpcToRpcExceptionFilter.relay', /^expected Array, got "NOT_FOUND"/],
    [{ relays: [] }, 'GrpcToRpcExceptionFilter.relays', /did you mean 'relay'\?/],
    ['NOT_FOUND', 'GrpcToRpcExceptionFilter', /^expected an object, got "NOT_FOUND"/],
  ])(
    'throws a configuration error with path, value, and remedy for the filter options %j',
    (options, path, message) => {
      const create = (): unknown => new GrpcToRpcExceptionFilter(options as never);
      expect(create).toThrow(
        expect.toSatisfy(
          (error: unknown) =>
            error instanceof GrpcConfigurationError &&
            error.problems.some((problem) => problem.path === path && message.test(problem.message)),
        ),
      );
    },
  );
});
