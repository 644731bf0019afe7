import { firstValueFrom } from 'rxjs';
import type { InternalGrpcClient } from '../../client/internal-grpc-client.js';
import { isGrpcCallError, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { CHECK, probeOptions, servingStatusOf } from '../../health/health-service.js';
import { StatusCode } from '../../status/status-code.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import type { CheckResult } from '../check-result.js';

type Answer = Omit<CheckResult, 'check' | 'facts'>;

/** Checks the status that the standard health service reports for the whole server ('') or for one service. */
export async function healthCheck(
  client: InternalGrpcClient,
  service: string,
  timeoutMs: number,
): Promise<CheckResult> {
  const startedAt = systemClock.now();
  const whose = service === '' ? 'the server' : service;
  const result = (answer: Answer, facts: Readonly<Record<string, unknown>>): CheckResult => {
    const tookMs = Math.round(systemClock.now() - startedAt);
    return { check: 'health', ...answer, facts: { service, tookMs, ...facts } };
  };
  try {
    const response = await firstValueFrom(client.stubOf(CHECK)({ service }, probeOptions(timeoutMs)));
    const serving = servingStatusOf(response);
    if (serving === 'SERVING') {
      const message = `${whose} is SERVING (${duration(systemClock.now() - startedAt)})`;
      return result({ status: 'ok', message }, { serving });
    }
    const remedy =
      'the server responds but accepts no calls: it is starting, draining, or missing a dependency; see its log';
    return result({ status: 'failed', message: `${whose} is ${serving}`, remedy }, { serving });
  } catch (error) {
    if (!isGrpcCallError(error)) throw error;
    return result(failure(error, service, timeoutMs), { code: error.codeName, details: error.details });
  }
}

function failure(error: GrpcCallError, service: string, timeoutMs: number): Answer {
  const message = `${error.codeName}: ${oneLine(error.details)}`;
  if (error.reason === 'deadline') {
    const remedy =
      'the connection is open: check if the process is frozen or overloaded, or a proxy has no reachable server';
    return { status: 'failed', message: `no response to a call within ${duration(timeoutMs)}`, remedy };
  }
  const { code } = error;
  if (error.reachedServer === 'yes' && code === StatusCode.NOT_FOUND) return unknown(service);
  if (error.reachedServer === 'yes' && code === StatusCode.UNIMPLEMENTED) {
    const answers = 'the server responds to calls, but does not implement grpc.health.v1.Health';
    if (service === '') return { status: 'skipped', message: answers };
    return {
      status: 'failed',
      message: answers,
      remedy: 'implement it, or omit --service; a health probe of this server fails',
    };
  }
  if (code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED) {
    return {
      status: 'warning',
      message: `the server rejects health checks without credentials: ${message}`,
      remedy: 'allow calls of grpc.health.v1.Health without credentials; otherwise probes fail',
    };
  }
  if (/HTTP status/.test(error.details)) {
    return {
      status: 'failed',
      message: `an HTTP/2 server responded that is not a gRPC server: ${message}`,
      remedy: 'a gateway or web server responds: check its routes, or use the gRPC port',
    };
  }
  return { status: 'failed', message, remedy: 'see the log of the server, or of the proxy in front of it' };
}

function unknown(service: string): Answer {
  if (service === '') {
    const remedy = "set the status of '' on the server; it represents the whole server";
    return { status: 'warning', message: 'the health service has no status for the whole server', remedy };
  }
  const remedy = "write the full name, such as 'orders.v1.Orders'; --service '' checks the whole server";
  return { status: 'failed', message: `the health service has no status for '${service}'`, remedy };
}
