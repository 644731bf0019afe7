import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { Server, ServerCredentials, ServerMetricRecorder, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { it, onTestFinished } from 'vitest';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';

/** Starts a server whose responses contain a load report (ORCA) with this utilization. */
async function startReporting(application_utilization: number): Promise<ScriptedGrpcServer> {
  const report = encode({ rps_fractional: 100, application_utilization });
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Get: { message: {}, trailers: { 'endpoint-load-metrics-bin': report } } },
  });
  onTestFinished(() => server.close());
  return server;
}

interface Reporting {
  readonly url: string;
  calls(): number;
}

/** Starts a server that reports this utilization on a stream of its own. */
async function startReportingAside(utilization: number): Promise<Reporting> {
  const server = new Server();
  let calls = 0;
  const get = (_call: unknown, callback: (error: null, order: object) => void) => {
    calls += 1;
    callback(null, {});
  };
  // Safe: the definition has this service.
  server.addService(loadSync(ORDERS_PROTO)['orders.v1.Orders'] as ServiceDefinition, { Get: get });
  const recorder = new ServerMetricRecorder();
  recorder.setQpsMetric(100);
  recorder.setApplicationUtilizationMetric(utilization);
  recorder.addToServer(server);
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  onTestFinished(() => server.forceShutdown());
  return { url: `127.0.0.1:${port}`, calls: () => calls };
}

async function startReportingInTrailers(utilization: number): Promise<Reporting> {
  const server = await startReporting(utilization);
  return { url: server.url, calls: () => server.counts('Get').calls };
}

it.each([
  ['in their responses', startReportingInTrailers, {}],
  [
    'on a stream of their own',
    startReportingAside,
    { enable_oob_load_report: true, oob_load_reporting_period: '0.1s' },
  ],
] as const)(
  'moves calls from a server with a high load to one with a low load under weighted_round_robin, if they report it %s',
  { timeout: 120_000 },
  async (_where, start, options) => {
    const [busy, idle] = [await start(0.9), await start(0.1)];
    const config = { blackout_period: '0.1s', weight_update_period: '0.1s', ...options };
    const app = await startOrdersApp({
      url: `ipv4:${busy.url},${idle.url}`,
      loadBalancing: [{ weighted_round_robin: config }],
    });
    onTestFinished(() => app.close());
    const shareOfIdle = async () => {
      const before = [busy, idle].map((server) => server.calls());
      for (let call = 0; call < 100; call++) await firstValueFrom(app.orders.get({ id: '1' }));
      const [ofBusy = 0, ofIdle = 0] = [busy, idle].map((server, index) => server.calls() - before[index]!);
      return ofIdle / (ofBusy + ofIdle);
    };
    await waitFor(async () => (await shareOfIdle()) > 0.75, { timeoutMs: 60_000 });
  },
);

/** Encodes a report with grpc-js's own definition. */
function encode(report: object): Buffer {
  const folder = createRequire(import.meta.url)
    .resolve('@grpc/grpc-js/package.json')
    .replace('package.json', 'proto');
  const includeDirs = [`${folder}/xds`, `${folder}/protoc-gen-validate`];
  const definition = loadSync('xds/service/orca/v3/orca.proto', { keepCase: true, includeDirs });
  return (definition['xds.data.orca.v3.OrcaLoadReport'] as MessageTypeDefinition<object, object>).serialize(report);
}
