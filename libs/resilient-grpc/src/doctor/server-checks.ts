import { firstValueFrom } from 'rxjs';
import type { MethodDescriptor } from '../call/method.js';
import type { InternalGrpcClient } from '../client/create-client.js';
import { errorMessage } from '../errors/error-message.js';
import { isGrpcCallError, type GrpcCallError } from '../errors/grpc-call-error.js';
import { writeField } from '../errors/protobuf-fields.js';
import { CHECK, probeOptions, servingStatusOf } from '../health/serving-check.js';
import { Descriptor } from '../messages/file-descriptors.js';
import { HTTP_RESPONSE_REMEDY, TRAILERS_REMEDY } from '../policy/evidence/grpc-js-texts.js';
import { StatusCode, statusName } from '../status/status-code.js';
import { counted, duration, listed, oneLine } from '../telemetry/log/log-text.js';
import { systemClock } from '../time/clock.js';
import { resultsOf, type CheckResult, type Verdict } from './check-result.js';

/** @param hasFindings true if an earlier check reported a possible cause of a failure */
export async function clientCheck(
  client: InternalGrpcClient,
  timeoutMs: number,
  hasFindings: boolean,
): Promise<CheckResult> {
  const startedAt = systemClock.now();
  let verdict: Verdict;
  try {
    await client.waitForReady({ timeoutMs });
    verdict = ['ok', `READY in ${duration(systemClock.now() - startedAt)} (transport: ${client.transport})`];
  } catch (error) {
    const why = client.connectivity.lastError ?? errorMessage(error);
    const remedy = hasFindings ? 'see the findings above' : 'check the log of the server, or of a proxy in front of it';
    verdict = ['failed', `not READY within ${duration(timeoutMs)}: ${oneLine(why)}`, remedy];
  }
  const { state, lastError } = client.connectivity;
  const tookMs = Math.round(systemClock.now() - startedAt);
  const facts = { target: client.canonicalTarget, state, tookMs, lastError, transport: client.transport };
  return resultsOf('client', facts)(...verdict);
}

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
  const { code, reason } = error;
  const message = `${error.codeName}: ${oneLine(error.details)}`;
  if (reason === 'deadline') {
    const remedy =
      'the connection is open: check whether the server process is frozen or overloaded, or whether a proxy has no reachable server';
    return ['failed', `no response to a call within ${duration(timeoutMs)}`, remedy];
  }
  if (error.reachedServer === 'yes' && code === StatusCode.NOT_FOUND) {
    const remedy =
      'compare the name with those of the reflection check below: it must be the full name, with the package of the .proto file';
    return service === ''
      ? ['warning', 'the health service has no status for the whole server', "set the status of '' on the server"]
      : ['failed', `the health service has no status for '${service}'`, remedy];
  }
  if (error.reachedServer === 'yes' && code === StatusCode.UNIMPLEMENTED) {
    const answers = 'the server responds to calls, but does not implement grpc.health.v1.Health';
    const remedy = 'implement it, because health probes fail without it; or omit --service to skip this check';
    return service === '' ? ['skipped', answers] : ['failed', answers, remedy];
  }
  if (code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED) {
    const remedy = 'allow calls to grpc.health.v1.Health without credentials; otherwise probes fail';
    return ['warning', `the server rejects health checks without credentials: ${message}`, remedy];
  }
  const remedy = 'see the log of the server, or of the proxy in front of it';
  const byReason = new Map([
    ['http', HTTP_RESPONSE_REMEDY],
    ['trailers-missing', TRAILERS_REMEDY],
  ]);
  return ['failed', message, byReason.get(reason) ?? remedy];
}

const REFLECTION_SERVICES = [
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
] as const;

const MAX_LISTED = 50;

/** The names of the services, or the error that the response contains. */
interface ReflectionResponse {
  readonly services: readonly string[];
  readonly error: string | undefined;
}

/**
 * Returns a method whose requests list all services, whatever their message is. The fields are those of
 * https://github.com/grpc/grpc-proto/blob/master/grpc/reflection/v1/reflection.proto, because the package that contains the file is optional.
 */
function reflectionMethod(service: string): MethodDescriptor {
  const method = 'ServerReflectionInfo';
  return {
    path: `/${service}/${method}`,
    service,
    method,
    kind: 'bidi',
    requestStream: true,
    responseStream: true,
    declaredIdempotent: false,
    requestSerialize: () => writeField(7, Buffer.from('*')),
    responseDeserialize: (bytes): ReflectionResponse => {
      const response = new Descriptor(bytes);
      const [error] = response.children(7);
      return {
        services: response.children(6).flatMap((list) => list.children(1).map((one) => one.text(1))),
        error: error && `${statusName(error.integer(1))}: ${oneLine(error.text(2))}`,
      };
    },
  };
}

export async function reflectionCheck(client: InternalGrpcClient, timeoutMs: number): Promise<CheckResult> {
  const unavailable = (message: string) => resultsOf('reflection')('skipped', message);
  for (const name of REFLECTION_SERVICES) {
    try {
      const responses = client.stubOf(reflectionMethod(name))([{}], probeOptions(timeoutMs));
      const response = await firstValueFrom(responses, { defaultValue: { services: [], error: undefined } });
      // The cast is safe: `responseDeserialize` returns the response.
      const { services, error } = response as ReflectionResponse;
      if (error !== undefined) return unavailable(error);
      const own = services.filter((service) => !service.startsWith('grpc.'));
      const list = listed(own, MAX_LISTED);
      const message = own.length === 0 ? "no services except gRPC's own" : `${counted(own.length, 'service')}: ${list}`;
      return resultsOf('reflection', { version: name, services })('ok', message);
    } catch (error) {
      if (!isGrpcCallError(error)) throw error;
      if (error.code !== StatusCode.UNIMPLEMENTED || error.reachedServer !== 'yes')
        return unavailable(`${error.codeName}: ${oneLine(error.details)}`);
    }
  }
  return unavailable('the server does not implement reflection; its services are unknown');
}
