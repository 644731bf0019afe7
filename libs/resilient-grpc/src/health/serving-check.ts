import { HTTP_RESPONSE_REMEDY } from '../policy/evidence/grpc-js-texts.js';
import { isStatusCode, statusName } from '../status/status-code.js';
import { duration } from '../telemetry/log/log-text.js';
import type { ChannelHealth } from './grpc-channel.health-indicator.js';
import type { MethodDescriptor } from '../call/method.js';
import { HEALTH_SERVICE, healthContract } from '../client/health-contract.js';
import { loadContract } from '../client/settings/contract.js';

/** Method of the standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md). */
export const CHECK = checkMethod();

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

function checkMethod(): MethodDescriptor {
  const contract = loadContract({ packageDefinition: healthContract() }, HEALTH_SERVICE);
  const method = contract.ok ? contract.services.get(HEALTH_SERVICE)?.get('Check') : undefined;
  if (method === undefined) throw new Error(`${HEALTH_SERVICE} has no Check`);
  return method;
}

export type ServingAnswer =
  | { readonly kind: 'status'; readonly status: ServingStatus }
  | { readonly kind: 'unimplemented' }
  | { readonly kind: 'unanswered'; readonly afterMs: number }
  | { readonly kind: 'failed'; readonly code: number }
  /** A proxy or web server responded with HTTP; `details` describes the response. */
  | { readonly kind: 'http'; readonly details: string }
  /** The server refused the stream, or the connection was lost during the check. */
  | { readonly kind: 'refused' | 'connection-lost' };

/** Messages for a channel that is still READY; calls do not wait then. */
const READY_MESSAGES = {
  refused: 'the server rejects calls (REFUSED_STREAM)',
  'connection-lost': 'the connection was lost during the check; another is READY',
} as const;

/**
 * Returns the health of a channel that is up, combined with the server's status. As in gRFC A17, only SERVING is up, and a server without
 * the health service counts as healthy. The server's messages are not included, because health reports are often public.
 */
export function servingHealth(channel: ChannelHealth, service: string, answer: ServingAnswer): ChannelHealth {
  const isReady = channel.details['state'] === 'READY';
  const health = (status: ChannelHealth['status'], message: string, more?: object): ChannelHealth => {
    return { status, details: { ...channel.details, service, message, ...more } };
  };
  switch (answer.kind) {
    case 'unimplemented':
      return health('up', 'the server does not implement grpc.health.v1.Health');
    case 'unanswered':
      return health('down', `no response within ${duration(answer.afterMs)}`);
    case 'failed':
      return health('down', `Check failed: ${nameOf(answer.code)}`);
    case 'http':
      return health('down', answer.details, { remedy: HTTP_RESPONSE_REMEDY });
    case 'refused':
    case 'connection-lost':
      if (isReady) return health('down', READY_MESSAGES[answer.kind]);
      return health('degraded', 'the connection was lost during the check; calls wait');
    case 'status': {
      const details = { ...channel.details, service, serving: answer.status };
      if (answer.status === 'SERVING') return { status: 'up', details };
      return { status: 'down', details: { ...details, message: reasonOf(answer.status, service) } };
    }
  }
}

/** Health values that count as unknown, because the connection of the endpoint or its first report is missing. */
const UNKNOWN_HEALTH: ReadonlySet<string | undefined> = new Set(['disconnected', 'pending']);

/**
 * Returns the health of a channel that watches the health of each endpoint. A READY channel that is up stays up while at least half of the
 * endpoints with known health are serving. With fewer, it is degraded; with none, it is down. Endpoints without the health service count as
 * serving. If the channel is not READY, its own health is the result, because an endpoint that reconnects has not failed.
 */
export function endpointsHealth(
  channel: ChannelHealth,
  service: string,
  endpoints: ReadonlyMap<string, string | undefined>,
): ChannelHealth {
  const known = [...endpoints.values()].filter((health) => !UNKNOWN_HEALTH.has(health));
  const serving = known.filter((health) => health === 'serving' || health === 'unimplemented').length;
  const details = { ...channel.details, service, serving, endpoints: Object.fromEntries(endpoints) };
  const isJudged = channel.status === 'up' && channel.details['state'] === 'READY';
  if (!isJudged || serving * 2 >= known.length) return { status: channel.status, details };
  const message = `${String(serving)} of ${String(known.length)} endpoints with known health are serving`;
  return { status: serving > 0 ? 'degraded' : 'down', details: { ...details, message } };
}

function reasonOf(status: Exclude<ServingStatus, 'SERVING'>, service: string): string {
  if (status !== 'SERVICE_UNKNOWN') return 'the server is not serving';
  return service === ''
    ? "the server does not report its overall health (service ''); write a full name such as 'orders.v1.Orders'"
    : `the server has no service '${service}'; write a full name such as 'orders.v1.Orders'`;
}

function nameOf(code: number): string {
  return isStatusCode(code) ? statusName(code) : String(code);
}
