import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// In the package, a module that contains the files takes the place of this one (tools/packed-dist.mjs), so that bundles contain them too.

const UPLOT_FILES = { 'uplot.js': 'uplot/dist/uPlot.iife.min.js', 'uplot.css': 'uplot/dist/uPlot.min.css' };

export function readPageFiles(): Readonly<Record<string, string>> {
  const folder = new URL('../../assets/dashboard/', import.meta.url);
  const { resolve } = createRequire(import.meta.url);
  const paths = [
    ...readdirSync(folder).map((name) => [name, new URL(name, folder)] as const),
    ...Object.entries(UPLOT_FILES).map(([name, file]) => [name, resolve(file)] as const),
  ];
  return Object.fromEntries(paths.map(([name, path]) => [name, readFileSync(path, 'utf8')]));
}
