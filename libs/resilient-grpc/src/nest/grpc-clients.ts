import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import type { GrpcClientOptions, NestGrpcClientOptions } from './module-options.js';

/** All clients of the application. Also creates clients that are known only at run time (tenants, shards). */
export abstract class GrpcClients implements Iterable<ResilientGrpcClient> {
  /** @throws Error if no client has this name. The message suggests the closest name, or lists all names if none is close. */
  abstract get(name: string | symbol): ResilientGrpcClient;
  /**
   * Creates a client. The caller owns it and must close it; until then, health checks and the shutdown include the client.
   * @throws GrpcConfigurationError if `options` are invalid, or if the name is in use; Error once Nest has called
   * `beforeApplicationShutdown`, or once the drain timeout has closed the clients.
   */
  abstract create(options: NestGrpcClientOptions | GrpcClientOptions): ResilientGrpcClient;
  abstract [Symbol.iterator](): Iterator<ResilientGrpcClient>;
  /**
   * True until the application starts to shut down. `create()` still works until Nest calls `beforeApplicationShutdown`, or the drain
   * timeout closes the clients.
   */
  abstract readonly accepting: boolean;
}
