import { createRequire } from 'node:module';
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

it(
  'moves calls from a server that reports a high load to one that reports a low load under weighted_round_robin',
  { timeout: 120_000 },
  async () => {
    const [busy, idle] = [await startReporting(0.9), await startReporting(0.1)];
    const config = { blackout_period: '0.1s', weight_update_period: '0.1s' };
    const app = await startOrdersApp({
      url: `ipv4:${busy.url},${idle.url}`,
      loadBalancing: [{ weighted_round_robin: config }],
    });
    onTestFinished(() => app.close());
    const shareOfIdle = async () => {
      const before = [busy, idle].map((server) => server.counts('Get').calls);
      for (let call = 0; call < 100; call++) await firstValueFrom(app.orders.get({ id: '1' }));
      const [ofBusy = 0, ofIdle = 0] = [busy, idle].map((server, index) => server.counts('Get').calls - before[index]!);
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
