// Clients of orders.v1.Orders in one process, of this library or Nest's ('theirs'):
//   node client-process.mjs '{ "side": "ours", "ports": [50051], "schedule": { … } }'
// On { calls, startAt } over IPC, makes each call at its time (open loop), and reports how each ended, the lateness of its event loop, and
// the events of this library's clients.
import 'reflect-metadata';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Metadata } from '@grpc/grpc-js';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ClientsModule, Transport } from '@nestjs/microservices';
import { ResilientGrpcModule, getGrpcClientToken } from 'nestjs-resilient-grpc';

const { side, ports, clients, keepaliveTimeoutMs, schedule } = JSON.parse(process.argv[2]);
const { transport, servers, roundRobin, waits, keepalive, bytes } = schedule;
const isOurs = side === 'ours';
const addresses = ports.map((port) => `127.0.0.1:${port}`);
const contract = {
  package: 'orders.v1',
  protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
  loader: { longs: String },
  url: servers === 1 ? addresses[0] : `ipv4:${addresses.join(',')}`,
  ...(keepalive && { keepalive: { keepaliveTimeMs: 10_000, keepaliveTimeoutMs } }),
};
const balancing = roundRobin ? 'round_robin' : 'pick_first';
const channelOptions = {
  // Else the clients of a process share connections. Those of this library never do.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ [balancing]: {} }] }),
};
const names = Array.from({ length: clients }, (_, index) => `orders-${index}`);

class AppModule {}
Module({
  imports: isOurs
    ? names.map((name) =>
        ResilientGrpcModule.forFeature([
          {
            ...contract,
            ...{ name, transport, loadBalancing: balancing },
            ...(!waits && { methods: { '*': { waitForReady: false } } }),
          },
        ]),
      )
    : [
        ClientsModule.register(
          names.map((name) => ({ name, transport: Transport.GRPC, options: { ...contract, channelOptions } })),
        ),
      ],
})(AppModule);
const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
const tokens = isOurs ? names.map((name) => getGrpcClientToken(name)) : names;
const found = tokens.map((token) => app.get(token, { strict: false }));
const services = found.map((client) => client.getService('Orders'));
const events = [];
// Only the events of connections, because the process reports them all.
if (isOurs)
  for (const client of found)
    client.events$.subscribe((event) => {
      if (!/^(call-|attempt-)/.test(event.type)) events.push(event);
    });

const REQUESTS = {
  get: () => ({ id: String(bytes) }),
  create: (id) => ({ requestId: `${side} ${id}` }),
  watch: () => ({ from: String(bytes) }),
};

process.channel.ref();
process.once('message', ({ calls, startAt }) => {
  const ended = [];
  const late = monitorEventLoopDelay({ resolution: 10 });
  let [next, open] = [0, 0];
  const call = ({ id, client, method, deadlineMs }) => {
    open += 1;
    const end = (code) => {
      ended[id] = { endMs: Date.now() - startAt, code };
      open -= 1;
      if (open > 0 || next < calls.length) return;
      process.send({ ended, events, lateMs: late.percentile(99) / 1e6 - 10 });
    };
    services[client][method](REQUESTS[method](id), new Metadata(), { deadline: Date.now() + deadlineMs }).subscribe({
      error: ({ code }) => end(code ?? -1),
      complete: () => end(0),
    });
  };
  setTimeout(() => {
    late.enable();
    const timer = setInterval(() => {
      while (calls[next]?.atMs <= Date.now() - startAt) {
        next += 1;
        call(calls[next - 1]);
      }
      if (next < calls.length) return;
      clearInterval(timer);
      late.disable();
    }, 2);
  }, startAt - Date.now());
});
console.log(`listening on 127.0.0.1:${ports[0]}`);
