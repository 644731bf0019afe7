import 'reflect-metadata';
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CallHandler, Controller, type DynamicModule, Scope, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  EventPattern,
  GrpcMethod,
  GrpcStreamMethod,
  MessagePattern,
  Transport,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { ServerCredentials, connectivityState, loadPackageDefinition } from '@grpc/grpc-js';
import { fromJSON, loadSync } from '@grpc/proto-loader';
import { GrpcConfigurationError } from 'nestjs-resilient-grpc';
import {
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ARCHIVE_PROTO, ORDERS_PROTO } from '../nest/places.js';
import { pem } from './parity/places.js';
import type { CapturedLog } from '../support/captured-log.js';
import {
  createApplication,
  ordersModule,
  ordersOf,
  ordersOptions,
  ownUrl,
  serveOrders,
  startMicroservice,
  startServers,
  warningsOf,
  type ServedOrders,
} from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

async function failureOf(start: Promise<unknown>): Promise<GrpcConfigurationError> {
  const failure: unknown = await start.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(failure instanceof GrpcConfigurationError))
    throw new Error(`expected a GrpcConfigurationError, got ${String(failure)}`);
  return failure;
}

/** A root module with a server and `controllers`. */
function controllersModule(options: ResilientGrpcServerOptions, ...controllers: Type[]): DynamicModule {
  return { module: class AppModule {}, imports: [ResilientGrpcServerModule.forRoot(options)], controllers };
}

/** Starts a hybrid application with the given root module, and returns its log. */
async function startHybrid(
  module: DynamicModule,
  hybrid: Parameters<ServedOrders['app']['connectMicroservice']>[1] = {},
  prepare: (app: ServedOrders['app']) => void = () => undefined,
): Promise<CapturedLog> {
  const { app, log } = await createApplication(module);
  prepare(app);
  app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, hybrid);
  await app.startAllMicroservices();
  await app.init();
  return log;
}

const FOLDER = mkdtempSync(join(tmpdir(), 'protos-'));
writeFileSync(join(FOLDER, 'broken.proto'), 'syntax = "proto3";\nmessage {');
afterAll(() => {
  rmSync(FOLDER, { recursive: true });
});

const WRONG = { onDrain: 'never', maxCallMs: 0, color: 'red' } as never;

describe('startup with invalid options', () => {
  it.each([
    ['forRoot', () => ResilientGrpcServerModule.forRoot(ordersOptions(ownUrl(), WRONG))],
    [
      'forRootAsync',
      () => ResilientGrpcServerModule.forRootAsync({ useFactory: async () => ordersOptions(ownUrl(), WRONG) }),
    ],
  ])('makes application startup fail and lists all invalid server options (%s)', async (where, server) => {
    const app = NestFactory.create(ordersModule(server()), { logger: false, abortOnError: false });
    const { message, problems } = await failureOf(app);
    expect(problems.map(({ path }) => path.split('.').at(-1))).toEqual(['color', 'onDrain', 'maxCallMs']);
    expect(message).toContain(`3 problems in the gRPC configuration:\n  - ResilientGrpcServerModule.${where}.`);
  });

  it('makes startup fail with a suggestion if a method pattern in the server options matches no method', async () => {
    const { app } = await serveOrders({ methods: { 'Orders/Wach': { onDrain: 'complete' }, Get: {} } });
    const { message } = await failureOf(app.startAllMicroservices());
    expect(message).toMatch(
      /methods\["Orders\/Wach"\]: expected a pattern that matches a method.*did you mean 'Orders\/Watch'\?/,
    );
  });
});

describe('start without usable protos or address', () => {
  it.each<[string, Partial<ResilientGrpcServerOptions>, RegExp]>([
    [
      'an unknown package in a list',
      { package: ['orders.v1', 'billing'] },
      /\.package\[1\]: expected .* got 'billing'; known packages: 'orders\.v1'$/,
    ],
    [
      'a missing file',
      { protoPath: 'nope.proto' },
      /\.protoPath: expected an existing file, got "nope\.proto" \(resolved to .*nest-cli\.json/,
    ],
    [
      'a file with a syntax error',
      { protoPath: join(FOLDER, 'broken.proto') },
      /\.protoPath: expected a valid \.proto file, got "illegal .*broken\.proto, line 2\)"/,
    ],
    [
      'a package definition that grpc-js has already loaded',
      { protoPath: undefined as never, packageDefinition: loadPackageDefinition(loadSync(ORDERS_PROTO)) as never },
      /\.packageDefinition: expected the result of proto-loader's loadSync\(\)/,
    ],
    [
      'an address of another host',
      { url: '192.0.2.1:50051' },
      /\.url: expected an address of this host, got '192\.0\.2\.1:50051' \(listen EADDRNOTAVAIL.*; write '0\.0\.0\.0:50051'$/,
    ],
    [
      'a Unix socket in a missing folder',
      { url: 'unix:/missing/grpc.sock' },
      /\.url: expected a path that can be created, got 'unix:\/missing\/grpc\.sock' \(.*; write a path in an existing folder/,
    ],
    [
      'a host name that does not resolve',
      { url: 'no.such.host.invalid:50051' },
      /\.url: expected an address of this host with a port, got 'no\.such\.host\.invalid:50051' \(Name resolution failed/,
    ],
  ])(
    'makes startup fail for %s, with one line that names the server option and its expected value',
    async (_what, options, message) => {
      const { app, log } = await serveOrders(options);
      const failure = await failureOf(app.startAllMicroservices());
      expect(failure.message).toMatch(message);
      expect(failure.message).toMatch(/^ResilientGrpcServerModule\.forRoot\.[^\n]*$/);
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
    },
  );

  it('makes startup fail with an error that names the address and the remedy if the address of the server is in use', async () => {
    const { url } = await startServers(await serveOrders());
    const { app } = await serveOrders({ url });
    expect((await failureOf(app.startAllMicroservices())).message).toMatch(
      /\.url: expected a free address, got 'unix:[^']*' \(listen EADDRINUSE: .*\); remove any other server of this application on this address, .*; otherwise, stop the process that listens on this address, or remove the file/,
    );
  });
});

describe('start with invalid TLS credentials', () => {
  const [cert, key] = [pem('server'), pem('server-key')];
  const encrypted = createPrivateKey(key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  });
  const rejected = /\.credentials: expected TLS material that node:tls accepts, got an error \(ERR_OSSL_\w+\)$/;

  it.each<[string, Buffer, Buffer | string, RegExp]>([
    [
      'the key of another certificate',
      cert,
      pem('next-key'),
      /\.credentials: expected the private key of the first certificate in `cert_chain`, got another key; write a matching pair$/,
    ],
    ['swapped files', key, cert, rejected],
    ['a certificate that is not PEM', Buffer.from([0x30, 0x82]), key, rejected],
    ['an empty certificate', Buffer.alloc(0), key, rejected],
    ['a truncated certificate', Buffer.from(cert.toString().replace(/\n[^-\n]+\n---/, '\n---')), key, rejected],
    ['a certificate as the key', cert, cert, rejected],
    ['an empty key', cert, Buffer.alloc(0), rejected],
    [
      'an encrypted key',
      cert,
      encrypted,
      /\.credentials: expected an unencrypted private key, got an encrypted one; decrypt it with 'openssl pkey -in key\.pem -out plain\.pem'$/,
    ],
  ])(
    'makes startup fail for %s, with an error about the server credentials, not the address',
    async (_what, chain, privateKey, message) => {
      const pair = { cert_chain: chain, private_key: Buffer.from(privateKey) };
      const { app } = await serveOrders({ url: 'localhost:0', credentials: ServerCredentials.createSsl(null, [pair]) });
      const failure = await failureOf(app.startAllMicroservices());
      expect(failure.message).toMatch(message);
      expect(failure.message).toMatch(/^ResilientGrpcServerModule\.forRoot\.credentials: [^\n]*$/);
    },
  );

  it('makes startup fail with the code of the TLS error if node:tls rejects the cipher list', async () => {
    const credentials = ServerCredentials.createSsl(null, [{ cert_chain: cert, private_key: key }]);
    // Sets the ciphers directly, because grpc-js reads GRPC_SSL_CIPHER_SUITES only once, when grpc-js is loaded.
    Object.assign(credentials._getConstructorOptions() ?? {}, { ciphers: 'nope' });
    const { app } = await serveOrders({ url: 'localhost:0', credentials });
    expect((await failureOf(app.startAllMicroservices())).message).toMatch(
      /\.credentials: expected TLS material that node:tls accepts, got an error \(ERR_SSL_NO_CIPHER_MATCH\)$/,
    );
  });

  it('reports an address of another host as a problem of the server url, even with TLS', async () => {
    const credentials = ServerCredentials.createSsl(null, [{ cert_chain: cert, private_key: key }]);
    const { app } = await serveOrders({ url: '192.0.2.1:50051', credentials });
    expect((await failureOf(app.startAllMicroservices())).message).toMatch(
      /\.url: expected an address of this host, got/,
    );
  });
});

describe('server that is not connected', () => {
  it('logs a warning if the server is not connected when the application starts', async () => {
    const url = ownUrl();
    const { app, log } = await createApplication(ordersModule(ResilientGrpcServerModule.forRoot(ordersOptions(url))));
    await app.init();
    expect(warningsOf(log)).toEqual([
      `the server for ${url} is not connected to this application and serves no calls; call app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, { inheritAppConfig: true }) and await app.startAllMicroservices() before app.listen(); in an application without HTTP, call NestFactory.createMicroservice(AppModule, { inject: [ResilientGrpcServer], useFactory: (strategy) => ({ strategy }) }); or ignore this line if another application starts the server`,
    ]);
  });

  it('logs a warning if the server is connected but has not started 5 s after the application started', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { app, log, url } = await serveOrders();
    await app.init();
    vi.advanceTimersByTime(5_000);
    expect(warningsOf(log)).toEqual([
      `the server for ${url} has not started 5 s after the application started, so it serves no calls; call app.startAllMicroservices() after app.connectMicroservice(), or app.listen() after NestFactory.createMicroservice(); ignore this line if the application starts the server later`,
    ]);
    vi.useRealTimers();
  });

  it('logs no warning if the server is connected before the application starts', async () => {
    const { log } = await startServers(await serveOrders());
    expect(warningsOf(log)).toEqual([]);
  });
});

describe('several calls of forRoot()', () => {
  @Controller()
  class ArchiveController {
    @GrpcMethod('Index', 'Find')
    find(): object {
      return {};
    }
  }
  const archive = { package: 'archive.v1', protoPath: ARCHIVE_PROTO };

  /** Returns a root module with two feature modules that each call forRoot(). `app.get()` returns the server of the second call. */
  function rootModule(url: string, secondUrl: string): DynamicModule {
    const first = ResilientGrpcServerModule.forRoot(ordersOptions(url, archive));
    const second = ResilientGrpcServerModule.forRoot(ordersOptions(secondUrl));
    const imports = [
      { module: class ArchiveModule {}, imports: [first], controllers: [ArchiveController] },
      ordersModule(second),
    ];
    return { module: class AppModule {}, imports };
  }

  const warningOf = (url: string) =>
    `the server for ${url} is not connected to this application and serves no calls; the application has 2 servers, one per forRoot() of ResilientGrpcServerModule, and app.get(ResilientGrpcServer) returns only one of them; write one forRoot() with lists in \`package\` and \`protoPath\`, or connect each server by its own token (useExisting: ResilientGrpcServer) if their addresses differ`;

  it.each(['one address', 'two addresses'])(
    'warns only about the unconnected server of two forRoot() calls in a hybrid application (%s), and explains how to serve both contracts',
    async (addresses) => {
      const url = ownUrl();
      const log = await startHybrid(rootModule(url, addresses === 'one address' ? url : ownUrl()));
      expect(warningsOf(log)).toEqual([warningOf(`${url} (archive.v1)`)]);
    },
  );

  it('warns only about the unconnected server of two forRoot() calls in a microservice, and explains how to serve both contracts', async () => {
    const url = ownUrl();
    const { log } = await startMicroservice(rootModule(url, url));
    expect(warningsOf(log)).toEqual([warningOf(`${url} (archive.v1)`)]);
  });

  it('warns about each server of two forRoot() calls if the application connects none', async () => {
    const urls = [ownUrl(), ownUrl()] as const;
    const { app, log } = await createApplication(rootModule(...urls));
    await app.init();
    const names = [`${urls[0]} (archive.v1)`, `${urls[1]} (orders.v1)`];
    expect(warningsOf(log).toSorted()).toEqual(names.map(warningOf).toSorted());
  });

  it('makes startup fail with an error that names the remedy if one of two servers is connected twice', async () => {
    const { app } = await createApplication(rootModule(ownUrl(), ownUrl()));
    for (let count = 0; count < 2; count++) app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) });
    await expect(app.startAllMicroservices()).rejects.toThrow(
      'This ResilientGrpcServer is already listening; start its microservice once; for a second address, call forRoot() again and connect its server by its own token (useExisting: ResilientGrpcServer)',
    );
  });

  it('serves calls and logs no warning if a dynamic module with a list of packages is imported twice', async () => {
    const url = ownUrl();
    const grpc = ResilientGrpcServerModule.forRoot(
      ordersOptions(url, { package: ['orders.v1', 'archive.v1'], protoPath: [ORDERS_PROTO, ARCHIVE_PROTO] }),
    );
    const archiveModule = { module: class ArchiveModule {}, imports: [grpc], controllers: [ArchiveController] };
    const log = await startHybrid({ module: class AppModule {}, imports: [archiveModule, ordersModule(grpc)] });
    expect(warningsOf(log)).toEqual([]);
    expect(await ordersOf(url).unary('Get', { id: '7' })).toMatchObject({ id: '7' });
  });
});

describe('global enhancers of a hybrid application', () => {
  @Controller()
  class OrdersController {
    @GrpcMethod('Orders', 'Get')
    get(): object {
      return { id: '7' };
    }

    @GrpcMethod('Orders', 'Create')
    create(): object {
      return { id: '8' };
    }
  }

  @Controller({ scope: Scope.REQUEST })
  class RequestController extends OrdersController {}

  const omitted =
    'the global pipes and interceptors of the application do not run for the handlers of this server; write app.connectMicroservice(options, { inheritAppConfig: true }), or @UseGuards() and so on at the handlers';

  it.each([
    ['without inheritAppConfig', OrdersController, {}, [omitted]],
    ['with inheritAppConfig', OrdersController, { inheritAppConfig: true }, []],
    ['of request-scoped handlers', RequestController, {}, []],
  ])(
    'warns at startup about global enhancers that Nest omits, and only then: %s',
    async (_case, controller, options, expected) => {
      const url = ownUrl();
      const log = await startHybrid(controllersModule(ordersOptions(url), controller), options, (app) => {
        app.useGlobalPipes({ transform: (value: unknown) => value });
        app.useGlobalInterceptors({ intercept: (_context: unknown, next: CallHandler) => next.handle() });
      });
      expect(warningsOf(log)).toEqual(expected);
      expect(await ordersOf(url).unary('Get', { id: '7' })).toMatchObject({ id: '7' });
    },
  );

  it('does not warn about the global enhancers of a microservice, which run', async () => {
    const { log } = await startMicroservice(controllersModule(ordersOptions(ownUrl()), OrdersController), (app) => {
      app.useGlobalPipes({ transform: (value: unknown) => value });
    });
    expect(warningsOf(log)).toEqual([]);
  });
});

describe('several handlers for one method', () => {
  /** Starts an application with `controllers`, calls `Get`, and returns the ID of the response and the warnings. */
  async function run(...controllers: Type[]): Promise<{ id: string; warnings: string[] }> {
    const url = ownUrl();
    const log = await startHybrid(controllersModule(ordersOptions(url), ...controllers));
    const { id } = (await ordersOf(url).unary('Get', { id: '7' })) as { id: string };
    return { id, warnings: warningsOf(log) };
  }

  @Controller()
  class OrdersController {
    @GrpcMethod('Orders', 'Get')
    get(): object {
      return { id: 'orders' };
    }
  }
  @Controller()
  class LegacyController {
    @GrpcMethod('Orders', 'Get')
    find(): object {
      return { id: 'legacy' };
    }
  }

  it.each([
    [[OrdersController, LegacyController], 'legacy', 'OrdersController.get', 'LegacyController.find'],
    [[LegacyController, OrdersController], 'orders', 'LegacyController.find', 'OrdersController.get'],
  ])(
    'logs which handler receives no calls and which handler serves the method instead (%o)',
    async (controllers, id, unused, used) => {
      expect(await run(...controllers)).toEqual({
        id,
        warnings: [
          `@GrpcMethod('Orders', 'Get') of ${unused} receives no calls: ${used} has the same decorator and is registered later, so Nest uses it; keep only one handler`,
        ],
      });
    },
  );

  it('logs a single line that lists all handlers if one class has several handlers for the same method', async () => {
    @Controller()
    class TwiceController extends OrdersController {
      @GrpcMethod('Orders', 'Get')
      second(): object {
        return { id: 'second' };
      }
      @GrpcMethod('Orders', 'Get')
      third(): object {
        return { id: 'third' };
      }
    }
    const { id, warnings } = await run(TwiceController);
    expect(warnings).toEqual([
      expect.stringMatching(
        /of TwiceController\.\w+, TwiceController\.\w+ receives no calls: TwiceController\.\w+ has the same decorator /,
      ),
    ]);
    expect(warnings[0]).toContain(`calls: TwiceController.${id === 'orders' ? 'get' : id} has the same decorator`);
  });

  it('suggests the full names of the services if the handlers of several versions of a service have the same decorator', async () => {
    @Controller()
    class V1Controller {
      @GrpcMethod('Greeter', 'Greet')
      greet(): object {
        return {};
      }
    }
    @Controller()
    class V2Controller {
      @GrpcMethod('Greeter', 'Greet')
      greet(): object {
        return {};
      }
    }
    const greeter = {
      Greeter: { methods: { Greet: { requestType: 'Note', responseType: 'Note' } } },
      Note: { fields: {} },
    };
    const shop = { nested: { v1: { nested: greeter }, v2: { nested: greeter } } };
    // Cast to never, because the types of protobufjs do not allow nested packages.
    const packageDefinition = fromJSON({ nested: { shop } } as never);
    const options = { packageDefinition, package: ['shop.v1', 'shop.v2'], url: ownUrl() };
    const log = await startHybrid(controllersModule(options, V1Controller, V2Controller));
    expect(warningsOf(log)).toEqual([
      expect.stringMatching(
        /keep only one handler, or name the service of each in full: @GrpcMethod\('shop\.v1\.Greeter', 'Greet'\), @GrpcMethod\('shop\.v2\.Greeter', 'Greet'\)$/,
      ),
    ]);
  });

  it('logs no warning about a handler with two decorators, or about an inherited handler', async () => {
    @Controller()
    class DecoratedController {
      @GrpcMethod('Orders', 'Get')
      @GrpcMethod('Orders', 'Create')
      get(): object {
        return { id: 'decorated' };
      }
    }
    @Controller()
    class DerivedController extends OrdersController {}
    expect(await run(DecoratedController)).toEqual({ id: 'decorated', warnings: [] });
    expect(await run(DerivedController)).toEqual({ id: 'orders', warnings: [] });
    expect(await run(OrdersController, DerivedController)).toEqual({ id: 'orders', warnings: [] });
  });
});

describe('handler that serves no method', () => {
  @Controller()
  class OrdersController {
    @GrpcMethod('Order', 'Get')
    misspelledService(): void {}
    @GrpcMethod('Orders', 'Gte')
    misspelledMethod(): void {}
    @GrpcMethod()
    create(): void {}
    @GrpcMethod('Orders', 'Upload')
    notAStream(): void {}
    @GrpcStreamMethod('Orders', 'Watch')
    aStream(requests: unknown): unknown {
      return requests;
    }
    @GrpcMethod('Index', 'Find')
    ofAnotherPackage(): void {}
    @GrpcMethod('Billing', 'Charge')
    ofAnotherServer(): void {}
    @GrpcMethod('orders.v1.Orders', 'Get')
    get(): void {}
    @GrpcMethod('Orders', 'Get')
    preferred(): void {}
    @MessagePattern({ service: 'Order', rpc: 'Get' })
    ofAnotherTransport(data: unknown): unknown {
      return data;
    }
    @EventPattern('Order/Get')
    event(data: unknown): unknown {
      return data;
    }
  }

  /** Starts an application with `OrdersController` and the given servers, and returns its warnings. */
  async function warningsBy(servers: readonly DynamicModule[], ...others: MicroserviceOptions[]): Promise<string[]> {
    // Two servers of the same class in one application need their own provider tokens.
    const tokens = servers.map(() => Symbol('server'));
    const imports = servers.map((server, index) => ({
      module: class ServerModule {},
      imports: [server],
      providers: [{ provide: tokens[index]!, useExisting: ResilientGrpcServer }],
    }));
    const module = { module: class AppModule {}, imports, controllers: [OrdersController] };
    const { app, log } = await createApplication(module);
    for (const token of tokens) app.connectMicroservice({ strategy: app.get<ResilientGrpcServer>(token) });
    for (const other of others) app.connectMicroservice(other);
    await app.startAllMicroservices();
    return warningsOf(log);
  }
  const server = (options: Partial<ResilientGrpcServerOptions> = {}) =>
    ResilientGrpcServerModule.forRoot(ordersOptions(ownUrl(), options));

  const ORDERS_WARNINGS = [
    "@GrpcMethod('Orders', 'Gte') of OrdersController.misspelledMethod receives no calls: service 'Orders' has no method 'Gte'; write one of its methods: 'Get', 'Create', 'Watch', 'Session', 'Upload'",
    "@GrpcMethod('Orders', 'Upload') of OrdersController.notAStream receives no calls: /orders.v1.Orders/Upload streams its requests; write @GrpcStreamMethod('Orders', 'Upload')",
    "@GrpcStreamMethod('Orders', 'Watch') of OrdersController.aStream receives no calls: /orders.v1.Orders/Watch takes a single request; write @GrpcMethod('Orders', 'Watch')",
    "@GrpcMethod('orders.v1.Orders', 'Get') of OrdersController.get receives no calls: another handler serves /orders.v1.Orders/Get; remove one of them",
  ];
  const UNKNOWN_SERVICE_WARNINGS = [
    "@GrpcMethod('Order', 'Get') of OrdersController.misspelledService receives no calls: no service 'Order' is served; write one of the served services: 'Orders'",
    "@GrpcMethod('OrdersController', 'Create') of OrdersController.create receives no calls: no service 'OrdersController' is served (Nest uses the class name if the decorator names no service); write one of the served services: 'Orders'",
    "@GrpcMethod('Billing', 'Charge') of OrdersController.ofAnotherServer receives no calls: no service 'Billing' is served; write one of the served services: 'Orders'",
  ];

  it('logs each handler that serves no method, with a remedy, when the server starts', async () => {
    const protoPath = [ORDERS_PROTO, ARCHIVE_PROTO];
    const warnings = await warningsBy([server({ protoPath })]);
    const indexWarning =
      "@GrpcMethod('Index', 'Find') of OrdersController.ofAnotherPackage receives no calls: package 'archive.v1' of its service is not served; add it to `package`";
    expect(warnings.toSorted()).toEqual([...ORDERS_WARNINGS, ...UNKNOWN_SERVICE_WARNINGS, indexWarning].toSorted());
  });

  it('suggests the full name of the service in the log line of a handler if the server has no `package`', async () => {
    expect(await warningsBy([server({ package: undefined as never })])).toContain(
      "@GrpcMethod('Orders', 'Get') of OrdersController.preferred receives no calls: no service 'Orders' is served; write one of the served services: 'orders.v1.Orders'",
    );
  });

  it('suggests the option `package` in the log line of a handler if the server serves no service', async () => {
    expect(
      await warningsBy([server({ package: 'google.protobuf', protoPath: 'google/protobuf/empty.proto' })]),
    ).toContain(
      "@GrpcMethod('Orders', 'Get') of OrdersController.preferred receives no calls: no service 'Orders' is served, because the server has no services; write the package of the service in `package`",
    );
  });

  it('logs a handler once, and only if no server of the application serves it', async () => {
    const archive = server({ package: 'archive.v1', protoPath: ARCHIVE_PROTO });
    const warnings = await warningsBy([archive, server()]);
    const expected = [...ORDERS_WARNINGS, ...UNKNOWN_SERVICE_WARNINGS].map((line) =>
      line
        .replace(/services: 'Orders'$/, "services: 'Orders', 'Index'")
        .replace(/methods: (.*), 'Upload'$/, "methods: 'Find', $1, and 1 more"),
    );
    expect(warnings.toSorted()).toEqual(expected.toSorted());
  });

  it('logs no handler of an unknown service if the application has a Transport.GRPC server, which might serve that service', async () => {
    const options = { url: ownUrl(), package: 'archive.v1', protoPath: ARCHIVE_PROTO };
    const warnings = await warningsBy([server()], { transport: Transport.GRPC, options });
    expect(warnings.toSorted()).toEqual(ORDERS_WARNINGS.toSorted());
  });
});

describe('channelOptions', () => {
  it('sends GOAWAY on a connection older than grpc.max_connection_age_ms while its calls continue', async () => {
    const { url } = await startServers(await serveOrders({ channelOptions: { 'grpc.max_connection_age_ms': 150 } }));
    const orders = ordersOf(url);
    const { call, seen } = orders.open('watch', { from: '0' });
    await waitFor(() => seen.length === 1);
    await waitFor(() => orders.client.getChannel().getConnectivityState(false) === connectivityState.IDLE);
    expect(await orders.unary('get', { id: '7' })).toMatchObject({ id: '7' });
    expect(seen).toHaveLength(1);
    call.cancel();
  });

  it('announces grpc.max_concurrent_streams to clients', async () => {
    const { url } = await startServers(await serveOrders({ channelOptions: { 'grpc.max_concurrent_streams': 7 } }));
    const socket = connectSocket(url.slice('unix:'.length));
    const session = connect('http://orders', { createConnection: () => socket });
    const settings = await new Promise<{ maxConcurrentStreams?: number }>((resolve) => {
      session.once('remoteSettings', resolve);
    });
    session.destroy();
    expect(settings.maxConcurrentStreams).toBe(7);
  });

  it('does not change the given server options, so that two servers can share them', async () => {
    const channelOptions = Object.freeze({ 'grpc.keepalive_time_ms': 5_000 });
    const shared = Object.freeze({ channelOptions, maxReceiveMessageLength: 1_024 });
    await startServers(await serveOrders(shared));
    await startServers(await serveOrders(shared));
    expect(channelOptions).toEqual({ 'grpc.keepalive_time_ms': 5_000 });
  });

  it('logs a warning about a keepalive option that grpc-js servers ignore', async () => {
    const { log } = await serveOrders({ keepalive: { http2MaxPingStrikes: 0 } });
    expect(warningsOf(log)).toEqual([
      expect.stringMatching(/^options ignored by grpc-js servers.*keepalive\.http2MaxPingStrikes/),
    ]);
  });
});
