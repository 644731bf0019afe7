import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Context,
  type TextMapGetter,
  type Tracer,
} from '@opentelemetry/api';
import type { Metadata } from '@grpc/grpc-js';
import type { GrpcServerEvent, ObservableServer } from '../call/server-event.js';
import type { StatusCode } from '../status/status-code.js';
import { CallSpan, rpcAttributes, spanName, catchSdkErrors } from './instruments.js';
import type { IncomingCall, ServedCallEnd, ServedCallTelemetry, ServerTelemetry } from './grpc-telemetry.js';
import type { MeasuredCall, ServerMetrics } from './server-metrics.js';

const METRICS = 'recording server metrics';
const SPANS = 'recording server spans';

/** Reads metadata for propagators. Values of keys such as 'grpc-trace-bin' are returned as base64 (gRFC A72). */
const METADATA_GETTER: TextMapGetter<Metadata> = {
  keys: (metadata) => Object.keys(metadata.getMap()),
  get: (metadata, key) => {
    const values = metadata.get(key).map((value) => (typeof value === 'string' ? value : value.toString('base64')));
    return values.length > 1 ? values : values[0];
  },
};

/** The span of a served call, and the context for the spans inside it. */
interface TracedCall {
  readonly span: CallSpan;
  readonly within: Context;
}

export class OpenServerTelemetry implements ServerTelemetry {
  /** Span in which the server started; calls can run in its context. */
  private readonly outer = activeSpan();

  constructor(
    private readonly metrics: ServerMetrics | undefined,
    private readonly tracer: Tracer | undefined,
    /** True if spans start with their handlers, because an agent that wraps the handlers may have started one. */
    private readonly startsLate: boolean,
  ) {}

  begin(call: IncomingCall): ServedCallTelemetry {
    const measured = catchSdkErrors(METRICS, () => this.metrics?.begin(call.path, call.kind));
    const start = () => catchSdkErrors(SPANS, () => this.startSpan(call));
    return this.startsLate
      ? new ServerCallRecorder(this.metrics, measured, undefined, start)
      : new ServerCallRecorder(this.metrics, measured, start());
  }

  refused(code: StatusCode): void {
    catchSdkErrors(METRICS, () => this.metrics?.refused(code));
  }

  take(event: GrpcServerEvent): void {
    catchSdkErrors(METRICS, () => this.metrics?.take(event));
  }

  observe(server: Pick<ObservableServer, 'overload'>): () => void {
    const stop = catchSdkErrors(METRICS, () => this.metrics?.observe(server));
    return () => catchSdkErrors(METRICS, () => stop?.());
  }

  /**
   * Starts the span of a served call (https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information),
   * unless an agent has started one, for the call or for its stream of node:http2.
   */
  private startSpan({ path, metadata }: IncomingCall): TracedCall | undefined {
    const { tracer, outer } = this;
    const active = tracer && activeSpan();
    if (tracer === undefined || (active !== undefined && active !== outer)) return undefined;
    // Starts from ROOT_CONTEXT, because the server may have been started inside a span that must not become the parent of served calls.
    const extract = (): Context => propagation.extract(ROOT_CONTEXT, metadata, METADATA_GETTER);
    const parent = catchSdkErrors('extracting the trace context', extract) ?? ROOT_CONTEXT;
    const span = tracer.startSpan(
      spanName('Recv', path),
      { kind: SpanKind.SERVER, attributes: rpcAttributes(path) },
      parent,
    );
    return { span: new CallSpan(span), within: trace.setSpan(parent, span) };
  }
}

function activeSpan(): string | undefined {
  return catchSdkErrors(SPANS, () => trace.getActiveSpan()?.spanContext().spanId);
}

class ServerCallRecorder implements ServedCallTelemetry {
  constructor(
    private readonly metrics: ServerMetrics | undefined,
    private readonly measured: MeasuredCall | undefined,
    private traced: TracedCall | undefined,
    private readonly startLate?: () => TracedCall | undefined,
  ) {}

  serve(work: () => void): void {
    this.traced ??= this.startLate?.();
    this.within(work);
  }

  within(work: () => void): void {
    if (this.traced === undefined) work();
    else context.with(this.traced.within, work);
  }

  received(bytes: number): void {
    if (this.measured !== undefined) this.measured.received += bytes;
    catchSdkErrors(SPANS, () => this.traced?.span.received(bytes));
  }

  sent(bytes: number): void {
    if (this.measured !== undefined) this.measured.sent += bytes;
    catchSdkErrors(SPANS, () => this.traced?.span.sent(bytes));
  }

  end(end: ServedCallEnd): void {
    const { measured } = this;
    if (measured !== undefined) catchSdkErrors(METRICS, () => this.metrics?.end(measured, end));
    catchSdkErrors(SPANS, () => this.traced?.span.end(end.code, end.details));
  }
}
