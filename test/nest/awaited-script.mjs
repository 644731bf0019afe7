// node awaited-script.mjs: awaits a call without subscribing to it, and exits without closing the application.
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';

const client = {
  name: 'orders',
  url: '127.0.0.1:1',
  protoPath: new URL('../../protos/orders.proto', import.meta.url).pathname,
};
const app = await NestFactory.createApplicationContext(ResilientGrpcModule.forFeature([client]), { logger: ['warn'] });
await app.get(getGrpcServiceToken('orders', 'Orders')).get({ id: '7' });
