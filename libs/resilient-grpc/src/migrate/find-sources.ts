import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** Files that share a tsconfig.json. */
export interface SourceGroup {
  readonly tsConfig: string;
  /** Files that may define gRPC clients. */
  readonly paths: readonly string[];
}

/** The TypeScript files in the given paths. */
export interface Sources {
  readonly groups: readonly SourceGroup[];
  readonly all: readonly string[];
  /** Files that may define gRPC clients, but have no tsconfig.json in their folder or above it. */
  readonly withoutConfig: readonly string[];
}

const SKIPPED = new Set(['node_modules', 'dist', 'coverage']);
const HAS_CLIENTS = /\bClientsModule\b|\bClientProxyFactory\b|@Client\(/;

/**
 * Finds the TypeScript files in `paths`, and groups those that may define gRPC clients by their nearest tsconfig.json.
 *
 * @throws Error if a path does not exist
 */
export function findSources(paths: readonly string[]): Sources {
  const all = [...new Set(paths.flatMap((path) => filesIn(resolve(path), statSync(path).isDirectory())))];
  const groups = new Map<string | undefined, string[]>();
  for (const path of all.filter((one) => HAS_CLIENTS.test(readFileSync(one, 'utf8')))) {
    const tsConfig = tsConfigOf(dirname(path));
    groups.set(tsConfig, [...(groups.get(tsConfig) ?? []), path]);
  }
  const withoutConfig = groups.get(undefined) ?? [];
  return {
    groups: [...groups].flatMap(([tsConfig, found]) => (tsConfig === undefined ? [] : [{ tsConfig, paths: found }])),
    all,
    withoutConfig,
  };
}

function filesIn(path: string, isFolder: boolean): readonly string[] {
  if (!isFolder) return [path];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) || entry.name.startsWith('.') ? [] : filesIn(inner, true);
    // Skips a symbolic link to a file that does not exist.
    return /(?<!\.d)\.[mc]?ts$/.test(entry.name) && existsSync(inner) ? [inner] : [];
  });
}

function tsConfigOf(folder: string): string | undefined {
  const path = join(folder, 'tsconfig.json');
  if (existsSync(path)) return path;
  const parent = dirname(folder);
  return parent === folder ? undefined : tsConfigOf(parent);
}
