import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** Collects when it is asked to, by a route of the application: it opens no port of its own. */
export const prometheus = new PrometheusExporter({ preventServerStart: true });

/** Registers the SDK. Before the application is made: clients look for it when they are. */
export function collectMetrics(): void {
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [prometheus] }));
}
