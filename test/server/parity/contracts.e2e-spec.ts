import { Controller, type Type } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import {
  Server,
  status as Code,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ParityClient } from './client.js';
import { KindsController } from './handlers.js';
import { ARCHIVE_PROTO, INCLUDES, KINDS_PROTO, SHOP_PROTO } from './places.js';
import {
  SERVERS,
  runWithServer,
  startServer,
  type RunningServer,
  type ServerSettings,
  type ServerTest,
} from './servers.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const ALL = loadSync([KINDS_PROTO, SHOP_PROTO, ARCHIVE_PROTO], { includeDirs: INCLUDES });

/** Creates a controller whose handlers respond with their own names. `handlers` maps names to the arguments of `@GrpcMethod()`. */
function createController(name: string, handlers: Record<string, Parameters<typeof GrpcMethod> | []>): Type {
  const { [name]: made } = { [name]: class {} };
  for (const [method, args] of Object.entries(handlers)) {
    const descriptor = { value: () => ({ foundBy: `${name}.${method}` }), configurable: true, writable: true };
    Object.defineProperty(made!.prototype, method, descriptor);
    // The cast is safe because a method decorator can be called as a function.
    (GrpcMethod as (...args: unknown[]) => MethodDecorator)(...args)(made!.prototype, method, descriptor);
  }
  Controller()(made!);
  return made!;
}

describe.each(SERVERS)('%s: contracts', (serverKind) => {
  const client = { definition: ALL };
  const withServer = (settings: Omit<ServerSettings, 'serverKind'>, test: ServerTest) =>
    runWithServer({ serverKind, client, ...settings }, test);
  const finders = async (client: ParityClient, ...methods: string[]) => {
    const found: Record<string, unknown> = {};
    for (const method of methods) {
      const { messages, status } = await client.call(method);
      found[method] = messages[0]?.foundBy ?? status.code;
    }
    return found;
  };
  const several = {
    package: ['parity.shop', 'parity.archive'],
    protoPath: [SHOP_PROTO, ARCHIVE_PROTO],
    loader: { includeDirs: INCLUDES },
  };

  it('serves several packages and their subpackages if handlers name the services relative to their package', async () => {
    const controllers = [
      createController('Shop', { findAll: ['Prices'], shelf: ['stock.Shelves', 'Find'] }),
      createController('Prices', { find: [] }),
    ];
    await withServer({ controllers, options: several }, async (client) => {
      expect(
        await finders(
          client,
          'parity.shop.Prices/Find',
          'parity.shop.Prices/FindAll',
          'parity.shop.stock.Shelves/Find',
          'parity.archive.Prices/Find',
        ),
      ).toEqual({
        'parity.shop.Prices/Find': 'Prices.find',
        'parity.shop.Prices/FindAll': 'Shop.findAll',
        'parity.shop.stock.Shelves/Find': 'Shop.shelf',
        // This service has the same short name as parity.shop.Prices, so the same handler serves it.
        'parity.archive.Prices/Find': 'Prices.find',
      });
    });
  });

  it('distinguishes services with the same short name by their full names', async () => {
    const controllers = [
      createController('Shop', { find: ['parity.shop.Prices'] }),
      createController('Archive', { lookUp: ['parity.archive.Prices', 'Find'] }),
    ];
    await withServer({ controllers, options: several }, async (client) => {
      expect(await finders(client, 'parity.shop.Prices/Find', 'parity.archive.Prices/Find')).toEqual({
        'parity.shop.Prices/Find': 'Shop.find',
        'parity.archive.Prices/Find': 'Archive.lookUp',
      });
    });
  });

  it('resolves imports of .proto files and applies the loader options', async () => {
    @Controller()
    class Prices {
      @GrpcMethod()
      find({ item_name }: { item_name: string }) {
        return { found_by: item_name, total_price: { cents: 5 } };
      }
    }
    const options = {
      package: 'parity.shop',
      protoPath: SHOP_PROTO,
      loader: { includeDirs: INCLUDES, keepCase: true },
    };
    await withServer({ controllers: [Prices], options }, async (client) => {
      const { messages } = await client.call('parity.shop.Prices/Find', { itemName: 'tea' });
      expect(messages).toEqual([{ foundBy: 'tea', totalPrice: { cents: 5 } }]);
    });
  });

  it('serves the services of a package definition', async () => {
    const options = { package: 'parity.archive', packageDefinition: loadSync(ARCHIVE_PROTO) };
    await withServer({ controllers: [createController('Prices', { find: [] })], options }, async (client) => {
      expect(await finders(client, 'parity.archive.Prices/Find')).toEqual({
        'parity.archive.Prices/Find': 'Prices.find',
      });
    });
  });

  it("passes the definition and grpc-js's server to onLoadPackageDefinition, which can add services", async () => {
    const archive = loadSync(ARCHIVE_PROTO);
    let definition: object = {};
    const options = {
      onLoadPackageDefinition(loaded: object, server: unknown) {
        definition = loaded;
        expect(server).toBeInstanceOf(Server);
        const implementation: UntypedServiceImplementation = {
          Find: (_call: ServerUnaryCall<unknown, object>, callback: sendUnaryData<object>) =>
            callback(null, { foundBy: 'the one added' }),
        };
        (server as Server).addService(archive['parity.archive.Prices'] as ServiceDefinition, implementation);
      },
    };
    await withServer({ controllers: [KindsController], options }, async (client) => {
      expect(Object.keys(definition)).toEqual(expect.arrayContaining(['parity.v1.Kinds', 'parity.v1.Note']));
      expect(await finders(client, 'parity.archive.Prices/Find')).toEqual({
        'parity.archive.Prices/Find': 'the one added',
      });
      expect((await client.call('parity.v1.Kinds/Unary', { number: 1 })).messages).toMatchObject([{ number: 2 }]);
    });
  });

  it.each([
    ['a package that is not in the files', { package: 'unknown' }],
    ['a file that does not exist', { protoPath: 'unknown.proto' }],
  ])('fails to start a server with %s', async (_what, options) => {
    await expect(startServer({ serverKind, controllers: [KindsController], options })).rejects.toThrow();
  });

  describe('unhandled calls', () => {
    let server: RunningServer;
    beforeAll(async () => {
      server = await startServer({ serverKind, client, controllers: [KindsController] });
    });
    afterAll(() => server.close());

    it.each([
      ['a method without a handler', 'parity.v1.Kinds/Missing'],
      ['a service without a controller', 'parity.v1.Calls/Chat'],
      ['a client-streaming method without a handler', 'parity.v1.Calls/Collect'],
      ['a service of another package', 'parity.shop.Prices/Find'],
    ])('fails a call with UNIMPLEMENTED for %s', async (_what, method) => {
      const { messages, status } = await server.client.call(method);
      expect(messages).toEqual([]);
      expect(status.code).toBe(Code.UNIMPLEMENTED);
      // Not checked for Transport.GRPC: if only the handler is missing, the details that grpc-js sends omit the service.
      if (serverKind !== 'Transport.GRPC')
        expect(status.details).toBe(`The server does not implement the method /${method}`);
    });
  });
});
