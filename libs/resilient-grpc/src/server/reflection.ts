import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import type * as Reflection from '@grpc/reflection';
import { HEALTH_SERVICE, healthContract } from '../client/health-contract.js';
import { pathOf } from '../policy/options/describe-value.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { WireCall } from './calls/wire-call.js';
import { createRequire, requireFor } from './proto-loader.js';
import { reflectedFiles, type ProtoFiles, type Protobuf } from './reflected-files.js';
import { addStandardService, type ServiceHost, type ServiceStreams } from './service-streams.js';
import { isError } from '../errors/error-message.js';

/** Input of the reflection service. */
export interface ReflectionInput {
  readonly definition: PackageDefinition;
  /** Files that `definition` was loaded from; `undefined` if they are unknown. */
  readonly files?: ProtoFiles | undefined;
  /** Full names of the listed services. */
  readonly services: readonly string[];
  /** True if this library provides the health service, which is then included. */
  readonly health: boolean;
  readonly serviceStreams: ServiceStreams;
  /** Path of the options in configuration problems, such as 'ResilientGrpcServerModule.forRoot'. */
  readonly path: string;
}

/**
 * Adds the reflection service (v1 and v1alpha) of the package `@grpc/reflection`, except the versions that the application already
 * provides. Call it after the application's services have been added.
 *
 * @param places URLs or paths from which the package is resolved
 * @throws GrpcConfigurationError if the package is not installed, or if the definition contains no file descriptors
 */
export function addReflection(server: ServiceHost, input: ReflectionInput, places?: readonly string[]): void {
  const path = pathOf(input.path, 'reflection');
  const { ReflectionService, protobuf } = reflectionPackage(places, path);
  if (!Object.values(input.definition).some(isDescribed)) {
    const message =
      "expected a packageDefinition with file descriptors, got one without them; write protoPath, or use proto-loader's loadSync()";
    throw new GrpcConfigurationError([{ path, message }]);
  }
  const files = reflectedFiles(protobuf, input.definition, input.files);
  if (input.health && !(HEALTH_SERVICE in input.definition)) files.push(...reflectedFiles(protobuf, healthContract()));
  const services = input.health ? [...input.services, HEALTH_SERVICE] : [...input.services];
  // The cast is safe: the package reads only these properties.
  const described = { files: { fileDescriptorProtos: files } } as unknown as PackageDefinition;
  const reflection = new ReflectionService(described, { services });
  reflection.addToServer({
    addService: (service: ServiceDefinition, implementation: UntypedServiceImplementation) => {
      addStandardService(server, service, trackStreams(implementation, input.serviceStreams));
    },
  });
}

/** Loads the optional package. @throws GrpcConfigurationError if it is not installed */
function reflectionPackage(
  places: readonly string[] | undefined,
  path: string,
): typeof Reflection & { readonly protobuf: Protobuf } {
  try {
    const require = requireFor('@grpc/reflection', places);
    const requireBeside = createRequire(require.resolve('@grpc/reflection'));
    // The casts are safe: these are the main modules of the packages. The second module assigns `descriptor` to the first.
    const protobuf = requireBeside('protobufjs') as Protobuf;
    requireBeside('protobufjs/ext/descriptor');
    return { ...(require('@grpc/reflection') as typeof Reflection), protobuf };
  } catch (error) {
    const missing = isError(error) && 'code' in error && error.code === 'MODULE_NOT_FOUND';
    if (!missing || !error.message.includes("'@grpc/reflection'")) throw error;
    const message =
      'expected the package @grpc/reflection, but it is not installed; run npm install @grpc/reflection (for a bundled application, next to the bundle)';
    throw new GrpcConfigurationError([{ path, message }]);
  }
}

function isDescribed(entry: PackageDefinition[string]): boolean {
  return 'fileDescriptorProtos' in entry && Array.isArray(entry.fileDescriptorProtos);
}

function trackStreams(
  implementation: UntypedServiceImplementation,
  serviceStreams: ServiceStreams,
): UntypedServiceImplementation {
  const wrapped = Object.entries(implementation).map(([name, handler]) => {
    // The cast is safe: the only method of the service is bidirectional.
    const serve = handler as unknown as (call: WireCall) => void;
    const trackedHandler = (call: WireCall) => {
      if (serviceStreams.begin(call)) serve(call);
    };
    return [name, trackedHandler] as const;
  });
  return Object.fromEntries(wrapped);
}
