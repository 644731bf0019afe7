import { createRequire } from 'node:module';
import * as grpcJs from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';

/**
 * URL or path from which packages are resolved. An esbuild CommonJS bundle has no `import.meta.url`, so the path of the main script is
 * used there.
 */
export const RESOLVE_FROM = locationOf(import.meta.url);

/** Packages that Nest's server loads by name. Bundlers may omit packages that are loaded by name, but include static imports. */
const BUNDLED: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['@grpc/grpc-js', grpcJs],
  ['@grpc/proto-loader', protoLoader],
]);

/** Loads a proto-loader package. The default is the copy that clients use; others are resolved from `@nestjs/microservices`, as in Nest. */
export function requireProtoLoader(name = '@grpc/proto-loader'): unknown {
  return BUNDLED.get(name) ?? requireFromNest()(name);
}

/** Loads a package for Nest's server with Nest's own `load`, or with `requireProtoLoader` if `load` fails, as in a bundle. */
export function loadForNest(name: string, load: () => unknown): unknown {
  try {
    return load();
  } catch {
    return requireProtoLoader(name);
  }
}

function requireFromNest(): NodeJS.Require {
  const own = createRequire(RESOLVE_FROM);
  try {
    return createRequire(own.resolve('@nestjs/microservices'));
  } catch {
    // Nest is part of a bundle, so packages are resolved from the folder of the bundle.
    return own;
  }
}

function locationOf(url: string | undefined): string {
  return url ?? process.argv[1] ?? process.execPath;
}
