import * as grpcJs from '@grpc/grpc-js';
import { isPresent } from './seam.js';
import { POLICY_SEAM } from './client-seams.js';

type Experimental = typeof grpcJs.experimental;

/** The names below grpc-js's `experimental`. Any of them may be missing in another release. */
export const experimental: Partial<Experimental> = (grpcJs as Partial<typeof grpcJs>).experimental ?? {};

/** What a load-balancing policy is made of. */
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

/** The parts of a load-balancing policy; `undefined` if this grpc-js lacks one. */
export function policyParts(): PolicyParts | undefined {
  // True: all of them were found.
  return isPresent(POLICY_SEAM, experimental) ? (experimental as PolicyParts) : undefined;
}
