// A bare grpc-js server of orders.v1.Orders in its own process: node orders-grpc-js.mjs '{ "port": 0, … }'. upstream.ts describes
// its arguments, responses, and log. orders-grpcio.py behaves the same, except for the lines about ended calls and health in its log.
import { appendFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readFileSync } from 'node:fs';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { service as healthService } from 'grpc-health-check';

const settings = JSON.parse(process.argv[2]);
const { host, port, standby, log, perSecond, eventsEveryMs, drainMs, serverOptions, tls } = settings;
const proto = loadSync(fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)), { longs: String });
const feeds = new Set();
let sequence = 0;
let freeAt = 0;

function write(call, what, key) {
  const previous = call.metadata.get('grpc-previous-rpc-attempts')[0] ?? 0;
  appendFileSync(log, `${Date.now()} ${what} ${key} ${previous} ${call.getPeer()}\n`);
  return Number(previous);
}

async function answer(call, what, key, callback) {
  const previous = write(call, what, key);
  const [, code, times = Infinity] = key.split('/');
  call.once('cancelled', () => write(call, 'ended', what));
  if (freeAt - performance.now() > settings.queueMs) {
    callback({ code: status.UNAVAILABLE, details: 'the queue is full' });
    return;
  }
  freeAt = Math.max(freeAt, performance.now()) + 1_000 / perSecond;
  const waitMs = settings.delayMs + freeAt - performance.now();
  if (waitMs >= 1) await pause(waitMs);
  const fails = code !== undefined && previous < Number(times);
  if (fails && code === 'NEVER') return;
  if (fails) callback({ code: status[code], details: `requested by ${key}` });
  else callback(null, { id: key, requestId: key, item: String(process.pid), sequence: ++sequence });
}

const methods = {
  Get: (call, callback) => answer(call, 'Get', call.request.id, callback),
  Create: (call, callback) => answer(call, 'Create', call.request.requestId, callback),
  Watch: (call) => {
    let at = Number(call.request.from);
    write(call, 'Watch', at);
    const timer = setInterval(() => call.write({ sequence: ++at, order: { id: String(at) } }), eventsEveryMs);
    const end = () => {
      clearInterval(timer);
      feeds.delete(end);
      call.end();
    };
    feeds.add(end);
    call.once('cancelled', () => {
      end();
      write(call, 'ended', 'Watch');
    });
  },
  Session: (call) => {
    call.on('data', ({ messageId }) => {
      write(call, 'Session', messageId);
      call.write({ messageId, sequence: ++sequence });
    });
    call.once('cancelled', () => write(call, 'ended', 'Session'));
    call.once('end', () => call.end());
  },
};

const healthWatches = new Set();

/** Sends the current status, and each change. */
function watchHealth(call) {
  write(call, 'Health', '-');
  healthWatches.add(call);
  feeds.add(() => call.end());
  call.once('cancelled', () => healthWatches.delete(call));
  call.write({ status: settings.health });
}

const server = new Server(serverOptions);
server.addService(proto['orders.v1.Orders'], methods);
if (settings.health !== null) server.addService(healthService, { Watch: watchHealth });
const credentials = tls
  ? ServerCredentials.createSsl(null, [{ private_key: readFileSync(tls.key), cert_chain: readFileSync(tls.cert) }])
  : ServerCredentials.createInsecure();

function listen() {
  server.bindAsync(`${host}:${port}`, credentials, (error, bound) => {
    if (error) throw error;
    process.send({ listening: bound });
    process.send({ boundAt: Date.now() });
  });
}

if (standby) {
  // ChildServer has unreferenced the IPC channel of this process. Without a reference, the process would exit while it waits.
  process.channel.ref();
  process.once('message', ({ listenAt }) => setTimeout(listen, listenAt - Date.now()));
  process.send({ listening: port });
} else {
  listen();
}
process.on('message', (changes) => {
  Object.assign(settings, changes);
  if ('health' in changes) for (const call of healthWatches) call.write({ status: settings.health });
});
process.once('SIGTERM', () => {
  server.tryShutdown(() => process.exit(0));
  setTimeout(() => server.forceShutdown(), drainMs);
  // Feeds never end on their own.
  for (const end of feeds) end();
});
