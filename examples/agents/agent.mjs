// Stands for your monitoring agent: it traces gRPC with OpenTelemetry's instrumentation, and prints each span as JSON.
// #region agent
import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import { BasicTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';

new GrpcInstrumentation().enable();
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
// #endregion

/** @type {import('@opentelemetry/sdk-trace-base').SpanExporter} */
const exporter = {
  export: (spans, done) => {
    for (const span of spans) {
      const { traceId, spanId } = span.spanContext();
      console.log(JSON.stringify({ span: span.name, traceId, spanId, parentId: span.parentSpanContext?.spanId }));
    }
    done({ code: 0 });
  },
  shutdown: async () => {},
};
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
