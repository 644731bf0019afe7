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

/** Serializers that make new bytes for each message. Those of others may return, for example, a buffer that the application changes later. */
export const OWN_SERIALIZERS = new WeakSet<object>();

/**
 * HTTP/2 transport of a client's connections: 'socket' is that of this library; 'grpc-js' is that of grpc-js, on `node:http2`.
 */
export type Transport = 'socket' | 'grpc-js';
