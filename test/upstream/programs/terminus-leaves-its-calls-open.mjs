import 'reflect-metadata';
import { once } from 'node:events';
import net from 'node:net';
import grpc from '@grpc/grpc-js';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GRPCHealthIndicator, TerminusModule } from '@nestjs/terminus';
import { reproduce } from './support/reproduce.mjs';

class AppModule {}
Reflect.decorate([Module({ imports: [TerminusModule] })], AppModule);

await reproduce('@nestjs/terminus', async () => {
  const silent = net.createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const target = `127.0.0.1:${silent.address().port}`;
  const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
  const indicator = await app.resolve(GRPCHealthIndicator);
  const statuses = [];
  const channelOptions = {
    interceptors: [
      (options, nextCall) =>
        new grpc.InterceptingCall(nextCall(options), {
          start: (metadata, listener, next) => {
            statuses.push('open');
            const at = statuses.length - 1;
            next(metadata, {
              onReceiveStatus: (status, nextStatus) => {
                statuses[at] = 'ended';
                nextStatus(status);
              },
            });
          },
        }),
    ],
  };
  for (let check = 0; check < 3; check += 1) {
    await indicator.checkService('orders', 'orders', { url: target, timeout: 200, channelOptions });
  }
  return statuses.length === 3 && statuses.every((status) => status === 'open');
});
