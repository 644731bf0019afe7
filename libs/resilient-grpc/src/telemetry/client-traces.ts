import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Context,
  type Span,
  type SpanContext,
  type SpanOptions,
  type Tracer,
} from '@opentelemetry/api';
import type { Metadata } from '@grpc/grpc-js';
import type { StreamScope } from '../call/stream-scope.js';
import type { TraceContexts } from '../call/trace-contexts.js';
import type { StatusCode } from '../status/status-code.js';
import { METADATA_SETTER } from './metadata-carrier.js';
import { endSpan, spanName } from './span-status.js';
import { catchSdkErrors } from './catch-sdk-errors.js';

/** Captures the active OpenTelemetry context and restores it for the callbacks of a client. */
export const OPEN_CONTEXTS: TraceContexts = {
  active: () => {
    const active = context.active();
    return active === ROOT_CONTEXT ? undefined : active;
  },
  // The cast is safe because `kept` always comes from `active()`.
  run: (kept, work) => context.with((kept as Context | undefined) ?? ROOT_CONTEXT, work),
};

/**
 * Creates the spans of client calls (https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information) and
 * injects the trace context into the request metadata.
 */
export class ClientTraces {
  /** The span context of the latest call of each resumable stream. */
  private readonly latest = new WeakMap<StreamScope, SpanContext>();

  constructor(
    /** If `undefined`, no spans are created and only the active context is propagated. */
    private readonly tracer: Tracer | undefined,
    /** True if a propagator is registered. */
    private readonly injects: boolean,
  ) {}

  /** Starts the span of a call as a child of the caller's active context. */
  begin(path: string, scope: StreamScope | undefined): TracedClientCall {
    const { tracer, injects } = this;
    const parent = context.active();
    if (tracer === undefined) return new TracedClientCall(undefined, undefined, path, parent, injects);
    const span = catchSdkErrors('starting a span', () =>
      tracer.startSpan(spanName('Sent', path), this.optionsOf(scope), parent),
    );
    // If creating the span failed, the active context is still propagated.
    if (span === undefined) return new TracedClientCall(tracer, undefined, path, parent, injects);
    if (scope !== undefined) this.latest.set(scope, span.spanContext());
    return new TracedClientCall(tracer, span, path, trace.setSpan(parent, span), injects);
  }

  /** Links a resumed call to the previous call of its stream. A link fits better than a parent because hours may pass between them. */
  private optionsOf(scope: StreamScope | undefined): SpanOptions {
    if (scope === undefined || scope.resumes === 0) return {};
    const before = this.latest.get(scope);
    return {
      attributes: { 'resilient_grpc.resumes': scope.resumes },
      ...(before === undefined ? {} : { links: [{ context: before }] }),
    };
  }
}

/** The span of a call. Its kind is INTERNAL: only the attempt spans, of kind CLIENT, leave the process and are parents of server spans. */
export class TracedClientCall {
  constructor(
    private readonly tracer: Tracer | undefined,
    private readonly span: Span | undefined,
    private readonly path: string,
    private readonly within: Context,
    private readonly injects: boolean,
  ) {}

  /**
   * Starts the span of an attempt.
   * @param previous the number of earlier attempts, except transparent retries
   * @param delayed true if the call waited for the channel
   */
  attempt(metadata: Metadata, previous: number, transparent: boolean, delayed: boolean): TracedAttempt {
    const attributes = { 'previous-rpc-attempts': previous, 'transparent-retry': transparent };
    const span = catchSdkErrors('starting a span', () =>
      this.tracer?.startSpan(spanName('Attempt', this.path), { kind: SpanKind.CLIENT, attributes }, this.within),
    );
    if (delayed) span?.addEvent('Delayed LB pick complete');
    return new TracedAttempt(span, this.injects ? this.injected(metadata, span) : metadata);
  }

  end(code: StatusCode, details: string): void {
    if (this.span !== undefined) endSpan(this.span, code, details);
  }

  private injected(metadata: Metadata, span: Span | undefined): Metadata {
    // The caller may reuse its metadata for other calls, and all attempts of this call share it.
    const own = metadata.clone();
    catchSdkErrors('injecting the trace context', () => {
      propagation.inject(span === undefined ? this.within : trace.setSpan(this.within, span), own, METADATA_SETTER);
    });
    return own;
  }
}

/** The span of an attempt. */
export class TracedAttempt {
  private readonly recorded: Span | undefined;
  private sentMessages = 0;
  private receivedMessages = 0;

  constructor(
    private readonly span: Span | undefined,
    readonly metadata: Metadata,
  ) {
    this.recorded = span?.isRecording() === true ? span : undefined;
  }

  sent(bytes: number): void {
    this.recorded?.addEvent('Outbound message', {
      'sequence-number': this.sentMessages++,
      'message-size': bytes,
    });
  }

  received(bytes: number): void {
    this.recorded?.addEvent('Inbound message', {
      'sequence-number': this.receivedMessages++,
      'message-size': bytes,
    });
  }

  end(code: StatusCode, details: string): void {
    if (this.span !== undefined) endSpan(this.span, code, details);
  }
}
