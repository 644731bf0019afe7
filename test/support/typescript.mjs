// `node --import ./typescript.mjs program.ts`: runs the TypeScript sources of test/ with their decorators, which Node alone cannot run.
// Imports of the library resolve to its build, as in a user's application.
import { existsSync, readFileSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

// Module hooks run in their own thread; only that thread loads the compiler.
if (isMainThread) register(import.meta.url);
const { default: ts } = isMainThread ? {} : await import('typescript');

const emitted = { module: 'esnext', moduleResolution: 'bundler', inlineSourceMap: true, sourceMap: false };
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const options = ts?.parseJsonConfigFileContent(
  { extends: './tsconfig.base.json', compilerOptions: emitted, files: [] },
  ts.sys,
  ROOT,
).options;

/** Resolves `./other.js` to `./other.ts` if that file exists. */
export function resolve(specifier, context, next) {
  const url = specifier.startsWith('.') ? new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL) : undefined;
  return url !== undefined && existsSync(url) ? { url: url.href, shortCircuit: true } : next(specifier, context);
}

export function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const fileName = fileURLToPath(url);
  const { outputText } = ts.transpileModule(readFileSync(fileName, 'utf8'), { compilerOptions: options, fileName });
  return { format: 'module', source: outputText, shortCircuit: true };
}
