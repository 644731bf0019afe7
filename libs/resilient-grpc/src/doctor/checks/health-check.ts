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
      'it answers, and takes no calls: it starts, drains, or lacks something that it needs; look at its log';
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
      'the connection stands and the process does not answer: is it frozen, overloaded, or a proxy without a server behind it?';
    return { status: 'failed', says: `no answer to a call within ${duration(timeoutMs)}`, remedy };
  }
  const { code } = error;
  if (error.reachedServer === 'yes' && code === StatusCode.NOT_FOUND) return unknown(service);
  if (error.reachedServer === 'yes' && code === StatusCode.UNIMPLEMENTED) {
    const answers = 'it answers calls, and has no grpc.health.v1.Health';
    if (service === '') return { status: 'skipped', says: answers };
    return {
      status: 'failed',
      says: answers,
      remedy: 'serve it, or leave --service out; a probe that asks for it fails',
    };
  }
  if (code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED) {
    return {
      status: 'warning',
      says: `it answers, and refuses who asks for health: ${says}`,
      remedy: 'let grpc.health.v1.Health be asked without credentials, or probes fail',
    };
  }
  if (/HTTP status/.test(error.details)) {
    return {
      status: 'failed',
      says: `an HTTP/2 server answers that is none of gRPC: ${says}`,
      remedy: 'a gateway or a web server stands there: see its routes, or name the port of gRPC',
    };
  }
  return { status: 'failed', says, remedy: 'look at the log of the server, or of the proxy before it' };
}

function unknown(service: string): Answer {
  if (service === '') {
    const remedy = "set the status of '' on the server: it stands for the whole of it";
    return { status: 'warning', says: 'its health service knows nothing of the server as a whole', remedy };
  }
  const remedy = "write a full name, as 'orders.v1.Orders'; --service '' asks for the whole server";
  return { status: 'failed', says: `the server knows no '${service}'`, remedy };
}
