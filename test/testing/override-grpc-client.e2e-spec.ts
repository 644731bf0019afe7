import { join } from 'node:path';
import { Inject, Injectable, Module } from '@nestjs/common';
import type { ClientGrpc } from '@nestjs/microservices';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  InjectGrpcClient,
  InjectGrpcService,
  ResilientGrpcModule,
  getGrpcClientToken,
  type GrpcClientOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import {
  ScriptedGrpcServer,
  captureLeaks,
  fakeGrpcService,
  grpcError,
  overrideGrpcClient,
  overrideGrpcService,
  waitFor,
} from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, of } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { OrdersClient } from '../../src/gen/orders.pb.js';

const PROTO = join(import.meta.dirname, '../../protos/orders.proto');
const ARCHIVE_PROTO = join(import.meta.dirname, '../nest/protos/archive.proto');
const contract = { name: 'orders', protoPath: PROTO } as const;

@Injectable()
class Shop {
  constructor(@InjectGrpcService('orders', 'Orders') readonly orders: Resilient<OrdersClient>) {}

  async item(id: string): Promise<string> {
    return (await firstValueFrom(this.orders.get({ id }))).item;
  }
}

/** Creates the builder of an application whose client has the contract and `settings`. */
function createBuilder(settings: Omit<GrpcClientOptions, 'name' | 'protoPath'>) {
  @Module({
    imports: [
      ResilientGrpcModule.forRoot({ defaults: { metadata: { 'x-app': 'shop' } } }),
      // The cast is safe because the contract adds the other keys.
      ResilientGrpcModule.forFeature([{ ...contract, ...settings } as GrpcClientOptions]),
    ],
    providers: [Shop],
  })
  class AppModule {}
  return Test.createTestingModule({ imports: [AppModule] });
}

let leaks: ReturnType<typeof captureLeaks>;
let server: ScriptedGrpcServer;
let app: TestingModule | undefined;

beforeEach(async () => {
  leaks = captureLeaks();
  server = await ScriptedGrpcServer.start({
    protoPath: PROTO,
    scripts: { Get: { message: { id: '7', item: 'tea' } } },
  });
});
afterEach(async () => {
  await app?.close();
  app = undefined;
  await server.close();
  await leaks.settled();
});

describe('overrideGrpcClient', () => {
  it('lets a test spy on the methods of an injected service', async () => {
    app = await createBuilder({ url: server.url }).compile();
    const { orders } = app.get(Shop);
    const spy = vi.spyOn(orders, 'get').mockReturnValue(of({ item: 'spied' }) as never);
    expect(await app.get(Shop).item('7')).toBe('spied');
    const other = app.get<ClientGrpc>('orders').getService<OrdersClient>('Orders');
    expect(await firstValueFrom(other.get({ id: '7' }))).toMatchObject({ item: 'tea' });
    spy.mockRestore();
    expect(await app.get(Shop).item('7')).toBe('tea');
  });

  it('redirects a client with overrideGrpcClient() and keeps all other settings of the application', async () => {
    const builder = createBuilder({
      url: 'orders.invalid:1',
      metadata: { 'x-tenant': 'one', 'x-user': 'me' },
      methods: { Get: { idempotent: true, timeoutMs: 10_000 } },
    });
    expect(overrideGrpcClient(builder, 'orders', { url: server.url, metadata: { 'x-tenant': 'two' } })).toBe(builder);
    app = await builder.compile();
    server.script('Get', [{ status: 'UNAVAILABLE' }, { message: { id: '7', item: 'tea' } }]);
    await expect(app.get(Shop).item('7')).resolves.toBe('tea');
    const calls = server.calls('Get');
    expect(calls).toHaveLength(2);
    expect(calls[0]?.metadata.getMap()).toMatchObject({ 'x-app': 'shop', 'x-tenant': 'two', 'x-user': 'me' });
  });

  it('merges overriding method options by pattern, with precedence for the later override', async () => {
    const methods = { Create: { idempotent: true, timeoutMs: 60_000 } };
    const builder = createBuilder({ url: 'orders.invalid:1', methods });
    overrideGrpcClient(builder, 'orders', {
      url: 'elsewhere.invalid:1',
      methods: { Create: { timeoutMs: 50_000 }, Watch: { prefetch: 1 } },
    });
    overrideGrpcClient(builder, 'orders', { url: server.url, methods: { Create: { timeoutMs: 30_000 } } });
    app = await builder.compile();
    const deadlines: number[] = [];
    server.script('Create', ({ deadline, number }) => {
      deadlines.push(deadline - Date.now());
      return number === 1 ? { status: 'UNAVAILABLE', pushback: 0 } : { message: { item: 'tea' } };
    });
    // The write is retried because the application declares it as idempotent.
    const order = { requestId: 'a', item: 'tea', quantity: 1 };
    await expect(firstValueFrom(app.get(Shop).orders.create(order))).resolves.toMatchObject({ item: 'tea' });
    expect(deadlines).toHaveLength(2);
    for (const deadline of deadlines) expect(deadline).toBeLessThanOrEqual(30_000);
  });

  it('overrides the client settings that a factory returns', async () => {
    const feature = ResilientGrpcModule.forFeatureAsync([
      { ...contract, useFactory: async () => ({ url: 'orders.invalid:1', metadata: { 'x-tenant': 'one' } }) },
    ]);
    const builder = Test.createTestingModule({ imports: [feature], providers: [Shop] });
    app = await overrideGrpcClient(builder, 'orders', { url: server.url }).compile();
    await expect(app.get(Shop).item('7')).resolves.toBe('tea');
    expect(server.calls('Get')[0]?.metadata.get('x-tenant')).toEqual(['one']);
  });

  it('limits drain.timeoutMs of an application with an overridden client to 1 s, and names the limit in call errors', async () => {
    server.script('Watch', { message: { sequence: 1 }, never: true });
    app = await overrideGrpcClient(createBuilder({ url: 'orders.invalid:1' }), 'orders', { url: server.url }).compile();
    const ended = new Promise<unknown>((resolve) => {
      app!.get(Shop).orders.watch({ from: '0' }).subscribe({ error: resolve });
    });
    await waitFor(() => server.counts('Watch').open === 1);
    await app.close();
    expect(await ended).toMatchObject({
      reason: 'draining',
      details: expect.stringMatching(
        /did not finish within 1 s; .*, raise drain\.timeoutMs, which overrideGrpcClient\(\) limits to 1 s$/,
      ) as string,
    });
  });

  it('overrides a client url that is undefined in the application', async () => {
    const nowhere = { url: undefined as never };
    app = await overrideGrpcClient(createBuilder(nowhere), 'orders', { url: server.url }).compile();
    await expect(app.get(Shop).item('7')).resolves.toBe('tea');
  });

  it('reports invalid overriding settings of a client', async () => {
    const builder = createBuilder({ url: 'orders.invalid:1' });
    const wrong = { url: server.url, timeoutMs: -1 };
    await expect(overrideGrpcClient(builder, 'orders', wrong).compile()).rejects.toThrow('clients.orders.timeoutMs');
  });

  it.each([
    ['a misspelled name', 'ordres', "No gRPC client 'ordres'; known clients: 'orders'"],
    ['an unknown symbol', Symbol('stock'), "No gRPC client 'stock'; known clients: 'orders'"],
  ])('rejects a client override for %s', async (_what, name, message) => {
    // A warm client connects when it is created. Its connection would leak if compile() did not close the rejected application.
    const newLeaks = captureLeaks();
    const warm = createBuilder({ url: server.url, connections: { warm: true } });
    const builder = overrideGrpcClient(warm, name, { url: server.url });
    await expect(builder.compile()).rejects.toThrow(message);
    await newLeaks.settled();
  });

  it('rejects a client override in an application without clients', async () => {
    const builder = overrideGrpcClient(Test.createTestingModule({}), 'orders', { url: server.url });
    await expect(builder.compile()).rejects.toThrow(
      "overrideGrpcClient: no gRPC client 'orders'; import ResilientGrpcModule.forFeature([...]) in the module under test",
    );
  });

  it.each([
    ['only that copy', () => []],
    ['both copies', () => [ResilientGrpcModule.forFeature([{ ...contract, name: 'stock', url: server.url }])]],
  ])(
    'names the other copy of the package if the client belongs to that copy and the application uses %s',
    async (_, own) => {
      vi.resetModules();
      const other = await import('nestjs-resilient-grpc');
      const imports = [...own(), other.ResilientGrpcModule.forFeature([{ ...contract, url: server.url }])];
      const builder = overrideGrpcClient(Test.createTestingModule({ imports }), 'orders', { url: server.url });
      await expect(builder.compile()).rejects.toThrow(
        "no gRPC client 'orders' in this copy of nestjs-resilient-grpc; the module uses another copy; run npm ls nestjs-resilient-grpc",
      );
    },
  );
});

describe('overrideGrpcService', () => {
  it.each(['Orders', 'orders.v1.Orders'])(
    'overrides all injections of a service that a test names %s, and keeps the service of getService()',
    async (name) => {
      @Injectable()
      class Injections {
        constructor(
          @InjectGrpcService('orders', 'Orders') readonly short: Resilient<OrdersClient>,
          @InjectGrpcService('orders', 'orders.v1.Orders') readonly full: Resilient<OrdersClient>,
          @InjectGrpcClient('orders') readonly client: ClientGrpc,
        ) {}
      }
      // Another application of the process has a client of this name with an Orders service in another package.
      ResilientGrpcModule.forFeature([{ name: 'orders', protoPath: ARCHIVE_PROTO, url: server.url }]);
      const feature = ResilientGrpcModule.forFeature([{ ...contract, url: server.url }]);
      const builder = Test.createTestingModule({ imports: [feature], providers: [Injections] });
      const orders = fakeGrpcService<OrdersClient>({});
      expect(overrideGrpcService(builder, 'orders', name, orders)).toBe(builder);
      app = await builder.compile();
      const { short, full, client } = app.get(Injections);
      expect([short, full]).toEqual([orders, orders]);
      const real = client.getService<OrdersClient>('Orders');
      expect(await firstValueFrom(real.get({ id: '7' }))).toMatchObject({ item: 'tea' });
    },
  );

  it.each([
    ['orders', 'Order', "expected a service of the client, got 'Order'; did you mean 'Orders'?"],
    [
      Symbol('nowhere'),
      'Orders',
      "overrideGrpcService: no gRPC client 'nowhere'; import ResilientGrpcModule.forFeature([...]) in the module under test",
    ],
  ])('rejects the override of a service that does not exist: %s, %s', (client, service, message) => {
    const builder = createBuilder({ url: server.url });
    expect(() => overrideGrpcService(builder, client, service, {})).toThrow(message);
  });
});

describe('fakeGrpcService', () => {
  it('replaces a service of an application with a fake that does not record lifecycle hooks as calls', async () => {
    const orders = fakeGrpcService<OrdersClient>({
      get: ({ id }) => {
        if (id !== '7') throw grpcError('NOT_FOUND', `no order ${id}`);
        return { id, requestId: '', item: 'tea', quantity: 1, sequence: '1' };
      },
    });
    const builder = createBuilder({ url: 'orders.invalid:1' });
    app = await overrideGrpcService(builder, 'orders', 'Orders', orders).compile();
    await app.init();
    await expect(app.get(Shop).item('7')).resolves.toBe('tea');
    await expect(app.get(Shop).item('8')).rejects.toMatchObject({ codeName: 'NOT_FOUND', reachedServer: 'yes' });
    await app.close();
    expect(orders.calls.map(({ method, request }) => [method, request])).toEqual([
      ['get', { id: '7' }],
      ['get', { id: '8' }],
    ]);
    app = undefined;
  });

  it.each([
    [
      'every injection of a client and of its services',
      'the token of the client',
      getGrpcClientToken('orders'),
      ['fake', 'fake', 'fake'],
    ],
    ['only the injections by the bare name of a client', 'that name', 'orders', ['fake', 'tea', 'tea']],
  ])('replaces %s with a fake if a test overrides %s', async (_what, _token, token, items) => {
    @Injectable()
    class Injections {
      constructor(
        @Inject('orders') readonly bare: ClientGrpc,
        @InjectGrpcClient('orders') readonly client: ClientGrpc,
        @InjectGrpcService('orders', 'Orders') readonly service: Resilient<OrdersClient>,
      ) {}
    }
    const orders = fakeGrpcService<OrdersClient>({
      get: ({ id }) => ({ id, requestId: '', item: 'fake', quantity: 1, sequence: '1' }),
    });
    app = await Test.createTestingModule({
      imports: [ResilientGrpcModule.forFeature([{ ...contract, url: server.url }])],
      providers: [Injections],
    })
      .overrideProvider(token)
      .useValue({ getService: () => orders })
      .compile();
    const { bare, client, service } = app.get(Injections);
    const services = [bare, client].map((one) => one.getService<OrdersClient>('Orders'));
    const responses = await Promise.all([...services, service].map((one) => firstValueFrom(one.get({ id: '7' }))));
    expect(responses.map(({ item }) => item)).toEqual(items);
  });
});
