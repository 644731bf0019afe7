import { SpanStatusCode, type Span } from '@opentelemetry/api';
import { StatusCode, statusName } from '../status/status-code.js';

/** Ends `span` with a gRPC status in the form of gRFC A72, for example 'NOT_FOUND, no order 7'. */
export function endSpan(span: Span, code: StatusCode, details: string): void {
  if (code === StatusCode.OK) {
    span.setStatus({ code: SpanStatusCode.OK });
  } else {
    const message = details === '' ? statusName(code) : `${statusName(code)}, ${details}`;
    span.setStatus({ code: SpanStatusCode.ERROR, message });
  }
  span.end();
}

/** Returns the span name of gRFC A72: 'Recv.orders.v1.Orders.Get' for 'Recv' and '/orders.v1.Orders/Get'. */
export function spanName(what: 'Sent' | 'Attempt' | 'Recv', path: string): string {
  return `${what}.${path.slice(1).replace('/', '.')}`;
}
