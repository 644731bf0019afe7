import {
  Global,
  Inject,
  Module,
  RequestMethod,
  type MiddlewareConsumer,
  type NestModule,
  type OnApplicationBootstrap,
  type INestApplicationContext,
  type Type,
  Scope,
} from '@nestjs/common';
import { HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';
import { runInbound } from '../client/caller/caller-context.js';
import { requiredGrpcJs } from '../channel/callback-client.js';
import { createResilientGrpcClient, type InternalGrpcClient } from '../client/create-client.js';
import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import { tracedByAgents } from '../telemetry/agents/agent-telemetry.js';
import { GRPC_TELEMETRY, type GrpcTelemetry } from '../telemetry/grpc-telemetry.js';
import { ClientLog, type OutageImpact } from '../telemetry/log/client-log.js';
import type { Connectivity } from '../call/connectivity.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { ClientRegistry } from './client-registry.js';
import { GrpcClients } from './grpc-clients.js';
import { closeFailureLogs } from './errors/failure-log.js';
import { GrpcLifecycle, type HttpServerState, signalHandling } from './grpc-lifecycle.js';
import { HttpInboundCall, type HttpRequest, type HttpResponse } from './inbound/http-inbound-call.js';
import type {
  InterceptorSource,
  GrpcClientInterceptor,
  GrpcClientInterceptorClass,
} from '../client/interceptors/call-hooks.js';

/** Returns a function that resolves interceptors from the application's container, whichever module provides them. */
export function interceptorSource(moduleRef: ModuleRef): InterceptorSource {
  return (type) => {
    const scope = scopeOf(moduleRef, type);
    if (scope === undefined) {
      throw new Error(`no module provides ${type.name}; add it to the providers of a module, or pass an instance`);
    }
    if (scope !== Scope.DEFAULT) {
      const kind = scope === Scope.REQUEST ? 'request-scoped (or injects a request-scoped provider)' : 'transient';
      throw new Error(
        `${type.name} is ${kind}, but all requests share one client; make the interceptor a singleton, and read request data from call.inbound`,
      );
    }
    // The cast is needed because Nest expects a concrete class, although an abstract class can be provided, too.
    return moduleRef.get(type as unknown as Type<GrpcClientInterceptor>, { strict: false });
  };
}

function scopeOf(moduleRef: ModuleRef, type: GrpcClientInterceptorClass): Scope | undefined {
  try {
    return moduleRef.introspect(type as unknown as Type<GrpcClientInterceptor>).scope;
  } catch {
    return undefined;
  }
}

/** Key of a property that the core module of every copy of the package has. */
const CORE_MODULE = Symbol.for('nestjs-resilient-grpc.coreModule');

/** Remedy if an application contains several copies of the package. */
export const COPIES_REMEDY =
  'run npm ls nestjs-resilient-grpc, and move the package to peerDependencies in each library that has its own copy; ' +
  'with pnpm, run pnpm why -r nestjs-resilient-grpc, and install the same optional peer dependencies in each package of the monorepo ' +
  '(if only one is installed, the copies are its ES module and CommonJS builds; load only one of them)';

/** Returns the core modules of an application: one for each copy of the package that its modules import. */
function coreModules(modules: ModulesContainer): readonly Type[] {
  return [...modules.values()].map(({ metatype }) => metatype).filter((type) => CORE_MODULE in type);
}

export function copiesIn(context: INestApplicationContext): number {
  return coreModules(context.get(ModulesContainer, { strict: false })).length;
}

/** Injection token of forRoot's options; has no provider without forRoot. */
export const ROOT_OPTIONS = Symbol('options of ResilientGrpcModule.forRoot');

/** Providers that exist once per application, however many modules define clients. */
@Global()
@Module({
  providers: [
    {
      provide: ClientRegistry,
      inject: [ModuleRef, { token: GRPC_TELEMETRY, optional: true }],
      useFactory: (moduleRef: ModuleRef, telemetry: GrpcTelemetry | undefined) =>
        new ClientRegistry({
          clock: systemClock,
          random: systemRandom,
          interceptorOf: interceptorSource(moduleRef),
          createClient: (settings, logger) => createLoggedClient(settings, logger, telemetry),
        }),
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
          httpServer: () => httpServerState(http),
          closeFailureLogs,
          clock: systemClock,
          signals: signalHandling(),
        }),
    },
  ],
  exports: [ClientRegistry, GrpcClients, GrpcLifecycle],
})
export class ResilientGrpcCoreModule implements NestModule, OnApplicationBootstrap {
  static readonly [CORE_MODULE] = true;

  constructor(
    @Inject(ClientRegistry) private readonly registry: ClientRegistry,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {}

  /** Warns if the application contains several copies of the package, because injection works across them, but `forRoot()` does not. */
  onApplicationBootstrap(): void {
    const copies = coreModules(this.modules);
    // Each copy finds the same list, and only the first one warns.
    if (copies.length < 2 || copies[0] !== ResilientGrpcCoreModule) return;
    const text =
      'this application contains several copies of nestjs-resilient-grpc; forRoot() options, health, the dashboard, and shutdown ' +
      `apply only to clients of their own copy; ${COPIES_REMEDY}`;
    new LibraryLogger('ResilientGrpc').write('warn', text, { event: 'configuration' });
  }

  configure(consumer: MiddlewareConsumer): void {
    if (!this.registry.capturesInbound) return;
    consumer.apply(captureInbound).forRoutes({ path: '{*path}', method: RequestMethod.ALL });
  }
}

/** Captures inbound HTTP requests, before guards run. Express and Fastify both pass Node's own objects to middleware. */
function captureInbound(request: HttpRequest, response: HttpResponse, next: () => void): void {
  runInbound(new HttpInboundCall(request, response, systemClock), next);
}

function createLoggedClient(
  settings: ResolvedClientSettings,
  logger: LibraryLogger,
  telemetry: GrpcTelemetry | undefined,
): InternalGrpcClient {
  // `created.client` is absent at first, because a warm client connects, and emits events, while it is still being created.
  const created: { client?: InternalGrpcClient } = {};
  const impact = () => ({
    isConnected: created.client?.connectivity.state === 'READY',
    waiting: created.client?.waitingCalls ?? 0,
    awaitsReady: created.client?.awaitsReady,
    failed: created.client?.failedBy('outage') ?? 0,
    failure: failureOf(created.client?.connectivity),
  });
  const { target, channel } = settings;
  const log = new ClientLog(logger, { target, impact, doctorCommand: channel.doctorCommand }, systemClock);
  const client = createResilientGrpcClient(settings, {
    clock: systemClock,
    random: systemRandom,
    onEvent: (event) => log.take(event),
  });
  created.client = client;
  const traced = tracedByAgents(client, requiredGrpcJs());
  telemetry?.forClient(traced);
  client.connectivity$.subscribe({ complete: () => log.close() });
  return client;
}

/** Returns the last failed or slow attempt to connect; `undefined` if the client is connected, or if there was no such attempt. */
function failureOf(connectivity: Connectivity | undefined): OutageImpact['failure'] {
  const { lastError: cause, lastFailure } = connectivity ?? {};
  return cause === undefined || lastFailure === undefined ? undefined : { cause, ...lastFailure };
}

/** Returns the state of the application's HTTP server; `undefined` if there is no server, or if it cannot count its connections. */
async function httpServerState(host: HttpAdapterHost | undefined): Promise<HttpServerState | undefined> {
  // After startup, an HTTP application has an adapter and a server, whatever the adapter is. A standalone application has neither.
  const server = (host as Partial<HttpAdapterHost> | undefined)?.httpAdapter?.getHttpServer() as
    | {
        readonly listening?: boolean;
        getConnections?: (callback: (error: Error | null, count: number) => void) => void;
      }
    | undefined;
  if (typeof server?.getConnections !== 'function') return undefined;
  return new Promise((resolve) => {
    server.getConnections?.((error, connections) => {
      resolve(error === null ? { isListening: server.listening === true, connections } : undefined);
    });
  });
}
