import * as grpcJs from '@grpc/grpc-js';
import { isPresent } from './seam.js';
import { LEAF_SEAM, POLICY_SEAM } from './client-seams.js';

type Experimental = typeof grpcJs.experimental;

/** grpc-js's `experimental` namespace. Any of its names may be missing in another release. */
export const experimental: Partial<Experimental> = (grpcJs as Partial<typeof grpcJs>).experimental ?? {};

/**
 * True if a load-balancing policy of this name is registered with grpc-js; `undefined` if the installed grpc-js lacks the check. The check
 * of grpc-js also accepts the names of inherited properties, such as 'toString'.
 */
export function isPolicyRegistered(name: string): boolean | undefined {
  return name in Object.prototype ? false : experimental.isLoadBalancerNameRegistered?.(name);
}

/** `PickResultType.COMPLETE` of grpc-js: the pick found a connection. */
export const COMPLETE = 0;

/** The names that a load-balancing policy needs. */
export type PolicyParts = Pick<
  Experimental,
  | 'registerLoadBalancerType'
  | 'isLoadBalancerNameRegistered'
  | 'UnavailablePicker'
  | 'createChildChannelControlHelper'
  | 'ChildLoadBalancerHandler'
  | 'BaseSubchannelWrapper'
  | 'selectLbConfigFromList'
>;

/** The names that the policy least_request needs. */
export type LeafParts = PolicyParts & Pick<Experimental, 'LeafLoadBalancer' | 'QueuePicker'>;

/** Returns the names that the policy least_request needs; `undefined` if the installed grpc-js lacks one. */
export function leafParts(parts: PolicyParts): LeafParts | undefined {
  // Safe: `parts` has the other names, and `isPresent` found these.
  return isPresent(LEAF_SEAM, experimental) ? (parts as LeafParts) : undefined;
}

/** Returns the names that a load-balancing policy needs; `undefined` if the installed grpc-js lacks one. */
export function policyParts(): PolicyParts | undefined {
  // Safe: `isPresent` found all of them.
  return isPresent(POLICY_SEAM, experimental) ? (experimental as PolicyParts) : undefined;
}
