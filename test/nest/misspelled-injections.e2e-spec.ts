import { Controller, Injectable, Module, type DynamicModule, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  GrpcConfigurationError,
  InjectGrpcClient,
  InjectGrpcService,
  ResilientGrpcModule,
  getGrpcServiceToken,
} from 'nestjs-resilient-grpc';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from './places.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

// Client definitions are kept for the life of the process, so each test uses a separate client name.
let clients = 0;
const uniqueName = () => `billing-${String.fromCharCode(97 + clients++).repeat(4)}`;
const options = (name: string) => ({ name, protoPath: ORDERS_PROTO, url: '127.0.0.1:1' });

/**
 * Starts an application with `imports` and `host` in its root module. Returns the startup error, or `undefined` if the application starts.
 */
async function startError(imports: DynamicModule[], host: Type): Promise<unknown> {
  @Module({ imports, providers: [host] })
  class AppModule {}
  return Test.createTestingModule({ imports: [AppModule] })
    .compile()
    .then(
      (app) => app.close(),
      (error: unknown) => error,
    );
}

const problemOf = (error: unknown) => {
  expect(error).toBeInstanceOf(GrpcConfigurationError);
  return (error as GrpcConfigurationError).problems[0];
};

describe('misspelled injection', () => {
  it.each([
    ['forFeature', (name: string) => ResilientGrpcModule.forFeature([options(name)])],
    [
      'forFeatureAsync',
      (name: string) =>
        ResilientGrpcModule.forFeatureAsync([
          { name, protoPath: ORDERS_PROTO, useFactory: async () => ({ url: '127.0.0.1:1' }) },
        ]),
    ],
  ])('fails at startup and suggests the closest service for a misspelled service name (%s)', async (_how, feature) => {
    const name = uniqueName();
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService(name, 'Order') readonly orders: unknown) {}
    }
    const root = ResilientGrpcModule.forRootAsync({ useFactory: () => ({}) });
    expect(problemOf(await startError([root, feature(name)], Consumer))).toEqual({
      path: `@InjectGrpcService('${name}', 'Order') in Consumer`,
      message: "expected a service of the client, got 'Order'; did you mean 'Orders'?",
    });
  });

  it('lists the known services if none of their names is close to the injected name', async () => {
    const name = uniqueName();
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService(name, 'Warehouse') readonly orders: unknown) {}
    }
    const error = await startError([ResilientGrpcModule.forFeature([options(name)])], Consumer);
    expect(problemOf(error)?.message).toBe(
      "expected a service of the client, got 'Warehouse'; known services: 'orders.v1.Orders'",
    );
  });

  it('fails at startup if a module without forFeature() injects a misspelled service name', async () => {
    const name = uniqueName();
    @Controller()
    class Consumer {
      constructor(@InjectGrpcService(name, 'Ordres') readonly orders: unknown) {}
    }
    @Module({ controllers: [Consumer] })
    class OtherModule {}
    @Injectable()
    class Nothing {}
    const error = await startError(
      [ResilientGrpcModule.forFeature([options(name)], { isGlobal: true }), { module: OtherModule }],
      Nothing,
    );
    expect(problemOf(error)?.message).toBe("expected a service of the client, got 'Ordres'; did you mean 'Orders'?");
  });

  it('fails at startup for a misspelled service name if forFeature() is called after the class was decorated', async () => {
    const name = uniqueName();
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService(name, 'orders.v1.Order') readonly orders: unknown) {}
    }
    const error = await startError([ResilientGrpcModule.forFeature([options(name)])], Consumer);
    expect(problemOf(error)?.message).toBe(
      "expected a service of the client, got 'orders.v1.Order'; did you mean 'orders.v1.Orders'?",
    );
  });

  it.each([
    ['defined in another module', true],
    ['not defined', false],
  ])(
    "names forFeature() and the missing export in Nest's dependency error if an injected client is %s",
    async (_state, isDefined) => {
      const name = uniqueName();
      @Injectable()
      class ServiceConsumer {
        constructor(@InjectGrpcService(name, 'Orders') readonly orders: unknown) {}
      }
      @Injectable()
      class ClientConsumer {
        @InjectGrpcClient(name) readonly client: unknown;
      }
      class OrdersModule {}
      const imports = isDefined ? [ResilientGrpcModule.forFeature([options(name)])] : [];
      for (const [host, dependency] of [
        [ServiceConsumer, `gRPC service 'Orders' of client '${name}'`],
        [ClientConsumer, `gRPC client '${name}'`],
      ] as const) {
        const error = await startError([{ module: OrdersModule, imports }], host);
        expect(String(error)).toContain(
          `"${dependency} (from ResilientGrpcModule.forFeature([...]), shared by exports: [ResilientGrpcModule])"`,
        );
        const shared = { module: OrdersModule, imports, exports: isDefined ? [ResilientGrpcModule] : [] };
        expect(await startError([shared], host)).toEqual(isDefined ? undefined : expect.any(Error));
      }
    },
  );

  it('starts an application if the class with the misspelled injection is not a provider', async () => {
    const name = uniqueName();
    @Injectable()
    class Unused {
      constructor(@InjectGrpcService(name, 'Order') readonly orders: unknown) {}
    }
    expect(Unused).toBeDefined();
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService(name, 'Orders') readonly orders: unknown) {}
    }
    expect(await startError([ResilientGrpcModule.forFeature([options(name)])], Consumer)).toBeUndefined();
  });

  it('injects a provider of the application for the service token of a client that is not defined', async () => {
    const feature = ResilientGrpcModule.forFeature([options(uniqueName())]);
    const fake = {};
    @Injectable()
    class Consumer {
      constructor(@InjectGrpcService('warehouse', 'Orders') readonly orders: unknown) {}
    }
    @Module({
      providers: [{ provide: getGrpcServiceToken('warehouse', 'Orders'), useValue: fake }],
      exports: [getGrpcServiceToken('warehouse', 'Orders')],
    })
    class FakeModule {}
    @Module({ imports: [feature, { module: FakeModule, global: true }], providers: [Consumer] })
    class AppModule {}
    const app = await Test.createTestingModule({ imports: [AppModule] }).compile();
    expect(app.get(Consumer).orders).toBe(fake);
    await app.close();
  });
});
