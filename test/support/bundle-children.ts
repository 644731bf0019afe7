// Vitest global setup: bundles programs that load Nest in their own process. Nest takes 1.1 s of CPU time to start from its 800 files,
// and 0.4 s from a bundle. A program that uses only grpc-js starts no faster from a bundle.
// NODE_OPTIONS=--enable-source-maps shows the sources in the stack traces of these programs.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown, type Plugin } from 'rolldown';
import { BUNDLES, ROOT, bundleName } from './bundled.js';

/** Programs to bundle, as paths relative to the root. Programs that import computed paths cannot be bundled. */
const PROGRAMS = [
  'examples/first-call/main.ts',
  'examples/first-call/orders-service.ts',
  'examples/kubernetes/orders.main.ts',
  'examples/shutdown/main.ts',
  'test/addresses/system-resolver-client.ts',
  'test/frames/fuzz-process.mjs',
  'test/scenarios/support/gateway-process.mjs',
  'test/scenarios/support/orders-nest.mjs',
  'test/server/other-runtimes/orders-app.mjs',
  'test/server/support/orders-app.mjs',
  'test/server/support/pouring-server.mjs',
  'test/support/closing-app.mjs',
  'test/support/resolving-client.mjs',
  'test/support/unclosed-client.mjs',
];

/** Plugin that keeps `__dirname`, `import.meta.dirname`, and `import.meta.url` of each module, so that modules in a bundle can read their neighboring files. */
const ownPlaces: Plugin = {
  name: 'own-places',
  transform: {
    filter: { code: /\b__dirname\b|\bimport\.meta\.(?:url|dirname)\b/ },
    handler: (code, id) => ({
      code: code
        .replaceAll(/\b(?:__dirname|import\.meta\.dirname)\b/g, JSON.stringify(dirname(id)))
        .replaceAll(/\bimport\.meta\.url\b/g, JSON.stringify(pathToFileURL(id).href)),
      // The code needs no source map, because the line numbers stay the same.
      map: null,
    }),
  },
};

export async function setup(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bundles-'));
  // Removes the folder on exit, because a Vitest teardown would not run after Ctrl-C.
  process.once('exit', () => {
    rmSync(folder, { recursive: true });
  });
  const bundle = await rolldown({
    input: Object.fromEntries(PROGRAMS.map((path) => [bundleName(path), join(ROOT, path)])),
    cwd: ROOT,
    platform: 'node',
    resolve: { extensionAlias: { '.js': ['.ts', '.js'] } },
    transform: { decorator: { legacy: true, emitDecoratorMetadata: true } },
    plugins: [ownPlaces],
    // Suppresses warnings about Nest's optional packages, most of which are not installed.
    onLog: () => undefined,
  });
  await bundle.write({
    dir: folder,
    entryFileNames: '[name]',
    chunkFileNames: '[name]-[hash].mjs',
    sourcemap: true,
    sourcemapExcludeSources: true,
  });
  process.env[BUNDLES] = folder;
}
