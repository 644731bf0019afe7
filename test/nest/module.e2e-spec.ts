import { Inject, Injectable, Module, type DynamicModule, type INestApplicationContext } from '@nestjs/common';
import { LazyModuleLoader, NestFactory } from '@nestjs/core';
import {
  GrpcClients,
  GrpcConfigurationError,
  InjectGrpcClient,
  InjectGrpcService,
  ResilientGrpcModule,
  getGrpcClientToken,
  getGrpcServiceToken,
  type GrpcClientOptionsFactory,
  type GrpcClientSettings,
  type Resilient,
  type ResilientGrpcClient,
  type ResilientGrpcModuleOptionsFactory,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Subject, firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FinderClient, OrdersClient } from './orders-client.js';
import { ARCHIVE_PROTO, ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let app: INestApplicationContext | undefined;

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: [ORDERS_PROTO, ARCHIVE_PROTO] });
});
beforeEach(() => {
  server.script<{ id: string }>('orders.v1.Orders/Get', ({ request }) => ({
    message: { id: request.id, item: 'tea' },
  }));
  for (const service of ['Orders', 'Index']) {
    server.script<{ text: string }>(`archive.v1.${service}/Find`, ({ request }) => ({
      message: { text: `${service} ${request.text}` },
    }));
  }
  server.reset();
});
afterEach(async () => {
  await app?.close();
  app = undefined;
});
afterAll(async () => {
  await server.close();
  await leaks.settled();
});

const orders = () => ({ name: 'orders', protoPath: ORDERS_PROTO, url: server.url }) as const;

/** Starts a standalone application context that imports these modules. */
async function start(
  ...imports: (DynamicModule | (new (...args: never[]) => object))[]
): Promise<INestApplicationContext> {
  @Module({ imports })
  class AppModule {}
  app = await NestFactory.createApplicationContext(AppModule, { logger: false, abortOnError: false });
  return app;
}

const get = (context: INestApplicationContext, service = 'Orders') =>
  firstValueFrom(context.get<Resilient<OrdersClient>>(getGrpcServiceToken('orders', service)).get({ id: '7' }));

/** Substitute for the ConfigService of @nestjs/config. */
@Injectable()
class Config {
  get(key: string): string | undefined {
    return key === 'ORDERS_URL' ? server.url : undefined;
  }
}
@Module({ providers: [Config], exports: [Config] })
class ConfigModule {}

describe('clients and services', () => {
  it('injects clients and services by client name, short service name, full service name, and bare token', async () => {
    @Injectable()
    class Consumer {
      constructor(
        @InjectGrpcClient('orders') readonly client: ResilientGrpcClient,
        @InjectGrpcService('orders', 'Orders') readonly short: Resilient<OrdersClient>,
        @InjectGrpcService('orders', 'orders.v1.Orders') readonly full: Resilient<OrdersClient>,
        @Inject('orders') readonly bare: ResilientGrpcClient,
        readonly clients: GrpcClients,
      ) {}
    }
    @Module({ imports: [ResilientGrpcModule.forFeature([orders()])], providers: [Consumer] })
    class ConsumerModule {}
    const consumer = (await start(ConsumerModule)).get(Consumer);
    expect(consumer.bare).toBe(consumer.client);
    expect(consumer.full).toBe(consumer.short);
    expect(consumer.clients.get('orders')).toBe(consumer.client);
    expect([...consumer.clients]).toEqual([consumer.client]);
    expect(await firstValueFrom(consumer.short.get({ id: '1' }))).toMatchObject({ id: '1', item: 'tea' });
  });

  it('injects a service into a module without forFeature only if isGlobal is true', async () => {
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService('orders', 'Orders') readonly orders: Resilient<OrdersClient>) {}
    }
    @Module({ providers: [Consumer] })
    class OtherModule {}
    await expect(start(ResilientGrpcModule.forFeature([orders()]), OtherModule)).rejects.toThrow(
      /gRPC service 'Orders' of client 'orders'/,
    );
    const context = await start(ResilientGrpcModule.forFeature([orders()], { isGlobal: true }), OtherModule);
    expect(await firstValueFrom(context.get(Consumer).orders.get({ id: '1' }))).toMatchObject({ id: '1' });
  });

  it('shares one channel across two packages and rejects the injection of an ambiguous short name', async () => {
    const both = ResilientGrpcModule.forFeature([{ ...orders(), protoPath: [ORDERS_PROTO, ARCHIVE_PROTO] }]);
    const context = await start(both);
    const finder = context.get<Resilient<FinderClient>>(getGrpcServiceToken('orders', 'archive.v1.Orders'));
    const index = context.get<Resilient<FinderClient>>(getGrpcServiceToken('orders', 'Index'));
    server.reset();
    expect(await firstValueFrom(finder.find({ text: 'x' }))).toEqual({ text: 'Orders x' });
    expect(await firstValueFrom(index.find({ text: 'x' }))).toEqual({ text: 'Index x' });
    expect(await get(context, 'orders.v1.Orders')).toMatchObject({ id: '7' });
    expect(new Set(server.calls().map(({ peer }) => peer)).size).toBe(1);
    await context.close();

    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService('orders', 'Orders') readonly orders: object) {}
    }
    @Module({ imports: [both], providers: [Consumer] })
    class ConsumerModule {}
    await expect(start(ConsumerModule)).rejects.toThrow(
      "expected the full name of a service, got 'Orders'; write one of 'orders.v1.Orders', 'archive.v1.Orders'",
    );
  });

  it('accepts a symbol as the name of a client', async () => {
    const name = Symbol('orders');
    const context = await start(ResilientGrpcModule.forFeature([{ ...orders(), name }]));
    const service = context.get<Resilient<OrdersClient>>(getGrpcServiceToken(name, 'Orders'));
    expect(await firstValueFrom(service.get({ id: '3' }))).toMatchObject({ id: '3' });
    expect(context.get(GrpcClients).get(name)).toBe(context.get(getGrpcClientToken(name)));
  });
});

describe('client name', () => {
  it('creates one client in an application if two definitions of the client are equal', async () => {
    const context = await start(ResilientGrpcModule.forFeature([orders()]), ResilientGrpcModule.forFeature([orders()]));
    expect([...context.get(GrpcClients)]).toHaveLength(1);
    expect(await get(context)).toMatchObject({ id: '7' });
  });

  it('fails at startup with an error that names both call sites and the difference if two definitions of a client differ', async () => {
    const starting = start(
      ResilientGrpcModule.forFeature([orders()]),
      ResilientGrpcModule.forFeature([{ ...orders(), timeoutMs: 5 }]),
    );
    await expect(starting).rejects.toThrow(
      /clients\.orders: defined twice, at .*module\.e2e-spec\.ts:\d+ and at .*module\.e2e-spec\.ts:\d+, with different timeoutMs; define it in one module/,
    );
  });

  it('creates a separate client in each application, and keeps a client usable after another application closes', async () => {
    const first = await start(ResilientGrpcModule.forFeature([orders()]));
    const second = await start(ResilientGrpcModule.forFeature([orders()]));
    expect(first.get(getGrpcClientToken('orders'))).not.toBe(second.get(getGrpcClientToken('orders')));
    await first.close();
    expect(await get(second)).toMatchObject({ id: '7' });
  });
});

describe('forFeatureAsync', () => {
  class FromConfig implements GrpcClientOptionsFactory {
    constructor(@Inject(Config) private readonly config: Config) {}
    createGrpcClientOptions(): GrpcClientSettings {
      return { url: this.config.get('ORDERS_URL') ?? '' };
    }
  }
  @Module({ imports: [ConfigModule], providers: [FromConfig], exports: [FromConfig] })
  class FromConfigModule {}
  const contract = { name: 'orders', protoPath: ORDERS_PROTO };

  it.each<[string, () => DynamicModule]>([
    [
      'useFactory',
      () =>
        ResilientGrpcModule.forFeatureAsync([
          {
            ...contract,
            imports: [ConfigModule],
            inject: [Config],
            useFactory: async (config: Config) => ({ url: config.get('ORDERS_URL') ?? '', timeoutMs: undefined }),
          },
        ]),
    ],
    [
      'useClass',
      () => ResilientGrpcModule.forFeatureAsync([{ ...contract, imports: [ConfigModule], useClass: FromConfig }]),
    ],
    [
      'useExisting',
      () =>
        ResilientGrpcModule.forFeatureAsync([{ ...contract, imports: [FromConfigModule], useExisting: FromConfig }]),
    ],
  ])('applies the settings of %s and makes the services injectable', async (_, feature) => {
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService('orders', 'Orders') readonly orders: Resilient<OrdersClient>) {}
    }
    @Module({ imports: [feature()], providers: [Consumer] })
    class ConsumerModule {}
    const context = await start(ConsumerModule);
    expect(await firstValueFrom(context.get(Consumer).orders.get({ id: '5' }))).toMatchObject({ id: '5' });
  });

  it('reads the options of forRootAsync and of forFeatureAsync from one class', async () => {
    class Configuration implements ResilientGrpcModuleOptionsFactory, GrpcClientOptionsFactory {
      createGrpcModuleOptions() {
        return { defaults: { metadata: { 'x-app': 'shop' } } };
      }
      createGrpcClientOptions() {
        return { url: server.url };
      }
    }
    const context = await start(
      ResilientGrpcModule.forRootAsync({ useClass: Configuration }),
      ResilientGrpcModule.forFeatureAsync([{ ...contract, useClass: Configuration }]),
    );
    await get(context);
    expect(server.calls('orders.v1.Orders/Get')[0]?.metadata.get('x-app')).toEqual(['shop']);
  });
});

describe('forRoot', () => {
  it('applies defaults from an async factory to clients that are imported before forRootAsync', async () => {
    server.script('orders.v1.Orders/Get', { never: true });
    const context = await start(
      ResilientGrpcModule.forFeature([orders()]),
      ResilientGrpcModule.forRootAsync({
        imports: [ConfigModule],
        inject: [Config],
        useFactory: async (config: Config) => ({
          defaults: { timeoutMs: config.get('ORDERS_URL') === undefined ? 1 : 30 },
        }),
      }),
    );
    await expect(get(context)).rejects.toMatchObject({ codeName: 'DEADLINE_EXCEEDED' });
  });

  it("applies maxConcurrentCalls: 'adaptive' from the factory of forRootAsync", async () => {
    const defaults = { maxConcurrentCalls: 'adaptive' as const };
    const context = await start(
      ResilientGrpcModule.forFeature([orders()]),
      ResilientGrpcModule.forRootAsync({ useFactory: () => ({ defaults }) }),
    );
    const { limits } = context.get<ResilientGrpcClient>(getGrpcClientToken('orders')).snapshot();
    expect(limits).toMatchObject([{ maxConcurrent: 20, adaptive: {} }]);
  });

  it('counts forRoot as called once if its dynamic module is imported twice', async () => {
    const root = ResilientGrpcModule.forRoot({ defaults: { timeoutMs: 20_000 } });
    @Module({ imports: [root, ResilientGrpcModule.forFeature([orders()])] })
    class Feature {}
    expect(await get(await start(root, Feature))).toMatchObject({ id: '7' });
  });
});

describe('ResilientGrpcTelemetryModule', () => {
  it.each([
    ['the class', ResilientGrpcTelemetryModule],
    ['one dynamic module', ResilientGrpcTelemetryModule.forRoot({ traces: false })],
  ])('accepts several telemetry imports of %s', async (_, telemetry) => {
    @Module({ imports: [telemetry, ResilientGrpcModule.forFeature([orders()])] })
    class Feature {}
    expect(await get(await start(telemetry, Feature))).toMatchObject({ id: '7' });
  });
});

describe('clients created at run time', () => {
  it('creates a client at run time with the defaults of forRoot, and removes the client when it is closed', async () => {
    const context = await start(ResilientGrpcModule.forRoot({ defaults: { metadata: { 'x-app': 'shop' } } }));
    const clients = context.get(GrpcClients);
    const client = clients.create({ ...orders(), name: 'orders-1' });
    expect(await firstValueFrom(client.getService<OrdersClient>('Orders').get({ id: '2' }))).toMatchObject({ id: '2' });
    expect(server.calls()[0]?.metadata.get('x-app')).toEqual(['shop']);
    expect(() => clients.create({ ...orders(), name: 'orders-1' })).toThrow(GrpcConfigurationError);
    await client.close();
    expect(() => clients.get('orders-1')).toThrow("No gRPC client 'orders-1'");
  });
});

describe('lazily loaded module', () => {
  it('creates the clients of a lazily loaded module with the defaults of forRoot and connects warm clients', async () => {
    const context = await start(ResilientGrpcModule.forRoot({ defaults: { connections: { warm: true } } }));
    const feature = ResilientGrpcModule.forFeature([orders()]);
    const loaded = await context.get(LazyModuleLoader).load(() => feature);
    const client = loaded.get<ResilientGrpcClient>(getGrpcClientToken('orders'));
    await waitFor(() => client.connectivity.state === 'READY');
    expect([...context.get(GrpcClients)].map(({ name }) => name)).toEqual(['orders']);
    expect(await firstValueFrom(client.getService<OrdersClient>('Orders').get({ id: '7' }))).toMatchObject({ id: '7' });
    await context.close();
    expect(client.connectivity.state).toBe('SHUTDOWN');
  });

  it('creates no client if the factory of its settings resolves after startup has failed', async () => {
    const settings = new Subject<GrpcClientSettings>();
    let clients: GrpcClients | undefined;
    let resolved = false;
    const useFactory = (injected: GrpcClients) => {
      clients = injected;
      // The client would be created in the same turn, before the callback of setImmediate() runs.
      return firstValueFrom(settings).finally(() => setImmediate(() => (resolved = true)));
    };
    const slow = { name: 'orders', protoPath: ORDERS_PROTO, inject: [GrpcClients], useFactory };
    const invalid = { name: 'bad', protoPath: ORDERS_PROTO, useFactory: () => ({ url: server.url, timeoutMs: -1 }) };
    const starting = start(ResilientGrpcModule.forFeatureAsync([invalid]), ResilientGrpcModule.forFeatureAsync([slow]));
    await expect(starting).rejects.toThrow('clients.bad.timeoutMs');
    settings.next({ url: server.url });
    await waitFor(() => resolved);
    expect(() => clients?.get('orders')).toThrow("No gRPC client 'orders'");
  });

  it('does not affect existing clients if a lazily loaded module fails to load', async () => {
    const context = await start(ResilientGrpcModule.forFeature([orders()]));
    await context.init();
    const feature = ResilientGrpcModule.forFeature([{ ...orders(), name: 'bad', timeoutMs: -1 }]);
    await expect(context.get(LazyModuleLoader).load(() => feature)).rejects.toThrow('clients.bad.timeoutMs');
    expect(await get(context)).toMatchObject({ id: '7' });
  });
});

describe('application with two copies of the package', () => {
  const WARNING = expect.stringContaining(
    'this application contains several copies of nestjs-resilient-grpc',
  ) as string;

  async function warningsOf(imports: DynamicModule[]): Promise<string[]> {
    @Module({ imports })
    class AppModule {}
    const lines: string[] = [];
    const write = (message: unknown) => void lines.push(String(message));
    const none = () => undefined;
    const logger = { log: none, error: none, warn: write, debug: none, verbose: none };
    app = await NestFactory.createApplicationContext(AppModule, { logger });
    return lines;
  }

  it('warns once if an application contains several copies of the package', async () => {
    vi.resetModules();
    const other = await import('nestjs-resilient-grpc');
    expect(other.ResilientGrpcModule).not.toBe(ResilientGrpcModule);
    const first = ResilientGrpcModule.forFeature([orders()]);
    const second = other.ResilientGrpcModule.forFeature([{ ...orders(), name: 'archive' }]);
    expect(await warningsOf([first, second])).toEqual([WARNING]);
  });

  it('does not warn about several modules of one copy of the package', async () => {
    const second = ResilientGrpcModule.forFeature([{ ...orders(), name: 'archive' }]);
    expect(
      await warningsOf([ResilientGrpcModule.forRoot(), ResilientGrpcModule.forFeature([orders()]), second]),
    ).toEqual([]);
  });
});
