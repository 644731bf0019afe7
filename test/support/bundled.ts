import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = join(import.meta.dirname, '../..');

/** The environment variable with the folder of the bundles, set by `bundle-children.ts`. */
export const BUNDLES = 'TEST_BUNDLES';

/** Name of the bundle of a program, which is JavaScript even if the program is not. */
export const bundleName = (path: string) => path.replace(/\.ts$/, '.mjs');

/** Path of the bundle of `program`, or of `program` itself if there is no bundle. */
export function bundled(program: URL): string {
  const path = fileURLToPath(program);
  const folder = process.env[BUNDLES];
  if (folder === undefined) return path;
  const bundle = join(folder, bundleName(relative(ROOT, path)));
  return existsSync(bundle) ? bundle : path;
}
