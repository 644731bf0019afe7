// node tools/packed-dist.mjs: npm runs it before packing. Replaces the modules in dist/ with two bundles without comments: dist/esm, which
// contains the entries and the commands as ES modules, and dist/cjs, which contains the entries as CommonJS. Both have bundled declarations
// and share the files of the dashboard's page. The next `tsc -b` restores dist/.
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { dts } from 'rolldown-plugin-dts';
import { minifySync } from 'rolldown/utils';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LIBRARY = join(ROOT, 'libs/resilient-grpc');
const DIST = join(LIBRARY, 'dist');
const CJS = join(DIST, 'cjs');
const ESM = join(DIST, 'esm');

/** @typedef {{ types: string, default: string }} Target */
/** @type {{ exports: Record<string, string | { import: Target, require: Target }> }} */
const manifest = JSON.parse(readFileSync(join(LIBRARY, 'package.json'), 'utf8'));
const entries = Object.values(manifest.exports).flatMap((entry) => (typeof entry === 'object' ? [entry] : []));
for (const folder of [CJS, ESM]) rmSync(folder, { recursive: true, force: true });

const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
const flags = '--removeComments --noCheck --composite false --declaration false --tsBuildInfoFile null'.split(' ');
execFileSync(process.execPath, [compiler, '-p', LIBRARY, ...flags], { stdio: 'inherit' });
rmSync(join(DIST, '.tsbuildinfo'), { force: true });

/** @type {{ readPageFiles: () => Record<string, string> }} */
const { readPageFiles } = await import(pathToFileURL(join(DIST, 'dashboard/page-files.js')).href);
/** The page's files without comments and white space. */
const files = Object.entries(readPageFiles()).map(([name, text]) => {
  if (!name.endsWith('.js')) return [name, text];
  const { code, errors } = minifySync(name, text);
  if (errors.length > 0) throw new Error(`${name}: ${errors[0]?.message}`);
  return [name, code];
});
// uPlot's license requires its notice.
const notice = readFileSync(join(ROOT, 'node_modules/uplot/LICENSE'), 'utf8').trim();
const contents = JSON.stringify(Object.fromEntries(files));
writeFileSync(join(DIST, 'page-files.cjs'), `/* uPlot: ${notice} */\nmodule.exports = ${contents};\n`);
/** Replaces the module that reads the files of the dashboard's page with one that contains them. @type {import('rolldown').Plugin} */
const pageFiles = {
  name: 'page-files',
  load: {
    filter: { id: /\/dashboard\/page-files\.js$/ },
    handler: () => `import files from '../page-files.cjs';\nexport const readPageFiles = () => files;`,
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

/** @param {string} id */
const isExternal = (id) => id.endsWith('/page-files.cjs') || (!id.startsWith('.') && !isAbsolute(id));

/**
 * @param {string} path
 * @param {(code: string) => string} change
 */
function rewrite(path, change) {
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

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
    external: isExternal,
    onLog: (_level, { message }) => {
      throw new Error(message);
    },
  });
  // Two files for what most entries need: each further one costs time. The operators need only the first, which works without Nest. The
  // client's half stays apart, because servers do not load it.
  const groups = [
    { name: 'base', test: /dist.(call|errors|policy|status|time)\b/, minShareCount: 6, priority: 1 },
    { name: 'library', test: /dist.(?!channel|kubernetes|doctor|migrate)/, minShareCount: 6 },
  ];
  await bundled.write({ chunkFileNames: '[name].js', keepNames: true, codeSplitting: { groups }, ...output });
}

const bundledEntries = Object.fromEntries(
  entries.map((entry) => [basename(entry.require.default, '.js'), relative(DIST, join(LIBRARY, entry.import.default))]),
);
// Replaces `import()` with `require()`, because `import()` would fail in Jest.
// Only Jest and some bundlers load this build, so it is minified. Compressed code would hide the names of the exports from Node.
const mangle = { keepNames: { class: true, function: false } };
const minify = { compress: false, mangle, codegen: { removeWhitespace: true } };
await bundle(bundledEntries, { dir: CJS, format: 'cjs', dynamicImportInCjs: false, keepNames: false, minify });
const modules = { ...bundledEntries, ...Object.fromEntries(COMMANDS.map((path) => [basename(path, '.js'), path])) };
// Users read this build in stack traces, so it keeps its names and lines.
const compress = { compress: true, mangle: false, codegen: { removeWhitespace: false } };
await bundle(modules, { dir: ESM, format: 'esm', minify: compress });
// Because of a single other character, Node would read a whole file more slowly, and hold it in twice the memory. They are in texts only.
const escaped = (/** @type {string} */ found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`;
// Minification follows the plugins, so the indentation, which is made of tabs that the sources do not contain, is removed here.
const shrunk = (/** @type {string} */ code) =>
  code.replaceAll(/^(\t+|\/\/.*\n)/gm, '').replaceAll(/[^\0-\x7f]/g, escaped);
for (const name of readdirSync(ESM)) rewrite(join(ESM, name), shrunk);
for (const folder of [ESM, CJS])
  rewrite(join(folder, 'dashboard.js'), (code) => code.replaceAll('./page-files.cjs', '../page-files.cjs'));
for (const name of readdirSync(DIST, { recursive: true, encoding: 'utf8' })) {
  const isBundled = name.startsWith(`cjs${sep}`) || name.startsWith(`esm${sep}`);
  if (name.endsWith('.js') && !isBundled) rmSync(join(DIST, name));
}
for (const [name, path] of Object.entries(modules)) {
  const target = relative(dirname(join(DIST, path)), join(ESM, `${name}.js`)).replaceAll(sep, '/');
  writeFileSync(join(DIST, path), `export * from './${target}';\n`.replace("'./../", "'../"));
}
const declared = entries.map(({ import: { types } }) => relative(join(LIBRARY, 'dist'), join(LIBRARY, types)));
const declarations = await rolldown({
  input: Object.fromEntries(declared.map((path) => [path.replace(/\.d\.ts$/, ''), join(DIST, path)])),
  plugins: [dts({ dtsInput: true })],
  external: isExternal,
});
const types = join(CJS, 'types');
await declarations.write({ dir: types, chunkFileNames: 'types/[name].d.ts' });
for (const name of readdirSync(DIST, { recursive: true, encoding: 'utf8' }))
  if (name.endsWith('.d.ts') && !name.startsWith(`cjs${sep}`)) rmSync(join(DIST, name));
cpSync(types, DIST, { recursive: true });
writeFileSync(join(CJS, 'package.json'), `${JSON.stringify({ type: 'commonjs' })}\n`);
