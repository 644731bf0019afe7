import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync, inflateSync } from 'node:zlib';
import { ROOT } from '../packed-library.js';

/** A span of any agent. */
export interface Span {
  readonly process: string;
  readonly trace: string;
  readonly id: string;
  readonly parent: string;
  readonly kind: 'http' | 'client' | 'server' | 'other';
  /** The method of a gRPC call, without its service; empty for other spans. */
  readonly method: string;
  /** The name that the agent shows. */
  readonly name: string;
  readonly status: string;
  readonly message: string;
}

/** A server on loopback in place of the vendor's. */
export interface Intake {
  /** Environment variables that make the agent of `process` send its spans here. */
  env(process: string): Readonly<Record<string, string>>;
  /** The spans received so far. */
  readonly spans: readonly Span[];
  close(): void;
}

// Payloads are `any`: their formats belong to the vendors, and a wrong assumption about one shows in the results.

/** Protocol of an agent. */
interface Protocol {
  env(url: string, port: number, process: string): Record<string, string>;
  /** Returns the spans in the body of a request. */
  read(path: string, body: Buffer, folder: string): Span[];
  /** Returns the body of the response. */
  answer?(path: string, port: number, body: Buffer): unknown;
}

const text = (value: string | number | bigint | null | undefined) =>
  value === undefined || value === null ? '' : String(value);
const lines = (body: Buffer) =>
  body
    .toString()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
/** Returns the method of the gRPC call that one of the texts names. */
const methodIn = (...texts: (string | undefined)[]) =>
  /agents\.v1\.Situations\/(\w+)/.exec(texts.map(text).join(' '))?.[1] ?? '';

const PROTOCOLS: Readonly<Record<string, Protocol>> = {
  opentelemetry: {
    env: (url, _port, process) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_SERVICE_NAME: process,
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      OTEL_NODE_RESOURCE_DETECTORS: 'env',
    }),
    read: (_path, body) =>
      JSON.parse(body.toString()).resourceSpans.flatMap(({ resource, scopeSpans }: any) =>
        scopeSpans.flatMap(({ spans }: any) =>
          spans.map((span: any): Span => {
            const attribute = attributesOf(span.attributes);
            return {
              process: attributesOf(resource.attributes)['service.name'],
              trace: span.traceId,
              id: span.spanId,
              parent: text(span.parentSpanId),
              ...openTelemetrySpan(span.name, span.kind, attribute),
              status: `${text(attribute['rpc.grpc.status_code'] ?? attribute['rpc.response.status_code'])}/${text(span.status.code)}`,
              message: text(span.status.message),
            };
          }),
        ),
      ),
  },
  datadog: {
    env: (url, _port, process) => ({
      DD_TRACE_AGENT_URL: url,
      DD_SERVICE: process,
      DD_TRACE_AGENT_PROTOCOL_VERSION: '0.4',
      DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
      DD_REMOTE_CONFIGURATION_ENABLED: 'false',
      DD_TRACE_STARTUP_LOGS: 'false',
    }),
    read: (path, body, folder) => {
      if (!path.endsWith('/traces')) return [];
      const { decode } = createRequire(join(folder, 'package.json'))('@msgpack/msgpack');
      return decode(body, { useBigInt64: true })
        .flat()
        .map((span: any): Span => {
          const { meta } = span;
          const method = span.name.startsWith('grpc.') ? methodIn(span.resource) : '';
          return {
            process: span.service,
            trace: text(span.trace_id),
            id: text(span.span_id),
            parent: text(span.parent_id),
            method,
            kind: method !== '' ? meta['span.kind'] : meta['span.kind'] === 'server' ? 'http' : 'other',
            name: `${span.name} ${span.resource}`,
            status: `${text(span.metrics['grpc.status.code'] ?? meta['grpc.status.code'])}/${span.error}`,
            message: text(meta['error.message']),
          };
        });
    },
    answer: (path) => (path.startsWith('/info') ? { endpoints: ['/v0.4/traces'] } : { rate_by_service: {} }),
  },
  newrelic: {
    env: (_url, port, process) => ({
      NEW_RELIC_HOST: '127.0.0.1',
      NEW_RELIC_PORT: String(port),
      NEW_RELIC_LICENSE_KEY: '0'.repeat(40),
      NEW_RELIC_APP_NAME: process,
      NEW_RELIC_LOG: 'stderr',
      NEW_RELIC_LOG_LEVEL: 'error',
      NEW_RELIC_NO_CONFIG_FILE: 'true',
      ...Object.fromEntries(['AWS', 'AZURE', 'GCP'].map((cloud) => [`NEW_RELIC_UTILIZATION_DETECT_${cloud}`, 'false'])),
      NODE_EXTRA_CA_CERTS: join(ROOT, 'test/fixtures/tls/ca.pem'),
    }),
    read: (path, body) => {
      const { searchParams } = new URL(path, 'http://intake');
      if (searchParams.get('method') !== 'span_event_data') return [];
      const [run, , events] = JSON.parse(body.toString());
      return events.map(([intrinsics, , agent]: any): Span => {
        const method = methodIn(intrinsics.name);
        const isEntry = intrinsics['nr.entryPoint'] === true;
        return {
          process: run,
          trace: intrinsics.traceId,
          id: intrinsics.guid,
          parent: text(intrinsics.parentId),
          method,
          kind: isEntry ? (method === '' ? 'http' : 'server') : method === '' ? 'other' : 'client',
          name: intrinsics.name,
          status: text(agent['grpc.statusCode'] ?? agent['response.status']),
          message: text(agent['error.message']),
        };
      });
    },
    answer: (path, port, body) => {
      switch (new URL(path, 'http://intake').searchParams.get('method')) {
        case 'preconnect':
          return { return_value: { redirect_host: `127.0.0.1:${port}` } };
        case 'connect':
          return {
            return_value: {
              agent_run_id: JSON.parse(body.toString())[0].app_name[0],
              collect_span_events: true,
              account_id: '1',
              trusted_account_key: '1',
              primary_application_id: '1',
              sampling_target: 10_000,
              sampling_target_period_in_seconds: 60,
            },
          };
        default:
          return { return_value: null };
      }
    },
  },
  elastic: {
    env: (url, _port, process) => ({
      ELASTIC_APM_SERVER_URL: url,
      ELASTIC_APM_SERVICE_NAME: process,
      ELASTIC_APM_CENTRAL_CONFIG: 'false',
      ELASTIC_APM_METRICS_INTERVAL: '0s',
      ELASTIC_APM_CLOUD_PROVIDER: 'none',
      ELASTIC_APM_LOG_LEVEL: 'error',
    }),
    read: (path, body) => {
      if (!path.startsWith('/intake')) return [];
      const events = lines(body);
      const process = text(events[0]?.metadata?.service?.name);
      const errors = new Map(
        events.flatMap(({ error }) => (error ? [[error.parent_id, error.exception?.message]] : [])),
      );
      return events.flatMap(({ transaction, span }): Span[] => {
        const one = transaction ?? span;
        if (one === undefined) return [];
        const method = methodIn(one.context?.request?.url?.pathname, one.context?.http?.url);
        return [
          {
            process,
            trace: one.trace_id,
            id: one.id,
            parent: text(one.parent_id),
            method,
            kind: method !== '' ? (transaction ? 'server' : 'client') : transaction ? 'http' : 'other',
            name: one.name,
            status: `${text(one.result)}/${text(one.outcome)}`,
            message: text(errors.get(one.id)),
          },
        ];
      });
    },
    answer: (path) => (path === '/' ? { version: '8.17.0' } : {}),
  },
  sentry: {
    env: (_url, port, process) => ({
      SENTRY_DSN: `http://key@127.0.0.1:${port}/1`,
      SENTRY_ENVIRONMENT: process,
    }),
    read: (_path, body) =>
      lines(body)
        .filter(({ type, spans }) => type === 'transaction' && spans !== undefined)
        .flatMap(({ environment, transaction, contexts, spans }) => [
          { environment, description: transaction, ...contexts.trace },
          ...spans.map((span: object) => ({ environment, ...span })),
        ])
        .map((span: any): Span => {
          const kind = text(span.data?.['otel.kind'] ?? span.data?.['sentry.kind']).toLowerCase();
          return {
            process: span.environment,
            trace: span.trace_id,
            id: span.span_id,
            parent: text(span.parent_span_id),
            ...openTelemetrySpan(text(span.description), kind === 'server' ? 2 : kind === 'client' ? 3 : 1, span.data),
            status: `${text(span.data?.['rpc.grpc.status_code'])}/${text(span.status)}`,
            message: '',
          };
        }),
  },
};

function attributesOf(list: any[]): Record<string, any> {
  return Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]));
}

function openTelemetrySpan(name: string, kind: number, attributes: Record<string, any>) {
  const method = methodIn(name);
  const isHttp = attributes['http.request.method'] !== undefined || attributes['http.method'] !== undefined;
  const side = kind === 2 ? 'server' : kind === 3 ? 'client' : 'other';
  return { name, method, kind: method !== '' ? side : side === 'server' && isHttp ? 'http' : 'other' } as const;
}

/** Starts the intake of `agent`, whose packages are installed in `folder`. */
export async function startIntake(agent: string, folder: string): Promise<Intake> {
  const protocol = PROTOCOLS[agent];
  if (protocol === undefined) throw new Error(`no intake for '${agent}'`);
  const spans: Span[] = [];
  let port = 0;
  const tls = (name: string) => readFileSync(join(ROOT, 'test/fixtures/tls', name));
  const isTls = agent === 'newrelic';
  const server = isTls ? createTlsServer({ key: tls('server-key.pem'), cert: tls('server.pem') }) : createServer();
  server.on('request', (request: IncomingMessage, response) => {
    void bodyOf(request).then((body) => {
      const path = request.url ?? '/';
      if (body.length > 0) spans.push(...protocol.read(path, body, folder));
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(protocol.answer?.(path, port, body) ?? {}));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
  return {
    env: (name) => protocol.env(`http://127.0.0.1:${port}`, port, name),
    spans,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  switch (request.headers['content-encoding']) {
    case 'gzip':
      return gunzipSync(body);
    case 'deflate':
      return inflateSync(body);
    default:
      return body;
  }
}
