// node tools/packed-dist.mjs: npm runs it before packing. It reduces dist/ to the files that the package needs: modules without comments,
// and the declarations that the entries import. The next `tsc -b` restores dist/.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LIBRARY = join(ROOT, 'libs/resilient-grpc');
const DIST = join(LIBRARY, 'dist');

const IMPORT = /(?:from|import\()\s*['"](\.[^'"]+)\.js['"]/g;

/** Adds `file` and every declaration it imports. @param {string} file @param {Set<string>} found */
function reach(file, found) {
  if (found.has(file)) return;
  found.add(file);
  for (const [, target] of readFileSync(file, 'utf8').matchAll(IMPORT))
    reach(join(dirname(file), `${target}.d.ts`), found);
}

/** @type {{ exports: Record<string, string | { types: string }> }} */
const manifest = JSON.parse(readFileSync(join(LIBRARY, 'package.json'), 'utf8'));
const needed = new Set();
for (const target of Object.values(manifest.exports))
  if (typeof target === 'object') reach(join(LIBRARY, target.types), needed);

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
