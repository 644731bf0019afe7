import { Module, type DynamicModule, type ModuleMetadata, type Provider } from '@nestjs/common';
import { ApplicationConfig, ModulesContainer } from '@nestjs/core';
import type { GrpcOptions } from '@nestjs/microservices';
import { asyncSourceProviders } from '../nest/async-source.js';
import { ClientRegistry } from '../nest/client-registry.js';
import { GrpcLifecycle, signalHandling } from '../nest/grpc-lifecycle.js';
import type { AsyncOptions } from '../nest/module-options.js';
import { GRPC_TELEMETRY, type GrpcTelemetry } from '../telemetry/grpc-telemetry.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { GlobalEnhancers } from './application-handlers.js';
import { GrpcServerHealth } from './health/serving-health.js';
import { ResilientGrpcServer } from './resilient-grpc-server.js';
import { resolveServerOptions } from './resolve-server-options.js';
import { ServerLifecycle } from './server-lifecycle.js';
import type { ResilientGrpcServerOptions, ResilientGrpcServerOptionsFactory } from './server-options.js';

const GIVEN_OPTIONS = Symbol('ResilientGrpcServerModule options');

const FOR_ROOT = 'ResilientGrpcServerModule.forRoot';
const FOR_ROOT_ASYNC = 'ResilientGrpcServerModule.forRootAsync';

/** Provides {@link ResilientGrpcServer}, its health service, and its shutdown hooks. Each call to `forRoot()` creates a server. */
@Module({})
export class ResilientGrpcServerModule {
  /**
   * Creates a server with `options`; Nest's `GrpcOptions` are accepted unchanged. Call it once per address: for several contracts, write
   * lists in `package` and `protoPath`. Startup fails with a `GrpcConfigurationError` that lists all problems if `options` are invalid.
   */
  static forRoot(options: ResilientGrpcServerOptions | GrpcOptions): DynamicModule {
    return serverModule([{ provide: GIVEN_OPTIONS, useValue: options }], undefined, FOR_ROOT);
  }

  /** Creates a server with options from a factory, a class, or an existing provider. Invalid options make startup fail. */
  static forRootAsync(
    options: AsyncOptions<ResilientGrpcServerOptions | GrpcOptions, ResilientGrpcServerOptionsFactory>,
  ): DynamicModule {
    const given = asyncSourceProviders(GIVEN_OPTIONS, options, 'createGrpcServerOptions');
    return serverModule(given, options.imports, FOR_ROOT_ASYNC);
  }
}

function serverModule(given: Provider[], imports: ModuleMetadata['imports'], path: string): DynamicModule {
  const server: Provider = {
    provide: ResilientGrpcServer,
    inject: [
      GIVEN_OPTIONS,
      ModulesContainer,
      ApplicationConfig,
      { token: ClientRegistry, optional: true },
      { token: GRPC_TELEMETRY, optional: true },
    ],
    useFactory: (
      options: ResilientGrpcServerOptions,
      modules: ModulesContainer,
      config: ApplicationConfig,
      clients: ClientRegistry | undefined,
      telemetry: GrpcTelemetry | undefined,
    ) => {
      const created = new ResilientGrpcServer(resolveServerOptions(options, path), {
        clock: systemClock,
        random: systemRandom,
        captures: () => clients?.capturesInbound ?? false,
        telemetry,
        modules,
        enhancers: new GlobalEnhancers(config),
      });
      clients?.servers.add(created);
      return created;
    },
  };
  const health: Provider = {
    provide: GrpcServerHealth,
    inject: [ResilientGrpcServer],
    useFactory: ({ health: own }: ResilientGrpcServer) => own,
  };
  const lifecycle: Provider = {
    provide: ServerLifecycle,
    inject: [ResilientGrpcServer, { token: GrpcLifecycle, optional: true }],
    useFactory: (own: ResilientGrpcServer, clients: GrpcLifecycle | undefined) =>
      new ServerLifecycle(own, clients, signalHandling()),
  };
  return {
    module: ResilientGrpcServerModule,
    imports: [...(imports ?? [])],
    providers: [...given, server, health, lifecycle],
    exports: [ResilientGrpcServer, GrpcServerHealth],
  };
}
