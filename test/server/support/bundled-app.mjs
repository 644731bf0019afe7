// Serves orders.v1.Orders with ResilientGrpcServer, calls itself with a client of the library, and prints the response:
//   node bundled-app.mjs <path of orders.proto> [server options as JSON] [--definition]
// With --definition, the server receives a packageDefinition instead of the path.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { loadSync } from '@grpc/proto-loader';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { GrpcClients, ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { firstValueFrom } from 'rxjs';

const { values, positionals } = parseArgs({
  options: { definition: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const [protoPath, options = '{}'] = positionals;

class Orders {
  get({ id }) {
    return { id, item: 'tea' };
  }
}
Controller()(Orders);
GrpcMethod('Orders', 'Get')(Orders.prototype, 'get', Object.getOwnPropertyDescriptor(Orders.prototype, 'get'));

class AppModule {}
Module({
  imports: [
    ResilientGrpcModule.forRoot(),
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      url: '127.0.0.1:0',
      ...(values.definition ? { packageDefinition: loadSync(protoPath) } : { protoPath }),
      ...JSON.parse(options),
    }),
  ],
  controllers: [Orders],
})(AppModule);

async function run() {
  const app = await NestFactory.createMicroservice(AppModule, {
    inject: [ResilientGrpcServer],
    useFactory: (strategy) => ({ strategy }),
    logger: false,
    abortOnError: false,
  });
  await app.listen();
  const url = `127.0.0.1:${app.get(ResilientGrpcServer).port}`;
  const orders = app.get(GrpcClients).create({ name: 'orders', url, protoPath }).getService('Orders');
  console.log(JSON.stringify(await firstValueFrom(orders.get({ id: '7' }))));
  await app.close();
}
void run();
