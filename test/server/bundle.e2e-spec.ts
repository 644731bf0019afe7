import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { rolldown, type InputOptions, type Plugin } from 'rolldown';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import { ROOT } from '../support/bundled.js';

/** Resolves the packages of Nest from `test/nest-11`. Optional packages that are not installed there remain imports in the bundle. */
const nest11: Plugin = {
  name: 'nest-11',
  resolveId: {
    filter: { id: /^@nestjs\// },
    handler: async function (id) {
      const found = await this.resolve(id, join(ROOT, 'test/nest-11/version.spec.ts'), { skipSelf: true });
      return found?.id.includes('/nest-11/') === true ? found : { id, external: true };
    },
  },
};

describe.each<[string, InputOptions]>([
  ['Nest 12', {}],
  ['Nest 11', { plugins: [nest11] }],
  // Replaces import.meta.url with undefined, as esbuild does in a CommonJS bundle.
  ['Nest 12, without import.meta.url', { transform: { define: { 'import.meta.url': 'undefined' } } }],
])('self-contained bundle with %s', (_nest, options) => {
  // The folder is outside the repository, so that no package can be resolved from it.
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  beforeAll(async () => {
    const bundle = await rolldown({
      input: join(ROOT, 'test/server/support/bundled-app.mjs'),
      cwd: ROOT,
      platform: 'node',
      ...options,
      // Suppresses warnings about Nest's optional packages, most of which are not installed.
      onLog: () => undefined,
    });
    await bundle.write({ file: join(folder, 'app.mjs'), codeSplitting: false });
  });

  const run = async (...args: string[]) => {
    const { stdout } = await promisify(execFile)(process.execPath, ['app.mjs', ORDERS_PROTO, ...args], { cwd: folder });
    return JSON.parse(stdout) as unknown;
  };

  it.each([
    ['protoPath', []],
    ['packageDefinition', ['--definition']],
    ['the default protoLoader by name', ['{ "protoLoader": "@grpc/proto-loader" }']],
  ])('serves calls from a self-contained bundle with %s', async (_what, args) => {
    expect(await run(...args)).toMatchObject({ id: '7', item: 'tea' });
  });

  it.each([
    [
      'protoLoader',
      '{ "protoLoader": "my-loader" }',
      /Cannot find module 'my-loader'\); install the package \(for a bundled application, next to the bundle\)/,
    ],
    [
      'reflection',
      '{ "reflection": true }',
      /run npm install @grpc\/reflection \(for a bundled application, next to the bundle\)/,
    ],
  ])(
    'fails with an error that names the package to install next to the bundle for the option %s',
    async (_option, given, message) => {
      await expect(run(given)).rejects.toThrow(message);
    },
  );
});
