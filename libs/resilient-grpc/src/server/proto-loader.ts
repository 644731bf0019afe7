import * as grpcJs from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';

/**
 * Paths or URLs from which packages are resolved: this module and the program. In a bundle, `import.meta.url` is `undefined` or the path of
 * the source on the machine that built the bundle.
 */
const PLACES: readonly (string | undefined)[] = [import.meta.url, process.argv[1]];

/** Packages that Nest's server loads by name. Bundlers may omit packages that are loaded by name, but include static imports. */
const BUNDLED: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['@grpc/grpc-js', grpcJs],
  ['@grpc/proto-loader', protoLoader],
]);

/** Loads a proto-loader package. The default is the copy that clients use; others are resolved from `@nestjs/microservices`, as in Nest. */
export function requireProtoLoader(name = '@grpc/proto-loader'): unknown {
  return BUNDLED.get(name) ?? requireFor(name, [nestPath(), ...PLACES])(name);
}

/** Loads a package for Nest's server with Nest's own `load`, or with `requireProtoLoader` if `load` fails, as in a bundle. */
export function loadForNest(name: string, load: () => unknown): unknown {
  try {
    return load();
  } catch {
    return requireProtoLoader(name);
  }
}

/**
 * Returns a `require` that resolves the package `name` from the first of `places` that has it.
 * @throws the error of the first place if no place has the package
 */
export function requireFor(name: string, places = PLACES): NodeJS.Require {
  let problem: unknown;
  for (const place of places) {
    const require = createRequire(place ?? process.execPath);
    try {
      require.resolve(name);
      return require;
    } catch (error) {
      problem ??= error;
    }
  }
  throw problem;
}

function nestPath(): string | undefined {
  const nest = '@nestjs/microservices';
  try {
    return requireFor(nest).resolve(nest);
  } catch {
    // Nest is part of a bundle.
    return undefined;
  }
}

/** Node's function, which webpack and rspack replace if it is imported. */
export function createRequire(path: string): NodeJS.Require {
  return process.getBuiltinModule('node:module').createRequire(path);
}
