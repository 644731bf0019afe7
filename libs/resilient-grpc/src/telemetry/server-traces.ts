import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  type Context,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
import type { IncomingCall, ServedCallEnd } from './grpc-telemetry.js';
import { METADATA_GETTER } from './metadata-carrier.js';
import { endSpan, spanName } from './span-status.js';
import { catchSdkErrors } from './catch-sdk-errors.js';

/** Creates the spans of served calls (https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information). */
export class ServerTraces {
  constructor(private readonly tracer: Tracer) {}

  begin({ path, metadata }: IncomingCall): TracedCall {
    // Starts from ROOT_CONTEXT, because the server may have been started inside a span that must not become the parent of its calls.
    const extract = (): Context => propagation.extract(ROOT_CONTEXT, metadata, METADATA_GETTER);
    const parent = catchSdkErrors('extracting the trace context', extract) ?? ROOT_CONTEXT;
    const span = this.tracer.startSpan(spanName('Recv', path), { kind: SpanKind.SERVER }, parent);
    return new TracedCall(span, trace.setSpan(parent, span));
  }
}

/** The span of a served call. */
export class TracedCall {
  private readonly recording: boolean;
  private sentMessages = 0;
  private receivedMessages = 0;

  constructor(
    private readonly span: Span,
    private readonly within: Context,
  ) {
    this.recording = span.isRecording();
  }

  run(work: () => void): void {
    context.with(this.within, work);
  }

  received(bytes: number): void {
    if (this.recording) this.addMessageEvent('Inbound message', this.receivedMessages++, bytes);
  }

  sent(bytes: number): void {
    if (this.recording) this.addMessageEvent('Outbound message', this.sentMessages++, bytes);
  }

  end({ code, details }: ServedCallEnd): void {
    endSpan(this.span, code, details);
  }

  private addMessageEvent(name: string, sequenceNumber: number, bytes: number): void {
    this.span.addEvent(name, { 'sequence-number': sequenceNumber, 'message-size': bytes });
  }
}
