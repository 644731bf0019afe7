import { SpanStatusCode, type Attributes, type Span } from '@opentelemetry/api';
import { StatusCode, statusName } from '../status/status-code.js';
import { peerAttributes } from './instruments.js';

/** The span of a call or an attempt, with an event for each message (gRFC A72). If there is no span, nothing is recorded. */
export class CallSpan {
  private readonly recording: Span | undefined;
  private sentMessages = 0;
  private receivedMessages = 0;

  constructor(private readonly span: Span | undefined) {
    this.recording = span?.isRecording() === true ? span : undefined;
  }

  sent(bytes: number): void {
    this.recording?.addEvent('Outbound message', { 'sequence-number': this.sentMessages++, 'message-size': bytes });
  }

  received(bytes: number): void {
    this.recording?.addEvent('Inbound message', { 'sequence-number': this.receivedMessages++, 'message-size': bytes });
  }

  /** Sets the address of the endpoint, which is not known when the span starts. */
  reached(peer: string | undefined): void {
    if (peer !== undefined) this.recording?.setAttributes(peerAttributes(peer));
  }

  /** Ends the span with a gRPC status in the form of gRFC A72, for example 'NOT_FOUND, no order 7'. */
  end(code: StatusCode, details: string): void {
    this.recording?.setAttribute('rpc.grpc.status_code', code);
    if (code === StatusCode.OK) {
      this.span?.setStatus({ code: SpanStatusCode.OK });
    } else {
      const message = details === '' ? statusName(code) : `${statusName(code)}, ${details}`;
      this.span?.setStatus({ code: SpanStatusCode.ERROR, message });
    }
    this.span?.end();
  }
}

/** Returns the span name of gRFC A72: 'Recv.orders.v1.Orders.Get' for 'Recv' and '/orders.v1.Orders/Get'. */
export function spanName(prefix: 'Sent' | 'Attempt' | 'Recv', path: string): string {
  return `${prefix}.${path.slice(1).replace('/', '.')}`;
}

/** Returns the attributes by which OpenTelemetry's conventions, and so monitoring agents, recognize a call. */
export function rpcAttributes(path: string): Attributes {
  const [, service, method] = path.split('/');
  return { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': method };
}
