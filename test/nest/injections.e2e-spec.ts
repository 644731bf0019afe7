import { Injectable, Module, type DynamicModule, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { InjectGrpcClient, InjectGrpcService, ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
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

describe('injection of clients and services', () => {
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
