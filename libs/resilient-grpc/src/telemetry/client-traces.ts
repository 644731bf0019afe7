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
import type { Metadata } from '@grpc/grpc-js';
import type { StreamScope } from '../call/stream-scope.js';
import type { TraceContexts } from '../call/call-telemetry.js';
import { CallSpan, rpcAttributes, spanName } from './call-span.js';
import { catchSdkErrors } from './catch-sdk-errors.js';
import { serverAttributes } from './instruments.js';

/** Captures the active OpenTelemetry context and restores it for the callbacks of a client. */
export const OPEN_TELEMETRY_CONTEXTS: TraceContexts = {
  active: () => {
    const active = context.active();
    return active === ROOT_CONTEXT ? undefined : active;
  },
  // The cast is safe because `traceContext` always comes from `active()`.
  run: (traceContext, work) => context.with((traceContext as Context | undefined) ?? ROOT_CONTEXT, work),
};

/** True if a header of `metadata`, such as `traceparent` or `b3`, names the active span: other instrumentation has added it. */
export function carriesActiveSpan(metadata: Metadata): boolean {
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
  private readonly server: Attributes;
  /** The span context of the latest call of each resumable stream. */
  private readonly latest = new WeakMap<StreamScope, SpanContext>();

  constructor(
    /** Creates the spans; `undefined` if only the active context is propagated. */
    private readonly tracer: Tracer | undefined,
    /** True if a propagator is registered. */
    private readonly injects: boolean,
    target: string,
  ) {
    this.server = serverAttributes(target);
  }

  /** Starts the span of a call as a child of the caller's active context. */
  begin(path: string, scope: StreamScope | undefined): TracedClientCall {
    const { tracer, injects } = this;
    const parent = context.active();
    const span = catchSdkErrors('starting a span', () =>
      tracer?.startSpan(spanName('Sent', path), this.optionsOf(path, scope), parent),
    );
    if (span !== undefined && scope !== undefined) this.latest.set(scope, span.spanContext());
    // If no span was started, the active context is still propagated.
    const within = span === undefined ? parent : trace.setSpan(parent, span);
    return new TracedClientCall(tracer, new CallSpan(span), path, this.server, within, injects);
  }

  /**
   * Links a resumed call to the previous call of its stream. The previous call is not the parent of the span, because hours may pass
   * between the two calls.
   */
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

/** The span of an attempt, and the metadata that propagates it. */
export interface TracedAttempt {
  readonly span: CallSpan;
  readonly metadata: Metadata;
}

/**
 * The span of a call. Its kind is INTERNAL, because only the attempt spans, of kind CLIENT, are propagated and are parents of server spans.
 */
export class TracedClientCall {
  constructor(
    private readonly tracer: Tracer | undefined,
    readonly span: CallSpan,
    private readonly path: string,
    private readonly server: Attributes,
    private readonly within: Context,
    private readonly injects: boolean,
  ) {}

  /**
   * Starts the span of an attempt.
   * @param previous number of earlier attempts; transparent retries and the attempt that they repeat count as one
   * @param delayed true if the call waited for the channel before this attempt
   */
  attempt(metadata: Metadata, previous: number, transparent: boolean, delayed: boolean): TracedAttempt {
    const attributes = {
      ...rpcAttributes(this.path),
      ...this.server,
      'previous-rpc-attempts': previous,
      'transparent-retry': transparent,
    };
    const span = catchSdkErrors('starting a span', () =>
      this.tracer?.startSpan(spanName('Attempt', this.path), { kind: SpanKind.CLIENT, attributes }, this.within),
    );
    if (delayed) span?.addEvent('Delayed LB pick complete');
    return { span: new CallSpan(span), metadata: this.injects ? this.injected(metadata, span) : metadata };
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
