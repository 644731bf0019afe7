/** Kind of a method: unary, or streaming in one or both directions. Future versions will not add a kind. */
export type MethodKind = 'unary' | 'client-stream' | 'server-stream' | 'bidi';

export function kindOf({
  requestStream,
  responseStream,
}: Pick<MethodDescriptor, 'requestStream' | 'responseStream'>): MethodKind {
  if (requestStream) return responseStream ? 'bidi' : 'client-stream';
  return responseStream ? 'server-stream' : 'unary';
}

export interface MethodDescriptor {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  /** 'orders.v1.Orders' */
  readonly service: string;
  /** 'Get' */
  readonly method: string;
  /** Name of the method in Nest and proto-loader, if it differs: 'get', or 'getHttp' for 'GetHTTP'. */
  readonly alias?: string;
  readonly kind: MethodKind;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  /** True if the proto's `idempotency_level` is NO_SIDE_EFFECTS or IDEMPOTENT. */
  readonly declaredIdempotent: boolean;
  readonly requestSerialize: (message: unknown) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
  /** Descriptors of the contract's files, for the types of its messages; absent if proto-loader did not load the method. */
  readonly files?: readonly Uint8Array[] | undefined;
  /** True if a generated client of grpc-js makes the call, so that agents that patch these clients trace it there. */
  readonly isGenerated?: true;
}

/**
 * Reason why calls pass through grpc-js's channel instead of running directly on a connection:
 * - 'transport': the client uses grpc-js's transport: `transport: 'grpc-js'`, an `xds:` target, or an untested release of grpc-js.
 * - 'disabled': the environment variable NESTJS_RESILIENT_GRPC_DIRECT_CALLS is `off`.
 * - 'resolver': the application or `xds:` provides the resolver of the target, and only grpc-js applies the resolver's service config.
 * - 'send-compression': grpc-js compresses requests in its channel.
 * - 'call-credentials': the channel credentials contain call credentials.
 *
 * A minor version may add reasons; handle unknown ones in a default branch.
 */
export type ChannelPathReason = 'transport' | 'disabled' | 'resolver' | 'send-compression' | 'call-credentials';

/**
 * HTTP/2 transport of a client's connections: 'socket' is that of this library; 'grpc-js' is that of grpc-js, on `node:http2`.
 */
export type Transport = 'socket' | 'grpc-js';

/**
 * Path that a client's calls take. Calls with grpc-js interceptors, or with the option `host`, `parent`, or `credentials`, always pass
 * through grpc-js's channel.
 */
export type CallPath =
  | { readonly direct: true }
  /** `reason` states why calls do not run directly on a connection. */
  | { readonly direct: false; readonly reason: ChannelPathReason };
