import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** Exports metrics through a route of the application instead of a separate port. */
export const prometheus = new PrometheusExporter({ preventServerStart: true });

/** Registers the SDK. Must be called before the application is created, because clients look up the meter provider on creation. */
export function collectMetrics(): void {
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [prometheus] }));
}
