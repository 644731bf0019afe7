import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod, GrpcStreamMethod, Transport } from '@nestjs/microservices';
import { TEXT } from './text-service.mjs';

export const decorate = (decorators, ...target) => Reflect.decorate(decorators, ...target);

/** Starts a Nest gRPC server with `handlers` for some methods of {@link TEXT}. */
export async function startNestTextServer(handlers, options = {}, filters = []) {
  class TextController {}
  for (const [name, value] of Object.entries(handlers)) {
    const serves = TEXT[name].requestStream ? GrpcStreamMethod : GrpcMethod;
    const method = { value, writable: true, configurable: true };
    Object.defineProperty(
      TextController.prototype,
      name,
      decorate([serves('Text', name)], TextController.prototype, name, method),
    );
  }
  decorate([Controller()], TextController);
  class AppModule {}
  decorate([Module({ controllers: [TextController] })], AppModule);
  const folder = mkdtempSync(join(tmpdir(), 'nest-text-'));
  process.on('exit', () => rmSync(folder, { recursive: true }));
  const target = `unix:${join(folder, 'socket')}`;
  const app = await NestFactory.createMicroservice(AppModule, {
    transport: Transport.GRPC,
    logger: false,
    options: { package: 'text', packageDefinition: { 'text.Text': TEXT }, url: target, ...options },
  });
  app.useGlobalFilters(...filters);
  await app.listen();
  return { app, target };
}
