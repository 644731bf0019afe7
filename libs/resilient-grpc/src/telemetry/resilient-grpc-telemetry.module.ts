import { Global, Inject, Module, type DynamicModule, type OnApplicationBootstrap, type Provider } from '@nestjs/common';
import * as v from 'valibot';
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
}

const tracesSchema = v.lazy((traces) =>
  typeof traces === 'object' ? object({ client: v.optional(flag), server: v.optional(flag) }) : flag,
);

const optionsSchema = object({
  metrics: v.optional(flag),
  traces: v.optional(tracesSchema),
});

const telemetryOf = (parts: TelemetryParts): Provider => ({
  provide: GRPC_TELEMETRY,
  useFactory: () => new OpenTelemetry(parts, systemClock),
});

/**
 * Records metrics and traces of the application's clients and servers through the OpenTelemetry API. An OpenTelemetry SDK exports them if
 * it is registered before the application is created. Without an SDK, nothing is recorded. Importing the class without {@link forRoot}
 * enables metrics and traces. Global; import it once, in the root module.
 */
@Global()
@Module({
  providers: [telemetryOf({ metrics: true, traces: { client: true, server: true } })],
  exports: [GRPC_TELEMETRY],
})
export class ResilientGrpcTelemetryModule implements OnApplicationBootstrap {
  /** @internal Called by Nest. */
  constructor(@Inject(GRPC_TELEMETRY) private readonly telemetry: OpenTelemetry) {}

  onApplicationBootstrap(): void {
    this.telemetry.started();
    const { missing, unseenVersion: unseen } = this.telemetry;
    if (missing.length === 0) return;
    const lost = `so no ${missing.join(' and no ')} are collected`;
    const text =
      unseen === undefined
        ? `no OpenTelemetry SDK is registered for ${missing.join(' and ')}, ${lost}; register one before the application is created, or switch them off in ResilientGrpcTelemetryModule.forRoot()`
        : `an OpenTelemetry SDK is registered with @opentelemetry/api ${unseen}, but the copy that this library imports does not see it, ${lost}; install @opentelemetry/api@${unseen}`;
    new LibraryLogger('ResilientGrpc').write('log', text, { event: 'no-sdk', missing: missing.join(', ') });
  }

  /** Enables the signals that `options` select. @throws GrpcConfigurationError if an option is unknown or not a boolean. */
  static forRoot(options: ResilientGrpcTelemetryOptions = {}): DynamicModule {
    requireOptions(optionsSchema, options, 'ResilientGrpcTelemetryModule.forRoot');
    const { metrics = true, traces = true } = options;
    const { client = true, server = true } = typeof traces === 'object' ? traces : { client: traces, server: traces };
    return {
      module: ResilientGrpcTelemetryModule,
      providers: [telemetryOf({ metrics, traces: { client, server } })],
    };
  }
}
