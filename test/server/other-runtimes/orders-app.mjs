// A Nest application that serves orders.v1.Orders in its own process and closes on SIGTERM through Nest's shutdown hooks:
//   node orders-app.mjs --port PORT --server nest|resilient
// The id of an order is the delay of its response in milliseconds. `item` is the pid of the process.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Controller } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, Transport } from '@nestjs/microservices';
import { delay, of } from 'rxjs';
import { freePort } from '../../support/free-port.mjs';

const { values } = parseArgs({
  options: { port: { type: 'string', default: '0' }, server: { type: 'string', default: 'resilient' } },
});

class OrdersController {
  get({ id }) {
    return of({ id, item: String(process.pid) }).pipe(delay(Number(id)));
  }
}
Controller()(OrdersController);
const { prototype } = OrdersController;
GrpcMethod('Orders', 'Get')(prototype, 'get', Object.getOwnPropertyDescriptor(prototype, 'get'));

// Nest does not report the port on which it listens.
const port = values.port === '0' ? await freePort() : Number(values.port);
const grpc = {
  url: `127.0.0.1:${port}`,
  package: 'orders.v1',
  protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
  loader: { longs: String },
};
const app = await (values.server === 'nest' ? startNestServer() : startResilientServer());
app.enableShutdownHooks();
process.send?.({ listening: port });

async function startNestServer() {
  class AppModule {}
  const options = { ...grpc, gracefulShutdown: true };
  const microservice = await NestFactory.createMicroservice(
    { module: AppModule, controllers: [OrdersController] },
    { transport: Transport.GRPC, options, logger: false },
  );
  await microservice.listen();
  return microservice;
}

async function startResilientServer() {
  const { ResilientGrpcServer, ResilientGrpcServerModule } = await import('nestjs-resilient-grpc/server');
  class AppModule {}
  const imports = [ResilientGrpcServerModule.forRoot(grpc)];
  const microservice = await NestFactory.createMicroservice(
    { module: AppModule, controllers: [OrdersController], imports },
    { inject: [ResilientGrpcServer], useFactory: (strategy) => ({ strategy }), logger: false },
  );
  await microservice.listen();
  return microservice;
}
