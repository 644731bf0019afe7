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
import { unharmed } from './unharmed.js';

/** Contexts of OpenTelemetry, as clients keep them for what they call back. */
export const OPEN_CONTEXTS: TraceContexts = {
  active: () => {
    const active = context.active();
    return active === ROOT_CONTEXT ? undefined : active;
  },
  // True: what comes back is what `active` gave.
  run: (kept, work) => context.with((kept as Context | undefined) ?? ROOT_CONTEXT, work),
};

/**
 * Spans of calls that leave (https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information), and what
 * of them is sent along.
 */
export class ClientTraces {
  /** Of the latest call of each stream that is resumed. */
  private readonly latest = new WeakMap<StreamScope, SpanContext>();

  constructor(
    /** Undefined: no spans are made, the context that is active is sent on. */
    private readonly tracer: Tracer | undefined,
    /** Somebody has registered a propagator. */
    private readonly injects: boolean,
  ) {}

  /** A call begins, in the context of who asked for it. */
  begin(path: string, scope: StreamScope | undefined): TracedClientCall {
    const { tracer, injects } = this;
    const parent = context.active();
    if (tracer === undefined) return new TracedClientCall(undefined, undefined, path, parent, injects);
    const span = unharmed('the begin of a span', () =>
      tracer.startSpan(spanName('Sent', path), this.optionsOf(scope), parent),
    );
    // What is active is sent on all the same.
    if (span === undefined) return new TracedClientCall(tracer, undefined, path, parent, injects);
    if (scope !== undefined) this.latest.set(scope, span.spanContext());
    return new TracedClientCall(tracer, span, path, trace.setSpan(parent, span), injects);
  }

  /** The calls of one stream know of each other: they are no children of one another, and hours may lie between them. */
  private optionsOf(scope: StreamScope | undefined): SpanOptions {
    if (scope === undefined || scope.resumes === 0) return {};
    const before = this.latest.get(scope);
    return {
      attributes: { 'resilient_grpc.resumes': scope.resumes },
      ...(before === undefined ? {} : { links: [{ context: before }] }),
    };
  }
}

/** The span of a call. Of kind INTERNAL: what leaves the process, and is the parent of the server's, are its attempts. */
export class TracedClientCall {
  constructor(
    private readonly tracer: Tracer | undefined,
    private readonly span: Span | undefined,
    private readonly path: string,
    private readonly within: Context,
    private readonly injects: boolean,
  ) {}

  /**
   * @param previous attempts before it, but for those it takes the place of because no server has seen them
   * @param delayed its call waited for the channel
   */
  attempt(metadata: Metadata, previous: number, transparent: boolean, delayed: boolean): TracedAttempt {
    const attributes = { 'previous-rpc-attempts': previous, 'transparent-retry': transparent };
    const span = unharmed('the begin of a span', () =>
      this.tracer?.startSpan(spanName('Attempt', this.path), { kind: SpanKind.CLIENT, attributes }, this.within),
    );
    if (delayed) span?.addEvent('Delayed LB pick complete');
    return new TracedAttempt(span, this.injects ? this.injected(metadata, span) : metadata);
  }

  end(code: StatusCode, details: string): void {
    if (this.span !== undefined) endSpan(this.span, code, details);
  }

  private injected(metadata: Metadata, span: Span | undefined): Metadata {
    // Those of a caller are shared by his calls and by their attempts.
    const own = metadata.clone();
    unharmed('sending the context of a call along', () => {
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

  /** Compressed messages are told in events of their own, as their size is known at another moment. */
  sentCompressed(bytes: number): void {
    this.recorded?.addEvent('Outbound message compressed', {
      'sequence-number': this.sentMessages - 1,
      'message-size-compressed': bytes,
    });
  }

  receivedCompressed(bytes: number): void {
    this.recorded?.addEvent('Inbound compressed message', {
      'sequence-number': this.receivedMessages,
      'message-size-compressed': bytes,
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
