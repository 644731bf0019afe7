import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { Server } from '@grpc/grpc-js';
import { SpanKind, trace } from '@opentelemetry/api';
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc';
import { onTestFinished } from 'vitest';
import { collectTelemetry } from './collected-telemetry.js';

/** A server span as an agent reports it. */
export interface AgentSpan {
  readonly path: string;
  code: number | undefined;
  /** Message of the error; `undefined` without an error, and if the agent reads no messages. */
  message: string | undefined;
  isEnded: boolean;
}

/** An agent during one test. */
export interface Agent {
  spans(): readonly AgentSpan[];
  /** True within the context of a span. */
  isActive(): boolean;
}

/** Replaces `Server.prototype.register` until the end of the test. */
export function wrapHandlers(wrap: (handler: any, path: string) => any): void {
  const { register } = Server.prototype as any;
  (Server.prototype as any).register = function (path: string, handler: any, ...more: unknown[]) {
    return register.call(this, path, wrap(handler, path), ...more);
  };
  onTestFinished(() => {
    (Server.prototype as any).register = register;
  });
}

/** Patches grpc-js as dd-trace 6 does (datadog-instrumentations/src/grpc/server.js, datadog-plugin-grpc/src/server.js). */
export function startDatadog(): Agent {
  const spans: AgentSpan[] = [];
  const storage = new AsyncLocalStorage<AgentSpan | undefined>();
  const finish = (span: AgentSpan, code?: number) => {
    if (!span.isEnded) span.code = code ?? span.code ?? 0;
    span.isEnded = true;
  };
  // Errors are recorded on the active span.
  const record = ({ code, message }: { code: number; message: string }) => {
    const span = storage.getStore();
    if (span !== undefined && !span.isEnded) Object.assign(span, { code, message });
  };
  wrapHandlers(
    (handler, path) =>
      function (this: any, call: any, callback: any) {
        // The agent ignores calls whose entry has no type.
        if (!this?.type) return handler.call(this, call, callback);
        const span: AgentSpan = { path, code: undefined, message: undefined, isEnded: false };
        spans.push(span);
        return storage.run(span, () => {
          const onCancel = () => {
            finish(span, 1);
          };
          call.once('cancelled', onCancel);
          const { emit } = call;
          let given = callback;
          if (this.type === 'unary') {
            given = (error: any, ...more: unknown[]) => {
              if (error) record(error);
              finish(span, error ? undefined : 0);
              call.removeListener('cancelled', onCancel);
              return storage.run(undefined, () => callback(error, ...more));
            };
          }
          call.emit = function (name: string, ...more: any[]) {
            return storage.run(span, () => {
              if (this.type !== 'unary' && name === 'error') record(more[0]);
              if (this.type !== 'unary' && (name === 'error' || name === 'prefinish')) {
                finish(span);
                call.removeListener('cancelled', onCancel);
              }
              return emit.call(call, name, ...more);
            });
          };
          return handler.call(this, call, given);
        });
      },
  );
  return { spans: () => spans, isActive: () => storage.getStore() !== undefined };
}

/** Patches grpc-js as newrelic 12 to 14 do (subscribers/grpcjs/server.js, instrumentation/grpc-js/grpc.js). */
export function startNewRelic(): Agent {
  const spans: AgentSpan[] = [];
  const storage = new AsyncLocalStorage<AgentSpan>();
  wrapHandlers((handler, path) => (call: any, ...more: unknown[]) => {
    const span: AgentSpan = { path, code: undefined, message: undefined, isEnded: false };
    spans.push(span);
    const { emit } = call;
    call.emit = (...event: any[]) => storage.run(span, () => emit.apply(call, event));
    const { onCallEnd } = call.call.callEventTracker;
    call.call.callEventTracker.onCallEnd = (...ended: { code: number }[]) => {
      Object.assign(span, { code: ended[0]!.code, isEnded: true });
      return onCallEnd.apply(call.call.callEventTracker, ended);
    };
    return storage.run(span, () => handler(call, ...more));
  });
  return { spans: () => spans, isActive: () => storage.getStore() !== undefined };
}

let instrumentation: GrpcInstrumentation | undefined;

/** Enables OpenTelemetry's own instrumentation, which Sentry uses, too. */
export function startOpenTelemetry(): Agent {
  const telemetry = collectTelemetry();
  // One instance per process: each instance patches grpc-js when grpc-js is required, in place.
  instrumentation ??= new GrpcInstrumentation();
  createRequire(import.meta.url)('@grpc/grpc-js');
  instrumentation.enable();
  // The Node SDK does this at startup. Without it, spans would go to the provider of the previous test.
  instrumentation.setTracerProvider(trace.getTracerProvider());
  onTestFinished(() => {
    instrumentation?.disable();
  });
  const spans = () =>
    telemetry
      .spans()
      .filter(({ kind }) => kind === SpanKind.SERVER)
      .map(({ name, attributes, status }) => ({
        path: name.replace(/^grpc\.|^Recv\./, '/'),
        code: attributes['rpc.grpc.status_code'] as number | undefined,
        message: status.message,
        isEnded: true,
      }));
  return { spans, isActive: telemetry.isActive };
}
