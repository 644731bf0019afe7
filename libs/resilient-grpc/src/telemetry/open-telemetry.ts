import { createNoopMeter, metrics, propagation, trace, type Meter, type Tracer } from '@opentelemetry/api';
import type { ClientTelemetry } from '../call/call-telemetry.js';
import type { Clock } from '../time/clock.js';
import { catchSdkErrors } from './catch-sdk-errors.js';
import { clientInstruments, type ClientInstruments } from './client-instruments.js';
import { ClientMetrics } from './client-metrics.js';
import { OpenClientTelemetry } from './client-telemetry.js';
import { ClientTraces } from './client-traces.js';
import type { GrpcTelemetry, ObservableClient, ServerTelemetry } from './grpc-telemetry.js';
import { ObservedClients } from './observed-clients.js';
import { ServerMetrics } from './server-metrics.js';
import { OpenServerTelemetry } from './server-telemetry.js';
import { VERSION } from './version.js';

/** The name of the meter and the tracer. */
const SCOPE = 'nestjs-resilient-grpc';

/** The enabled signals. */
export interface TelemetryParts {
  readonly metrics: boolean;
  readonly traces: boolean;
  /** True if attempt durations are recorded with the address of their endpoint. */
  readonly endpointMetrics: boolean;
}

/**
 * Records metrics and traces through the OpenTelemetry API. A server uses the meter provider that is registered when the server starts to
 * listen; its spans go to the tracer provider, even if that is registered later. A client uses the providers that are registered when the
 * client is created. If no provider is registered then, the client uses those that are registered when the application has started.
 */
export class OpenTelemetry implements GrpcTelemetry {
  /** Clients created while no provider was registered. `undefined` after the application has started. */
  private pendingClients: ObservableClient[] | undefined = [];
  private measured: { readonly instruments: ClientInstruments; readonly clients: ObservedClients } | undefined;

  constructor(
    private readonly parts: TelemetryParts,
    private readonly clock: Clock,
  ) {}

  forServer(traced: boolean): ServerTelemetry {
    const { parts, clock } = this;
    const meters = (): ServerMetrics => new ServerMetrics(metrics.getMeter(SCOPE, VERSION), clock);
    const tracers = (): Tracer => trace.getTracer(SCOPE, VERSION);
    return new OpenServerTelemetry(
      parts.metrics ? catchSdkErrors('recording server metrics', meters) : undefined,
      parts.traces && !traced ? catchSdkErrors('recording server spans', tracers) : undefined,
    );
  }

  forClient(client: ObservableClient): void {
    const telemetry = catchSdkErrors('setting up client telemetry', () => this.clientTelemetry(client));
    if (telemetry === undefined) this.pendingClients?.push(client);
    else client.setTelemetry(telemetry);
  }

  /** Sets the telemetry of pending clients. Called once, when the application has started; these clients ignore later providers. */
  started(): void {
    const { pendingClients = [] } = this;
    this.pendingClients = undefined;
    for (const client of pendingClients) this.forClient(client);
  }

  /** True if metrics or traces are enabled but no SDK consumes them. */
  get isIdle(): boolean {
    const { metrics: measures, traces } = this.parts;
    if (!measures && !traces) return false;
    const isRegistered = (): boolean =>
      (measures && registeredMeter() !== undefined) ||
      (traces && (registeredTracer() !== undefined || propagation.fields().length > 0));
    return catchSdkErrors('checking for a registered SDK', isRegistered) === false;
  }

  /** Returns `undefined` if no SDK consumes the enabled signals, so that no data is built. */
  private clientTelemetry(client: ObservableClient): ClientTelemetry | undefined {
    const meter = this.parts.metrics ? registeredMeter() : undefined;
    const tracer = this.parts.traces ? registeredTracer() : undefined;
    const injects = this.parts.traces && propagation.fields().length > 0;
    if (meter === undefined && tracer === undefined && !injects) return undefined;
    return new OpenClientTelemetry(
      meter === undefined ? undefined : this.clientMetrics(meter, client),
      tracer === undefined && !injects ? undefined : new ClientTraces(tracer, injects),
      this.clock,
    );
  }

  private clientMetrics(meter: Meter, client: ObservableClient): ClientMetrics {
    if (this.measured === undefined) {
      const instruments = clientInstruments(meter);
      this.measured = { instruments, clients: new ObservedClients(instruments, meter) };
    }
    const { instruments, clients } = this.measured;
    return new ClientMetrics(instruments, clients, client, this.parts.endpointMetrics, this.clock);
  }
}

/** Returns the meter, or `undefined` if no SDK is registered. */
function registeredMeter(): Meter | undefined {
  const meter = metrics.getMeter(SCOPE, VERSION);
  return meter === createNoopMeter() ? undefined : meter;
}

/** Returns the tracer, or `undefined` if no SDK is registered. Without an SDK, the API returns a proxy provider with no delegate. */
function registeredTracer(): Tracer | undefined {
  const provider: ReturnType<typeof trace.getTracerProvider> & {
    readonly getDelegateTracer?: (name: string, version: string) => Tracer | undefined;
  } = trace.getTracerProvider();
  return provider.getDelegateTracer === undefined
    ? provider.getTracer(SCOPE, VERSION)
    : provider.getDelegateTracer(SCOPE, VERSION);
}
