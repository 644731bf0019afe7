import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  consumerOf,
  packLibrary,
  ROOT,
  run,
  RUN_LIMIT_MS,
  type Consumer,
  type PackedLibrary,
} from '../consumers/packed-library.js';
import { brokenLinks, codeBlocks } from '../docs/markdown.js';
import { startRegistry } from './installed-registry.js';
import { compileInEachResolution } from './module-resolutions.js';

interface Target {
  readonly types: string;
  readonly default: string;
}

interface Manifest {
  readonly type: string;
  readonly exports: Readonly<Record<string, string | Readonly<Record<'import' | 'require', Target>>>>;
  readonly keywords: readonly string[];
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
}

const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

// The timeouts are longer than the limit of a child process, so that the process is stopped before its test times out.
vi.setConfig({ testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let manifest: Manifest;
/** Import specifiers of all entries. */
let entries: readonly string[];
beforeAll(() => {
  packed = packLibrary();
  manifest = json<Manifest>(join(packed.folder, 'package.json'));
  entries = Object.entries(manifest.exports).flatMap(([entry, target]) =>
    typeof target === 'string' ? [] : [join('nestjs-resilient-grpc', entry)],
  );
  return packed.remove;
});

describe('published package', () => {
  it('publishes only compiled sources, assets, the command, the README, and the license', () => {
    const known =
      /^(package\.json|LICENSE|(README|CHANGELOG|SECURITY)\.md|docs\/(.+\.md|operate\/(grafana-dashboard\.json|prometheus-rules\.yml)|restart\.svg)|dist\/(cjs\/package\.json|page-files\.cjs|.+\.(js|d\.ts))|assets\/exit-with-parent\.cjs|bin\/nestjs-resilient-grpc\.js)$/;
    expect(packed.files.filter((file) => !known.test(file) || file.includes('.spec.'))).toEqual([]);
    expect(packed.files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'CHANGELOG.md']));
  });

  it('publishes a package of at most 2,900 KiB, of which 260 are pages, as the README says, in a tarball of at most 850 KiB', async ({
    annotate,
  }) => {
    const unpacked = packed.files.reduce((sum, file) => sum + statSync(join(packed.folder, file)).size, 0) / 1_024;
    const tarball = statSync(packed.tarball).size / 1_024;
    await annotate(`${tarball.toFixed()} KiB to download, ${unpacked.toFixed()} KiB unpacked`);
    expect(unpacked).toBeLessThan(2_900);
    expect(tarball).toBeLessThan(850);
    const { bench } = json<{ bench: { packageMib: { ours: number } } }>(join(ROOT, 'docs/results.json'));
    expect(unpacked / 1_024).toBeCloseTo(bench.packageMib.ours, 1);
  });

  it('publishes every file named by exports, main, types, and typesVersions in package.json', () => {
    const { exports, main, types, typesVersions } = json<Manifest & Record<string, string>>(
      join(packed.folder, 'package.json'),
    );
    const named = JSON.stringify([exports, main, types, typesVersions]).match(/(?<="\.\/)[^"]+\.(js|json|ts)(?=")/g)!;
    expect(named.length).toBeGreaterThan(entries.length * 3);
    expect(named.filter((file) => !packed.files.includes(file))).toEqual([]);
  });

  it('publishes no reference to a source map, because the package contains no source maps', () => {
    const modules = packed.files.filter((file) => file.startsWith('dist/') && file.endsWith('.js'));
    const mapped = modules.filter((file) =>
      readFileSync(join(packed.folder, file), 'utf8').includes('sourceMappingURL='),
    );
    expect(mapped).toEqual([]);
  });

  it('publishes the pages to which the README, log lines, and commands point, without broken links', () => {
    const pages = packed.files.filter((file) => file.endsWith('.md'));
    const broken = pages.flatMap((page) => brokenLinks(join(relative(ROOT, packed.folder), page)));
    expect(broken).toEqual([]);
    const read = (file: string) => readFileSync(file, 'utf8');
    const linked = read(join(ROOT, 'README.md')).match(/(?<=\]\()docs\/[^)]+/g)!;
    expect(read(join(packed.folder, 'README.md')).match(/(?<=\]\()docs\/[^)]+/g)).toEqual(linked);
    const modules = packed.files.filter((file) => file.startsWith('dist/esm/'));
    const named = modules.flatMap(
      (file) =>
        read(join(packed.folder, file)).match(/(?<=node_modules\/nestjs-resilient-grpc\/)docs\/[\w/-]+\.md/g) ?? [],
    );
    expect(new Set(named).size).toBeGreaterThan(1);
    expect(named.filter((page) => !pages.includes(page))).toEqual([]);
  });

  it('publishes a package that publint accepts', async () => {
    const { messages, pkg } = await publint({ pkgDir: packed.folder, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('resolves the package to correct types in every module resolution that attw checks', () => {
    // attw also checks node10, which uses typesVersions.
    const attw = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    run(process.execPath, [attw, packed.tarball, '--format', 'ascii'], ROOT);
  });

  it('exports the same names from both builds of each entry', () => {
    const consumer = consumerOf(packed, { copied: [] });
    onTestFinished(consumer.remove);
    const code = `
      const names = async (path) => Object.keys(await import(path)).filter((name) => !['default', '__esModule', 'module.exports'].includes(name)).sort();
      for (const [path, other] of ${JSON.stringify(
        Object.values(manifest.exports).flatMap((target) =>
          typeof target === 'string' ? [] : [[target.import.default, target.require.default]],
        ),
      )}) {
        const [imported, required] = await Promise.all([path, other].map((file) => names('./node_modules/nestjs-resilient-grpc/' + file)));
        if (imported.join() !== required.join() || imported.length === 0) throw new Error(path + ': ' + imported + ' instead of ' + required);
      }
      console.log('same');`;
    expect(consumer.node('--input-type=module', '-e', code).trim()).toBe('same');
  });

  it('declares keywords for searches in registries', () => {
    expect(manifest.keywords).toEqual(expect.arrayContaining(['nestjs', 'grpc', 'retry', 'microservices']));
  });

  it('declares the package as an ES module with peer ranges that include Nest 11 and 12', () => {
    expect(manifest.type).toBe('module');
    expect(manifest.peerDependencies).toMatchObject({
      '@grpc/grpc-js': '^1.14.0',
      '@nestjs/common': '^11.1.4 || ^12.0.0',
      '@nestjs/core': '^11.1.4 || ^12.0.0',
      '@nestjs/microservices': '^11.1.4 || ^12.0.0',
      '@nestjs/terminus': '^11.0.0 || ^12.0.0',
    });
    expect(manifest.peerDependencies['rxjs']).toMatch(/^\^7\./);
  });

  it('depends only on the package explained in docs/internals/decisions, which is no peer', () => {
    expect(Object.keys(manifest.dependencies)).toEqual(['valibot']);
    expect(Object.keys(manifest.dependencies).filter((name) => name in manifest.peerDependencies)).toEqual([]);
  });

  it('marks peers of optional features as optional', () => {
    const optional = Object.keys(manifest.peerDependenciesMeta);
    expect(Object.values(manifest.peerDependenciesMeta).every((meta) => meta.optional)).toBe(true);
    expect(optional).toEqual(expect.arrayContaining(['@grpc/reflection', '@nestjs/terminus', '@opentelemetry/api']));
    expect(optional).not.toContain('@grpc/grpc-js');
  });
});

describe('application with all peers installed', () => {
  let consumer: Consumer;
  beforeAll(() => {
    consumer = consumerOf(packed, { copied: [] });
    return consumer.remove;
  });

  it('finds the types of every entry with node10, node16, nodenext, and bundler', () => {
    compileInEachResolution(entries, consumer.folder);
  });

  it('imports the package and annotates the test with the import time', async ({ annotate }) => {
    const code = `
      const time = async (...names) => {
        const begun = performance.now();
        for (const name of names) await import(name);
        return (performance.now() - begun).toFixed();
      };
      const peers = await time('reflect-metadata', '@nestjs/common', '@nestjs/core', '@nestjs/microservices', '@grpc/grpc-js', '@grpc/proto-loader', 'rxjs');
      console.log(\`\${await time('nestjs-resilient-grpc')} ms to import, after \${peers} ms for its peers\`);`;
    const printed = consumer.node('--input-type=module', '-e', code).trim();
    expect(printed).toMatch(/^\d+ ms to import/);
    await annotate(printed);
  });
});

describe.each([12, 11] as const)('application with Nest %i', (nest) => {
  let consumer: Consumer;
  beforeAll(() => {
    consumer = consumerOf(packed, { copied: [], without: Object.keys(manifest.peerDependenciesMeta), nest });
    return consumer.remove;
  });

  it.each([
    ['nestjs-resilient-grpc', 'ResilientGrpcModule'],
    ['nestjs-resilient-grpc/dashboard', 'ResilientGrpcDashboardModule'],
    ['nestjs-resilient-grpc/server', 'ResilientGrpcServerModule'],
  ])(`loads %s with Nest ${nest} without the optional peers`, (entry, name) => {
    const code = `console.log(typeof (await import('${entry}')).${name})`;
    expect(consumer.node('--input-type=module', '-e', code).trim()).toBe('function');
  });

  it(`runs the doctor command of the packed package with Nest ${nest} and reports a refused connection`, () => {
    const command = 'node_modules/nestjs-resilient-grpc/bin/nestjs-resilient-grpc.js';
    expect(consumer.node(command, '--help')).toContain('nestjs-resilient-grpc doctor <target>');
    const code = `
      import { runDoctor } from './node_modules/nestjs-resilient-grpc/dist/doctor/run-doctor.js';
      process.exitCode = (await runDoctor(['doctor', '127.0.0.1:1'], process)) - 1;`;
    expect(consumer.node('--input-type=module', '-e', code)).toContain('refused the connection');
  });

  it(`serves the dashboard page, its script, and the chart library from the packed package with Nest ${nest}`, () => {
    const code = `
      import 'reflect-metadata';
      import { NestFactory } from '@nestjs/core';
      import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
      const app = await NestFactory.create(ResilientGrpcDashboardModule.forRoot({ public: true }), { logger: false });
      await app.listen(0, '127.0.0.1');
      const get = async (path) => (await fetch(await app.getUrl() + path)).status;
      console.log(await get('/grpc'), await get('/grpc/page.js'), await get('/grpc/uplot.js'));
      await app.close();`;
    expect(consumer.node('--input-type=module', '-e', code).trim()).toBe('200 200 200');
  });

  it(`installs the peers that are missing with Nest ${nest}, in versions that fit, by the command of the README`, async () => {
    const registry = await startRegistry();
    const folder = mkdtempSync(join(tmpdir(), 'readme-'));
    onTestFinished(() => {
      registry.close();
      rmSync(folder, { recursive: true });
    });
    const [command] = codeBlocks('README.md').filter(({ text }) => text.startsWith('npm i '));
    const packages = command!.text.trim().split(' ').slice(2);
    const range = `^${nest}.0.0`;
    const dependencies = { '@nestjs/common': range, '@nestjs/core': range, '@nestjs/platform-express': range };
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ dependencies }));
    const args = [
      'i',
      '--package-lock-only',
      '--no-audit',
      '--registry',
      registry.url,
      '--cache',
      join(folder, 'cache'),
    ];
    const named = packages.map((name) => (name === 'nestjs-resilient-grpc' ? packed.tarball : name));
    // As in an application that exists, the first command installs its own dependencies.
    for (const more of [[], named]) await promisify(execFile)('npm', [...args, ...more], { cwd: folder });
    const lock = json<{ packages: Record<string, { version: string }> }>(join(folder, 'package-lock.json'));
    const major = (name: string) => Number.parseInt(lock.packages[`node_modules/${name}`]!.version);
    expect([major('@nestjs/microservices'), major('@grpc/grpc-js'), major('@grpc/proto-loader')]).toEqual([nest, 1, 0]);
  });
});

describe('application that loads both builds', () => {
  let consumer: Consumer;
  beforeAll(() => {
    // Uses Nest 11, because Nest 12 has no CommonJS build.
    consumer = consumerOf(packed, { copied: ['protos', 'test/consumers/both-builds.mjs'], nest: 11 });
    return consumer.remove;
  });

  it('resolves clients, recognizes errors, and applies filters across the ES module and CommonJS builds', () => {
    const printed = consumer.node('--no-experimental-require-module', 'test/consumers/both-builds.mjs');
    expect(JSON.parse(printed)).toEqual({
      builds: 2,
      warnings: ['this application contains several copies of nestjs-resilient-grpc'],
      items: ['tea', 'tea', 'tea', 'tea'],
      guards: [true, true],
      instances: [true, true],
      errorClasses: {
        CircuitOpenError: true,
        ConcurrencyLimitError: true,
        CursorRegressionError: true,
        DeadlineError: true,
        GrpcCallError: true,
        GrpcConfigurationError: true,
        GrpcException: true,
        IdleTimeoutError: true,
        ReplayError: true,
        ResumeError: true,
      },
      statuses: [404, 404],
      afterRestart: ['tea', 'tea'],
    });
  });

  // The library must not call require() when it checks the call, because a timer can run this check after the end of a test file, and Jest
  // then rejects require().
  it('logs a call that was awaited but not subscribed to, without another require() in the CommonJS build', () => {
    const code = `
      require('reflect-metadata');
      const Module = require('node:module');
      const { NestFactory } = require('@nestjs/core');
      const { ResilientGrpcModule, getGrpcServiceToken } = require('nestjs-resilient-grpc');
      const orders = { name: 'orders', url: '127.0.0.1:1', protoPath: 'protos/orders.proto' };
      const logger = { log() {}, error: console.error, warn: (line) => console.log(String(line)) };
      NestFactory.createApplicationContext(ResilientGrpcModule.forFeature([orders]), { logger }).then(async (app) => {
        await app.get(getGrpcServiceToken('orders', 'Orders')).get({ id: '7' });
        const { require } = Module.prototype;
        Module.prototype.require = function (id) {
          if (this.filename.includes('nestjs-resilient-grpc')) throw new Error('require() of ' + id);
          return require.call(this, id);
        };
        await app.close();
      });`;
    const printed = consumer.node('--no-experimental-require-module', '--input-type=commonjs', '-e', code);
    expect(printed).toMatch(/Orders\/Get: the call.* was awaited but not subscribed to/);
  });
});
