import { isStatusCode, statusName } from '../status/status-code.js';
import { duration } from '../telemetry/log/log-text.js';
import type { ChannelHealth } from './channel-health.js';
import type { ServingStatus } from './health-service.js';

/** What became of the question whether a server serves. */
export type ServingAnswer =
  | { readonly kind: 'status'; readonly status: ServingStatus }
  /** The server answered that it has no such service. */
  | { readonly kind: 'unimplemented' }
  | { readonly kind: 'unanswered'; readonly afterMs: number }
  /** It was answered with a failure. */
  | { readonly kind: 'failed'; readonly method: 'Check' | 'Watch'; readonly code: number }
  /** The server's transport handed it back, or the connection was lost meanwhile. */
  | { readonly kind: 'refused' | 'connection-lost' };

/** Said where the channel is READY all the same, so that no call waits. */
const LOST = {
  refused: 'the server refuses calls (REFUSED_STREAM)',
  'connection-lost': 'its connection was lost, and another is READY',
} as const;

/**
 * Health of a channel that is up, with what its server says. As in gRFC A17 only SERVING is up, and a server without the service is
 * taken for healthy. The texts of a server are not shown: the report of a health check is often public.
 */
export function servingHealth(channel: ChannelHealth, service: string, answer: ServingAnswer): ChannelHealth {
  const details: ChannelHealth['details'] = { ...channel.details, service };
  switch (answer.kind) {
    case 'unimplemented':
      return { status: 'up', details: { ...details, message: 'the server has no grpc.health.v1.Health' } };
    case 'unanswered':
      return { status: 'down', details: { ...details, message: `no answer within ${duration(answer.afterMs)}` } };
    case 'failed':
      return { status: 'down', details: { ...details, message: `${answer.method} failed: ${nameOf(answer.code)}` } };
    case 'refused':
    case 'connection-lost':
      if (details['state'] === 'READY') return { status: 'down', details: { ...details, message: LOST[answer.kind] } };
      return { status: 'degraded', details: { ...details, message: 'the connection was lost meanwhile; calls wait' } };
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
  if (status === 'SERVICE_UNKNOWN') return `the server knows no '${service}'; write a full name, as 'orders.v1.Orders'`;
  return 'the server takes no calls';
}

function nameOf(code: number): string {
  return isStatusCode(code) ? statusName(code) : String(code);
}
