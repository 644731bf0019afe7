// The monitoring agents and situations that agents.e2e-spec.ts runs, and docs/operate/agents.md lists.

/**
 * Agents, each with its packages, the code that starts it before the application, and the code that sends all spans at the end. `invisible`: situation
 * of which the agent has no span with plain Nest.
 *
 * @type {Readonly<Record<string, { readonly label: string; readonly packages: Readonly<Record<string, string>>; readonly start: string; readonly flush: string; readonly invisible?: string }>>}
 */
export const AGENTS = {
  opentelemetry: {
    label: 'OpenTelemetry',
    packages: { '@opentelemetry/api': '^1.9.0', '@opentelemetry/auto-instrumentations-node': '^0.82.0' },
    start: "require('@opentelemetry/auto-instrumentations-node/register');",
    flush: "await require('@opentelemetry/api').trace.getTracerProvider().getDelegate().shutdown();",
  },
  datadog: {
    label: 'dd-trace 6',
    packages: { 'dd-trace': '^6.21.0' },
    start: "require('dd-trace').init();",
    flush: "await new Promise((resolve) => require('dd-trace')._tracer._exporter.flush(resolve));",
  },
  newrelic: {
    label: 'newrelic 14',
    packages: { newrelic: '^14.5.1' },
    start: "require('newrelic');",
    flush:
      "await new Promise((resolve) => require('newrelic').shutdown({ collectPendingData: true, timeout: 20000 }, resolve));",
  },
  elastic: {
    label: 'elastic-apm-node 4',
    packages: { 'elastic-apm-node': '^4.18.0' },
    start: "require('elastic-apm-node').start();",
    flush: "await require('elastic-apm-node').flush();",
    // It traces HTTP/2 requests, and no request is sent.
    invisible: 'Unreachable',
  },
  sentry: {
    label: '@sentry/node 10',
    packages: { '@sentry/node': '^10.0.0', '@opentelemetry/instrumentation-grpc': '^0.223.0' },
    start: `const { GrpcInstrumentation } = require('@opentelemetry/instrumentation-grpc');
require('@sentry/node').init({ tracesSampleRate: 1, openTelemetryInstrumentations: [new GrpcInstrumentation()] });`,
    flush: "await require('@sentry/node').flush();",
  },
};

/**
 * Situations by the method that a gateway calls in them.
 *
 * @type {Readonly<Record<string, string>>}
 */
export const SITUATIONS = {
  Ok: 'unary call, OK',
  Error: 'unary call, error of the handler',
  Throw: 'unary call, exception of the handler',
  Deadline: 'unary call, deadline passes',
  Cancel: 'unary call, cancelled by the caller',
  Retry: 'unary call, retried',
  ServerStreamOk: 'server stream, OK',
  ServerStreamError: 'server stream, error after a message',
  ServerStreamCancel: 'server stream, cancelled by the reader',
  ClientStreamOk: 'client stream, OK',
  ClientStreamError: 'client stream, error',
  ClientStreamCancel: 'client stream, cancelled by the sender',
  BidiOk: 'bidirectional stream, OK',
  BidiError: 'bidirectional stream, error after a message',
  BidiCancel: 'bidirectional stream, cancelled by the reader',
  Unreachable: 'unreachable server',
  Nested: 'handler that calls a second service',
  Trailers: 'OK with trailers',
  ErrorMetadata: 'error with metadata',
  Compressed: 'large compressed messages',
  ByServiceName: 'call of `getClientByServiceName()`',
  Concurrent: 'five concurrent calls',
};

/** Uses of the library. The control uses plain Nest in both processes. */
export const VARIANTS = /** @type {const} */ ({
  client: { label: 'client', client: 'resilient', server: 'nest' },
  server: { label: 'server', client: 'nest', server: 'resilient' },
  both: { label: 'client and server', client: 'resilient', server: 'resilient' },
});

/** @typedef {keyof typeof VARIANTS} Variant */
