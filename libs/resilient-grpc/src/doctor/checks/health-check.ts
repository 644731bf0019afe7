import { firstValueFrom } from 'rxjs';
import type { InternalGrpcClient } from '../../client/create-client.js';
import { isGrpcCallError, type GrpcCallError } from '../../errors/grpc-call-error.js';
import { CHECK, probeOptions, servingStatusOf } from '../../health/health-service.js';
import { HTTP_RESPONSE_REMEDY } from '../../policy/evidence/http-response.js';
import { StatusCode } from '../../status/status-code.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { systemClock } from '../../time/clock.js';
import { resultsOf, type CheckResult, type Verdict } from '../check-result.js';

/** Checks the status that the standard health service reports for the whole server ('') or for one service. */
export async function healthCheck(
  client: InternalGrpcClient,
  service: string,
  timeoutMs: number,
): Promise<CheckResult> {
  const startedAt = systemClock.now();
  const subject = service === '' ? 'the server' : service;
  const results = (facts: CheckResult['facts']) =>
    resultsOf('health', { service, tookMs: Math.round(systemClock.now() - startedAt), ...facts });
  try {
    const response = await firstValueFrom(client.stubOf(CHECK)({ service }, probeOptions(timeoutMs)));
    const serving = servingStatusOf(response);
    if (serving === 'SERVING') {
      return results({ serving })('ok', `${subject} is SERVING (${duration(systemClock.now() - startedAt)})`);
    }
    const remedy =
      'the server responds but accepts no calls: it is starting, draining, or missing a dependency; see its log';
    return results({ serving })('failed', `${subject} is ${serving}`, remedy);
  } catch (error) {
    if (!isGrpcCallError(error)) throw error;
    return results({ code: error.codeName, details: error.details })(...failure(error, service, timeoutMs));
  }
}

function failure(error: GrpcCallError, service: string, timeoutMs: number): Verdict {
  const message = `${error.codeName}: ${oneLine(error.details)}`;
  if (error.reason === 'deadline') {
    const remedy =
      'the connection is open: check whether the server process is frozen or overloaded, or whether a proxy has no reachable server';
    return ['failed', `no response to a call within ${duration(timeoutMs)}`, remedy];
  }
  const { code } = error;
  if (error.reachedServer === 'yes' && code === StatusCode.NOT_FOUND) return unknown(service);
  if (error.reachedServer === 'yes' && code === StatusCode.UNIMPLEMENTED) {
    const answers = 'the server responds to calls, but does not implement grpc.health.v1.Health';
    if (service === '') return ['skipped', answers];
    return [
      'failed',
      answers,
      'implement grpc.health.v1.Health, because health probes fail without it; or omit --service to skip this check',
    ];
  }
  if (code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED) {
    const remedy = 'allow calls to grpc.health.v1.Health without credentials; otherwise probes fail';
    return ['warning', `the server rejects health checks without credentials: ${message}`, remedy];
  }
  if (error.reason === 'http') return ['failed', message, HTTP_RESPONSE_REMEDY];
  return ['failed', message, 'see the log of the server, or of the proxy in front of it'];
}

function unknown(service: string): Verdict {
  if (service === '') {
    const remedy = "set the status of '' on the server; '' represents the whole server";
    return ['warning', 'the health service has no status for the whole server', remedy];
  }
  const remedy = service.includes('.')
    ? 'check that the server serves exactly this service: compare the package of its .proto file with the package of the client'
    : "write the full name of one of the server's services, such as 'orders.v1.Orders'";
  return [
    'failed',
    `the health service has no status for '${service}'`,
    `${remedy}; --service '' checks the whole server`,
  ];
}
