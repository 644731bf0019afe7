import type { Metadata } from '@grpc/grpc-js';
import type { GrpcClientEvent } from '../call/call-event.js';
import type {
  AttemptKind,
  AttemptTelemetry,
  CallTelemetry,
  ClientTelemetry,
  WaitEnd,
  TraceContexts,
} from '../call/call-telemetry.js';
import type { MethodDescriptor } from '../call/method.js';
import type { StreamScope } from '../call/stream-source.js';
import type { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import { CallSpan, catchSdkErrors, rpcAttributes, spanName, serverAttributes } from './instruments.js';
import type { ClientMetrics } from './client-metrics.js';
import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Attributes,
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
  type TextMapSetter,
  type Tracer,
} from '@opentelemetry/api';

const METRICS = 'recording client metrics';
const SPANS = 'recording client spans';

export class OpenClientTelemetry implements ClientTelemetry {
  readonly contexts: ClientTelemetry['contexts'];

  constructor(
    private readonly metrics: ClientMetrics | undefined,
    private readonly traces: ClientTraces | undefined,
    private readonly clock: Clock,
  ) {
    this.contexts = traces === undefined ? undefined : OPEN_TELEMETRY_CONTEXTS;
  }

  begin(method: MethodDescriptor, scope: StreamScope | undefined, metadata: Metadata | undefined): CallTelemetry {
    const traced = catchSdkErrors(SPANS, () =>
      // An agent that patches generated clients has started the span of such a call.
      method.isGenerated && metadata !== undefined && carriesActiveSpan(metadata)
        ? undefined
        : this.traces?.begin(method.path, scope),
    );
    return new ClientCallRecorder(method, this.metrics, traced, this.clock);
  }

  take(event: GrpcClientEvent): void {
    catchSdkErrors(METRICS, () => this.metrics?.take(event));
  }

  close(): void {
    catchSdkErrors(METRICS, () => this.metrics?.close());
  }
}

class ClientCallRecorder implements CallTelemetry {
  private readonly startedAt: number;
  private next: AttemptKind = 'original';
  /** True if an attempt of kind `next` has started. */
  private nextBegan = false;
  /** Number of attempts, except transparent retries. */
  private attempts = 0;
  retries = 0;
  transparentRetries = 0;
  hedges = 0;
  private running = 0;
  /** End of the last attempt, in monotonic milliseconds; `undefined` before the first attempt and while an attempt is running. */
  private idleSince: number | undefined;
  retryDelayMs = 0;
  /** True if the call waited for the channel, and the attempt after that wait has not started. */
  private delayed = false;
  private ended = false;

  constructor(
    readonly method: MethodDescriptor,
    readonly metrics: ClientMetrics | undefined,
    private readonly traced: TracedClientCall | undefined,
    readonly clock: Clock,
  ) {
    this.startedAt = clock.now();
    catchSdkErrors(METRICS, () => metrics?.callBegan(method));
  }

  nextIs(kind: AttemptKind): void {
    // An attempt whose channel closed during preparation never started. The next attempt replaces it and keeps its kind.
    if (kind === 'transparent-retry' && !this.nextBegan) return;
    this.next = kind;
    this.nextBegan = false;
  }

  attempt(metadata: Metadata): AttemptTelemetry {
    const now = this.clock.now();
    // Several hedged attempts may be in preparation; the first one to start counts as the original attempt.
    const kind = this.next === 'hedge' && this.attempts === 0 ? 'original' : this.next;
    this.nextBegan ||= kind === this.next;
    const transparent = kind === 'transparent-retry';
    if (transparent) this.transparentRetries += 1;
    else this.attempts += 1;
    if (kind === 'retry') this.retries += 1;
    else if (kind === 'hedge') this.hedges += 1;
    if (this.idleSince !== undefined) this.retryDelayMs += now - this.idleSince;
    this.idleSince = undefined;
    this.running += 1;
    catchSdkErrors(METRICS, () => this.metrics?.attemptBegan(this.method));
    const previous = Math.max(0, this.attempts - 1);
    const traced = catchSdkErrors(SPANS, () => this.traced?.attempt(metadata, previous, transparent, this.delayed));
    this.delayed = false;
    return new ClientAttemptRecorder(this, traced?.span, traced?.metadata ?? metadata, now);
  }

  attemptEnded(now: number): void {
    this.running -= 1;
    if (this.running === 0) this.idleSince = now;
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    catchSdkErrors(METRICS, () => this.metrics?.waitEnded(this.method, outcome, waitedMs));
    this.delayed = outcome === 'released';
  }

  end(code: StatusCode, details: string): void {
    if (this.ended) return;
    this.ended = true;
    const durationMs = this.clock.now() - this.startedAt;
    catchSdkErrors(METRICS, () => this.metrics?.callEnded(this.method, code, durationMs, this));
    catchSdkErrors(SPANS, () => this.traced?.span.end(code, details));
  }
}

class ClientAttemptRecorder implements AttemptTelemetry {
  private sentBytes = 0;
  private receivedBytes = 0;
  private ended = false;

  constructor(
    private readonly call: ClientCallRecorder,
    private readonly span: CallSpan | undefined,
    readonly metadata: Metadata,
    private readonly startedAt: number,
  ) {}

  sent(bytes: number): void {
    this.sentBytes += bytes;
    catchSdkErrors(SPANS, () => this.span?.sent(bytes));
  }

  received(bytes: number): void {
    this.receivedBytes += bytes;
    catchSdkErrors(SPANS, () => this.span?.received(bytes));
  }

  end(code: StatusCode, details: string, peer: string | undefined): void {
    if (this.ended) return;
    this.ended = true;
    const { call, startedAt, sentBytes, receivedBytes } = this;
    const now = call.clock.now();
    call.attemptEnded(now);
    catchSdkErrors(METRICS, () =>
      call.metrics?.attemptEnded(call.method, code, now - startedAt, sentBytes, receivedBytes),
    );
    catchSdkErrors(SPANS, () => {
      this.span?.reached(peer);
      this.span?.end(code, details);
    });
  }
}

/** Captures the active OpenTelemetry context and restores it for the callbacks of a client. */
const OPEN_TELEMETRY_CONTEXTS: TraceContexts = {
  active: () => {
    const active = context.active();
    return active === ROOT_CONTEXT ? undefined : active;
  },
  // The cast is safe because `traceContext` always comes from `active()`.
  run: (traceContext, work) => context.with((traceContext as Context | undefined) ?? ROOT_CONTEXT, work),
};

/** True if a header of `metadata`, such as `traceparent` or `b3`, names the active span: other instrumentation has added it. */
function carriesActiveSpan(metadata: Metadata): boolean {
  const active = trace.getActiveSpan()?.spanContext().spanId;
  return active !== undefined && Object.values(metadata.getMap()).some((value) => value.includes(active));
}

/** Writes metadata for propagators. Keys and values that gRPC does not allow are skipped, because tracing must not fail a call. */
const METADATA_SETTER: TextMapSetter<Metadata> = {
  set: (metadata, key, value) => {
    try {
      metadata.set(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
    } catch {
      // Caused by a custom propagator or by non-ASCII baggage.
    }
  },
};

/**
 * Creates the spans of client calls (https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information) and
 * injects the trace context into the request metadata.
 */
export class ClientTraces {
  readonly server: Attributes;
  private readonly latest = new WeakMap<StreamScope, SpanContext>();

  constructor(
    /** Creates the spans; `undefined` if only the active context is propagated. */
    readonly tracer: Tracer | undefined,
    /** True if a propagator is registered. */
    readonly injects: boolean,
    target: string,
  ) {
    this.server = serverAttributes(target);
  }

  /** Starts the span of a call as a child of the caller's active context. */
  begin(path: string, scope: StreamScope | undefined): TracedClientCall {
    const parent = context.active();
    const span = catchSdkErrors('starting a span', () =>
      this.tracer?.startSpan(spanName('Sent', path), this.optionsOf(path, scope), parent),
    );
    if (span !== undefined && scope !== undefined) this.latest.set(scope, span.spanContext());
    // If no span was started, the active context is still propagated.
    const within = span === undefined ? parent : trace.setSpan(parent, span);
    return new TracedClientCall(this, new CallSpan(span), path, within);
  }

  /** The previous call is not the parent of the span, because hours may pass between the two calls. */
  private optionsOf(path: string, scope: StreamScope | undefined): SpanOptions {
    const attributes = { ...rpcAttributes(path), ...this.server };
    if (scope === undefined || scope.resumes === 0) return { attributes };
    const before = this.latest.get(scope);
    return {
      attributes: { ...attributes, 'resilient_grpc.resumes': scope.resumes },
      ...(before === undefined ? {} : { links: [{ context: before }] }),
    };
  }
}

/**
 * The span of a call. Its kind is INTERNAL, because only the attempt spans, of kind CLIENT, are propagated and are parents of server spans.
 */
export class TracedClientCall {
  constructor(
    private readonly traces: ClientTraces,
    readonly span: CallSpan,
    private readonly path: string,
    private readonly within: Context,
  ) {}

  /** Starts the span of an attempt. @param delayed true if the call waited for the channel before this attempt */
  attempt(metadata: Metadata, previous: number, transparent: boolean, delayed: boolean) {
    const { tracer, server, injects } = this.traces;
    const attributes = {
      ...rpcAttributes(this.path),
      ...server,
      'previous-rpc-attempts': previous,
      'transparent-retry': transparent,
    };
    const span = catchSdkErrors('starting a span', () =>
      tracer?.startSpan(spanName('Attempt', this.path), { kind: SpanKind.CLIENT, attributes }, this.within),
    );
    if (delayed) span?.addEvent('Delayed LB pick complete');
    return { span: new CallSpan(span), metadata: injects ? this.injected(metadata, span) : metadata };
  }

  private injected(metadata: Metadata, span: Span | undefined): Metadata {
    // The caller may reuse its metadata for other calls, and all attempts of this call share it.
    const own = metadata.clone();
    catchSdkErrors('injecting the trace context', () => {
      const within = span === undefined ? this.within : trace.setSpan(this.within, span);
      // Sentry's propagator reads the active context and ignores the one that it is given.
      context.with(within, () => {
        propagation.inject(within, own, METADATA_SETTER);
      });
    });
    return own;
  }
}
