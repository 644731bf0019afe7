// `node --import ./typescript.mjs program.ts`: runs the TypeScript of test/ as it stands, with its decorators, which this Node cannot
// do alone. The library comes from its build, as users have it.
import { existsSync, readFileSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

// Hooks have a thread of their own, and the compiler lives there alone.
if (isMainThread) register(import.meta.url);
const { default: ts } = isMainThread ? {} : await import('typescript');

const emitted = { module: 'esnext', moduleResolution: 'bundler', inlineSourceMap: true, sourceMap: false };
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const options = ts?.parseJsonConfigFileContent(
  { extends: './tsconfig.base.json', compilerOptions: emitted, files: [] },
  ts.sys,
  ROOT,
).options;

/** An import of `./other.js` is one of `./other.ts`, where there is that. */
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
