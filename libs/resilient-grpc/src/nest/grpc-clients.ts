import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import type { GrpcClientOptions } from './module-options.js';

/** All clients of the application; also makes those that are only known at run time (tenants, shards). */
export abstract class GrpcClients implements Iterable<ResilientGrpcClient> {
  /** @throws Error when there is no such client, with the names there are. */
  abstract get(name: string | symbol): ResilientGrpcClient;
  /**
   * Makes a client. The caller owns it and closes it; until then it takes part in health and shutdown.
   * @throws GrpcConfigurationError with every problem of `options`, a name in use among them.
   */
  abstract create(options: GrpcClientOptions): ResilientGrpcClient;
  abstract [Symbol.iterator](): Iterator<ResilientGrpcClient>;
  /** False from the beginning of the application's shutdown on. */
  abstract readonly accepting: boolean;
}
