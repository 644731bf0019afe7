import { createRequire } from 'node:module';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import type * as Reflection from '@grpc/reflection';
import { HEALTH_CONTRACT, HEALTH_SERVICE } from '../client/health-contract.js';
import { pathOf } from '../client/settings/describe-value.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { WireCall } from './calls/wire-call.js';
import { addStandardService, type ServiceTaker, type StandingStreams } from './standing-streams.js';

/** What is reflected on, and where. */
export interface ReflectionInput {
  readonly definition: PackageDefinition;
  /** Full names of the services that are listed. */
  readonly services: readonly string[];
  /** The health service is ours, and is reflected on as well. */
  readonly health: boolean;
  readonly standing: StandingStreams;
  /** Where these options stand: 'ResilientGrpcServerModule.forRoot'. */
  readonly path: string;
}

/**
 * Adds the reflection service (v1 and v1alpha) of the package `@grpc/reflection`, after the services of the application: where that
 * serves it by itself, ours stands back.
 *
 * @param requireFrom the module whose packages are looked at
 * @throws GrpcConfigurationError where the package is not installed, or the definition does not hold what there is to reflect on
 */
export function addReflection(server: ServiceTaker, input: ReflectionInput, requireFrom = import.meta.url): void {
  const path = pathOf(input.path, 'reflection');
  const { ReflectionService } = reflectionPackage(requireFrom, path);
  if (!Object.values(input.definition).some(isDescribed)) {
    const message =
      "expected a packageDefinition of proto-loader, which holds the files it was made from, got one without; write protoPath, or proto-loader's loadSync()";
    throw new GrpcConfigurationError([{ path, message }]);
  }
  const definition = input.health ? { ...HEALTH_CONTRACT, ...input.definition } : input.definition;
  const services = input.health ? [...input.services, HEALTH_SERVICE] : [...input.services];
  const reflection = new ReflectionService(definition, { services });
  reflection.addToServer({
    addService: (service: ServiceDefinition, implementation: UntypedServiceImplementation) => {
      addStandardService(server, service, withStandingStreams(implementation, input.standing));
    },
  });
}

/** Optional: only who asks for it needs it, and learns at the start that it is missing. */
function reflectionPackage(from: string, path: string): typeof Reflection {
  try {
    // True: it is that package's main module.
    return createRequire(from)('@grpc/reflection') as typeof Reflection;
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND';
    if (!missing || !error.message.includes("'@grpc/reflection'")) throw error;
    const message =
      'expected the package @grpc/reflection to be installed, found none; run npm install @grpc/reflection';
    throw new GrpcConfigurationError([{ path, message }]);
  }
}

function isDescribed(entry: PackageDefinition[string]): boolean {
  return 'fileDescriptorProtos' in entry && Array.isArray(entry.fileDescriptorProtos);
}

function withStandingStreams(
  implementation: UntypedServiceImplementation,
  standing: StandingStreams,
): UntypedServiceImplementation {
  const wrapped = Object.entries(implementation).map(([name, handler]) => {
    // True: its only method streams both ways.
    const serve = handler as unknown as (call: WireCall) => void;
    const standingHandler = (call: WireCall) => {
      if (standing.begin(call)) serve(call);
    };
    return [name, standingHandler] as const;
  });
  return Object.fromEntries(wrapped);
}
