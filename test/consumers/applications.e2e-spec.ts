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
import { OTHER_NODES, downloadNodes, type OtherNodes } from './other-nodes.js';
import { packAgain, packLibrary, ROOT, RUN_LIMIT_MS, type PackedLibrary } from './packed-library.js';

/** What the applications name in their package.json. */
const PACKAGES = [
  '@grpc/grpc-js',
  '@grpc/proto-loader',
  '@jest/globals',
  '@nestjs/common',
  '@nestjs/core',
  '@nestjs/microservices',
  '@nestjs/platform-express',
  '@nestjs/platform-fastify',
  '@nestjs/terminus',
  '@nestjs/testing',
  '@types/node',
  'jest',
  'long',
  'protobufjs',
  'reflect-metadata',
  'rxjs',
  'ts-jest',
  'vitest',
];

const TYPESCRIPT_6 = 'node_modules/typescript/bin/tsc';
const TYPESCRIPT_5 = 'test/nest-11/node_modules/typescript/bin/tsc';
/** Either kind of module, with either Nest; every resolution that TypeScript has; the last compilers of 5 and of 6. */
const BUILDS = [
  { modules: 'ESM', folder: 'esm', type: 'module', compiler: TYPESCRIPT_6 },
  { modules: 'CommonJS', folder: 'cjs', type: 'commonjs', compiler: TYPESCRIPT_5 },
] as const;

// A test is stopped after its process is.
vi.setConfig({ testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let older: string;
let server: ChildServer;
let nodes: Promise<OtherNodes>;
beforeAll(async () => {
  nodes = downloadNodes(OTHER_NODES);
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

describe.each<Nest>([12, 11])('an application of Nest %i that npm has installed the package in', (nest) => {
  let folder: string;
  beforeAll(() => {
    folder = applicationFolder();
    // As CommonJS: the `useDate` of ts-proto imports from protobufjs what ES modules cannot have of it.
    if (nest === 11) writeInterfaces(folder, 'cjs/test/consumers/apps');
    install(packed, folder, { nest, packages: PACKAGES, own: { '@example/orders-client': 'orders-client' } });
    return () => {
      rmSync(folder, { recursive: true });
    };
  });

  const run = async (program: string, build: string, name: Name): Promise<unknown> =>
    JSON.parse(await node(program, folder, `${build}/dist/test/consumers/apps/${name}.js`));

  it('has a second copy, of the package of the company', async () => {
    const own = join(folder, 'orders-client/node_modules/nestjs-resilient-grpc/package.json');
    expect(JSON.parse(readFileSync(own, 'utf8'))).toMatchObject({ version: '0.0.1' });
    await node(process.execPath, folder, join(ROOT, TYPESCRIPT_6), '-p', 'orders-client');
  });

  // Those of Nest 12 are those of docs/testing.md.
  if (nest === 11) {
    const apps = 'esm/test/consumers/apps';
    const jest = ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--config', `${apps}/jest.config.json`];
    const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--root', apps];
    it.concurrent.each([
      ['Jest', [...jest, '--json']],
      ['Vitest', [...vitest, '--reporter=json']],
    ])('passes its tests under %s', async (_runner, args) => {
      const report = await node(process.execPath, folder, ...args);
      expect(JSON.parse(report.slice(report.indexOf('{')))).toMatchObject({ numPassedTests: 1, numFailedTests: 0 });
    });
  }

  describe.each(BUILDS)('as $modules', ({ folder: build, compiler }) => {
    it('compiles, with every declaration of every package', async () => {
      const project = `${build}/test/consumers/apps/tsconfig.nest-${nest}-${build}.json`;
      await node(process.execPath, folder, join(ROOT, compiler), '-p', project);
    });

    // Processes of their own, which mostly start.
    describe.concurrent('and does what it is written for', () => {
      it.each(namesFor(nest, build))('%s', async (name) => {
        expect(await run(process.execPath, build, name)).toEqual(APPLICATIONS[name]);
      });

      it.each(OTHER_NODES)('on Node %s', async (version) => {
        const { programs, missing } = await nodes;
        const program = programs.get(version);
        if (program === undefined) {
          console.log(`Node ${version} cannot be had here, so nothing was tried on it: ${missing.get(version)}`);
          return;
        }
        const name = build === 'esm' ? 'hybrid' : 'internal-library';
        expect(await run(program, build, name)).toEqual(APPLICATIONS[name]);
      });
    });
  });
});

/** Makes a folder with the sources of the applications, once for each build; nothing is installed in it. */
function applicationFolder(): string {
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
