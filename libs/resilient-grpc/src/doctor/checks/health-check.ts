import { firstValueFrom } from 'rxjs';
import type { InternalGrpcClient } from '../../client/internal-grpc-client.js';
import { isGrpcCallError, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { CHECK, servingStatusOf } from '../../health/health-service.js';
import { StatusCode } from '../../status/status-code.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import type { CheckResult } from '../check-result.js';
import { askedOnce } from '../doctor-client.js';
import type { TimeBudget } from '../time-budget.js';

type Answer = Omit<CheckResult, 'check' | 'facts'>;

/** Checks the status that the standard health service reports for the whole server ('') or for one service. */
export async function healthCheck(
  client: InternalGrpcClient,
  service: string,
  timeoutMs: number,
  { clock }: TimeBudget,
): Promise<CheckResult> {
  const startedAt = clock.now();
  const whose = service === '' ? 'the server' : service;
  const result = (answer: Answer, facts: Readonly<Record<string, unknown>>): CheckResult => {
    const tookMs = Math.round(clock.now() - startedAt);
    return { check: 'health', ...answer, facts: { service, tookMs, ...facts } };
  };
  try {
    const response = await firstValueFrom(client.stubOf(CHECK)({ service }, askedOnce(timeoutMs)));
    const serving = servingStatusOf(response);
    if (serving === 'SERVING') {
      const says = `${whose} is SERVING (${duration(clock.now() - startedAt)})`;
      return result({ status: 'ok', says }, { serving });
    }
    const remedy =
      'the server responds but accepts no calls: it is starting, draining, or missing a dependency; see its log';
    return result({ status: 'failed', says: `${whose} is ${serving}`, remedy }, { serving });
  } catch (error) {
    if (!isGrpcCallError(error)) throw error;
    return result(failure(error, service, timeoutMs), { code: error.codeName, details: error.details });
  }
}

function failure(error: GrpcCallError, service: string, timeoutMs: number): Answer {
  const says = `${error.codeName}: ${oneLine(error.details)}`;
  if (error.reason === 'deadline') {
    const remedy =
      'the connection is open: check if the process is frozen or overloaded, or a proxy has no reachable server';
    return { status: 'failed', says: `no response to a call within ${duration(timeoutMs)}`, remedy };
  }
  const { code } = error;
  if (error.reachedServer === 'yes' && code === StatusCode.NOT_FOUND) return unknown(service);
  if (error.reachedServer === 'yes' && code === StatusCode.UNIMPLEMENTED) {
    const answers = 'the server responds to calls, but does not implement grpc.health.v1.Health';
    if (service === '') return { status: 'skipped', says: answers };
    return {
      status: 'failed',
      says: answers,
      remedy: 'implement it, or omit --service; a health probe of this server fails',
    };
  }
  if (code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED) {
    return {
      status: 'warning',
      says: `the server rejects health checks without credentials: ${says}`,
      remedy: 'allow calls of grpc.health.v1.Health without credentials; otherwise probes fail',
    };
  }
  if (/HTTP status/.test(error.details)) {
    return {
      status: 'failed',
      says: `an HTTP/2 server responded that is not a gRPC server: ${says}`,
      remedy: 'a gateway or web server responds: check its routes, or use the gRPC port',
    };
  }
  return { status: 'failed', says, remedy: 'see the log of the server, or of the proxy in front of it' };
}

function unknown(service: string): Answer {
  if (service === '') {
    const remedy = "set the status of '' on the server; it represents the whole server";
    return { status: 'warning', says: 'the health service has no status for the whole server', remedy };
  }
  const remedy = "write the full name, such as 'orders.v1.Orders'; --service '' checks the whole server";
  return { status: 'failed', says: `the health service has no status for '${service}'`, remedy };
}
