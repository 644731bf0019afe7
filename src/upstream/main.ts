// The upstream of the demo, a separate process:
//   node dist/upstream/main.js --port 50051 --log orders.log [--counts orders] [--server resilient|nest] [--connection-age MS] [--standby]
// With --standby, it listens only when its parent process sends a command, so that Node's startup time does not add to the
// downtime. It exits if the parent exits.
import 'reflect-metadata';
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { ConsoleLogger, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type AsyncMicroserviceOptions, type MicroserviceOptions, Transport } from '@nestjs/microservices';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { epochMs } from '../epoch.js';
import { CapturedLogger } from '../report/captured-logger.js';
import type { UpstreamCommand, UpstreamNotice } from './messages.js';
import { Production } from './production.js';
import { isServerKind } from './server-kind.js';
import { serverOptions, UpstreamModule, type UpstreamSetup } from './upstream.module.js';
import { Workload } from './work.js';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '50051' },
    log: { type: 'string', default: 'orders.log' },
    counts: { type: 'string', default: 'orders' },
    server: { type: 'string', default: 'resilient' },
    'connection-age': { type: 'string' },
    standby: { type: 'boolean', default: false },
  },
});
const { server } = values;
if (!isServerKind(server)) throw new Error(`--server: expected resilient or nest, got '${server}'`);
const age = values['connection-age'];
const setup: UpstreamSetup = {
  server,
  port: Number(values.port),
  logPath: values.log,
  countsPath: values.counts,
  connectionAgeMs: age === undefined ? undefined : Number(age),
};

let app: INestMicroservice | undefined;
const sockets = new Set<Socket>();
// Logs to the console only if the process has no IPC channel. Otherwise, its parent receives the lines of our server.
const logger = new CapturedLogger(process.send ? undefined : new ConsoleLogger());
logger.lines$.subscribe((line) => notify({ type: 'line', line }));

function notify(notice: UpstreamNotice): void {
  process.send?.(notice);
}

/**
 * Listens on the port. With --standby, runs only when the parent sends `listen`, because another process may be using the port until then.
 */
async function listen(): Promise<void> {
  app = await NestFactory.createMicroservice<AsyncMicroserviceOptions | MicroserviceOptions>(
    UpstreamModule.serve(setup),
    { ...(setup.server === 'resilient' ? RESILIENT_STRATEGY : nestOptions()), logger },
  );
  // A child process shuts down only on SIGTERM. Ctrl-C sends SIGINT to every process of the terminal, but a draining gateway still needs
  // its upstream.
  app.enableShutdownHooks(process.send ? ['SIGTERM'] : []);
  await app.listen();
  notify({ type: 'listening', atMs: epochMs() });
}

const RESILIENT_STRATEGY: AsyncMicroserviceOptions = {
  inject: [ResilientGrpcServer],
  useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
};

/** Returns the options of Nest's own server, which let calls finish at shutdown. */
function nestOptions(): MicroserviceOptions {
  return { transport: Transport.GRPC, options: { ...serverOptions(setup), gracefulShutdown: true } };
}

subscribe('net.server.socket', (message) => {
  // Safe cast: Node publishes { socket } on this channel.
  const { socket } = message as { socket: Socket };
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});

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
    case 'cut':
      for (const socket of sockets) socket.resetAndDestroy();
      break;
  }
});
process.once('disconnect', () => process.exit(0));
if (process.send) process.on('SIGINT', () => undefined);

if (values.standby) notify({ type: 'standby' });
else await listen();
