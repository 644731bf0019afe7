import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Attributes,
  type Context,
  type Meter,
  type ObservableCallback,
  type TextMapGetter,
  type Tracer,
} from '@opentelemetry/api';
import type { Metadata } from '@grpc/grpc-js';
import type { GrpcServerEvent, ObservableServer } from '../call/server-event.js';
import type { MethodKind } from '../call/method.js';
import { statusName, type StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import { CallSpan, catchSdkErrors, instrumentsOf, methodName, rpcAttributes, spanName } from './instruments.js';
import type { IncomingCall, ServedCallEnd, ServedCallTelemetry, ServerTelemetry } from './grpc-telemetry.js';

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

/** Attributes of calls to unknown methods (gRFC A66). Clients can send any method name, and each name would otherwise create a series. */
const OTHER_METHOD: Attributes = { 'grpc.method': 'other' };

/**
 * Records the server metrics of gRFC A66 (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#server-instruments) and this
 * library's own metrics. This library's metrics use the prefix `resilient_grpc.`, so that they cannot collide with future gRPC metrics.
 */
export class ServerMetrics {
  private readonly instruments: ReturnType<typeof serverInstruments>;
  private readonly attributes = new Map<string, Attributes>();

  constructor(
    meter: Meter,
    private readonly clock: Clock,
  ) {
    this.instruments = serverInstruments(meter);
  }

  begin(path: string, kind: MethodKind): MeasuredCall {
    const attributes = this.attributesOf(path);
    this.instruments.started.add(1, attributes);
    const isStream = kind !== 'unary';
    if (isStream) this.instruments.streams.add(1, attributes);
    return { attributes, isStream, startedAt: this.clock.now(), sent: 0, received: 0 };
  }

  end(call: MeasuredCall, { code, receivedBytes }: ServedCallEnd): void {
    if (call.isStream) this.instruments.streams.add(-1, call.attributes);
    const seconds = (this.clock.now() - call.startedAt) / 1_000;
    this.record(call.attributes, code, { seconds, sent: call.sent, received: receivedBytes ?? call.received });
  }

  refused(code: StatusCode): void {
    this.instruments.started.add(1, OTHER_METHOD);
    this.record(OTHER_METHOD, code, { seconds: 0, sent: 0, received: 0 });
  }

  take(event: GrpcServerEvent): void {
    switch (event.type) {
      case 'stream-idle':
        this.instruments.idleStreams.add(1, this.attributesOf(event.path));
        return;
      case 'call-shed':
        this.instruments.shed.add(1, this.attributesOf(event.path));
        return;
      case 'once':
        this.instruments.once.add(1, {
          ...this.attributesOf(event.path),
          'resilient_grpc.once.outcome': event.outcome,
        });
        return;
      case 'call-dequeued':
        this.instruments.queueWait.record(event.waitMs / 1_000, this.attributesOf(event.path));
        return;
      case 'handler-leak':
        this.instruments.leaks.add(1, this.attributesOf(event.path));
        return;
      case 'drain':
        if (event.phase === 'begin') return;
        this.instruments.drainDuration.record(event.durationMs / 1_000);
        this.instruments.cutOff.add(event.cutOff);
        return;
      default:
    }
  }

  /** Observes the concurrency limits of `server` until the returned function is called. */
  observe(server: Pick<ObservableServer, 'overload'>): () => void {
    const { concurrencyLimit } = this.instruments;
    const observe: ObservableCallback = (result) => {
      for (const { path, maxConcurrent } of server.overload().limits)
        result.observe(maxConcurrent, path === undefined ? {} : this.attributesOf(path));
    };
    concurrencyLimit.addCallback(observe);
    return () => {
      concurrencyLimit.removeCallback(observe);
    };
  }

  private record(
    method: Attributes,
    code: StatusCode,
    { seconds, sent, received }: { readonly seconds: number; readonly sent: number; readonly received: number },
  ): void {
    const attributes = { ...method, 'grpc.status': statusName(code) };
    this.instruments.duration.record(seconds, attributes);
    this.instruments.sentBytes.record(sent, attributes);
    this.instruments.receivedBytes.record(received, attributes);
  }

  /** Returns the cached attributes of a method. The cache is bounded by the methods of the server's services. */
  private attributesOf(path: string): Attributes {
    let found = this.attributes.get(path);
    if (found === undefined) {
      found = { 'grpc.method': methodName(path) };
      this.attributes.set(path, found);
    }
    return found;
  }
}

interface MeasuredCall {
  readonly attributes: Attributes;
  readonly isStream: boolean;
  readonly startedAt: number;
  /** Bytes of the response messages. */
  sent: number;
  received: number;
}

/** Creates the instruments of a server. Servers with the same meter record into the same metrics. */
function serverInstruments(meter: Meter) {
  const { counter, upDownCounter, gauge, seconds, bytes } = instrumentsOf(meter);
  return {
    started: counter('grpc.server.call.started', '{call}', 'Calls that have started.'),
    sentBytes: bytes('grpc.server.call.sent_total_compressed_message_size', 'Message bytes sent per call.'),
    receivedBytes: bytes('grpc.server.call.rcvd_total_compressed_message_size', 'Message bytes received per call.'),
    duration: seconds('grpc.server.call.duration', "Time taken by a call from the server transport's perspective."),
    streams: upDownCounter('resilient_grpc.server.streams', '{stream}', 'Open streams.'),
    idleStreams: counter('resilient_grpc.server.idle_streams', '{stream}', 'Streams ended by maxStreamIdleMs.'),
    shed: counter('resilient_grpc.server.call.shed', '{call}', 'Calls refused because of an overload.'),
    once: counter('resilient_grpc.server.once', '{call}', 'Calls with keys, by what became of them.'),
    queueWait: seconds('resilient_grpc.server.call.queue_wait', 'Time for which a call waited in a queue.'),
    concurrencyLimit: gauge('resilient_grpc.server.concurrency_limit', '{call}', 'Current maxConcurrentCalls.'),
    leaks: counter('resilient_grpc.server.handler_leaks', '{handler}', 'Handlers running a minute after their call.'),
    drainDuration: seconds('resilient_grpc.server.drain.duration', 'Duration of server drains.'),
    cutOff: counter(
      'resilient_grpc.server.drain.cut_off_calls',
      '{call}',
      'Calls that were open at the drain timeout.',
    ),
  };
}
