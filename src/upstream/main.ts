// The upstream of the demo, a process of its own:
//   node dist/upstream/main.js --port 50051 --log orders.log [--connection-age MS] [--standby]
// Started by the gateway it waits in --standby for the word to listen, so that the time it is away is the time asked for and not
// the time Node takes to start; and it ends with the gateway, however that ends.
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { epochMs } from '../epoch.js';
import { DurableCounts } from './durable-counts.js';
import type { UpstreamCommand, UpstreamNotice } from './messages.js';
import { OrderLog } from './order-log.js';
import { createOrdersServer } from './orders-server.js';
import { Production } from './production.js';
import { NORMAL_WORK } from './work.js';

/** Orders that are there from the beginning, so that reads find something. */
const SEED_ORDERS = 100;
/** A graceful stop waits this long for calls that run. */
const SHUTDOWN_MS = 3_000;
/** What runs on a connection that has reached its age is given this long. */
const AGE_GRACE_MS = 300;

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    log: { type: 'string', default: 'orders.log' },
    'connection-age': { type: 'string' },
    standby: { type: 'boolean', default: false },
  },
});

let work = NORMAL_WORK;
let production: Production | undefined;
const sockets = new Set<Socket>();

function notify(notice: UpstreamNotice): void {
  if (process.send) process.send(notice);
  else if (notice.type === 'listening') console.log(`orders.v1.Orders on 127.0.0.1:${notice.port}`);
}

function listen(port: number): void {
  // Not before: until now another process may have been writing to the log.
  const log = new OrderLog(values.log);
  while (log.length < SEED_ORDERS) log.append({ requestId: `seed-${log.length}`, item: 'tea', quantity: 1 });
  production = new Production(log);
  const server = createOrdersServer({
    log,
    requests: new DurableCounts(`${values.log}.requests`),
    connections: new DurableCounts(`${values.log}.connections`),
    work: () => work,
    options: serverOptions(),
  });

  server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, boundPort) => {
    if (error) throw error;
    notify({ type: 'listening', port: boundPort, atMs: epochMs() });
  });

  process.once('SIGTERM', () => {
    production?.run(0);
    log.releaseFollowers();
    server.tryShutdown(() => process.exit(0));
    setTimeout(() => server.forceShutdown(), SHUTDOWN_MS).unref();
  });
}

function serverOptions(): ServerOptions {
  const age = values['connection-age'];
  if (age === undefined) return {};
  return { 'grpc.max_connection_age_ms': Number(age), 'grpc.max_connection_age_grace_ms': AGE_GRACE_MS };
}

subscribe('net.server.socket', (message) => {
  // True: Node publishes { socket } on this channel.
  const { socket } = message as { socket: Socket };
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});

process.on('message', (command: UpstreamCommand) => {
  switch (command.type) {
    case 'listen':
      listen(command.port);
      break;
    case 'work':
      ({ work } = command);
      break;
    case 'produce':
      production?.run(command.perSecond);
      break;
    case 'cut':
      for (const socket of sockets) socket.resetAndDestroy();
      break;
  }
});
process.once('disconnect', () => process.exit(0));
// Ctrl-C reaches every process of the terminal; the gateway still needs its upstream while it finishes what runs.
if (process.send) process.on('SIGINT', () => undefined);

if (values.standby) notify({ type: 'standby' });
else listen(Number(values.port));
