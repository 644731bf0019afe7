// Bundles a program with all packages that it imports:
//   node bundle.mjs <webpack|rspack|esbuild> <cjs|esm> <program> <bundle>
// The bundler and the packages are resolved from the folder of the program.
import { createRequire } from 'node:module';
import { basename, dirname } from 'node:path';
import { pathToFileURL } from 'node:url';

const [bundler, format, entry = '', bundle = ''] = process.argv.slice(2);
const require = createRequire(entry);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

/** Packages that Nest loads only if an application uses them, outside a `try` block or in the loaded package. */
const UNUSED = [
  '@nestjs/websockets/socket-module',
  '@nestjs/websockets/socket-module.js',
  'class-transformer',
  'class-transformer/storage',
  'class-validator',
  '@fastify/static',
  '@fastify/view',
  'amqp-connection-manager',
  'amqplib',
  'cache-manager',
  'ioredis',
  'kafkajs',
  'mqtt',
  'nats',
  '@nats-io/transport-node',
];

if (bundler === 'esbuild') {
  const { build } = await load('esbuild');
  // Node's packages are CommonJS, and esbuild needs a require() for them in an ES module.
  const js = "import { createRequire as toRequire } from 'node:module'; const require = toRequire(import.meta.url);";
  await build({
    entryPoints: [entry],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format,
    logLevel: 'error',
    external: UNUSED,
    ...(format === 'esm' ? { banner: { js } } : {}),
  });
} else {
  const loaded = await load(bundler === 'rspack' ? '@rspack/core' : 'webpack');
  const pack = bundler === 'rspack' ? loaded.rspack : loaded.default;
  const esm = { module: true, library: { type: 'module' }, chunkFormat: 'module' };
  const compiler = pack({
    mode: 'production',
    optimization: { minimize: false },
    target: 'node',
    context: dirname(entry),
    entry,
    output: { path: dirname(bundle), filename: basename(bundle), ...(format === 'esm' ? esm : {}) },
    experiments: format === 'esm' && bundler === 'webpack' ? { outputModule: true } : {},
    plugins: [new pack.IgnorePlugin({ checkResource: (resource) => UNUSED.includes(resource) })],
  });
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
  });
  const { errors } = stats.toJson({ all: false, errors: true });
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('\n'));
}
