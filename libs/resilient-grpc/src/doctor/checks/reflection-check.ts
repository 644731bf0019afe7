import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { lastValueFrom, toArray } from 'rxjs';
import type { InternalGrpcClient } from '../../client/create-client.js';
import type { ResilientMethod, RequestStream } from '../../client/resilient-types.js';
import { loadContract, type Services } from '../../client/settings/contract.js';
import { isGrpcCallError } from '../../errors/grpc-call-error.js';
import { probeOptions } from '../../health/health-service.js';
import { writeField } from '../../errors/protobuf-fields.js';
import { StatusCode, statusName } from '../../status/status-code.js';
import { counted, oneLine } from '../../telemetry/log/log-text.js';
import { resultsOf, type CheckResult } from '../check-result.js';
import { REFLECTION_SERVICES, type ReflectionRequest, type ReflectionResponse } from '../reflection-contract.js';

const MAX_LISTED = 50;

interface ReflectionStub {
  readonly serverReflectionInfo: ResilientMethod<RequestStream<ReflectionRequest>, ReflectionResponse>;
}

/** The result of server reflection. */
export interface Reflected {
  readonly result: CheckResult;
  /** Full names of the services; `undefined` if reflection is not available. */
  readonly services: readonly string[] | undefined;
  /** The services with their methods; `undefined` if not requested or not available. */
  readonly methods: Services | undefined;
}

/** Lists the services of the server by reflection, and their methods if `withMethods` is true. */
export async function reflectionCheck(
  client: InternalGrpcClient,
  timeoutMs: number,
  withMethods: boolean,
): Promise<Reflected> {
  for (const name of REFLECTION_SERVICES) {
    try {
      const stub = client.getService<ReflectionStub>(name);
      const request = (requests: readonly ReflectionRequest[]) =>
        lastValueFrom(stub.serverReflectionInfo(requests, probeOptions(timeoutMs)).pipe(toArray()));
      const [answer] = await request([{ listServices: '*' }]);
      if (answer?.errorResponse !== undefined) {
        const { errorCode, errorMessage } = answer.errorResponse;
        return unavailable(`${statusName(errorCode)}: ${oneLine(errorMessage)}`);
      }
      const services = answer?.listServicesResponse?.service.map((service) => service.name) ?? [];
      const own = services.filter((service) => !service.startsWith('grpc.'));
      const message =
        own.length === 0 ? "no services except gRPC's own" : `${counted(own.length, 'service')}: ${listed(own)}`;
      const result = resultsOf('reflection', { version: name, services })('ok', message);
      return { result, services, methods: withMethods ? await methodsOf(own, request) : undefined };
    } catch (error) {
      if (!isGrpcCallError(error)) throw error;
      if (error.code !== StatusCode.UNIMPLEMENTED || error.reachedServer !== 'yes')
        return unavailable(`${error.codeName}: ${oneLine(error.details)}`);
    }
  }
  return unavailable('the server does not implement reflection; its services are unknown');
}

/** Lists up to 50 names and the number of remaining names, because a server may return any number of names. */
function listed(names: readonly string[]): string {
  const more = names.length > MAX_LISTED ? `, and ${String(names.length - MAX_LISTED)} more` : '';
  return `${names.slice(0, MAX_LISTED).join(', ')}${more}`;
}

function unavailable(message: string): Reflected {
  return { result: resultsOf('reflection')('skipped', message), services: undefined, methods: undefined };
}

async function methodsOf(
  services: readonly string[],
  request: (requests: readonly ReflectionRequest[]) => Promise<readonly ReflectionResponse[]>,
): Promise<Services | undefined> {
  try {
    const answers = await request(services.map((fileContainingSymbol) => ({ fileContainingSymbol })));
    const files = answers.flatMap((answer) => answer.fileDescriptorResponse?.fileDescriptorProto ?? []);
    const distinct = new Map(files.map((file) => [file.toString('latin1'), file]));
    // A FileDescriptorSet: `repeated FileDescriptorProto file = 1`.
    const set = Buffer.concat([...distinct.values()].map((file) => writeField(1, file)));
    const contract = loadContract({ packageDefinition: loadFileDescriptorSetFromBuffer(set) }, 'reflection');
    return contract.ok ? contract.services : undefined;
  } catch {
    // A server may omit imported files. Its methods are then unknown, which is not reported as a problem.
    return undefined;
  }
}
