import type { ModuleMetadata } from '@nestjs/common';
import { ScheduleModule } from '@nestjs/schedule';
import { Test } from '@nestjs/testing';
import { GrpcClients, ResilientGrpcModule, type GrpcClientSettings } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, overrideGrpcClient, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { BackgroundWork, OrdersController } from './background-work.js';
import { ExportController } from './export.controller.js';
import { FeedController } from './feed.controller.js';
import { ReconcileJob } from './reconcile.job.js';
import { OrdersOfBothRegions } from './regions.js';
import { Tenants } from './tenants.js';
import { GatewayModule } from './tokens.js';

const protoPath = 'protos/orders.proto';

async function startServer(scripts = {}): Promise<ScriptedGrpcServer> {
  const server = await ScriptedGrpcServer.start({ protoPath, scripts });
  onTestFinished(() => server.close());
  return server;
}

const clientOf = (server: ScriptedGrpcServer, name = 'orders', settings: Partial<GrpcClientSettings> = {}) =>
  ResilientGrpcModule.forFeature([{ name, protoPath, loader: { longs: String }, url: server.url, ...settings }]);

/** Starts an application with an HTTP server. */
async function serve(metadata: ModuleMetadata) {
  const testing = await Test.createTestingModule(metadata).compile();
  const app = testing.createNestApplication({ forceCloseConnections: true, logger: false });
  onTestFinished(() => app.close());
  await app.listen(0, '127.0.0.1');
  return { app, url: await app.getUrl() };
}

it("sends the user's token, or the service's own current one", async () => {
  const server = await startServer({ Get: { message: { id: '7' } } });
  const builder = Test.createTestingModule({ imports: [GatewayModule] });
  for (const name of ['orders', 'stock']) overrideGrpcClient(builder, name, { url: server.url });
  const testing = await builder.compile();
  const app = testing.createNestApplication({ forceCloseConnections: true, logger: false });
  onTestFinished(() => app.close());
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const get = async (path: string) =>
    (await fetch(url + path, { headers: { authorization: 'Bearer of-the-user' } })).status;
  const sent = () => server.calls('Get').map(({ metadata }) => metadata.get('authorization')[0]);

  expect(await get('/orders/7')).toBe(200);
  expect(sent()).toEqual(['Bearer of-the-user']);
  server.reset();
  server.script('Get', [{ status: 'UNAVAILABLE' }, { message: {} }, { status: 'UNAUTHENTICATED' }, { message: {} }]);
  expect([await get('/stock/7'), await get('/stock/7'), await get('/stock/7')]).toEqual([200, 500, 200]);
  expect(sent()).toEqual(['Bearer token-1', 'Bearer token-1', 'Bearer token-1', 'Bearer token-2']);
});

it('lets a job wait for its server, run once at a time, and end with the application', async () => {
  const server = await startServer({ Watch: { messages: [1, 2, 3].map((n) => ({ sequence: String(n) })) } });
  await server.stop('kill-connections');
  const imports = [ScheduleModule.forRoot(), clientOf(server, 'orders', { outageGraceMs: 50 })];
  const app = await Test.createTestingModule({ imports, providers: [ReconcileJob] }).compile();
  await app.init();
  const job = app.get(ReconcileJob);
  const run = job.run(0);
  await job.run(0); // does nothing while the first run is active
  await server.restart();
  await run;
  expect([job.reconciled, server.counts('Watch').calls]).toEqual([3, 1]);

  server.script('Watch', { never: true });
  const interrupted = job.run(0);
  await waitFor(() => server.counts('Watch').open === 1);
  await app.close();
  await interrupted;
  await waitFor(() => server.counts('Watch').open === 0);
});

it('finishes work that continues after its request has been answered', async () => {
  const server = await startServer({ Create: { hold: 'everything' } });
  const { app, url } = await serve({
    imports: [ResilientGrpcModule.forRoot({ propagate: { cancellation: true, deadline: true } }), clientOf(server)],
    controllers: [OrdersController],
    providers: [BackgroundWork],
  });
  const response = await fetch(`${url}/orders/r-1`, { method: 'POST', headers: { connection: 'close' } });
  expect(response.status).toBe(202);
  await waitFor(() => server.heldCount('Create') === 1); // the request has ended, but the call is still open
  const closing = app.close();
  server.release('Create');
  await closing;
  expect(server.calls('Create').map(({ outcome }) => outcome)).toEqual(['answered']);
});

it('streams events to a browser across a restart, and ends the call when the browser leaves', async () => {
  const server = await startServer();
  server.script<{ from: string }>('Watch', ({ request }) => ({
    messages: [1, 2].map((n) => ({ sequence: String(Number(request.from) + n), order: { item: 'tea' } })),
    never: true,
  }));
  const { url } = await serve({ imports: [clientOf(server)], controllers: [FeedController] });
  const page = new AbortController();
  const headers = { 'last-event-id': '7' };
  const { body } = await fetch(`${url}/feed`, { headers, signal: page.signal });
  let seen = '';
  const reading = (async () => {
    for await (const chunk of body ?? []) seen += Buffer.from(chunk).toString();
  })().catch(() => 'closed');
  await waitFor(() => seen.includes('id: 9'));
  await server.restart('kill-connections');
  await waitFor(() => seen.includes('id: 11'));
  expect(seen.match(/(?<=id: )\d+/g)).toEqual(['8', '9', '10', '11']);
  page.abort();
  await waitFor(() => server.counts('Watch').open === 0);
  await reading;

  server.script('Watch', { status: 'PERMISSION_DENIED' });
  const refused = await (await fetch(`${url}/feed`, { headers: { 'last-event-id': '11' } })).text();
  expect(refused.match(/(?<=event: |id: )\S+/g)?.sort()).toEqual(['11', 'failed']);
});

it('streams lines to an HTTP client no faster than it reads', async () => {
  const server = await startServer({
    Watch: { messages: [1, 2, 3].map((n) => ({ sequence: String(n), order: { item: 'tea' } })) },
  });
  const { url } = await serve({ imports: [clientOf(server)], controllers: [ExportController] });
  const lines = (await (await fetch(`${url}/orders/since/0`)).text()).trim().split('\n');
  expect(JSON.parse(lines[2]!)).toEqual({ sequence: '3', item: 'tea' });

  let yielded = 0;
  function* endless() {
    for (;;) yield { sequence: String(++yielded), order: { item: 'tea'.repeat(10_000) } };
  }
  server.script('Watch', { messages: endless });
  const controller = new AbortController();
  const { body } = await fetch(`${url}/orders/since/0`, { signal: controller.signal });
  await body!.getReader().read(); // reads only the first chunk
  let before = -1;
  await waitFor(() => yielded === before || ((before = yielded), false), { intervalMs: 300 });
  expect(yielded).toBeLessThan(2_000);
  controller.abort();
  await waitFor(() => server.counts('Watch').open === 0);
});

it('gives each tenant its own client, and drains it', async () => {
  const [acme, globex] = [
    await startServer({ Get: { message: { item: 'of acme' } } }),
    await startServer({ Get: { message: { item: 'of globex' } } }),
  ];
  const app = await Test.createTestingModule({
    imports: [ResilientGrpcModule.forRoot({})],
    providers: [Tenants],
  }).compile();
  onTestFinished(() => app.close());
  const tenants = app.get(Tenants);
  const itemOf = async (tenant: string, url: string) =>
    (await firstValueFrom(tenants.orders(tenant, url).get({ id: '7' }))).item;

  expect([await itemOf('acme', acme.url), await itemOf('globex', globex.url)]).toEqual(['of acme', 'of globex']);
  expect(await itemOf('acme', acme.url)).toBe('of acme');
  expect([acme.connections.accepted, [...app.get(GrpcClients, { strict: false })].length]).toEqual([1, 2]);
  await tenants.remove('acme');
  await waitFor(() => acme.connections.open === 0);
  expect(await itemOf('globex', globex.url)).toBe('of globex');
});

it('sends reads to the other region, and writes only if they reached no server', async () => {
  const region = (item: string) => startServer({ Get: { message: { item } }, Create: { message: { item } } });
  const [near, far] = [await region('near'), await region('far')];
  const app = await Test.createTestingModule({
    imports: [clientOf(near, 'orders-near'), clientOf(far, 'orders-far')],
    providers: [OrdersOfBothRegions],
  }).compile();
  onTestFinished(() => app.close());
  const orders = app.get(OrdersOfBothRegions);
  const order = { requestId: 'r-1', item: 'tea', quantity: 1 };
  expect(await firstValueFrom(orders.get('7'))).toMatchObject({ item: 'near' });

  near.script('Create', { never: true });
  const write = firstValueFrom(orders.create(order)).catch((reason: unknown) => reason);
  await waitFor(() => near.counts('Create').open === 1);
  await near.stop('kill-connections');
  expect(await write).toMatchObject({ reachedServer: 'maybe' });
  expect(far.counts('Create').calls).toBe(0);

  expect(await firstValueFrom(orders.get('7'))).toMatchObject({ item: 'far' });
  expect(await firstValueFrom(orders.create(order))).toMatchObject({ item: 'far' });
});
