import { readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  consumerOf,
  packLibrary,
  ROOT,
  run,
  RUN_LIMIT_MS,
  type Consumer,
  type PackedLibrary,
} from '../consumers/packed-library.js';
import { brokenLinks } from '../docs/markdown.js';
import { compileInEachResolution } from './module-resolutions.js';

interface Manifest {
  readonly type: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
}

/** Expected size of the unpacked package in kB. It shows unintended growth; it is not a limit. */
const UNPACKED_KB = 2_210;

const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

// Longer than the limit of a child process, so that the process is stopped before its test.
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
  it('contains only compiled sources, dashboard assets, the command, the docs and the license', () => {
    const known =
      /^(package\.json|LICENSE|(README|CHANGELOG|docs\/.+)\.md|dist\/.+\.(js|d\.ts)|assets\/dashboard\/[a-z-]+\.(html|css|js|svg)|bin\/nestjs-resilient-grpc\.js)$/;
    expect(packed.files.filter((file) => !known.test(file) || file.includes('.spec.'))).toEqual([]);
    expect(packed.files).toEqual(
      expect.arrayContaining(['LICENSE', 'README.md', 'CHANGELOG.md', 'assets/dashboard/index.html']),
    );
  });

  it('stays within 10 % of its expected size', async ({ annotate }) => {
    const bytesOf = (files: readonly string[]) =>
      files.reduce((sum, file) => sum + statSync(join(packed.folder, file)).size, 0);
    const sizes = [
      statSync(packed.tarball).size,
      bytesOf(packed.files),
      bytesOf(packed.files.filter((file) => file.startsWith('assets/'))),
    ];
    const [tarball, unpacked, assets] = sizes.map((bytes) => bytes / 1_000);
    await annotate(`${tarball!.toFixed()} kB to download, ${unpacked!.toFixed()} kB unpacked`);
    // Above this, find what was added to the package, and raise the expected size if it belongs there.
    expect(unpacked).toBeLessThan(UNPACKED_KB * 1.1);
    // The limit of the project: users download at most 2 MB.
    expect(tarball).toBeLessThan(2_000);
    // The dashboard must stay a small part of the package.
    expect(assets).toBeLessThan(100);
  });

  it('contains every file that its package.json names', () => {
    const { exports, main, types, typesVersions } = json<Manifest & Record<string, string>>(
      join(packed.folder, 'package.json'),
    );
    const named = JSON.stringify([exports, main, types, typesVersions]).match(/(?<="\.\/)[^"]+\.(js|json|ts)(?=")/g)!;
    expect(named.length).toBeGreaterThan(entries.length * 3);
    expect(named.filter((file) => !packed.files.includes(file))).toEqual([]);
  });

  it('references no source maps, because the package contains none', () => {
    const modules = packed.files.filter((file) => file.startsWith('dist/') && file.endsWith('.js'));
    const mapped = modules.filter((file) =>
      readFileSync(join(packed.folder, file), 'utf8').includes('sourceMappingURL='),
    );
    expect(mapped).toEqual([]);
  });

  it('contains no broken link in its docs', () => {
    const pages = packed.files.filter((file) => file.endsWith('.md'));
    const broken = pages.flatMap((page) => brokenLinks(join(relative(ROOT, packed.folder), page)));
    expect(broken).toEqual([]);
  });

  it('satisfies publint', async () => {
    const { messages, pkg } = await publint({ pkgDir: packed.folder, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('resolves to correct types in every module resolution that attw checks', () => {
    // node10 uses typesVersions. The package is ESM only on purpose: a second build would duplicate every injection token, and
    // require() loads ESM since Node 20.19.
    const rules = ['--ignore-rules', 'cjs-resolves-to-esm'];
    const attw = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    run(process.execPath, [attw, packed.tarball, ...rules, '--format', 'ascii'], ROOT);
  });

  it('declares an ES module and supports Nest 11 and 12', () => {
    expect(manifest.type).toBe('module');
    expect(manifest.peerDependencies).toMatchObject({
      '@grpc/grpc-js': '^1.14.7',
      '@nestjs/common': '^11.0.0 || ^12.0.0',
      '@nestjs/core': '^11.0.0 || ^12.0.0',
      '@nestjs/microservices': '^11.0.0 || ^12.0.0',
      '@nestjs/terminus': '^11.0.0 || ^12.0.0',
    });
    expect(manifest.peerDependencies['rxjs']).toMatch(/^\^7\./);
  });

  it('depends only on the two packages explained in docs/decisions, and neither is a peer', () => {
    expect(Object.keys(manifest.dependencies)).toEqual(['uplot', 'valibot']);
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

  it('finds the types of every entry with node10, node16, nodenext and bundler', () => {
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
  ])('loads %s without the optional peers', (entry, name) => {
    const code = `console.log(typeof (await import('${entry}')).${name})`;
    expect(consumer.node('--input-type=module', '-e', code).trim()).toBe('function');
  });

  it('runs the doctor command, which reports a refused connection', () => {
    const command = 'node_modules/nestjs-resilient-grpc/bin/nestjs-resilient-grpc.js';
    expect(consumer.node(command, '--help')).toContain('nestjs-resilient-grpc doctor <target>');
    const code = `
      import { runDoctor } from './node_modules/nestjs-resilient-grpc/dist/doctor/run-doctor.js';
      process.exitCode = (await runDoctor(['doctor', '127.0.0.1:1'], process)) - 1;`;
    expect(consumer.node('--input-type=module', '-e', code)).toContain('refused the connection');
  });

  it('serves the files of the dashboard, including the chart library', () => {
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

  it('loads the package with require()', () => {
    const code = `console.log(typeof require('nestjs-resilient-grpc').ResilientGrpcModule)`;
    expect(consumer.node('--input-type=commonjs', '-e', code).trim()).toBe('function');
  });
});
