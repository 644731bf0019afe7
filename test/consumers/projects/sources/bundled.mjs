// Serves orders.v1.Orders and the dashboard, calls itself, and prints what it received:
//   node bundled.mjs <path of orders.proto>
import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { GrpcClients, ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { firstValueFrom } from 'rxjs';

const protoPath = process.argv[2];

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
    ResilientGrpcDashboardModule.forRoot({ public: true }),
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      url: '127.0.0.1:0',
      protoPath,
      // Both packages are next to the bundle only.
      protoLoader: 'my-loader',
      reflection: true,
    }),
  ],
  controllers: [Orders],
})(AppModule);

async function run() {
  const app = await NestFactory.create(AppModule, { logger: false, abortOnError: false });
  app.connectMicroservice({ strategy: app.get(ResilientGrpcServer) }, { inheritAppConfig: true });
  await app.startAllMicroservices();
  await app.listen(0, '127.0.0.1');
  const page = `${await app.getUrl()}/grpc`;
  const pages = await Promise.all(['', '/page.js', '/uplot.js', '/dashboard.css'].map((file) => fetch(page + file)));
  const url = `127.0.0.1:${app.get(ResilientGrpcServer).port}`;
  const orders = app.get(GrpcClients).create({ name: 'orders', url, protoPath }).getService('Orders');
  const order = await firstValueFrom(orders.get({ id: '7' }));
  console.log(JSON.stringify({ order, pages: pages.map(({ status }) => status) }));
  await app.close();
}
void run();
