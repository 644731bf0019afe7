import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { consumerOf, packLibrary, RUN_LIMIT_MS } from '../consumers/packed-library.js';
import { HERO_PROTO, ORDERS_PROTO } from '../nest/places.js';
import { Application } from './application.js';
import { SHAPES } from './shapes.js';

let modules: string;
// A CommonJS application loads the build that only the packed library contains.
beforeAll(() => {
  const packed = packLibrary();
  const consumer = consumerOf(packed, { copied: [] });
  modules = join(consumer.folder, 'node_modules');
  return () => {
    consumer.remove();
    packed.remove();
  };
}, 2 * RUN_LIMIT_MS);

const MODULE_IMPORTS = `import { Module } from '@nestjs/common';
import { ClientsModule } from '@nestjs/microservices';
`;

const applicationOf = (files: Readonly<Record<string, string>>) => new Application(modules, files);

describe('migrate', { timeout: 240_000 }, () => {
  it('migrates each kind of client registration to code that compiles', async () => {
    const app = applicationOf(Object.fromEntries(SHAPES.map(({ path, before }) => [path, before])));
    await app.compile();
    const { code, stdout, stderr } = await app.migrate('src', '--write');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const { path, after } of SHAPES) expect(app.read(path), path).toBe(after);
    await app.compile();
    expect(stdout).toContain('removed factory.options.gracefulShutdown, which has no effect on a client');
    expect(stdout).toMatch(/\d+ clients in \d+ files rewritten/);
    // A second run finds no more clients.
    expect(await app.migrate('src')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^0 clients in 0 files/) });
  });

  it('writes nothing if migrate runs without --write, and prints a diff that git can apply', async () => {
    const [{ path, before, after }] = SHAPES as [(typeof SHAPES)[number]];
    const app = applicationOf({ [path]: before });
    const { stdout } = await app.migrate();
    expect(app.read(path)).toBe(before);
    expect(stdout).toContain('nothing is written without --write');
    await app.applyDiff(stdout.slice(0, stdout.indexOf('\n1 client in 1 file')));
    expect(app.read(path)).toBe(after);
  });

  it('keeps CRLF line breaks and the byte order mark of a migrated file', async () => {
    const [{ path, before, after }] = SHAPES as [(typeof SHAPES)[number]];
    const toWindows = (text: string) => `\uFEFF${text.replaceAll('\n', '\r\n')}`;
    const app = applicationOf({ [path]: toWindows(before) });
    await app.migrate('--write');
    expect(app.read(path)).toBe(toWindows(after));
  });

  it('lists each client registration that migrate cannot rewrite, with line and remedy, and leaves the registration unchanged', async () => {
    const path = 'src/by-hand.ts';
    const app = applicationOf({ [path]: BY_HAND });
    const { code, stdout } = await app.migrate('src', '--write');
    expect(code).toBe(0);
    expect(app.read(path)).toBe(BY_HAND);
    const listed = [...stdout.matchAll(/^src\/by-hand\.ts:(\d+): (.*)$/gm)].map(([, line, text]) => {
      const marked = BY_HAND.split('\n').slice(Number(line) - 1, Number(line) + 1);
      return [/\/\/ (\w+)$/m.exec(marked.join('\n'))?.[1], text] as const;
    });
    expect(Object.fromEntries(listed)).toEqual({
      decorator: expect.stringContaining("inject it with @Inject('<name>')"),
      proxy: expect.stringContaining('GrpcClients'),
      list: expect.stringContaining('pass the clients as an array literal'),
      dynamic: expect.stringContaining('needs config from its factory for the contract'),
      environment: expect.stringContaining("join(process.env.PROTO_DIR!, 'a.proto')"),
      parameter: expect.stringContaining('needs protoPath from its factory for the contract'),
      shadow: expect.stringContaining('needs options from its factory for the contract'),
      overrides: expect.stringContaining('write one url'),
      class: expect.stringContaining('createGrpcClientOptions()'),
      providers: expect.stringContaining('extraProviders'),
      unknown: expect.stringContaining('not an object literal with a constant transport'),
      label: expect.stringContaining("{ ...optionsFrom('a-long-path/to/client…: the client, or the return value"),
      key: 'q: has the key isGlobal; migrate supports only name, transport, and options',
      returnedkey: 'r: has the key name; migrate supports only transport and options',
      asynckey: 's: has the key isGlobal; with a factory, migrate supports only name, imports, inject, useFactory',
      asyncspread:
        'y: has the spread ...shared; with a factory, migrate supports only name, imports, inject, useFactory',
      spreadkey: 't: has the key isGlobal in extra; migrate supports only transport and options there',
      spread: 'u: has options that migrate cannot read: ...(extra as GrpcOptions); write them as an object literal',
      parsed: "v: has options that migrate cannot read: JSON.parse('{}'); write them as an object literal",
      accessor: 'w: has options that are not an expression; write them as an object literal',
      call: "x: has options that are not a constant: grpcOptions('x'); write them as an object literal",
      nourl: 'k: is a constant that forFeature does not accept; write its properties here, with a url',
      loader: expect.stringContaining('packageDefinition'),
      retries: expect.stringContaining('idempotent: false'),
      sharedretries: expect.stringContaining('idempotent: false'),
      constant: expect.stringContaining('register the gRPC clients in a call of their own'),
      wrong: expect.stringContaining('does not compile'),
    });
  });

  it('lists a module that exports ClientsModule if its clients are registered in a file with another tsconfig.json', async () => {
    const tsConfig = JSON.stringify({ extends: '../tsconfig.json', compilerOptions: { rootDir: '..' } });
    const client =
      "{ name: 'orders', transport: Transport.GRPC, options: { url: 'a:1', package: 'p', protoPath: 'p.proto' } }";
    const app = applicationOf({
      'lib/tsconfig.json': tsConfig,
      'lib/clients.ts': `import { ClientsModule, Transport } from '@nestjs/microservices';
export const clients = ClientsModule.register([${client}]);
`,
      'api/tsconfig.json': tsConfig,
      'api/module.ts': `${MODULE_IMPORTS}import { clients } from '../lib/clients';
@Module({ imports: [clients], exports: [ClientsModule] })
export class ApiModule {}
`,
    });
    const { code, stdout } = await app.migrate();
    expect(code).toBe(0);
    expect(stdout).toContain('1 client in 1 file to rewrite');
    const step = 'exports ClientsModule: if its clients moved, export ResilientGrpcModule';
    expect(stdout.match(/^api\/.*$/gm)).toEqual([`api/module.ts:4: ${step}`]);
  });

  it('ignores a symbolic link to a file that does not exist', async () => {
    const app = applicationOf({ 'src/empty.ts': '' });
    app.link('src/broken.ts', 'nowhere.ts');
    expect(await app.migrate()).toMatchObject({ code: 0, stderr: '' });
  });

  it('reports differently written definitions of a migrated client, with the location of the first definition', async () => {
    const module = (url: string) => SHAPES[0]!.before.replace("url: 'orders:50051'", `url: ${url}`);
    const app = applicationOf({
      'src/a.ts': module("'a:1'"),
      'src/b.ts': module("'b:1'"),
      'src/c.ts': module('URL_OF_A'),
      'src/d.ts': module("'a:1'"),
      'src/url.d.ts': "declare const URL_OF_A = 'a:1';",
    });
    const { code, stdout } = await app.migrate('src');
    expect(code).toBe(0);
    const text =
      'orders: its options are written differently at src/a.ts:8; if the values differ, the application does not start; make the values equal, or rename one client';
    expect(stdout.match(/^src\/[b-d]\.ts:.*$/gm)).toEqual([`src/b.ts:8: ${text}`, `src/c.ts:8: ${text}`]);
  });

  it.each([
    ['an unknown option', ['--wriet'], /did you mean --write\?/],
    ['a path that does not exist', ['nowhere'], /ENOENT.*nowhere/],
  ])('exits with status 2 if migrate receives %s', async (_argument, args, message) => {
    const { code, stderr } = await applicationOf({}).migrate(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('lists every option of migrate with --help', async () => {
    const { code, stdout } = await applicationOf({}).migrate('--help');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: nestjs-resilient-grpc migrate \[paths\]/);
    expect(stdout.match(/^ {2}--[\w-]+/gm)).toEqual(['  --write', '  --help']);
  });
});

describe('migrated application', { timeout: 240_000 }, () => {
  it("serves and fetches heroes as before the migration, in an application modeled on Nest's gRPC sample", async () => {
    const app = applicationOf({ ...HERO_APP, 'src/hero.proto': readFileSync(HERO_PROTO, 'utf8') });
    const answers: string[] = [];
    for (const [index, write] of [() => undefined, () => app.migrate('--write')].entries()) {
      await write();
      await app.compile();
      answers.push(await app.node({ HERO_URL: `unix:hero-${String(index)}.sock` }, 'dist/main.js'));
    }
    expect(app.read('src/hero.module.ts')).toContain('ResilientGrpcModule.forFeature');
    // Nest's type ClientOptions hides which optional keys are set, so migrate replaces the type annotation with `satisfies`.
    expect(app.read('src/grpc-client.options.ts')).toContain('} satisfies ClientOptions;');
    expect(answers).toEqual(['{"id":2,"name":"Grace"}\n', '{"id":2,"name":"Grace"}\n']);
  });

  it('calls a server as before the migration if its address comes from a factory', async () => {
    const scripts = { Get: { message: { id: '7', item: 'tea' } } };
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts });
    const app = applicationOf({ ...ORDERS_APP, 'orders.proto': readFileSync(ORDERS_PROTO, 'utf8') });
    const answers: string[] = [];
    for (const write of [() => undefined, () => app.migrate('--write')]) {
      await write();
      await app.compile();
      answers.push(await app.node({ ORDERS_URL: server.url }, 'dist/main.js'));
    }
    await server.close();
    expect(app.read('src/main.ts')).toContain('ResilientGrpcModule.forFeatureAsync');
    expect(answers).toEqual(['tea\n', 'tea\n']);
  });
});

/** Source code. Each line that migrate must list, or the line after it, ends with a comment that is its key in the expected list. */
const BY_HAND = `import { join } from 'node:path';
import { Injectable, Module } from '@nestjs/common';
import { Client, ClientProxyFactory, ClientsModule, Transport } from '@nestjs/microservices';
import type { ClientGrpc, ClientProvider, ClientsModuleOptions, GrpcOptions } from '@nestjs/microservices';

const options = { url: 'a:1', package: 'a', protoPath: 'a.proto' };
const noUrl = { name: 'k', transport: Transport.GRPC as const, options: { package: 'a', protoPath: 'a.proto' } };
declare function optionsFrom(file: string): ClientProvider;
declare function grpcOptions(name: string): typeof options;
declare const overrides: { url?: string };
const protoPath = 'a.proto';
const extra = { transport: Transport.GRPC as const, options, isGlobal: true };
const shared = { inject: ['PROTO_PATH'] };
const channelOptions = { 'grpc.max_reconnect_backoff_ms': 1_000, ...{ 'grpc.enable_retries': 0 } };

export class Gateway {
  @Client({ transport: Transport.GRPC, options }) // decorator
  client!: ClientGrpc;
  @Client({ transport: Transport.TCP })
  mails!: unknown;
}

export const proxy = ClientProxyFactory.create({ transport: Transport.GRPC, options }); // proxy

const list: ClientsModuleOptions = [{ name: 'a', transport: Transport.GRPC, options }];
export const listed = ClientsModule.register(list); // list

@Injectable()
class Config {
  get(key: string): string {
    return process.env[key] ?? '';
  }
  createClientOptions(): GrpcOptions {
    return { transport: Transport.GRPC, options };
  }
}

@Module({
  imports: [
    ClientsModule.registerAsync([
      { // dynamic
        name: 'b',
        inject: [Config],
        useFactory: (config: Config) => ({
          transport: Transport.GRPC,
          options: { ...options, package: config.get('PACKAGE') },
        }),
      },
      { // environment
        name: 'l',
        useFactory: () => ({
          transport: Transport.GRPC,
          options: { url: 'a:1', package: 'a', protoPath: join(process.env.PROTO_DIR!, 'a.proto') },
        }),
      },
      { // parameter
        name: 'm',
        inject: ['PROTO_PATH'],
        useFactory: (protoPath: string) => ({ transport: Transport.GRPC, options: { url: 'a:1', package: 'a', protoPath } }),
      },
      { // shadow
        name: 'n',
        useFactory: () => {
          const options = { url: 'n:1', package: 'n', protoPath: 'n.proto' };
          return { transport: Transport.GRPC, options };
        },
      },
      { name: 'o', useFactory: () => ({ transport: Transport.GRPC, options: { ...options, ...overrides } }) }, // overrides
      { name: 'r', useFactory: () => ({ name: 'r', transport: Transport.GRPC, options }) }, // returnedkey
      { name: 's', isGlobal: true, useFactory: () => ({ transport: Transport.GRPC, options }) }, // asynckey
      { name: 'y', ...shared, useFactory: () => ({ transport: Transport.GRPC, options }) }, // asyncspread
      { name: 'x', useFactory: () => ({ transport: Transport.GRPC, options: grpcOptions('x') }) }, // call
      { name: 'c', useClass: Config }, // class
      { name: 'd', useFactory: () => ({ transport: Transport.GRPC, options }), extraProviders: [Config] }, // providers
    ]),
    ClientsModule.register([
      { name: 'e', ...optionsFrom('e.json') }, // unknown
      { ...optionsFrom('a-long-path/to/clients.json') }, // label
      { name: 'q', transport: Transport.GRPC, options, isGlobal: true }, // key
      { name: 't', ...extra }, // spreadkey
      { name: 'u', ...(extra as GrpcOptions) }, // spread
      { name: 'v', transport: Transport.GRPC, options: JSON.parse('{}') }, // parsed
      { name: 'w', transport: Transport.GRPC, get options() { return options; } }, // accessor
      noUrl, // nourl
      { name: 'f', transport: Transport.GRPC, options: { ...options, protoLoader: 'my-loader' } }, // loader
      { name: 'g', transport: Transport.GRPC, options: { ...options, channelOptions: { 'grpc.enable_retries': 0 } } }, // retries
      { name: 'p', transport: Transport.GRPC, options: { ...options, protoPath, channelOptions } }, // sharedretries
    ]),
  ],
})
export class AppModule {}

const mixed = ClientsModule.register([ // constant
  { name: 'h', transport: Transport.GRPC, options },
  { name: 'i', transport: Transport.TCP },
]);
export const wrong = ClientsModule.register([{ name: 'j', transport: Transport.GRPC, options }]); // wrong
const ResilientGrpcModule = 'a name that the import would need';
export const modules = [mixed, ResilientGrpcModule];
`;

const HERO_APP = {
  'src/grpc-client.options.ts': `import { join } from 'node:path';
import { ClientOptions, Transport } from '@nestjs/microservices';

export const grpcClientOptions: ClientOptions = {
  transport: Transport.GRPC,
  options: {
    url: process.env.HERO_URL,
    package: 'hero', // or several
    protoPath: join(__dirname, '../src/hero.proto'),
  },
};
`,
  'src/hero.module.ts': `import { Controller, Inject, Module, type OnModuleInit } from '@nestjs/common';
import { ClientsModule, GrpcMethod, type ClientGrpc } from '@nestjs/microservices';
import type { Observable } from 'rxjs';
import { grpcClientOptions } from './grpc-client.options';

interface HeroClient {
  findOne(request: { id: number }): Observable<{ id: number; name: string }>;
}

@Controller()
export class HeroController implements OnModuleInit {
  heroes!: HeroClient;

  constructor(@Inject('HERO_PACKAGE') private readonly client: ClientGrpc) {}

  onModuleInit() {
    this.heroes = this.client.getService<HeroClient>('HeroService');
  }

  @GrpcMethod('HeroService')
  findOne({ id }: { id: number }) {
    return { id, name: 'Grace' };
  }
}

@Module({
  imports: [ClientsModule.register([{ name: 'HERO_PACKAGE', ...grpcClientOptions }])],
  controllers: [HeroController],
})
export class HeroModule {}
`,
  'src/main.ts': `import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { grpcClientOptions } from './grpc-client.options';
import { HeroController, HeroModule } from './hero.module';

async function main() {
  const app = await NestFactory.create(HeroModule, { logger: ['error'] });
  app.connectMicroservice(grpcClientOptions as MicroserviceOptions);
  await app.startAllMicroservices();
  await app.init();
  console.log(JSON.stringify(await firstValueFrom(app.get(HeroController).heroes.findOne({ id: 2 }))));
  await app.close();
}
void main();
`,
};

const ORDERS_APP = {
  'src/main.ts': `import 'reflect-metadata';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientsModule, Transport, type ClientGrpc, type ClientProvider } from '@nestjs/microservices';
import { firstValueFrom, type Observable } from 'rxjs';

@Injectable()
class Config {
  get(key: string): string | undefined {
    return process.env[key];
  }
}

@Module({ providers: [Config], exports: [Config] })
class ConfigModule {}

@Injectable()
class Orders {
  constructor(@Inject('orders') readonly client: ClientGrpc) {}
}

@Module({
  imports: [
    ClientsModule.registerAsync({
      isGlobal: true,
      clients: [
        {
          name: 'orders',
          imports: [ConfigModule],
          inject: [Config],
          useFactory: async (config: Config): Promise<ClientProvider> => {
            const url = config.get('ORDERS_URL');
            return { transport: Transport.GRPC, options: { url, package: 'orders.v1', protoPath: 'orders.proto' } };
          },
        },
      ],
    }),
  ],
  providers: [Orders],
})
class AppModule {}

interface OrdersClient {
  get(request: { id: string }): Observable<{ item: string }>;
}

async function main() {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
  const orders = app.get(Orders).client.getService<OrdersClient>('Orders');
  console.log((await firstValueFrom(orders.get({ id: '7' }))).item);
  await app.close();
}
void main();
`,
};
