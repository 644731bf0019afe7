// node tools/packed-dist.mjs: npm runs it before packing. Replaces the modules in dist/ with two bundles without comments: dist/esm, which
// contains the entries and the commands as ES modules, and dist/cjs, which contains the entries as CommonJS. Keeps the declarations that
// the entries import, and copies them for the CommonJS build. The next `tsc -b` restores dist/.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LIBRARY = join(ROOT, 'libs/resilient-grpc');
const DIST = join(LIBRARY, 'dist');
const CJS = join(DIST, 'cjs');
const ESM = join(DIST, 'esm');

const IMPORT = /(?:from|import\()\s*['"](\.[^'"]+)\.js['"]/g;

/**
 * Adds `file` and every declaration that it imports, directly or indirectly, to `found`.
 * @param {string} file
 * @param {Set<string>} found
 */
function reach(file, found) {
  if (found.has(file)) return;
  found.add(file);
  for (const [, target] of readFileSync(file, 'utf8').matchAll(IMPORT))
    reach(join(dirname(file), `${target}.d.ts`), found);
}

/** @typedef {{ types: string, default: string }} Target */
/** @type {{ exports: Record<string, string | { import: Target, require: Target }> }} */
const manifest = JSON.parse(readFileSync(join(LIBRARY, 'package.json'), 'utf8'));
const entries = Object.values(manifest.exports).flatMap((entry) => (typeof entry === 'object' ? [entry] : []));
const needed = new Set();
for (const entry of entries) reach(join(LIBRARY, entry.import.types), needed);

for (const folder of [CJS, ESM]) rmSync(folder, { recursive: true, force: true });

const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
const flags = [
  '--removeComments',
  '--noCheck',
  '--composite',
  'false',
  '--declaration',
  'false',
  '--tsBuildInfoFile',
  'null',
];
execFileSync(process.execPath, [compiler, '-p', LIBRARY, ...flags], { stdio: 'inherit' });
for (const name of readdirSync(DIST, { recursive: true, encoding: 'utf8' })) {
  const path = join(DIST, name);
  if (name.endsWith('.d.ts') && !needed.has(path)) rmSync(path);
}
const record = join(DIST, '.tsbuildinfo');
if (existsSync(record)) rmSync(record);

/** @type {{ readPageFiles: () => Record<string, string> }} */
const { readPageFiles } = await import(pathToFileURL(join(DIST, 'dashboard/page-files.js')).href);
/** Replaces the module that reads the files of the dashboard's page with one that contains them. @type {import('rolldown').Plugin} */
const pageFiles = {
  name: 'page-files',
  load: {
    filter: { id: /\/dashboard\/page-files\.js$/ },
    handler: () => `export const readPageFiles = () => (${JSON.stringify(readPageFiles())});`,
  },
};

/**
 * Bundlers ignore that an optional package is not installed only if its `require()` is in a `try` block of the same function.
 * @type {import('rolldown').Plugin}
 */
const directRequires = {
  name: 'direct-requires',
  renderChunk: (code) => code.replaceAll(/await Promise\.resolve\(\)\.then\(\(\) => (.+)\);$/gm, 'await $1;'),
};

/** Modules that bin/nestjs-resilient-grpc.js imports. */
const COMMANDS = ['doctor/run-doctor.js', 'migrate/run-migrate.js'];

/**
 * Bundles modules of dist/ into a few files, which load faster than one file per module. All are in one folder directly in dist/, because
 * the bundled modules that compute paths from their own location expect this depth.
 *
 * @param {Record<string, string>} input Paths of modules in dist/ by the name of their file in the bundle.
 * @param {import('rolldown').OutputOptions} output
 */
async function bundle(input, output) {
  const bundled = await rolldown({
    input: Object.fromEntries(Object.entries(input).map(([name, path]) => [name, join(DIST, path)])),
    platform: 'node',
    plugins: [pageFiles, ...(output.format === 'cjs' ? [directRequires] : [])],
    external: (id) => !id.startsWith('.') && !isAbsolute(id),
    onLog: (_level, { message }) => {
      throw new Error(message);
    },
  });
  await bundled.write({ chunkFileNames: '[name].js', keepNames: true, ...output });
}

const bundledEntries = Object.fromEntries(
  entries.map((entry) => [basename(entry.require.default, '.js'), relative(DIST, join(LIBRARY, entry.import.default))]),
);
// Replaces `import()` with `require()`, because `import()` would fail in Jest.
// Only Jest and some bundlers load this build, so it is minified. Compressed code would hide the names of the exports from Node.
const minify = { compress: false, mangle: true, codegen: { removeWhitespace: true } };
await bundle(bundledEntries, { dir: CJS, format: 'cjs', dynamicImportInCjs: false, minify });
const modules = { ...bundledEntries, ...Object.fromEntries(COMMANDS.map((path) => [basename(path, '.js'), path])) };
await bundle(modules, { dir: ESM, format: 'esm' });
for (const name of readdirSync(DIST, { recursive: true, encoding: 'utf8' })) {
  const isBundled = name.startsWith(`cjs${sep}`) || name.startsWith(`esm${sep}`);
  if (name.endsWith('.js') && !isBundled) rmSync(join(DIST, name));
}
for (const [name, path] of Object.entries(modules)) {
  const target = relative(dirname(join(DIST, path)), join(ESM, `${name}.js`)).replaceAll(sep, '/');
  writeFileSync(join(DIST, path), `export * from './${target}';\n`.replace("'./../", "'../"));
}
for (const path of needed) cpSync(path, join(CJS, 'types', relative(DIST, path)));
writeFileSync(join(CJS, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`);
