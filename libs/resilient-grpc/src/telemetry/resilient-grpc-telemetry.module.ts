import { Global, Inject, Module, type DynamicModule, type OnApplicationBootstrap, type Provider } from '@nestjs/common';
import * as v from 'valibot';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { flag, object } from '../policy/options/option-schemas.js';
import { systemClock } from '../time/clock.js';
import { GRPC_TELEMETRY } from './grpc-telemetry.js';
import { LibraryLogger } from './log/library-logger.js';
import { OpenTelemetry, type TelemetryParts } from './open-telemetry.js';

/** Options of {@link ResilientGrpcTelemetryModule}. */
export interface ResilientGrpcTelemetryOptions {
  /** Enables the metrics of gRFC A66, A96, A94, and A91, and this library's own metrics. @defaultValue true */
  readonly metrics?: boolean | undefined;
  /**
   * Enables the spans of gRFC A72 and sends their context with the registered propagator. An object enables those of clients and servers
   * separately, for example `{ server: false }`; absent keys are true. A server creates no spans if
   * `@opentelemetry/instrumentation-grpc` already creates them. Monitoring agents trace the clients whose spans are off.
   * @defaultValue true
   */
  readonly traces?:
    boolean | { readonly client?: boolean | undefined; readonly server?: boolean | undefined } | undefined;
  /**
   * Adds the address of the endpoint (`network.peer.address`, `network.peer.port`) to `grpc.client.attempt.duration`. Each new address,
   * such as that of a new pod, creates a new series for each method and status.
   * @defaultValue false
   */
  readonly endpointMetrics?: boolean | undefined;
}

const DEFAULT_TELEMETRY_OPTIONS = { metrics: true, traces: { client: true, server: true }, endpointMetrics: false };

const PROVIDERS = { metrics: 'meter provider', traces: 'tracer provider' } as const;

const tracesSchema = v.lazy((traces) =>
  typeof traces === 'object' ? object({ client: v.optional(flag), server: v.optional(flag) }) : flag,
);

const optionsSchema = object({
  metrics: v.optional(flag),
  traces: v.optional(tracesSchema),
  endpointMetrics: v.optional(flag),
});

/** Allows one import of the module per application, because all clients and servers use its options. */
class TelemetryImport {
  private first: string | undefined;

  /** @throws GrpcConfigurationError if another import of the module is already registered */
  register(form: string): void {
    if (this.first !== undefined) {
      const message = `imported twice, as ${this.first} and as ${form}; keep one import, in the root module`;
      throw new GrpcConfigurationError([{ path: 'ResilientGrpcTelemetryModule', message }]);
    }
    this.first = form;
  }
}

/** Exists once per application, however often {@link ResilientGrpcTelemetryModule} is imported. */
@Module({ providers: [TelemetryImport], exports: [TelemetryImport] })
class TelemetryImportModule {}

const telemetryOf = (parts: TelemetryParts, form: string): Provider => ({
  provide: GRPC_TELEMETRY,
  inject: [TelemetryImport],
  useFactory: (only: TelemetryImport) => {
    only.register(form);
    return new OpenTelemetry(parts, systemClock);
  },
});

/**
 * Records metrics and traces of the application's clients and servers through the OpenTelemetry API. An OpenTelemetry SDK exports them if
 * it is registered before the application is created. Without an SDK, nothing is recorded. Importing the class without {@link forRoot}
 * enables metrics and traces. Global; startup fails for imports with two `forRoot()` calls, or with and without one.
 */
@Global()
@Module({
  imports: [TelemetryImportModule],
  providers: [telemetryOf(DEFAULT_TELEMETRY_OPTIONS, 'the class without forRoot()')],
  exports: [GRPC_TELEMETRY],
})
export class ResilientGrpcTelemetryModule implements OnApplicationBootstrap {
  /** @internal Called by Nest. */
  constructor(@Inject(GRPC_TELEMETRY) private readonly telemetry: OpenTelemetry) {}

  onApplicationBootstrap(): void {
    this.telemetry.started();
    const { missing, parts } = this.telemetry;
    if (missing.length === 0) return;
    const [signal] = missing;
    const { client, server } = parts.traces;
    const isPartial = parts.metrics && (client || server) && missing.length === 1 && signal !== undefined;
    const unseen = this.telemetry.unseenVersion;
    const text =
      unseen !== undefined
        ? `an OpenTelemetry SDK is registered with @opentelemetry/api ${unseen}, but the copy that this library imports does not see it, so no ${missing.join(' and no ')} are collected; install @opentelemetry/api@${unseen}`
        : isPartial
          ? `no OpenTelemetry ${PROVIDERS[signal]} is registered, so no ${signal} are collected; register one before the application is created, or set ${signal}: false`
          : 'no OpenTelemetry SDK is registered, so nothing is collected; register one before the application is created';
    new LibraryLogger('ResilientGrpc').write('log', text, { event: 'no-sdk', missing: missing.join(', ') });
  }

  /** Enables the signals that `options` select. @throws GrpcConfigurationError if an option is unknown or not a boolean. */
  static forRoot(options: ResilientGrpcTelemetryOptions = {}): DynamicModule {
    requireOptions(optionsSchema, options, 'ResilientGrpcTelemetryModule.forRoot');
    const {
      metrics = DEFAULT_TELEMETRY_OPTIONS.metrics,
      traces: given = true,
      endpointMetrics = DEFAULT_TELEMETRY_OPTIONS.endpointMetrics,
    } = options;
    const { client = true, server = true } = typeof given === 'object' ? given : { client: given, server: given };
    const traces = { client, server };
    return {
      module: ResilientGrpcTelemetryModule,
      providers: [telemetryOf({ metrics, traces, endpointMetrics }, `forRoot(${JSON.stringify(options)})`)],
    };
  }
}
