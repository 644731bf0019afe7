// node drive-readme.mjs FOLDER: runs the modules of the README and the tour, compiled in FOLDER, against a real server, and prints the
// results as JSON. This file is copied to a separate application.
import 'reflect-metadata';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Test } from '@nestjs/testing';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, overrideGrpcClient, waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, map, take, tap, toArray } from 'rxjs';

const block = (name) => import(pathToFileURL(join(process.argv[2], `${name}.js`)).href);
const { OrdersModule } = await block('orders.module');
const { HealthModule } = await block('health.module');
const { OrderDesk } = await block('order-desk');
const { OrderFeed } = await block('order-feed');

const protoPath = 'orders.proto';
/** Generous limit, reached only if a condition never becomes true. */
const IN_TIME = { timeoutMs: 60_000 };
const server = await ScriptedGrpcServer.start({ protoPath, scripts: { Get: { message: { id: '7', item: 'tea' } } } });
const proxy = await FaultProxy.start(server.url);

// This definition equals the one in OrdersModule, so that both definitions share one client.
const client = ResilientGrpcModule.forFeature([{ name: 'orders', url: 'localhost:50051', protoPath }]);
const desk = { module: class DeskModule {}, imports: [client], providers: [OrderDesk, OrderFeed] };
const builder = Test.createTestingModule({ imports: [OrdersModule, HealthModule, desk] }).setLogger(false);
const testing = await overrideGrpcClient(builder, 'orders', { url: proxy.url }).compile();
const app = testing.createNestApplication({ forceCloseConnections: true });
await app.listen(0, '127.0.0.1');
const http = await app.getUrl();
const get = async (path) => {
  const answer = await fetch(http + path);
  return { status: answer.status, body: await answer.json() };
};
const place = (requestId) => app.get(OrderDesk, { strict: false }).place({ requestId, item: 'tea', quantity: 1 });

const order = await get('/orders/7');
const health = { live: await get('/health/live'), dependencies: await get('/health/dependencies') };

// Two events per call, then silence until the connection is lost.
server.script('Watch', ({ request }) => ({
  messages: [1n, 2n].map((n) => ({ sequence: String(BigInt(request.from) + n) })),
  never: true,
}));
const feed = app.get(OrderFeed, { strict: false }).after(2n ** 60n);
let received = 0;
const followed = lastValueFrom(
  feed.pipe(
    map(({ sequence }) => String(BigInt(sequence) - 2n ** 60n)),
    tap(() => (received += 1)),
    take(4),
    toArray(),
  ),
);
await waitFor(() => received === 2, IN_TIME);
proxy.resetAll();
const events = await followed;

server.script('Create', { message: { id: '9' } });
const placed = await place('r-1');

server.script('Create', { status: 'FAILED_PRECONDITION', details: 'out of tea' });
const refused = await place('r-2');

server.script('Create', { never: true });
const inFlight = place('r-3');
await waitFor(() => server.counts('Create').open === 1, IN_TIME);
proxy.refuse();
proxy.resetAll();
const cutOff = await inFlight;

const unsent = place('r-4');
const outage = await waitFor(async () => {
  const dependencies = await get('/health/dependencies');
  return dependencies.body.details.orders.outage && { ready: await get('/health/ready'), dependencies };
}, IN_TIME);
const notPlaced = await unsent;

await app.close();
await proxy.close();
await server.close();
// This program does not call process.exit(), so a leaked timer or socket would keep it running.
process.stdout.write(`${JSON.stringify({ order, health, events, placed, refused, cutOff, outage, notPlaced })}\n`);
