import { Module, Scope, type DynamicModule, type InjectionToken, type Provider } from '@nestjs/common';
import { findService, shortName, type Services } from '../client/settings/contract.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { ClientDefinition } from './client-definition.js';
import { clientLabel } from './grpc-tokens.js';

/** Injection of a service of a client by a decorator of this library. */
interface Injection {
  readonly client: string | symbol;
  readonly service: string;
  /** The decorator as written, and the class: "@InjectGrpcService('orders', 'Order') in OrdersController". */
  readonly place: string;
}

// Kept for the whole process, because decorators run before any application exists, and forFeature() may run before or after them.
const injections = new Map<InjectionToken, Injection>();
const defined = new Map<string | symbol, Services>();

/** Records an injection. `target` is the class or its prototype. */
export function recordInjection(token: InjectionToken, target: object, injection: Omit<Injection, 'place'>): void {
  const { client, service } = injection;
  const { name } = typeof target === 'function' ? target : target.constructor;
  injections.set(token, {
    client,
    service,
    place: `@InjectGrpcService('${clientLabel(client)}', '${service}') in ${name}`,
  });
}

/** Records the clients of a forFeature() call. */
export function recordDefinitions(definitions: readonly ClientDefinition[]): void {
  for (const { name, services } of definitions) {
    defined.set(name, new Map([...(defined.get(name) ?? []), ...services]));
  }
}

/** Returns the services of a client that a forFeature() call of this process defines; `undefined` if none does. */
export function definedServices(client: string | symbol): Services | undefined {
  return defined.get(client);
}

@Module({})
class ResilientGrpcInjectionsModule {}

/**
 * Provides the tokens of misspelled services of defined clients. If one is injected, startup fails with an error that suggests the closest
 * name, or lists the services. Nest's own error would advise exporting a provider.
 */
export const MISSPELLED_INJECTIONS: DynamicModule = {
  module: ResilientGrpcInjectionsModule,
  global: true,
  // Getters, because Nest reads a dynamic module when it scans the application, after all decorators and forFeature() calls have run.
  get providers(): Provider[] {
    return [...misspelled()].map(([token, error]) => ({
      provide: token,
      // Nest runs this factory only if the token is injected.
      scope: Scope.TRANSIENT,
      useFactory: () => {
        throw error;
      },
    }));
  },
  get exports(): InjectionToken[] {
    return [...misspelled().keys()];
  },
};

function misspelled(): ReadonlyMap<InjectionToken, GrpcConfigurationError> {
  const errors = new Map<InjectionToken, GrpcConfigurationError>();
  for (const [token, injection] of injections) {
    const error = injectionError(injection);
    if (error !== undefined) errors.set(token, error);
  }
  return errors;
}

/** Returns the error if an injection is misspelled; `undefined` if it is correct, or unrelated to the defined clients. */
function injectionError({ client, service, place }: Injection): GrpcConfigurationError | undefined {
  const services = defined.get(client);
  if (services === undefined || services.has(service)) return undefined;
  // forFeature() provides short names, and reports ambiguous ones.
  if ([...services.keys()].some((full) => shortName(full) === service)) return undefined;
  try {
    findService(services, service, clientLabel(client));
    return undefined;
  } catch (error) {
    if (!(error instanceof GrpcConfigurationError)) throw error;
    return new GrpcConfigurationError(error.problems.map(({ message }) => ({ path: place, message })));
  }
}
