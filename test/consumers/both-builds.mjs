// Loads both builds of the package and uses them in one application. Node loads both builds only with --no-experimental-require-module.
import 'reflect-metadata';
import { createRequire } from 'node:module';
import { Controller, Get, Module } from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import * as esm from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, grpcError } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';

const require = createRequire(import.meta.url);
const cjs = require('nestjs-resilient-grpc');
const cjsTesting = require('nestjs-resilient-grpc/testing');

const leaks = captureLeaks();
const server = await ScriptedGrpcServer.start({
  protoPath: 'protos/orders.proto',
  scripts: { Get: { message: { item: 'tea' } } },
});
const options = (name) => [{ name, url: server.url, protoPath: 'protos/orders.proto', outageGraceMs: 60_000 }];

/** Creates an application whose route fails with `error`, which `filter` of the other build handles. */
function createFailingApplication(path, error, filter) {
  class FailingController {
    fail() {
      throw error;
    }
  }
  Controller(path)(FailingController);
  Get()(FailingController.prototype, 'fail', Object.getOwnPropertyDescriptor(FailingController.prototype, 'fail'));
  class FailingModule {}
  Module({ controllers: [FailingController], providers: [{ provide: APP_FILTER, useClass: filter }] })(FailingModule);
  return NestFactory.create(FailingModule, { logger: false });
}

class AppModule {}
Module({
  imports: [
    esm.ResilientGrpcModule.forFeature(options('first')),
    cjs.ResilientGrpcModule.forFeature(options('second')),
  ],
})(AppModule);
const warnings = [];
const none = () => undefined;
const logger = {
  log: none,
  error: none,
  warn: (message) => warnings.push(String(message)),
  debug: none,
  verbose: none,
};
const app = await NestFactory.createApplicationContext(AppModule, { logger });
const startupWarnings = [...warnings];
const services = [esm, cjs].flatMap(({ getGrpcServiceToken }) =>
  ['first', 'second'].map((name) => app.get(getGrpcServiceToken(name, 'Orders'))),
);
const itemOf = async (service) => (await firstValueFrom(service.get({ id: '7' }))).item;

/** Returns the error classes that the builds export, each with true if both builds recognize each other's instances. */
async function errorClasses() {
  const classes = {};
  for (const entry of ['', '/operators', '/server', '/testing']) {
    const specifier = `nestjs-resilient-grpc${entry}`;
    const other = require(specifier);
    for (const [name, type] of Object.entries(await import(specifier))) {
      if (!(type.prototype instanceof Error)) continue;
      const instances = [Object.create(type.prototype), Object.create(other[name].prototype)];
      classes[name] = type !== other[name] && instances[0] instanceof other[name] && instances[1] instanceof type;
    }
  }
  return classes;
}

const errors = [grpcError('NOT_FOUND'), cjsTesting.grpcError('NOT_FOUND')];
const output = {
  builds: new Set([esm.ResilientGrpcModule, cjs.ResilientGrpcModule]).size,
  warnings: startupWarnings.map((line) => line.slice(0, line.indexOf(';'))),
  items: await Promise.all(services.map(itemOf)),
  guards: [cjs.isGrpcCallError(errors[0]), esm.isGrpcCallError(errors[1])],
  instances: [errors[0] instanceof cjs.GrpcCallError, errors[1] instanceof esm.GrpcCallError],
  errorClasses: await errorClasses(),
  statuses: [],
};
for (const [error, filter] of [
  [errors[0], cjs.GrpcToHttpExceptionFilter],
  [errors[1], esm.GrpcToHttpExceptionFilter],
]) {
  const gateway = await createFailingApplication('orders', error, filter);
  await gateway.listen(0, '127.0.0.1');
  const answer = await fetch(`${await gateway.getUrl()}/orders`, { headers: { connection: 'close' } });
  output.statuses.push(answer.status);
  await gateway.close();
}

await server.stop('kill-connections');
const afterRestart = Promise.all(services.slice(0, 2).map(itemOf));
await server.restart();
output.afterRestart = await afterRestart;
await app.close();
await server.close();
await leaks.settled({ timeoutMs: 60_000 });
console.log(JSON.stringify(output));
