// Runs the module of docs/deploy/meshes-xds.md in a separate process, because the xDS plugin is global to a process and reads the address of
// its control plane from the environment:
//   node gateway.mjs MODULE
// HTTP routes: /orders/7 makes a call, /create makes a call that is not safe to repeat, /health returns the result of the health indicator,
// and /snapshot returns the snapshot of the client.
import 'reflect-metadata';
import { createServer } from 'node:http';
import { dirname } from 'node:path';
import { NestFactory } from '@nestjs/core';
import { GrpcClients, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { GrpcChannelHealthIndicator, ResilientGrpcHealthModule } from 'nestjs-resilient-grpc/health';
import { firstValueFrom } from 'rxjs';

const module = process.argv[2];
process.chdir(dirname(module)); // The folder contains orders.proto.
const { OrdersModule } = await import(module);
class AppModule {}
const app = await NestFactory.createApplicationContext({
  module: AppModule,
  imports: [OrdersModule, ResilientGrpcHealthModule],
});
app.enableShutdownHooks();
const orders = app.get(getGrpcServiceToken('orders', 'Orders'), { strict: false });
const health = app.get(GrpcChannelHealthIndicator, { strict: false });
const client = app.get(GrpcClients, { strict: false }).get('orders');

const answer = (call) =>
  firstValueFrom(call).catch(({ codeName, reason, reachedServer, message }) => ({
    codeName,
    reason,
    reachedServer,
    message,
  }));

const routes = {
  orders: (id) => answer(orders.get({ id })),
  create: () => answer(orders.create({})),
  health: () => health.check('orders'),
  snapshot: () => client.snapshot(),
};
const server = createServer(async ({ url }, response) => {
  const [, route, argument] = url.split('/');
  response.setHeader('connection', 'close').end(JSON.stringify(await routes[route](argument)));
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => server.close());
