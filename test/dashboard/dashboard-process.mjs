// An application in its own process, with a dashboard whose guard requires the key 'sesame':
//   node dashboard-process.mjs --port 0 --target 127.0.0.1:1 --waiting 2
// Its client `orders` makes `--waiting` calls, which wait for a connection to `--target`.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcClients, ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';

const { values } = parseArgs({
  options: { port: { type: 'string' }, target: { type: 'string' }, waiting: { type: 'string' } },
});

class KeyGuard {
  canActivate(context) {
    return context.switchToHttp().getRequest().headers['x-key'] === 'sesame';
  }
}
class AppModule {}
Module({
  imports: [
    ResilientGrpcModule.forFeature([
      {
        name: 'orders',
        url: values.target,
        protoPath: fileURLToPath(new URL('../../protos/orders.proto', import.meta.url)),
        outageGraceMs: 600_000,
      },
    ]),
    ResilientGrpcDashboardModule.forRoot({ guards: [KeyGuard] }),
  ],
})(AppModule);

const app = await NestFactory.create(AppModule, { logger: false, forceCloseConnections: true });
app.enableShutdownHooks();
await app.listen(Number(values.port), '127.0.0.1');
const orders = app.get(GrpcClients).get('orders').getService('Orders');
for (let call = 0; call < Number(values.waiting); call++)
  orders.get({ id: String(call) }).subscribe({ error: () => undefined });
console.log(`listening on 127.0.0.1:${new URL(await app.getUrl()).port}`);
