import { metrics } from '@opentelemetry/api';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { getGrpcClientToken, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule } from 'nestjs-resilient-grpc/telemetry';
import { overService } from './observable-service.mjs';
import { openApp } from './resilient-grpc.mjs';

/** @typedef {import('../contenders.mjs').Contender} Contender */

/** A reader that never collects, so that only the cost per call is measured. */
class IdleReader extends MetricReader {
  onForceFlush() {
    return Promise.resolve();
  }
  onShutdown() {
    return Promise.resolve();
  }
}

/**
 * @param {string} address
 * @param {readonly import('@nestjs/common').DynamicModule[]} modules
 * @param {(client: import('nestjs-resilient-grpc').ResilientGrpcClient) => void} [prepare] Called before the first call.
 * @returns {Promise<Contender>}
 */
async function openWith(address, modules, prepare) {
  const app = await openApp(address, {}, modules);
  prepare?.(app.get(getGrpcClientToken('bench')));
  return overService(app.get(getGrpcServiceToken('bench', 'Bench')), () => app.close());
}

/** The client without the telemetry module. */
export const withoutModule = {
  /** @param {string} address */
  open: (address) => openWith(address, []),
};

/** The client with the module, but without an SDK. */
export const withoutSdk = {
  /** @param {string} address */
  open: (address) => openWith(address, [ResilientGrpcTelemetryModule.forRoot()]),
};

/** The client with a subscriber to all events. */
export const subscriber = {
  /** @param {string} address */
  open: (address) =>
    openWith(address, [], (client) => {
      client.events$.subscribe();
    }),
};

/**
 * The client with the module and an SDK. The SDK records the metrics of all clients that the process creates afterward. Each process
 * therefore opens the measured contender first.
 */
export const withMetrics = {
  /** @param {string} address */
  async open(address) {
    const provider = new MeterProvider({ readers: [new IdleReader()] });
    metrics.setGlobalMeterProvider(provider);
    const contender = await openWith(address, [ResilientGrpcTelemetryModule.forRoot()]);
    return {
      ...contender,
      async close() {
        await contender.close();
        metrics.disable();
        await provider.shutdown();
      },
    };
  },
};
