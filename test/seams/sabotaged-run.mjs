// Runs a client and a server of the library while the given private names of grpc-js or Node are missing. The run covers calls of all
// kinds, a drain, a restart, writes while the server restarts, and writes whose connection is reset. It prints the result as one line of
// JSON. The process must then exit on its own.
//   node sabotaged-run.mjs '{ "names": ["http2Stream"], "tls": true }'
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sabotage } from './sabotage.mjs';

const { names = [], tls = false, version, folder } = JSON.parse(process.argv[2]);
sabotage(names, { version, folder });

const failures = [];
process.on('uncaughtException', (error) => failures.push(`uncaught: ${error.stack}`));
process.on('unhandledRejection', (error) => failures.push(`unhandled: ${error.stack}`));

await import('reflect-metadata');
const { ServerCredentials } = await import('@grpc/grpc-js');
const { Controller, Module } = await import('@nestjs/common');
const { NestFactory } = await import('@nestjs/core');
const { GrpcMethod, GrpcStreamMethod, RpcException } = await import('@nestjs/microservices');
const { metrics } = await import('@opentelemetry/api');
const { MeterProvider } = await import('@opentelemetry/sdk-metrics');
const { ResilientGrpcModule, getGrpcClientToken, isGrpcCallError } = await import('nestjs-resilient-grpc');
const { ResilientGrpcServer, ResilientGrpcServerModule } = await import('nestjs-resilient-grpc/server');
const { ResilientGrpcTelemetryModule } = await import('nestjs-resilient-grpc/telemetry');
const { FaultProxy, waitFor } = await import('nestjs-resilient-grpc/testing');
const { Observable, firstValueFrom, lastValueFrom, toArray, from, map } = await import('rxjs');

metrics.setGlobalMeterProvider(new MeterProvider());

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const pem = (name) => readFileSync(file(`test/fixtures/tls/${name}.pem`));
const protoPath = file('protos/orders.proto');

/** Log lines at `warn` and `error`. */
const warnings = [];
const logger = {
  log() {},
  debug() {},
  verbose() {},
  warn: (line) => warnings.push(String(line)),
  error: (line) => warnings.push(String(line)),
};

/** Number of executions of each write on the server, by `requestId`. */
const executed = new Map();
const held = [];
const release = () => {
  for (const answer of held.splice(0)) answer();
};

class Orders {
  get({ id }) {
    if (id === 'none') throw new RpcException({ code: 5, message: 'no such order' });
    return id === 'held' ? new Promise((resolve) => held.push(() => resolve({ id }))) : { id };
  }

  create({ requestId, item }) {
    executed.set(requestId, (executed.get(requestId) ?? 0) + 1);
    return item === 'held' ? new Promise((resolve) => held.push(() => resolve({ requestId }))) : { requestId };
  }

  watch({ from: first }) {
    return Number(first ?? 0) === 0
      ? from([{ sequence: 1 }, { sequence: 2 }])
      : new Observable((subscriber) => subscriber.next({ sequence: 3 }));
  }

  session(requests) {
    return requests.pipe(map(({ messageId }) => ({ messageId })));
  }

  upload(requests) {
    return requests.pipe(
      toArray(),
      map(({ length }) => ({ count: length })),
    );
  }
}
const decorate = (decorator, name) =>
  decorator(Orders.prototype, name, Object.getOwnPropertyDescriptor(Orders.prototype, name));
Controller()(Orders);
decorate(GrpcMethod('Orders', 'Get'), 'get');
decorate(GrpcMethod('Orders', 'Create'), 'create');
decorate(GrpcMethod('Orders', 'Watch'), 'watch');
decorate(GrpcStreamMethod('Orders', 'Session'), 'session');
decorate(GrpcStreamMethod('Orders', 'Upload'), 'upload');

async function serve(port) {
  class ServerApp {}
  Module({
    imports: [
      ResilientGrpcTelemetryModule,
      ResilientGrpcServerModule.forRoot({
        package: 'orders.v1',
        protoPath,
        url: `127.0.0.1:${port}`,
        drain: { timeoutMs: 20_000 },
        ...(tls && {
          credentials: ServerCredentials.createSsl(null, [
            { private_key: pem('server-key'), cert_chain: pem('server') },
          ]),
        }),
      }),
    ],
    controllers: [Orders],
  })(ServerApp);
  const strategy = { useFactory: (made) => ({ strategy: made }), inject: [ResilientGrpcServer] };
  const app = await NestFactory.createMicroservice(ServerApp, { ...strategy, logger, abortOnError: false });
  await app.listen();
  return { port: app.get(ResilientGrpcServer).port, close: () => app.close() };
}

async function connect(url) {
  class ClientApp {}
  Module({
    imports: [
      ResilientGrpcTelemetryModule,
      ResilientGrpcModule.forRoot({ drain: { timeoutMs: 20_000 } }),
      ResilientGrpcModule.forFeature([
        {
          name: 'orders',
          protoPath,
          url,
          outageGraceMs: 20_000,
          ...(tls && { tls: { ca: file('test/fixtures/tls/ca.pem') } }),
        },
      ]),
    ],
  })(ClientApp);
  const app = await NestFactory.createApplicationContext(ClientApp, { logger, abortOnError: false });
  app.enableShutdownHooks();
  return { app, orders: app.get(getGrpcClientToken('orders')).getService('Orders') };
}

const outcome = (call) =>
  firstValueFrom(call).then(
    () => ({ ok: true }),
    (error) => {
      if (!isGrpcCallError(error)) failures.push(`not a GrpcCallError: ${error.stack}`);
      return { ok: false, reachedServer: error.reachedServer, text: error.message };
    },
  );

const expect = (what, holds) => {
  if (!holds) failures.push(what);
};

async function runSabotaged() {
  let server = await serve(0).catch(async (error) => {
    failures.push(`server: ${error.message}`);
    await connect('127.0.0.1:1');
    throw error;
  });
  const { port } = server;
  const proxy = await FaultProxy.start(`127.0.0.1:${port}`);
  const { app, orders } = await connect(tls ? `localhost:${proxy.port}` : proxy.url);

  // Calls of all kinds.
  expect('unary', (await firstValueFrom(orders.get({ id: 'a' }))).id === 'a');
  expect('server stream', (await lastValueFrom(orders.watch({ from: '0' }).pipe(toArray()))).length === 2);
  expect('client stream', (await firstValueFrom(orders.upload(from([{}, {}, {}])))).count === 3);
  expect(
    'bidi',
    (await lastValueFrom(orders.session(from([{ messageId: '1' }, { messageId: '2' }])).pipe(toArray()))).length === 2,
  );

  expect('a status from the server', (await outcome(orders.get({ id: 'none' }))).text?.includes('no such order'));

  // A drain: running calls finish, and the server ends endless streams.
  const slow = outcome(orders.get({ id: 'held' }));
  const feed = outcome(orders.watch({ from: '1' }).pipe(toArray()));
  await waitFor(() => held.length === 1);
  const drained = server.close();
  await new Promise((resolve) => setTimeout(resolve, 100));
  release();
  expect('the response to a call that runs during a drain', (await slow).ok);
  await feed;
  await drained;

  // A restart: reads succeed after it. Writes continue during the next restart.
  server = await serve(port);
  const reads = await Promise.all(Array.from({ length: 5 }, () => outcome(orders.get({ id: 'b' }))));
  expect(
    `reads after a restart: ${JSON.stringify(reads)}`,
    reads.every(({ ok }) => ok),
  );
  let restarting = true;
  const restarted = server.close().then(async () => {
    server = await serve(port);
    restarting = false;
  });
  const writes = new Map();
  const write = async (writer) => {
    for (let n = 0; restarting || n < 10; n += 1) {
      const requestId = `rolling ${writer}.${n}`;
      writes.set(requestId, await outcome(orders.create({ requestId })));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(['a', 'b', 'c', 'd'].map(write));
  await restarted;

  // Writes whose connection is reset.
  const cut = Array.from({ length: 5 }, (_, n) => [
    `cut ${n}`,
    outcome(orders.create({ requestId: `cut ${n}`, item: 'held' })),
  ]);
  await waitFor(() => held.length === 5);
  proxy.resetAll();
  for (const [requestId, end] of cut) writes.set(requestId, await end);
  release();
  const after = await outcome(orders.get({ id: 'c' }));
  expect(`a read after a reset: ${JSON.stringify(after)}`, after.ok);

  for (const [requestId, { ok, reachedServer, text }] of writes) {
    const times = executed.get(requestId) ?? 0;
    expect(`${requestId} was executed ${times} times: ${text}`, times === 1 || (!ok && times === 0));
    expect(`${requestId} reports that it reached no server: ${text}`, ok || times === 0 || reachedServer !== 'no');
  }
  const failed = [...writes].filter(([, { ok }]) => !ok).map(([requestId, { text }]) => `${requestId}: ${text}`);

  await app.close();
  await server.close();
  await proxy.close();
  return { writes: writes.size, failed };
}

const report = await runSabotaged().catch((error) => {
  failures.push(`failed: ${error.stack}`);
  return {};
});
console.log(JSON.stringify({ ...report, failures, warnings }));
