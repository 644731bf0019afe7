// What call-path.mjs and call-cost.mjs measure: clients and a server of the built library in this process, and their peer in another.
import 'reflect-metadata';
import { Controller } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { MemoryOnceStore, Once, ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { startChild } from '../bench/child.mjs';
import { ORDER, PROTO_PACKAGE, PROTO_PATH } from '../bench/contract.mjs';
import { freePort } from '../test/support/free-port.mjs';

const CONTRACT = { package: PROTO_PACKAGE, protoPath: PROTO_PATH };

export function startPeer() {
  return startChild(new URL('./peer-process.mjs', import.meta.url));
}

/**
 * @param {string} url
 * @param {object} [settings]
 * @param {(line: string) => void} [warned] Receives the warnings of the client.
 */
export async function openClient(url, settings = {}, warned = () => undefined) {
  const ignore = () => undefined;
  const logger = { log: ignore, error: ignore, debug: ignore, warn: warned };
  const imports = [ResilientGrpcModule.forFeature([{ name: 'bench', url, ...CONTRACT, ...settings }])];
  const app = await NestFactory.createApplicationContext({ module: class Measured {}, imports }, { logger });
  return { service: app.get(getGrpcServiceToken('bench', 'Bench')), close: () => app.close() };
}

/** @param {boolean} [takesKeys] */
export async function openServer(takesKeys = false) {
  class Served {
    get() {
      return ORDER;
    }
  }
  Controller()(Served);
  const method = Object.getOwnPropertyDescriptor(Served.prototype, 'get') ?? {};
  GrpcMethod('Bench', 'Get')(Served.prototype, 'get', method);
  if (takesKeys) Once()(Served.prototype, 'get', method);
  // Kept answers are not measured: how many are kept, and for how long, is up to the application.
  const once = { store: new MemoryOnceStore({ maxAnswerBytes: 0 }) };
  const url = `127.0.0.1:${String(await freePort())}`;
  const imports = [ResilientGrpcServerModule.forRoot({ url, ...CONTRACT, ...(takesKeys && { once }) })];
  const module = { module: class Measured {}, controllers: [Served], imports };
  const app = await NestFactory.createMicroservice(module, {
    inject: [ResilientGrpcServer],
    useFactory: (/** @type {ResilientGrpcServer} */ strategy) => ({ strategy }),
    logger: ['error'],
  });
  await app.listen();
  return { url, close: () => app.close() };
}
