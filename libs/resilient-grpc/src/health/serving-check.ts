import { isStatusCode, statusName } from '../status/status-code.js';
import { duration } from '../telemetry/log/log-text.js';
import type { ChannelHealth } from './channel-health.js';
import type { ServingStatus } from './health-service.js';

/** Result of checking whether a server is serving. */
export type ServingAnswer =
  | { readonly kind: 'status'; readonly status: ServingStatus }
  /** The server does not implement grpc.health.v1.Health. */
  | { readonly kind: 'unimplemented' }
  | { readonly kind: 'unanswered'; readonly afterMs: number }
  /** The call failed with a status. */
  | { readonly kind: 'failed'; readonly method: 'Check' | 'Watch'; readonly code: number }
  /** The server refused the stream, or the connection was lost meanwhile. */
  | { readonly kind: 'refused' | 'connection-lost' };

/** Messages for a channel that is READY anyway, so that no call waits. */
const LOST = {
  refused: 'the server rejects calls (REFUSED_STREAM)',
  'connection-lost': 'the connection was lost during the check; another is READY',
} as const;

/**
 * Returns the health of a channel that is up, combined with the server's status. As in gRFC A17, only SERVING is up, and a server without
 * the health service counts as healthy. The server's messages are not included, because health reports are often public.
 */
export function servingHealth(channel: ChannelHealth, service: string, answer: ServingAnswer): ChannelHealth {
  const details: ChannelHealth['details'] = { ...channel.details, service };
  switch (answer.kind) {
    case 'unimplemented':
      return { status: 'up', details: { ...details, message: 'the server does not implement grpc.health.v1.Health' } };
    case 'unanswered':
      return { status: 'down', details: { ...details, message: `no response within ${duration(answer.afterMs)}` } };
    case 'failed':
      return { status: 'down', details: { ...details, message: `${answer.method} failed: ${nameOf(answer.code)}` } };
    case 'refused':
    case 'connection-lost':
      if (details['state'] === 'READY') return { status: 'down', details: { ...details, message: LOST[answer.kind] } };
      return {
        status: 'degraded',
        details: { ...details, message: 'the connection was lost during the check; calls wait' },
      };
    case 'status':
      return answer.status === 'SERVING'
        ? { status: 'up', details: { ...details, serving: answer.status } }
        : {
            status: 'down',
            details: { ...details, serving: answer.status, message: reasonOf(answer.status, service) },
          };
  }
}

function reasonOf(status: Exclude<ServingStatus, 'SERVING'>, service: string): string {
  if (status === 'SERVICE_UNKNOWN')
    return `the server has no service '${service}'; write a full name such as 'orders.v1.Orders'`;
  return 'the server is not serving';
}

function nameOf(code: number): string {
  return isStatusCode(code) ? statusName(code) : String(code);
}
