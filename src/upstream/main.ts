// The upstream of the demo, a child process:
//   dist/upstream/main.js --port 50051 --log orders.log [--connection-age MS]
// It listens only when its parent process sends a command, so that Node's startup time does not add to the downtime. It exits if the
// parent exits.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { AsyncMicroserviceOptions } from '@nestjs/microservices';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { epochMs } from '../epoch.js';
import { CapturedLogger } from '../report/captured-logger.js';
import type { UpstreamCommand, UpstreamNotice } from './messages.js';
import { Workload } from './orders.controller.js';
import { Production } from './production.js';
import { UpstreamModule, type UpstreamSetup } from './upstream.module.js';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '50051' },
    log: { type: 'string', default: 'orders.log' },
    'connection-age': { type: 'string' },
  },
});
const { port, log: logPath, 'connection-age': age } = values;
const setup: UpstreamSetup = {
  port: Number(port),
  logPath,
  connectionAgeMs: age === undefined ? undefined : Number(age),
};

let app: INestMicroservice | undefined;
// The parent receives the lines of our server.
const logger = new CapturedLogger();
logger.lines$.subscribe((line) => notify({ type: 'line', line }));

function notify(notice: UpstreamNotice): void {
  process.send?.(notice);
}

/** Listens on the port, when the parent sends `listen`. Another process may be using the port until then. */
async function listen(): Promise<void> {
  app = await NestFactory.createMicroservice<AsyncMicroserviceOptions>(UpstreamModule.serve(setup), {
    inject: [ResilientGrpcServer],
    useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
    logger,
  });
  // Ctrl-C sends SIGINT to every process of the terminal, but a draining gateway still needs
  // its upstream.
  app.enableShutdownHooks(['SIGTERM']);
  await app.listen();
  notify({ type: 'listening', atMs: epochMs() });
}

process.on('message', (command: UpstreamCommand) => {
  switch (command.type) {
    case 'listen':
      void listen();
      break;
    case 'work':
      if (app) app.get(Workload).now = command.work;
      notify({ type: 'working' });
      break;
    case 'produce':
      app?.get(Production).run(command.perSecond);
      break;
  }
});
process.once('disconnect', () => process.exit(0));
process.on('SIGINT', () => undefined);

notify({ type: 'standby' });
