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

/** Kilobytes of the package, unpacked. */
const UNPACKED_KB = 1_860;

const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

// A test is stopped after its process is.
vi.setConfig({ testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let manifest: Manifest;
/** What can be imported, as users write it. */
let entries: readonly string[];
beforeAll(() => {
  packed = packLibrary();
  manifest = json<Manifest>(join(packed.folder, 'package.json'));
  entries = Object.entries(manifest.exports).flatMap(([entry, target]) =>
    typeof target === 'string' ? [] : [join('nestjs-resilient-grpc', entry)],
  );
  return packed.remove;
});

describe('the published package', () => {
  it('holds what its sources compile to, its command, its pages and its licence, and nothing else', () => {
    const known =
      /^(package\.json|LICENSE|(README|CHANGELOG|docs\/.+)\.md|dist\/.+\.(js|d\.ts)|assets\/dashboard\/[a-z-]+\.(html|css|js|svg)|bin\/nestjs-resilient-grpc\.js)$/;
    expect(packed.files.filter((file) => !known.test(file) || file.includes('.spec.'))).toEqual([]);
    expect(packed.files).toEqual(
      expect.arrayContaining(['LICENSE', 'README.md', 'CHANGELOG.md', 'assets/dashboard/index.html']),
    );
  });

  it('is about as large as it was', async ({ annotate }) => {
    const bytesOf = (files: readonly string[]) =>
      files.reduce((sum, file) => sum + statSync(join(packed.folder, file)).size, 0);
    const sizes = [
      statSync(packed.tarball).size,
      bytesOf(packed.files),
      bytesOf(packed.files.filter((file) => file.startsWith('assets/'))),
    ];
    const [tarball, unpacked, assets] = sizes.map((bytes) => bytes / 1_000);
    await annotate(`${tarball!.toFixed()} kB to download, ${unpacked!.toFixed()} kB unpacked`);
    // 10 % more than it was: raise it for a reason.
    expect(unpacked).toBeLessThan(UNPACKED_KB * 1.1);
    expect(unpacked).toBeLessThan(2_000);
    // The page is no reason to think twice.
    expect(assets).toBeLessThan(100);
  });

  it('holds every file that its package.json names', () => {
    const { exports, main, types, typesVersions } = json<Manifest & Record<string, string>>(
      join(packed.folder, 'package.json'),
    );
    const named = JSON.stringify([exports, main, types, typesVersions]).match(/(?<="\.\/)[^"]+\.(js|json|ts)(?=")/g)!;
    expect(named.length).toBeGreaterThan(entries.length * 3);
    expect(named.filter((file) => !packed.files.includes(file))).toEqual([]);
  });

  it('names no source map: it has none', () => {
    const modules = packed.files.filter((file) => file.startsWith('dist/') && file.endsWith('.js'));
    const mapped = modules.filter((file) =>
      readFileSync(join(packed.folder, file), 'utf8').includes('sourceMappingURL='),
    );
    expect(mapped).toEqual([]);
  });

  it('has no dead link in its pages', () => {
    const pages = packed.files.filter((file) => file.endsWith('.md'));
    const broken = pages.flatMap((page) => brokenLinks(join(relative(ROOT, packed.folder), page)));
    expect(broken).toEqual([]);
  });

  it('satisfies publint', async () => {
    const { messages, pkg } = await publint({ pkgDir: packed.folder, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('has types that are right in every resolution of TypeScript', () => {
    // In each of attw's: node10 too, by typesVersions. ESM only, on purpose: a second build would be a second identity of every
    // injection token, and require() loads it from Node 20.19 on.
    const rules = ['--ignore-rules', 'cjs-resolves-to-esm'];
    const attw = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    run(process.execPath, [attw, packed.tarball, ...rules, '--format', 'ascii'], ROOT);
  });

  it('is ESM, for Nest 11 and 12', () => {
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

  it('brings the two packages that docs/decisions explain, and no second copy of a peer', () => {
    expect(Object.keys(manifest.dependencies)).toEqual(['uplot', 'valibot']);
    expect(Object.keys(manifest.dependencies).filter((name) => name in manifest.peerDependencies)).toEqual([]);
  });

  it('needs of a peer only those who use it', () => {
    const optional = Object.keys(manifest.peerDependenciesMeta);
    expect(Object.values(manifest.peerDependenciesMeta).every((meta) => meta.optional)).toBe(true);
    expect(optional).toEqual(expect.arrayContaining(['@grpc/reflection', '@nestjs/terminus', '@opentelemetry/api']));
    expect(optional).not.toContain('@grpc/grpc-js');
  });
});

describe('an application that installed it with all its peers', () => {
  let consumer: Consumer;
  beforeAll(() => {
    consumer = consumerOf(packed, { copied: [] });
    return consumer.remove;
  });

  it('finds the types of every entry by node10, node16, nodenext and bundler', () => {
    compileInEachResolution(entries, consumer.folder);
  });

  it('loads it, in a time that is told and not judged', async ({ annotate }) => {
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

describe.each([12, 11] as const)('an application that installed it beside Nest %i', (nest) => {
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

  it('has its command, which tells why nobody answers', () => {
    const command = 'node_modules/nestjs-resilient-grpc/bin/nestjs-resilient-grpc.js';
    expect(consumer.node(command, '--help')).toContain('nestjs-resilient-grpc doctor <target>');
    const code = `
      import { runDoctor } from './node_modules/nestjs-resilient-grpc/dist/doctor/run-doctor.js';
      process.exitCode = (await runDoctor(['doctor', '127.0.0.1:1'], process)) - 1;`;
    expect(consumer.node('--input-type=module', '-e', code)).toContain('refused the connection');
  });

  it('has the files of the dashboard, those of the chart library among them', () => {
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

  it('loads it by require, too', () => {
    const code = `console.log(typeof require('nestjs-resilient-grpc').ResilientGrpcModule)`;
    expect(consumer.node('--input-type=commonjs', '-e', code).trim()).toBe('function');
  });
});
