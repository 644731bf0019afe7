import { Global, Inject, Module, RequestMethod, type MiddlewareConsumer, type NestModule } from '@nestjs/common';
import { HttpAdapterHost, ModuleRef } from '@nestjs/core';
import { GRPC_TELEMETRY, type GrpcTelemetry } from '../telemetry/grpc-telemetry.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { ClientRegistry } from './client-registry.js';
import { createLoggedClient } from './create-logged-client.js';
import { GrpcClients } from './grpc-clients.js';
import { GrpcLifecycle } from './grpc-lifecycle.js';
import { httpConnections } from './http-connections.js';
import { inboundMiddleware } from './inbound/inbound-middleware.js';
import { interceptorSource } from './interceptor-source.js';

/** Injection token of forRoot's options; has no provider without forRoot. */
export const ROOT_OPTIONS = Symbol('options of ResilientGrpcModule.forRoot');

/** Providers that exist once per application, however many modules define clients. */
@Global()
@Module({
  providers: [
    {
      provide: ClientRegistry,
      inject: [ModuleRef, { token: GRPC_TELEMETRY, optional: true }],
      useFactory: (moduleRef: ModuleRef, telemetry: GrpcTelemetry | undefined) => {
        const dependencies = { clock: systemClock, random: systemRandom, telemetry };
        return new ClientRegistry({
          ...dependencies,
          interceptorOf: interceptorSource(moduleRef),
          createClient: (settings, logger) => createLoggedClient(settings, logger, dependencies),
        });
      },
    },
    {
      // Injecting ROOT_OPTIONS applies forRoot first, so that clients created at run time have its defaults.
      provide: GrpcClients,
      inject: [ClientRegistry, { token: ROOT_OPTIONS, optional: true }],
      useFactory: (registry: ClientRegistry) => registry,
    },
    {
      provide: GrpcLifecycle,
      inject: [ClientRegistry, { token: HttpAdapterHost, optional: true }],
      useFactory: (registry: ClientRegistry, http: HttpAdapterHost | undefined) =>
        new GrpcLifecycle(registry, {
          httpConnections: () => httpConnections(http),
          clock: systemClock,
          listensForSignals: () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') > 0,
          testing: process.env['NODE_ENV'] === 'test',
        }),
    },
  ],
  exports: [ClientRegistry, GrpcClients, GrpcLifecycle],
})
export class ResilientGrpcCoreModule implements NestModule {
  constructor(@Inject(ClientRegistry) private readonly registry: ClientRegistry) {}

  configure(consumer: MiddlewareConsumer): void {
    if (!this.registry.capturesInbound) return;
    consumer.apply(inboundMiddleware(systemClock)).forRoutes({ path: '{*path}', method: RequestMethod.ALL });
  }
}
