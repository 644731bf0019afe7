// A Nest application, in its own process, whose Watch streams 3,000 messages of 64 KiB.
//   node --expose-gc pouring-server.mjs --port 0 --source generator|observable --options JSON
// On the IPC message 'pour', the Observable continues; on any other message, the process reports its memory and the numbers of created
// messages, open streams, and lingering handlers.
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServer, ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { Observable } from 'rxjs';
import { readMemory } from '../../../bench/memory.mjs';

const MESSAGE_COUNT = 3_000;
const MESSAGE_BYTES = 64 * 1024;
const COUNT_BEFORE_PAUSE = 32;

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    source: { type: 'string', default: 'generator' },
    options: { type: 'string', default: '{}' },
  },
});

let made = 0;
let startPouring = () => {};
/** @type {Promise<void>} */
const pour = new Promise((resolve) => (startPouring = resolve));
// Each message has its own string, so that the memory of all queued messages counts.
const message = () => ({
  sequence: ++made,
  order: { item: Buffer.alloc(MESSAGE_BYTES, (made % 26) + 97).toString('latin1') },
});

class Orders {
  watch() {
    return values.source === 'generator' ? generated() : pushed();
  }
}

async function* generated() {
  while (made < MESSAGE_COUNT) yield message();
}

/**
 * Emits one message in each turn of the event loop. The first 32 messages fill the windows and buffers of a client that does not read.
 * After them, the Observable pauses until the IPC message 'pour'. Without the pause, the test could not distinguish a busy client from one
 * that does not read.
 */
function pushed() {
  return new Observable((subscriber) => {
    const push = () => {
      if (subscriber.closed) return;
      if (made === MESSAGE_COUNT) return subscriber.complete();
      subscriber.next(message());
      if (made === COUNT_BEFORE_PAUSE) void pour.then(push);
      else setImmediate(push);
    };
    push();
  });
}

Controller()(Orders);
GrpcMethod('Orders', 'Watch')(Orders.prototype, 'watch', Object.getOwnPropertyDescriptor(Orders.prototype, 'watch'));

class AppModule {}
Module({
  imports: [
    ResilientGrpcServerModule.forRoot({
      package: 'orders.v1',
      protoPath: fileURLToPath(new URL('../../../protos/orders.proto', import.meta.url)),
      url: `127.0.0.1:${values.port}`,
      ...JSON.parse(values.options),
    }),
  ],
  controllers: [Orders],
})(AppModule);

const app = await NestFactory.createMicroservice(AppModule, {
  useFactory: (strategy) => ({ strategy }),
  inject: [ResilientGrpcServer],
});
await app.listen();
const server = app.get(ResilientGrpcServer);
process.on('message', (command) => {
  if (command === 'pour') {
    startPouring();
    return;
  }
  void readMemory().then((memory) => {
    process.send?.({ ...memory, made, streams: server.activeStreams().length, lingering: server.lingeringHandlers });
  });
});
process.once('disconnect', () => process.exit(0));
console.log(`listening on 127.0.0.1:${server.port}`);
