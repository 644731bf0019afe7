/** Oldest release of grpc-js that the library can use: earlier ones lack public names. */
export const OLDEST_GRPC_JS = '1.14.0';
/** Release of grpc-js that all tests pass with. Patches of its minor version count as tested. */
export const TESTED_GRPC_JS = '1.14.7';

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
  if (parts === undefined || compare(parts, partsOf(OLDEST_GRPC_JS) ?? []) >= 0) return undefined;
  return `expected ${OLDEST_GRPC_JS} or later, got ${version}; run npm install @grpc/grpc-js@^${OLDEST_GRPC_JS}`;
}

/** True if `version` is of a later minor version than the tested release; false if it is unknown. */
export function isUntested(version: string): boolean {
  const parts = partsOf(version);
  if (parts === undefined) return false;
  const newest = partsOf(TESTED_GRPC_JS)?.slice(0, 2) ?? [];
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
