import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { consumerOf, packLibrary, RUN_LIMIT_MS } from '../consumers/packed-library.js';
import { HERO_PROTO, ORDERS_PROTO } from '../nest/places.js';
import { Application } from './application.js';
import { BY_HAND, REMARKS, SHAPES } from './shapes.js';

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

const applicationOf = (files: Readonly<Record<string, string>>) => new Application(modules, files);
const [LITERAL] = SHAPES as [(typeof SHAPES)[number]];

describe('migrate', { timeout: 240_000 }, () => {
  it('migrates each kind of client registration to code that compiles, and shows and undoes the changes with git', async () => {
    const app = applicationOf(Object.fromEntries(SHAPES.map(({ path, before }) => [path, before])));
    await app.compile();
    await app.commit();
    const { code, stdout, stderr } = await app.migrate('src');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const { path, after } of SHAPES) expect(app.read(path), path).toBe(after);
    await app.compile();
    expect(stdout).toMatch(/^6 registrations in 4 files moved$/m);
    // A second run finds no more clients.
    expect(await app.migrate('src', '--dry-run')).toMatchObject({ stdout: expect.stringMatching(/^0 registrations/) });
    const look = /^Look: +git (.*)$/m.exec(stdout)?.[1] ?? '';
    expect(await app.git(...look.split(' '))).toContain('+    ResilientGrpcModule.forFeature([');
    await app.git(...(/^Undo: +git (.*)$/m.exec(stdout)?.[1] ?? '').split(' '));
    for (const { path, before } of SHAPES) expect(app.read(path), path).toBe(before);
  });

  it('lists each place that migrate cannot rewrite, with line and remedy, and leaves it unchanged', async () => {
    const path = 'src/by-hand.ts';
    const app = applicationOf({ [path]: BY_HAND });
    const { code, stdout } = await app.migrate('src', '--force');
    expect(code).toBe(0);
    expect(app.read(path)).toBe(BY_HAND);
    const listed = [...stdout.matchAll(/^src\/by-hand\.ts:(\d+): (.*)$/gm)].map(([, line, text]) => {
      const key = /\/\/ (\w+)$/.exec(BY_HAND.split('\n')[Number(line) - 1] ?? '')?.[1] ?? `line ${line}`;
      return [key, text?.slice(0, REMARKS[key]?.length)] as const;
    });
    expect(Object.fromEntries(listed)).toEqual(REMARKS);
  });

  it.each<[string, (app: Application) => unknown, RegExp]>([
    ['outside of a git work tree', () => undefined, /^nothing was written: .*not a git repository/],
    [
      'in a file with changes that are not committed',
      (app) => app.change(LITERAL.path),
      /^nothing was written: .*src\/literal\.ts; commit/,
    ],
    [
      'in a file that git ignores',
      (app) => app.ignore(LITERAL.path),
      /^nothing was written: .*src\/literal\.ts; commit/,
    ],
  ])('writes nothing %s, unless --force is given', async (_where, prepare, message) => {
    const app = applicationOf({ [LITERAL.path]: LITERAL.before });
    await prepare(app);
    const before = app.read(LITERAL.path);
    expect(await app.migrate()).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
    expect(app.read(LITERAL.path)).toBe(before);
    expect(await app.migrate('--force')).toMatchObject({
      code: 0,
      stdout: expect.not.stringContaining('git checkout'),
    });
    expect(app.read(LITERAL.path)).toContain('ResilientGrpcModule.forFeature');
  });

  it('lists the clients and writes nothing with --dry-run, even without git', async () => {
    const app = applicationOf({ [LITERAL.path]: LITERAL.before });
    const { code, stdout } = await app.migrate('--dry-run');
    expect(code).toBe(0);
    expect(stdout).toBe('1 registration in 1 file to move (dry run: nothing was written)\nsrc/literal.ts:7: orders\n');
    expect(app.read(LITERAL.path)).toBe(LITERAL.before);
  });

  it('keeps CRLF line breaks and the byte order mark of a migrated file', async () => {
    const toWindows = (text: string) => `\uFEFF${text.replaceAll('\n', '\r\n')}`;
    const app = applicationOf({ [LITERAL.path]: toWindows(LITERAL.before) });
    await app.migrate('--force');
    expect(app.read(LITERAL.path)).toBe(toWindows(LITERAL.after));
  });

  it('leaves a registration whose migration would not compile, and migrates the others of the file', async () => {
    const options = "transport: Transport.GRPC, options: { package: 'p', protoPath: 'p.proto' }";
    const path = 'src/module.ts';
    const app = applicationOf({
      // Nest ignores the key, but this library has an option of that name.
      [path]: `import { ClientsModule, Transport } from '@nestjs/microservices';
const extra = { timeoutMs: 'soon' };
export const first = ClientsModule.register([{ name: 'first', ${options} }]);
export const second = ClientsModule.register([{ name: 'second', ${options}, ...extra }]);
`,
    });
    const { stdout } = await app.migrate('--force');
    expect(app.read(path)).toContain('export const first = ResilientGrpcModule.forFeature(');
    expect(app.read(path)).toContain('export const second = ClientsModule.register(');
    expect(stdout).toMatch(/^src\/module\.ts:4: second: would not compile with ResilientGrpcModule: /m);
  });

  it('lists a module that exports ClientsModule if its clients are registered in a file with another tsconfig.json', async () => {
    const tsConfig = JSON.stringify({ extends: '../tsconfig.json', compilerOptions: { rootDir: '..' } });
    const client = "{ name: 'orders', transport: Transport.GRPC, options: { package: 'p', protoPath: 'p.proto' } }";
    const app = applicationOf({
      'lib/tsconfig.json': tsConfig,
      'lib/clients.ts': `import { ClientsModule, Transport } from '@nestjs/microservices';
export const clients = ClientsModule.register([${client}]);
`,
      'api/tsconfig.json': tsConfig,
      'api/module.ts': `import { Module } from '@nestjs/common';
import { ClientsModule } from '@nestjs/microservices';
import { clients } from '../lib/clients';
@Module({ imports: [clients], exports: [ClientsModule] })
export class ApiModule {}
`,
    });
    const { code, stdout } = await app.migrate('--dry-run');
    expect(code).toBe(0);
    expect(stdout).toContain('1 registration in 1 file to move');
    const step = 'exports ClientsModule: if its clients moved, export ResilientGrpcModule';
    expect(stdout.match(/^api\/.*$/gm)).toEqual([`api/module.ts:4: ${step}`]);
  });

  it('ignores a symbolic link to a file that does not exist', async () => {
    const app = applicationOf({ 'src/empty.ts': '' });
    app.link('src/broken.ts', 'nowhere.ts');
    expect(await app.migrate()).toMatchObject({ code: 0, stderr: '' });
  });

  it.each([
    ['an unknown option', ['--wriet'], /^Unknown option '--wriet'\nsee nestjs-resilient-grpc migrate --help/],
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
    expect(stdout.match(/^ {2}--[\w-]+/gm)).toEqual(['  --dry-run', '  --force', '  --help']);
  });
});

describe('migrated application', { timeout: 240_000 }, () => {
  it("serves and fetches heroes as before the migration, in an application modeled on Nest's gRPC sample", async () => {
    const app = applicationOf({ ...HERO_APP, 'src/hero.proto': readFileSync(HERO_PROTO, 'utf8') });
    const answers: string[] = [];
    for (const [index, write] of [() => undefined, () => app.migrate('--force')].entries()) {
      await write();
      await app.compile();
      answers.push(await app.node({ HERO_URL: `unix:hero-${String(index)}.sock` }, 'dist/main.js'));
    }
    expect(app.read('src/hero.module.ts')).toContain('ResilientGrpcModule.forFeature');
    expect(answers).toEqual(['{"id":2,"name":"Grace"}\n', '{"id":2,"name":"Grace"}\n']);
  });

  it('calls a server as before the migration if its address comes from a factory', async () => {
    const scripts = { Get: { message: { id: '7', item: 'tea' } } };
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts });
    const app = applicationOf({ ...ORDERS_APP, 'orders.proto': readFileSync(ORDERS_PROTO, 'utf8') });
    const answers: string[] = [];
    for (const write of [() => undefined, () => app.migrate('--force')]) {
      await write();
      await app.compile();
      answers.push(await app.node({ ORDERS_URL: server.url }, 'dist/main.js'));
    }
    await server.close();
    expect(app.read('src/main.ts')).toContain('ResilientGrpcModule.forFeatureAsync');
    expect(answers).toEqual(['tea\n', 'tea\n']);
  });
});

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
