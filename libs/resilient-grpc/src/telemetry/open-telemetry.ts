import { createNoopMeter, metrics, propagation, trace, type Meter, type Tracer } from '@opentelemetry/api';
import type { Clock } from '../time/clock.js';
import { catchSdkErrors } from './instruments.js';
import {
  clientGauges,
  clientInstruments,
  ClientMetrics,
  ObservedClients,
  type ClientInstruments,
} from './client-metrics.js';
import { OpenClientTelemetry, ClientTraces } from './client-telemetry.js';
import type { GrpcTelemetry, ObservableClient, ServerTelemetry } from './grpc-telemetry.js';
import { OpenServerTelemetry, ServerMetrics } from './server-telemetry.js';
import { VERSION } from './version.js';

const SCOPE = 'nestjs-resilient-grpc';

export interface TelemetryParts {
  readonly metrics: boolean;
  readonly traces: { readonly client: boolean; readonly server: boolean };
}

export type Signal = 'metrics' | 'traces';

interface ClientSignals {
  readonly metrics: ClientMetrics | undefined;
  readonly tracer: Tracer | undefined;
  /** True if traces are enabled and a propagator is registered, so that attempts send their trace context. */
  readonly injects: boolean;
}

const NO_SIGNALS: ClientSignals = { metrics: undefined, tracer: undefined, injects: false };

/**
 * Records metrics and traces through the OpenTelemetry API. A server uses the meter provider that is registered when the server starts to
 * listen. It sends its spans to the registered tracer provider, even if this provider is registered later. A client uses the providers that
 * are registered when the client is created. For each signal whose provider is missing at that time, it uses the provider that is
 * registered when the application has started.
 */
export class OpenTelemetry implements GrpcTelemetry {
  /** Clients created while a provider of an enabled signal was missing. `undefined` after the application has started. */
  private pendingClients: { readonly client: ObservableClient; readonly known: ClientSignals }[] | undefined = [];
  private measured: { readonly instruments: ClientInstruments; readonly clients: ObservedClients } | undefined;

  constructor(
    readonly parts: TelemetryParts,
    private readonly clock: Clock,
  ) {}

  forServer(spans: Parameters<GrpcTelemetry['forServer']>[0]): ServerTelemetry {
    const { parts, clock } = this;
    const meters = (): ServerMetrics => new ServerMetrics(metrics.getMeter(SCOPE, VERSION), clock);
    const tracers = (): Tracer => trace.getTracer(SCOPE, VERSION);
    return new OpenServerTelemetry(
      parts.metrics ? catchSdkErrors('recording server metrics', meters) : undefined,
      parts.traces.server && spans !== 'none' ? catchSdkErrors('recording server spans', tracers) : undefined,
      spans === 'unless-active',
    );
  }

  forClient(client: ObservableClient): void {
    this.observe(client, NO_SIGNALS);
  }

  /** Adds the signals that pending clients lack. Called once, when the application has started; these clients ignore later providers. */
  started(): void {
    const { pendingClients = [] } = this;
    this.pendingClients = undefined;
    for (const { client, known } of pendingClients) this.observe(client, known);
  }

  get missing(): readonly Signal[] {
    const { parts } = this;
    const missing = (): Signal[] => {
      const signals: Signal[] = [];
      if (parts.metrics && registeredMeter() === undefined) signals.push('metrics');
      if (
        (parts.traces.client || parts.traces.server) &&
        registeredTracer() === undefined &&
        propagation.fields().length === 0
      )
        signals.push('traces');
      return signals;
    };
    return catchSdkErrors('checking for a registered SDK', missing) ?? [];
  }

  /** Version of the `@opentelemetry/api` that registered an SDK for a missing signal, which other versions do not see. */
  get unseenVersion(): string | undefined {
    // The API keeps what is registered under this symbol.
    const registered = Reflect.get(globalThis, Symbol.for('opentelemetry.js.api.1')) as
      { readonly version?: string; readonly metrics?: object; readonly trace?: object } | undefined;
    const isUnseen = this.missing.some((signal) => registered?.[signal === 'traces' ? 'trace' : signal] !== undefined);
    return isUnseen ? registered?.version : undefined;
  }

  /** Sets the telemetry of `client` if an SDK consumes a signal that is not in `known`. Without an SDK, no data is built. */
  private observe(client: ObservableClient, known: ClientSignals): void {
    const found = catchSdkErrors('setting up client telemetry', () => this.signalsOf(client, known)) ?? known;
    const { metrics: measured, tracer, injects } = found;
    if (measured !== known.metrics || tracer !== known.tracer || injects !== known.injects) {
      const traced =
        tracer === undefined && !injects ? undefined : new ClientTraces(tracer, injects, client.canonicalTarget);
      client.setTelemetry(new OpenClientTelemetry(measured, traced, this.clock));
    }
    const { metrics: measures, traces } = this.parts;
    const isComplete = (!measures || measured !== undefined) && (!traces.client || (tracer !== undefined && injects));
    if (!isComplete) this.pendingClients?.push({ client, known: found });
  }

  private signalsOf(client: ObservableClient, known: ClientSignals): ClientSignals {
    const { parts } = this;
    const tracer = known.tracer ?? (parts.traces.client ? registeredTracer() : undefined);
    const injects = known.injects || (parts.traces.client && propagation.fields().length > 0);
    const meter = parts.metrics && known.metrics === undefined ? registeredMeter() : undefined;
    return { tracer, injects, metrics: meter === undefined ? known.metrics : this.clientMetrics(meter, client) };
  }

  private clientMetrics(meter: Meter, client: ObservableClient): ClientMetrics {
    this.measured ??= {
      instruments: clientInstruments(meter),
      clients: new ObservedClients(clientGauges(meter), meter),
    };
    const { instruments, clients } = this.measured;
    return new ClientMetrics(instruments, clients, client, this.clock);
  }
}

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
