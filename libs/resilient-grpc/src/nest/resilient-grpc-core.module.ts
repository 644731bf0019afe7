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

/** Token of forRoot's options; nothing where there is no forRoot. */
export const ROOT_OPTIONS = Symbol('options of ResilientGrpcModule.forRoot');

/** What an application has once, however many modules define clients. */
@Global()
@Module({
  providers: [
    {
      provide: ClientRegistry,
      inject: [ModuleRef, { token: GRPC_TELEMETRY, optional: true }],
      useFactory: (moduleRef: ModuleRef, telemetry: GrpcTelemetry | undefined) => {
        const seams = { clock: systemClock, random: systemRandom, telemetry };
        return new ClientRegistry({
          ...seams,
          interceptorOf: interceptorSource(moduleRef),
          createClient: (settings, logger) => createLoggedClient(settings, logger, seams),
        });
      },
    },
    {
      // Whoever makes clients at run time gets them with the defaults of forRoot, so those come first.
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
