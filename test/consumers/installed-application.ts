import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run, type PackedLibrary } from './packed-library.js';

export type Nest = 11 | 12;

/** What an application depends on beside the library. */
export interface Dependencies {
  readonly nest: Nest;
  /** Packages of the workspace. */
  readonly packages: readonly string[];
  /** Folders of the application that are packages themselves, by name. */
  readonly own?: Readonly<Record<string, string>>;
}

/**
 * Lets npm install `packed` in the application in `folder` as a user's npm would: the tarball unpacked, peers checked. All else that
 * the application names, and what the library itself depends on, is the workspace's, by link, so nothing is downloaded; what
 * nobody names is not there.
 */
export function install(packed: PackedLibrary, folder: string, { nest, packages, own = {} }: Dependencies): void {
  const library = JSON.parse(readFileSync(join(packed.folder, 'package.json'), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const linked = [...packages, ...Object.keys(library.dependencies)];
  const paths = [
    ...linked.map((name) => [name, placeOf(name, nest)] as const),
    ...Object.entries(own),
    ['nestjs-resilient-grpc', packed.tarball] as const,
  ];
  const dependencies = Object.fromEntries(paths.map(([name, path]) => [name, `file:${path}`]));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'application', private: true, dependencies }));
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--strict-peer-deps'], folder);
}

/** Where the workspace has a package, for an application of this Nest. */
function placeOf(name: string, nest: Nest): string {
  const beside11 = join(ROOT, 'test/nest-11/node_modules', name);
  return nest === 11 && existsSync(beside11) ? beside11 : join(ROOT, 'node_modules', name);
}
