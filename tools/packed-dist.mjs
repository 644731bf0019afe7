// node tools/packed-dist.mjs: npm runs it before packing. Reduces dist/ to the files that the package needs: modules without comments, and
// the declarations that the entries import. Then adds dist/cjs, which contains the modules that the entries import, bundled as CommonJS,
// and a copy of the declarations. The next `tsc -b` restores dist/.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LIBRARY = join(ROOT, 'libs/resilient-grpc');
const DIST = join(LIBRARY, 'dist');
const CJS = join(DIST, 'cjs');

const IMPORT = /(?:from|import\()\s*['"](\.[^'"]+)\.js['"]/g;

/** Adds `file` and every declaration it imports. @param {string} file @param {Set<string>} found */
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

rmSync(CJS, { recursive: true, force: true });

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

// A few CommonJS files load faster than one per module. All are in one folder directly in dist/, because the bundled modules that compute
// paths from their own location expect this depth.
const bundle = await rolldown({
  input: Object.fromEntries(
    entries.map((entry) => [basename(entry.require.default, '.js'), join(LIBRARY, entry.import.default)]),
  ),
  platform: 'node',
  external: (id) => !id.startsWith('.') && !isAbsolute(id),
  onLog: (_level, { message }) => {
    throw new Error(message);
  },
});
// `import()` would fail in Jest.
await bundle.write({
  dir: CJS,
  format: 'cjs',
  chunkFileNames: '[name].js',
  dynamicImportInCjs: false,
  keepNames: true,
});
for (const path of needed) cpSync(path, join(CJS, 'types', relative(DIST, path)));
writeFileSync(join(CJS, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`);
