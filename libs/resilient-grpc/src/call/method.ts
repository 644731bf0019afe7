/** How many messages go each way. */
export type MethodKind = 'unary' | 'client-stream' | 'server-stream' | 'bidi';

/** A method of a service as its definition has it. */
export interface MethodDescriptor {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  /** 'orders.v1.Orders' */
  readonly service: string;
  /** 'Get' */
  readonly method: string;
  /** 'get', 'getHttp' of 'GetHTTP': the other name under which Nest and proto-loader know it, where it has one. */
  readonly alias?: string;
  readonly kind: MethodKind;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  /** The proto's `idempotency_level` says NO_SIDE_EFFECTS or IDEMPOTENT. */
  readonly declaredIdempotent: boolean;
  readonly requestSerialize: (message: unknown) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}
