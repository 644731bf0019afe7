import { metrics, type Counter, type Histogram, type Meter, type Observable } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { onTestFinished } from 'vitest';
import { pageText } from '../docs/markdown.js';
import { ordersOptions, ownUrl } from '../server/served-orders.js';
import { ORDERS_PROTO } from '../support/orders-app.js';

/** Attributes that all instruments under a heading have. */
const COMMON: readonly (readonly [heading: RegExp, attributes: readonly string[]])[] = [
  [/^Ejections/, ['grpc.target']],
  [/^Library metrics$/, ['grpc.target', 'resilient_grpc.client']],
];

const ROW = /^\| `(\S+)` +\| ([\w-]+), `\S+` +\|(.*)$/;

const underscored = (name: string): string => name.replaceAll('.', '_');

/** The labels of each metric that docs/reference/metrics.md lists, by the metric's name in Prometheus. */
export const METRICS: ReadonlyMap<string, readonly string[]> = new Map(
  pageText('docs/reference/metrics.md')
    .split(/^#+ /m)
    .flatMap((section) => {
      const [heading = '', ...lines] = section.split('\n');
      const common = COMMON.find(([pattern]) => pattern.test(heading))?.[1] ?? [];
      return lines.flatMap((line) => {
        const [, name = '', kind = '', rest = ''] = ROW.exec(line.replace('up-down counter', 'up-down')) ?? [];
        const attributes = rest.split('|').length > 2 ? [...rest.split('|')[0]!.matchAll(/`([\w.]+)`/g)] : [];
        const labels = [...common, ...attributes.map(([, attribute]) => attribute!)].map(underscored);
        return name === '' ? [] : namesOf(underscored(name), kind).map((metric) => [metric, labels] as const);
      });
    }),
);

function namesOf(name: string, kind: string): readonly string[] {
  if (kind === 'histogram') return ['bucket', 'count', 'sum'].map((suffix) => `${name}_${suffix}`);
  return [kind === 'counter' && !name.endsWith('_total') ? `${name}_total` : name];
}

/** Starts a client and a server, records a value with each of their instruments, and returns the metric names in the exporter's text. */
export async function collectedNames(): Promise<readonly string[]> {
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const meters = new MeterProvider({ readers: [exporter] });
  const record: (() => void)[] = [];
  metrics.setGlobalMeterProvider({ getMeter: (name, version) => recording(meters.getMeter(name, version), record) });
  onTestFinished(async () => {
    metrics.disable();
    await meters.shutdown();
  });
  const url = ownUrl();
  const module = await Test.createTestingModule({
    imports: [
      ResilientGrpcTelemetryModule,
      ResilientGrpcServerModule.forRoot(ordersOptions(url, {})),
      ResilientGrpcModule.forFeature([{ name: 'orders', url, protoPath: ORDERS_PROTO, package: 'orders.v1' }]),
    ],
  }).compile();
  const app = module.createNestMicroservice<MicroserviceOptions>({ strategy: module.get(ResilientGrpcServer) });
  await app.listen();
  onTestFinished(() => app.close());
  for (const recordOne of record) recordOne();
  const { resourceMetrics } = await exporter.collect();
  const text = new PrometheusSerializer().serialize(resourceMetrics);
  const names = [...text.matchAll(/^((?:resilient_)?grpc_\w+)(?:\{| )/gm)].map(([, name]) => name!);
  return [...new Set(names)].sort();
}

/** Wraps a meter. For each instrument that the meter creates, adds to `record` a function that records one value with the instrument. */
function recording(meter: Meter, record: (() => void)[]): Meter {
  return new Proxy(meter, {
    get: (_target, key: keyof Meter) => {
      const create = meter[key].bind(meter) as (...input: unknown[]) => unknown;
      if (!key.startsWith('create')) return create;
      return (...input: unknown[]) => {
        const instrument = create(...input) as Counter | Histogram | Observable;
        record.push(() => {
          if ('add' in instrument) instrument.add(1);
          else if ('record' in instrument) instrument.record(1);
          else
            instrument.addCallback((result) => {
              result.observe(1);
            });
        });
        return instrument;
      };
    },
  });
}
