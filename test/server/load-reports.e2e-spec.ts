import { createRequire } from 'node:module';
import type { Metadata } from '@grpc/grpc-js';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startOrdersApp } from '../support/orders-app.js';
import { NestServer, type PlainServerOptions, type ServerFlag } from './support/nest-server.js';

const KEY = 'endpoint-load-metrics-bin';
const SWITCH = 'NESTJS_RESILIENT_GRPC_DIRECT_CALLS';

async function start(options: PlainServerOptions, flags: readonly ServerFlag[] = []): Promise<NestServer> {
  const server = await NestServer.start(options, flags);
  onTestFinished(() => server.close());
  return server;
}

async function clientOf(servers: readonly NestServer[], settings: object = {}) {
  const app = await startOrdersApp({ url: `ipv4:${servers.map(({ url }) => url).join(',')}`, ...settings });
  onTestFinished(() => app.close());
  return app;
}

/** Returns the trailers of a call that succeeds and of one that fails. */
async function trailersOf(server: NestServer): Promise<readonly Metadata[]> {
  const app = await clientOf([server]);
  const trailers: Metadata[] = [];
  const options = { onEnd: ({ trailers: found }: { readonly trailers: Metadata }) => void trailers.push(found) };
  await firstValueFrom(app.orders.get({ id: '1' }, options));
  await firstValueFrom(app.orders.create({ requestId: '1', item: '', quantity: 1 }, options)).catch(() => undefined);
  return trailers;
}

describe('loadReports', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it('sends no load report by default', async () => {
    const server = await start({});
    await pause();
    for (const trailers of await trailersOf(server)) expect(trailers.get(KEY)).toEqual([]);
  });

  it('sends load reports that conform to grpc-js’s own definition, in the trailers of successful and failed calls', async () => {
    const server = await start({ loadReports: true });
    await trailersOf(server);
    await pause();
    const trailers = await trailersOf(server);
    expect(trailers).toHaveLength(2);
    for (const one of trailers) {
      const report = decode(one.get(KEY)[0] as Buffer);
      expect(report).toMatchObject({ rps_fractional: expect.any(Number), application_utilization: expect.any(Number) });
      expect(report.rps_fractional).toBeGreaterThan(0);
      expect(report.application_utilization).toBeGreaterThan(0);
      expect(report.application_utilization).toBeLessThanOrEqual(1);
      expect(report.mem_utilization).toBeGreaterThan(0);
      expect(report.mem_utilization).toBeLessThan(1);
    }
  });

  it.each(['direct calls', 'calls through grpc-js’s channel'])(
    'moves calls from a busy server to an idle one under weighted_round_robin (%s)',
    { timeout: 120_000 },
    async (path) => {
      if (path !== 'direct calls') vi.stubEnv(SWITCH, 'off');
      const busy = await start({ loadReports: true }, ['--busy=8']);
      const idle = await start({ loadReports: true });
      const config = { blackout_period: '0.1s', weight_update_period: '0.1s' };
      const { orders } = await clientOf([busy, idle], { loadBalancing: [{ weighted_round_robin: config }] });
      let latest: Record<string, number> = {};
      let open = 0;
      const timer = setInterval(() => {
        if (open >= 8) return;
        open += 1;
        const onEnd = ({ peer = '' }) => void (latest[peer] = (latest[peer] ?? 0) + 1);
        orders.get({ id: '1' }, { onEnd }).subscribe({ error: () => (open -= 1), complete: () => (open -= 1) });
      }, 5);
      onTestFinished(() => clearInterval(timer));
      const shareOfIdle = () => (latest[idle.url] ?? 0) / ((latest[idle.url] ?? 0) + (latest[busy.url] ?? 0));
      const counted = async () => {
        latest = {};
        await waitFor(() => (latest[idle.url] ?? 0) + (latest[busy.url] ?? 0) >= 200, { timeoutMs: 60_000 });
        return shareOfIdle();
      };
      await waitFor(async () => (await counted()) > 0.75, { timeoutMs: 90_000 });
      clearInterval(timer);
      await waitFor(() => open === 0);
    },
  );
});

/** Waits for one period of the load reports. The end of the next call then triggers a new measurement. */
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1_100));

interface Report {
  readonly rps_fractional: number;
  readonly application_utilization: number;
  readonly mem_utilization: number;
}

function decode(bytes: Buffer): Report {
  const folder = createRequire(import.meta.url)
    .resolve('@grpc/grpc-js/package.json')
    .replace('package.json', 'proto');
  const includeDirs = [`${folder}/xds`, `${folder}/protoc-gen-validate`];
  const definition = loadSync('xds/service/orca/v3/orca.proto', {
    keepCase: true,
    longs: String,
    defaults: true,
    includeDirs,
  });
  const type = definition['xds.data.orca.v3.OrcaLoadReport'] as MessageTypeDefinition<object, Report>;
  return type.deserialize(bytes);
}
