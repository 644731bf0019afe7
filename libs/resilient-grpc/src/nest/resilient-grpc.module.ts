import { Module, type DynamicModule, type ModuleMetadata, type OnModuleDestroy, type Provider } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { copyOptions } from '../client/settings/copy-options.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { asyncSourceProviders } from './async-source.js';
import { callSite } from '../client/call-site.js';
import { defineClients, type ClientDefinition } from './client-definition.js';
import { clientProviders } from './client-providers.js';
import { ClientRegistry } from './client-registry.js';
import { GrpcLifecycle } from './grpc-lifecycle.js';
import { givenSettingsToken } from './grpc-tokens.js';
import { InboundInterceptor } from './inbound/inbound.interceptor.js';
import type {
  ForFeatureExtras,
  GrpcClientAsyncOptions,
  GrpcClientOptions,
  ResilientGrpcModuleAsyncOptions,
  ResilientGrpcModuleOptions,
} from './module-options.js';
import { asyncSourceProblems } from './module-options.validation.js';
import { systemClock } from '../time/clock.js';
import { ROOT_OPTIONS, ResilientGrpcCoreModule } from './resilient-grpc-core.module.js';

const ROOT_VERDICT = Symbol('validation of ResilientGrpcModule.forRoot');
const GIVEN_ROOT_OPTIONS = Symbol('options of ResilientGrpcModule.forRoot, as given');

const INBOUND_INTERCEPTOR: Provider = {
  provide: APP_INTERCEPTOR,
  inject: [ClientRegistry],
  useFactory: (registry: ClientRegistry) => new InboundInterceptor(systemClock, () => registry.capturesInbound),
};

/** Defines gRPC clients that survive restarts, lost connections, and shutdowns. */
@Module({})
export class ResilientGrpcModule {
  /**
   * Sets the defaults of all clients and configures the shutdown. Optional and global; a second forRoot fails the start. If every client
   * belongs to a lazily loaded module, import it in the root module: Nest calls shutdown hooks only of modules that existed at the start.
   */
  static forRoot(options: ResilientGrpcModuleOptions = {}): DynamicModule {
    const place = callSite();
    const given: Provider = { provide: GIVEN_ROOT_OPTIONS, useValue: options };
    // Without propagation, requests do not even pass an interceptor.
    return rootModule([given, ...(propagates(options) ? [INBOUND_INTERCEPTOR] : [])], undefined, place);
  }

  /** `forRoot` with options from a factory. */
  static forRootAsync(options: ResilientGrpcModuleAsyncOptions): DynamicModule {
    const copied = copyOptions(options, 'forRootAsync');
    const problems = copied.ok ? asyncSourceProblems(copied.value, 'forRootAsync') : copied.problems;
    if (problems.length > 0) throw new GrpcConfigurationError(problems);
    const place = callSite();
    const given = asyncSourceProviders(GIVEN_ROOT_OPTIONS, options);
    return rootModule([...given, INBOUND_INTERCEPTOR], options.imports, place);
  }

  /**
   * Defines clients, and exports them and their services to importing modules (`isGlobal`: to all modules). Invalid settings fail the
   * start.
   * @throws GrpcConfigurationError if a contract cannot be loaded.
   */
  static forFeature(clients: readonly GrpcClientOptions[], extras: ForFeatureExtras = {}): DynamicModule {
    const definitions = defined(clients, 'sync', callSite());
    const settings = definitions.map((one): Provider => ({
      provide: givenSettingsToken(one.name),
      useValue: one.settings,
    }));
    return featureModule(definitions, settings, [], extras);
  }

  /**
   * Defines clients whose settings come from factories.
   * @throws GrpcConfigurationError if a contract cannot be loaded or a factory is missing.
   */
  static forFeatureAsync(clients: readonly GrpcClientAsyncOptions[], extras: ForFeatureExtras = {}): DynamicModule {
    const definitions = defined(clients, 'async', callSite());
    const settings = clients.flatMap((one) => asyncSourceProviders(givenSettingsToken(one.name), one));
    const imports = clients.flatMap((one) => one.imports ?? []);
    return featureModule(definitions, settings, imports, extras);
  }
}

/**
 * Notifies the lifecycle when Nest destroys the module of a client. Nest calls onModuleDestroy of global modules last, after hooks that may
 * hang.
 */
class ShutdownNotice implements OnModuleDestroy {
  constructor(private readonly lifecycle: GrpcLifecycle) {}

  onModuleDestroy(): void {
    this.lifecycle.onModuleDestroy();
  }
}

const SHUTDOWN_NOTICE: Provider = {
  provide: ShutdownNotice,
  inject: [GrpcLifecycle],
  useFactory: (lifecycle: GrpcLifecycle) => new ShutdownNotice(lifecycle),
};

/** True if `propagate` is given. Accepts any value, because invalid options are reported later with all other problems. */
function propagates(options: unknown): boolean {
  try {
    return typeof options === 'object' && options !== null && Reflect.get(options, 'propagate') !== undefined;
  } catch {
    return false;
  }
}

function rootModule(given: Provider[], imports: ModuleMetadata['imports'], place: string): DynamicModule {
  const options: Provider = {
    provide: ROOT_OPTIONS,
    inject: [ClientRegistry, GIVEN_ROOT_OPTIONS],
    useFactory: (registry: ClientRegistry, value: ResilientGrpcModuleOptions) => {
      registry.configure(value, place);
      return value;
    },
  };
  const verdict: Provider = {
    provide: ROOT_VERDICT,
    inject: [ClientRegistry, ROOT_OPTIONS],
    useFactory: (registry: ClientRegistry) => registry.rootVerdict(),
  };
  return {
    module: ResilientGrpcModule,
    global: true,
    imports: [ResilientGrpcCoreModule, ...(imports ?? [])],
    providers: [...given, options, verdict],
    exports: [ROOT_OPTIONS],
  };
}

function featureModule(
  definitions: readonly ClientDefinition[],
  settings: readonly Provider[],
  imports: NonNullable<ModuleMetadata['imports']>,
  { isGlobal = false }: ForFeatureExtras,
): DynamicModule {
  const providers = definitions.flatMap((one) => clientProviders(one));
  return {
    module: ResilientGrpcModule,
    global: isGlobal,
    imports: [ResilientGrpcCoreModule, ...imports],
    providers: [...settings, ...providers, SHUTDOWN_NOTICE],
    exports: providers.map((provider) => provider.provide),
  };
}

function defined(clients: unknown, kind: 'sync' | 'async', place: string): readonly ClientDefinition[] {
  const result = defineClients(clients, kind, place);
  if (!result.ok) throw new GrpcConfigurationError(result.problems);
  return result.definitions;
}
