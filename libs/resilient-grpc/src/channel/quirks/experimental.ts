import * as grpcJs from '@grpc/grpc-js';

export type Experimental = typeof grpcJs.experimental;

/** grpc-js's `experimental` namespace. Any of its names may be missing in another release. */
export const experimental: Partial<Experimental> = (grpcJs as Partial<typeof grpcJs>).experimental ?? {};

/**
 * True if a load-balancing policy of this name is registered with grpc-js; `undefined` if the installed grpc-js lacks the check. The check
 * of grpc-js also accepts the names of inherited properties, such as 'toString'.
 */
export function isPolicyRegistered(name: string): boolean | undefined {
  return name in Object.prototype ? false : experimental.isLoadBalancerNameRegistered?.(name);
}

/** Values of `PickResultType` of grpc-js: a pick that found a connection, one that fails, and one that the policy drops. */
export const COMPLETE = 0;
export const TRANSIENT_FAILURE = 2;
export const DROP = 3;
