import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Loads a proto-loader package as Nest does: resolved from the folder of `@nestjs/microservices`. */
export function requireProtoLoader(name = '@grpc/proto-loader'): unknown {
  return createRequire(require.resolve('@nestjs/microservices'))(name);
}
