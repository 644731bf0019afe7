/**
 * Releases of grpc-js that all tests pass with, except those of what grpc-js itself does. Earlier ones lack public names that the library uses.
 * Later patches of the newest minor version count as tested.
 */
export const TESTED_GRPC_JS = { oldest: '1.14.0', newest: '1.14.7' };

export const TESTED_VERSIONS =
  TESTED_GRPC_JS.oldest === TESTED_GRPC_JS.newest
    ? TESTED_GRPC_JS.oldest
    : `${TESTED_GRPC_JS.oldest} to ${TESTED_GRPC_JS.newest}`;

let installed: string | undefined;

/** Returns the installed version of grpc-js; an empty string if it cannot be read, as in a bundle. */
export function grpcJsVersion(): string {
  if (installed !== undefined) return installed;
  try {
    const { createRequire } = process.getBuiltinModule('node:module');
    const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { readonly version?: unknown };
    installed = String(version);
  } catch {
    installed = '';
  }
  return installed;
}

/** Reason why the library cannot run with grpc-js `version`; `undefined` if it can, or if the version is unknown. */
export function grpcJsProblem(version = grpcJsVersion()): string | undefined {
  const parts = partsOf(version);
  if (parts === undefined || compare(parts, partsOf(TESTED_GRPC_JS.oldest) ?? []) >= 0) return undefined;
  return `expected ${TESTED_GRPC_JS.oldest} or later, got ${version}; run npm install @grpc/grpc-js@^${TESTED_GRPC_JS.oldest}`;
}

/** True if `version` is of a later minor version than the tested releases; false if it is unknown. */
export function isUntested(version: string): boolean {
  const parts = partsOf(version);
  if (parts === undefined) return false;
  const newest = partsOf(TESTED_GRPC_JS.newest)?.slice(0, 2) ?? [];
  return compare(parts.slice(0, 2), newest) > 0;
}

function partsOf(version: string): readonly number[] | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version);
  return match?.slice(1).map(Number);
}

/** Returns a negative number if `a` comes before `b`. Ignores parts that `b` lacks. */
function compare(a: readonly number[], b: readonly number[]): number {
  const at = b.findIndex((part, index) => part !== a[index]);
  return at === -1 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
