import type { MethodDescriptor } from '../call/method.js';
import { HEALTH_SERVICE, healthContract } from '../client/health-contract.js';
import { loadContract } from '../client/settings/contract.js';

/** Methods of the standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). */
export const CHECK = methodOf('Check');
export const WATCH = methodOf('Watch');

/** Serving status of a server, or of one of its services. */
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING' | 'SERVICE_UNKNOWN';

/** Returns the status in a response; UNKNOWN for a status that a later version of the protocol may add. */
export function servingStatusOf(response: unknown): ServingStatus {
  // The cast is safe: the contract decodes enums as strings and fills in missing values.
  const { status } = response as { readonly status?: unknown };
  return status === 'SERVING' || status === 'NOT_SERVING' || status === 'SERVICE_UNKNOWN' ? status : 'UNKNOWN';
}

/**
 * Returns the call options of a check: no retries except transparent retries, no waiting during an outage, and no propagation from an
 * inbound call, because that call may be the probe that requested the check.
 */
export function probeOptions(timeoutMs: number) {
  return { timeoutMs, retry: false, waitForReady: false, propagate: false } as const;
}

function methodOf(name: 'Check' | 'Watch'): MethodDescriptor {
  const contract = loadContract({ packageDefinition: healthContract() }, HEALTH_SERVICE);
  const method = contract.ok ? contract.services.get(HEALTH_SERVICE)?.get(name) : undefined;
  if (method === undefined) throw new Error(`${HEALTH_SERVICE} has no ${name}`);
  return method;
}
