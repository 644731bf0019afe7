import {
  Module,
  Scope,
  type DynamicModule,
  type InjectionToken,
  type ModuleMetadata,
  type OnModuleDestroy,
  type Provider,
} from '@nestjs/common';
import { APP_INTERCEPTOR, ModuleRef } from '@nestjs/core';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import { findService, shortName } from '../client/settings/contract.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { asyncSourceProviders } from './async-source.js';
import { callSite } from '../client/caller/call-site.js';
import { defineClients, recordDefinitions, type ClientDefinition } from './client-definition.js';
import { ClientRegistry } from './client-registry.js';
import { GrpcLifecycle } from './grpc-lifecycle.js';
import {
  getGrpcClientSettingsToken,
  getGrpcClientToken,
  getGrpcServiceToken,
  givenSettingsToken,
} from './grpc-tokens.js';
import { InboundInterceptor } from './inbound/inbound.interceptor.js';
import { interceptorSource, ROOT_OPTIONS, ResilientGrpcCoreModule } from './resilient-grpc-core.module.js';
import type {
  ForFeatureExtras,
  GrpcClientAsyncOptions,
  GrpcClientOptions,
  NestGrpcClientOptions,
  ResilientGrpcModuleAsyncOptions,
  ResilientGrpcModuleOptions,
} from './module-options.js';
import { systemClock } from '../time/clock.js';

type TokenProvider = Exclude<Provider, { readonly prototype: unknown }> & { readonly provide: InjectionToken };

const ROOT_VERDICT = Symbol('validation of ResilientGrpcModule.forRoot');
const GIVEN_ROOT_OPTIONS = Symbol('options of ResilientGrpcModule.forRoot, as given');

const INBOUND_INTERCEPTOR: Provider = {
  provide: APP_INTERCEPTOR,
  inject: [ClientRegistry],
  useFactory: (registry: ClientRegistry) => new InboundInterceptor(systemClock, () => registry.capturesInbound),
};

/** Defines gRPC clients that recover from server restarts and lost connections, and drain their calls at shutdown. */
@Module({})
export class ResilientGrpcModule {
  /**
   * Sets the defaults for all clients and configures the shutdown. Optional and global. Invalid options or a second forRoot make startup
   * fail. If every client belongs to a lazily loaded module, call `forRoot` in the root module, because Nest calls shutdown hooks only in
   * modules that existed at startup.
   */
  static forRoot(options: ResilientGrpcModuleOptions = {}): DynamicModule {
    const place = callSite();
    const given: Provider = { provide: GIVEN_ROOT_OPTIONS, useValue: options };
    // Without propagation, no interceptor is added.
    return rootModule([given, ...(options.propagate === undefined ? [] : [INBOUND_INTERCEPTOR])], undefined, place);
  }

  /** `forRoot` with options from a factory, a class, or an existing provider. Invalid options make startup fail. */
  static forRootAsync(options: ResilientGrpcModuleAsyncOptions): DynamicModule {
    const place = callSite();
    const given = asyncSourceProviders(GIVEN_ROOT_OPTIONS, options, 'createGrpcModuleOptions');
    return rootModule([...given, INBOUND_INTERCEPTOR], options.imports, place);
  }

  /**
   * Defines clients, and exports them and their services to importing modules, or to all modules if `isGlobal` is true. Also accepts Nest's
   * `GrpcOptions` plus a `name`. Invalid settings make startup fail.
   * @throws GrpcConfigurationError if a contract cannot be loaded, a transport is not gRPC, or a name is invalid or defined twice in this
   * call.
   */
  static forFeature(
    clients: readonly (NestGrpcClientOptions | GrpcClientOptions)[],
    extras: ForFeatureExtras = {},
  ): DynamicModule {
    const definitions = definitionsOf(clients, 'sync', callSite());
    const settings = definitions.map((one): Provider => ({
      provide: givenSettingsToken(one.name),
      useValue: one.settings,
    }));
    return featureModule(definitions, settings, [], extras);
  }

  /**
   * Defines clients whose settings come from a factory, a class, or an existing provider. Invalid settings make startup fail.
   * @throws GrpcConfigurationError if a contract cannot be loaded, or a name is invalid or defined twice in this call.
   */
  static forFeatureAsync(clients: readonly GrpcClientAsyncOptions[], extras: ForFeatureExtras = {}): DynamicModule {
    const definitions = definitionsOf(clients, 'async', callSite());
    const settings = clients.flatMap((one) =>
      asyncSourceProviders(givenSettingsToken(one.name), one, 'createGrpcClientOptions'),
    );
    const imports = clients.flatMap((one) => one.imports ?? []);
    return featureModule(definitions, settings, imports, extras);
  }
}

/**
 * Notifies the lifecycle when Nest destroys a module that defines clients. The lifecycle's own `onModuleDestroy` would be too late, because
 * Nest calls the hooks of global modules last, after hooks that may hang.
 */
const SHUTDOWN_NOTICE: Provider = {
  provide: Symbol('notice of the shutdown'),
  inject: [GrpcLifecycle],
  useFactory: (lifecycle: GrpcLifecycle): OnModuleDestroy => ({
    onModuleDestroy: () => {
      lifecycle.onModuleDestroy();
    },
  }),
};

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
  const providers = definitions.flatMap(clientProviders);
  return {
    module: ResilientGrpcModule,
    global: isGlobal,
    imports: [ResilientGrpcCoreModule, ...imports],
    providers: [...settings, ...providers, SHUTDOWN_NOTICE],
    exports: providers.map((provider) => provider.provide),
  };
}

function definitionsOf(clients: unknown, kind: 'sync' | 'async', place: string): readonly ClientDefinition[] {
  const result = defineClients(clients, kind, place);
  if (!result.ok) throw new GrpcConfigurationError(result.problems);
  recordDefinitions(result.definitions);
  return result.definitions;
}

/** Returns the providers of a client, its settings, and its services. A separate provider supplies the settings as given. */
function clientProviders(definition: ClientDefinition): readonly TokenProvider[] {
  const { name } = definition;
  const token = getGrpcClientToken(name);
  const client: TokenProvider = {
    provide: token,
    inject: [ClientRegistry, getGrpcClientSettingsToken(name), ModuleRef, { token: ROOT_OPTIONS, optional: true }],
    useFactory: (registry: ClientRegistry, settings: unknown, moduleRef: ModuleRef) =>
      registry.obtain(definition, settings, interceptorSource(moduleRef)),
  };
  const settings: TokenProvider = {
    provide: getGrpcClientSettingsToken(name),
    inject: [givenSettingsToken(name)],
    useFactory: (given: unknown) => given,
  };
  // Existing code injects a client by its bare name, which is the token of the client in Nest's ClientsModule.
  const bareName: readonly TokenProvider[] = token === name ? [] : [{ provide: name, useExisting: token }];
  return [settings, client, ...bareName, ...serviceProviders(definition, token)];
}

function serviceProviders(
  { name, label, services }: ClientDefinition,
  client: InjectionToken,
): readonly TokenProvider[] {
  const names = [...services.keys()];
  const full = names.map((service) => ({
    provide: getGrpcServiceToken(name, service),
    inject: [client],
    useFactory: (created: ResilientGrpcClient) => created.getService(service),
  }));
  const short = [...new Set(names.map(shortName))]
    .filter((service) => !services.has(service))
    .map((service): TokenProvider => {
      const provide = getGrpcServiceToken(name, service);
      const [only, ...others] = names.filter((one) => shortName(one) === service);
      if (only !== undefined && others.length === 0) return { provide, useExisting: getGrpcServiceToken(name, only) };
      // Transient, so that Nest runs this factory only if the ambiguous short name is injected. The factory throws.
      return { provide, scope: Scope.TRANSIENT, useFactory: () => findService(services, service, label) };
    });
  return [...full, ...short];
}
