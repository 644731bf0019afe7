import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { APPLICATIONS, namesFor, type Name } from './expected-output.js';
import { writeInterfaces } from './generated-interfaces.js';
import { install, type Nest } from './installed-application.js';
import { BUN, OTHER_NODES, downloadNodes, type OtherNodes } from './other-nodes.js';
import { packAgain, packLibrary, ROOT, RUN_LIMIT_MS, type PackedLibrary } from './packed-library.js';

/** Dependencies in the package.json of the applications. */
const PACKAGES = [
  '@grpc/grpc-js',
  '@grpc/proto-loader',
  '@nestjs/common',
  '@nestjs/core',
  '@nestjs/microservices',
  '@nestjs/platform-express',
  '@nestjs/platform-fastify',
  '@nestjs/terminus',
  '@nestjs/testing',
  '@types/node',
  'long',
  'protobufjs',
  'reflect-metadata',
  'rxjs',
];

const TYPESCRIPT_6 = 'node_modules/typescript/bin/tsc';
const TYPESCRIPT_5 = 'test/nest-11/node_modules/typescript/bin/tsc';
/**
 * Builds of the applications. Across both versions of Nest, they cover the module resolutions node10, nodenext, and bundler, and
 * the last releases of TypeScript 5 and 6.
 */
const BUILDS = [
  { modules: 'ESM', folder: 'esm', type: 'module', compiler: TYPESCRIPT_6 },
  { modules: 'CommonJS', folder: 'cjs', type: 'commonjs', compiler: TYPESCRIPT_5 },
] as const;

// Longer than the limit of a process, so that the process is stopped first.
vi.setConfig({ testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let older: string;
let server: ChildServer;
let nodes: Promise<OtherNodes>;
beforeAll(async () => {
  nodes = downloadNodes([...OTHER_NODES, BUN]);
  packed = packLibrary();
  older = packAgain(packed, '0.0.1');
  server = await ChildServer.start({ script: join(ROOT, 'test/consumers/orders-server.mjs'), readyTimeoutMs: 60_000 });
  return async () => {
    await server.close();
    packed.remove();
    (await nodes).remove();
  };
});

const start = promisify(execFile);

async function node(program: string, folder: string, ...args: string[]): Promise<string> {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
  const env = { ...Object.fromEntries(others), ORDERS_URL: server.url };
  const { stdout } = await start(program, args, { cwd: folder, env, timeout: RUN_LIMIT_MS }).catch((error: unknown) => {
    const { stdout: printed, stderr } = error as { readonly stdout: string; readonly stderr: string };
    throw new Error(`node ${args.join(' ')} failed\n${printed}${stderr}`, { cause: error });
  });
  return stdout;
}

describe.each<Nest>([12, 11])('application on Nest %i with the package installed by npm', (nest) => {
  let folder: string;
  beforeAll(() => {
    folder = createApplicationFolder();
    // Writes to the CommonJS build, because ts-proto with `useDate` generates an import from protobufjs that fails in ES modules.
    if (nest === 11) writeInterfaces(folder, 'cjs/test/consumers/apps');
    install(packed, folder, { nest, packages: PACKAGES, own: { '@example/orders-client': 'orders-client' } });
    return () => {
      rmSync(folder, { recursive: true });
    };
  });

  const run = async (program: string, build: string, name: Name): Promise<unknown> =>
    JSON.parse(await node(program, folder, `${build}/dist/test/consumers/apps/${name}.js`));

  it('installs a second copy of the library through a company package', async () => {
    const own = join(folder, 'orders-client/node_modules/nestjs-resilient-grpc/package.json');
    expect(JSON.parse(readFileSync(own, 'utf8'))).toMatchObject({ version: '0.0.1' });
    await node(process.execPath, folder, join(ROOT, TYPESCRIPT_6), '-p', 'orders-client');
  });

  describe.each(BUILDS)('as $modules', ({ folder: build, compiler }) => {
    it('compiles the applications with skipLibCheck: false', async () => {
      const project = `${build}/test/consumers/apps/tsconfig.nest-${nest}-${build}.json`;
      await node(process.execPath, folder, join(ROOT, compiler), '-p', project);
    });

    it.each([
      ['a url', `{ name: 'orders', protoPath: 'orders.proto' }`, 'url'],
      ['a contract', `{ name: 'orders', url: 'orders:50051' }`, 'protoPath'],
    ])('names a missing key in the compile error of a client without %s', async (_, client, key) => {
      const project = mkdtempSync(join(folder, build, 'incomplete-'));
      const apps = `../test/consumers/apps/tsconfig.nest-${nest}-${build}.json`;
      writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ extends: apps, include: ['app.ts'] }));
      writeFileSync(
        join(project, 'app.ts'),
        `import { ResilientGrpcModule } from 'nestjs-resilient-grpc';\nResilientGrpcModule.forFeature([${client}]);\n`,
      );
      const compiled = node(process.execPath, folder, join(ROOT, compiler), '--noEmit', '-p', project);
      await expect(compiled).rejects.toThrow(`Property '${key}' is missing`);
    });

    // The tests run concurrently because most of their time is process startup.
    describe.concurrent('output', () => {
      it.each(namesFor(nest, build))('prints the expected output of %s', async (name) => {
        expect(await run(process.execPath, build, name)).toEqual(APPLICATIONS[name]);
      });

      it.each([...OTHER_NODES, BUN])('prints the expected output of one application on %s', async (version) => {
        const { programs, missing } = await nodes;
        const program = programs.get(version);
        if (program === undefined) {
          console.log(`Skipped ${version}: ${missing.get(version)}`);
          return;
        }
        const name = build === 'esm' ? 'hybrid' : 'internal-library';
        expect(await run(program, build, name)).toEqual(APPLICATIONS[name]);
      });
    });
  });
});

/** Creates a folder with the sources of the applications, one copy per build, without dependencies. */
function createApplicationFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'application-'));
  const copy = (from: string, to: string) => {
    cpSync(join(ROOT, from), join(folder, to), { recursive: true });
  };
  copy('protos', 'protos');
  for (const { folder: build, type } of BUILDS) {
    copy('src/gen', `${build}/src/gen`);
    copy('test/consumers/apps', `${build}/test/consumers/apps`);
    writeFileSync(join(folder, build, 'package.json'), JSON.stringify({ type }));
  }
  copy('test/consumers/orders-client', 'orders-client');
  const path = join(folder, 'orders-client/package.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as object;
  writeFileSync(path, JSON.stringify({ ...manifest, dependencies: { 'nestjs-resilient-grpc': `file:${older}` } }));
  return folder;
}
