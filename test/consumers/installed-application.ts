import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run, type PackedLibrary } from './packed-library.js';

export type Nest = 11 | 12;

/** Dependencies of an application besides the library. */
export interface Dependencies {
  readonly nest: Nest;
  /** Packages of the workspace. */
  readonly packages: readonly string[];
  /** Folders inside the application that are packages, by package name. */
  readonly own?: Readonly<Record<string, string>>;
}

/**
 * Installs `packed` with npm in the application in `folder` as a user would: npm unpacks the tarball and checks the peers. All other
 * dependencies, including those of the library, are links to the workspace or to folders of the application, so that nothing is
 * downloaded. Undeclared packages are not available.
 */
export function install(packed: PackedLibrary, folder: string, { nest, packages, own = {} }: Dependencies): void {
  const library = JSON.parse(readFileSync(join(packed.folder, 'package.json'), 'utf8')) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const linked = [...packages, ...Object.keys(library.dependencies)];
  const paths = [
    ...linked.map((name) => [name, pathOf(name, nest)] as const),
    ...Object.entries(own),
    ['nestjs-resilient-grpc', packed.tarball] as const,
  ];
  const dependencies = Object.fromEntries(paths.map(([name, path]) => [name, `file:${path}`]));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'application', private: true, dependencies }));
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--strict-peer-deps'], folder);
}

/** Returns the path of a package in the workspace for an application on this version of Nest. */
function pathOf(name: string, nest: Nest): string {
  const forNest11 = join(ROOT, 'test/nest-11/node_modules', name);
  return nest === 11 && existsSync(forNest11) ? forNest11 : join(ROOT, 'node_modules', name);
}
