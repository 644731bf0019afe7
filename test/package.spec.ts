import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { beforeAll, describe, expect, it } from 'vitest';
import { consumerOf, packLibrary, ROOT, run, type Consumer, type PackedLibrary } from './consumers/packed-library.js';

interface Manifest {
  readonly type: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional: boolean }>>;
}

const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;

let packed: PackedLibrary;
let manifest: Manifest;
beforeAll(() => {
  packed = packLibrary();
  manifest = json<Manifest>(join(packed.folder, 'package.json'));
  return packed.remove;
}, 120_000);

describe('the published package', () => {
  it('holds what its sources compile to, its command, its licence, and nothing else', () => {
    const others = packed.files.filter((file) => !/^(package\.json|LICENSE|README\.md)$/.test(file));
    const known =
      /^(dist\/.+\.(js|js\.map|d\.ts)|assets\/dashboard\/[a-z-]+\.(html|css|js|svg)|bin\/nestjs-resilient-grpc\.js)$/;
    const odd = others.filter((file) => !known.test(file) || file.includes('.spec.'));
    expect(odd).toEqual([]);
    expect(packed.files).toContain('LICENSE');
    const assets = packed.files.filter((file) => file.startsWith('assets/')).map((file) => join(packed.folder, file));
    expect(assets).toContain(join(packed.folder, 'assets/dashboard/index.html'));
    // The page is no reason to think twice.
    expect(assets.reduce((sum, file) => sum + statSync(file).size, 0)).toBeLessThan(100_000);
  });

  it('holds every file that its exports name', () => {
    const named = Object.values(manifest.exports).flatMap((target) =>
      typeof target === 'string' ? [target] : Object.values(target),
    );
    expect(named.map((file: string) => file.replace('./', '')).filter((file) => !packed.files.includes(file))).toEqual(
      [],
    );
  });

  it('satisfies publint', async () => {
    const { messages, pkg } = await publint({ pkgDir: packed.folder, pack: false, strict: true });
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([]);
  });

  it('has types that are right in every resolution of TypeScript', () => {
    // ESM only, on purpose: a second build would be a second identity of every injection token.
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

  it('needs Terminus and reflection only of those who use them, and brings no second copy of a peer', () => {
    const optional = Object.entries(manifest.peerDependenciesMeta).flatMap(([name, meta]) =>
      meta.optional ? [name] : [],
    );
    expect(optional).toEqual(expect.arrayContaining(['@grpc/reflection', '@nestjs/terminus']));
    expect(optional).not.toContain('@grpc/grpc-js');
    expect(Object.keys(manifest.dependencies ?? {}).filter((name) => name in manifest.peerDependencies)).toEqual([]);
  });
});

describe.each([12, 11] as const)('an application that installed it beside Nest %i', (nest) => {
  let consumer: Consumer;
  beforeAll(() => {
    consumer = consumerOf(packed, { copied: [], without: ['@grpc/reflection', '@nestjs/terminus'], nest });
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
});

describe('the lock of dependencies', () => {
  it('holds every optional package it names, or npm ci fails in a fresh clone', () => {
    const lock = json<{ packages: Record<string, { optionalDependencies?: Record<string, string> }> }>(
      join(ROOT, 'package-lock.json'),
    );
    const missing = Object.entries(lock.packages).flatMap(([at, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies)
        .filter((name) => !placesOf(at, name).some((place) => place in lock.packages))
        .map((name) => `${name}, of ${at}`),
    );
    expect(missing).toEqual([]);
  });
});

/** Where Node would look for `name` from the package at `at`, nearest first. */
function placesOf(at: string, name: string): string[] {
  const parents = at
    .split('/node_modules/')
    .map((_part, index, parts) => parts.slice(0, parts.length - index).join('/node_modules/'));
  return [...parents.map((parent) => `${parent}/node_modules/${name}`), `node_modules/${name}`];
}
