import { service } from 'grpc-health-check';
import type { MethodDescriptor } from '../call/method.js';
import { methodDescriptor } from '../client/settings/contract.js';

const HEALTH = 'grpc.health.v1.Health';

/** Methods of the standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). */
export const CHECK = methodOf('Check');
export const WATCH = methodOf('Watch');

/** What the service says of a server, or of one service of it. */
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN';

/** The status in a response; one that a later version of the protocol may have is UNKNOWN. */
export function servingStatusOf(response: unknown): ServingStatus {
  // True: the package reads enumerations as texts, and fills in what is missing.
  const { status } = response as { readonly status?: unknown };
  return status === 'SERVING' || status === 'NOT_SERVING' || status === 'SERVICE_UNKNOWN' ? status : 'UNKNOWN';
}

function methodOf(name: 'Check' | 'Watch'): MethodDescriptor {
  const definition = service[name];
  if (definition === undefined) throw new Error(`grpc-health-check has no ${name}`);
  return methodDescriptor(HEALTH, name, definition);
}
