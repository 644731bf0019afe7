import { metrics, trace } from '@opentelemetry/api';
import type { GrpcServerEvent } from '../call/server-event.js';
import type { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type {
  ArrivedCall,
  GrpcTelemetry,
  ServedCallEnd,
  ServedCallTelemetry,
  ServerTelemetry,
} from './grpc-telemetry.js';
import { SCOPE } from './instruments.js';
import { ServerMetrics, type MeasuredCall } from './server-metrics.js';
import { ServerTraces, type TracedCall } from './server-traces.js';
import { VERSION } from './version.js';

/** What is made of it. */
export interface TelemetryParts {
  readonly metrics: boolean;
  readonly traces: boolean;
}

/** Metrics and traces by OpenTelemetry's API, with the providers that are registered when a server begins to listen. */
export class OpenTelemetry implements GrpcTelemetry {
  constructor(
    private readonly parts: TelemetryParts,
    private readonly clock: Clock,
  ) {}

  forServer(traced: boolean): ServerTelemetry {
    return new OpenServerTelemetry(
      this.parts.metrics ? new ServerMetrics(metrics.getMeter(SCOPE, VERSION), this.clock) : undefined,
      this.parts.traces && !traced ? new ServerTraces(trace.getTracer(SCOPE, VERSION)) : undefined,
    );
  }
}

class OpenServerTelemetry implements ServerTelemetry {
  constructor(
    private readonly metrics: ServerMetrics | undefined,
    private readonly traces: ServerTraces | undefined,
  ) {}

  begin(call: ArrivedCall): ServedCallTelemetry {
    return new OpenServedCall(this.metrics, this.metrics?.begin(call.path, call.kind), this.traces?.begin(call));
  }

  refused(code: StatusCode): void {
    this.metrics?.refused(code);
  }

  take(event: GrpcServerEvent): void {
    this.metrics?.take(event);
  }
}

class OpenServedCall implements ServedCallTelemetry {
  constructor(
    private readonly metrics: ServerMetrics | undefined,
    private readonly measured: MeasuredCall | undefined,
    private readonly traced: TracedCall | undefined,
  ) {}

  within(work: () => void): void {
    if (this.traced === undefined) work();
    else this.traced.run(work);
  }

  received(bytes: number): void {
    if (this.measured !== undefined) this.measured.received += bytes;
    this.traced?.received(bytes);
  }

  sent(bytes: number): void {
    if (this.measured !== undefined) this.measured.sent += bytes;
    this.traced?.sent(bytes);
  }

  end(end: ServedCallEnd): void {
    if (this.measured !== undefined) this.metrics?.end(this.measured, end);
    this.traced?.end(end);
  }
}
