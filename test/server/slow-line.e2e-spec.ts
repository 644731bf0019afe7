import 'reflect-metadata';
import { connect, createServer, type AddressInfo } from 'node:net';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServerModule } from 'nestjs-resilient-grpc/server';
import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { startOrdersApp } from '../support/orders-app.js';
import { ordersOptions, startMicroservice } from './served-orders.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const ID = 'x'.repeat(1_000_000);
const KEEPALIVE = { keepaliveTimeMs: 1_000, keepaliveTimeoutMs: 1_000 };
/** Bytes that the line carries in 20 ms: 300 KB per second. */
const PIECE_BYTES = 6_000;

@Controller()
class LargeOrders {
  @GrpcMethod('Orders', 'Get')
  get(): object {
    return { id: ID };
  }
}

/** Starts a server that pings its clients, and returns its port. */
async function serveLargeOrders(): Promise<number> {
  const options = ordersOptions('127.0.0.1:0', { keepalive: KEEPALIVE });
  const { server } = await startMicroservice({
    module: class LargeModule {},
    imports: [ResilientGrpcServerModule.forRoot(options)],
    controllers: [LargeOrders],
  });
  return server.port ?? 0;
}

/** Starts a proxy that takes what the server sends, and carries few bytes per second to the client. Returns its address. */
async function startSlowLine(port: number): Promise<string> {
  const ends: (() => void)[] = [];
  const line = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    client.pipe(server);
    let queue = Buffer.alloc(0);
    server.on('data', (bytes) => (queue = Buffer.concat([queue, bytes])));
    const timer = setInterval(() => {
      client.write(queue.subarray(0, PIECE_BYTES));
      queue = queue.subarray(PIECE_BYTES);
    }, 20);
    const end = (): void => {
      clearInterval(timer);
      client.destroy();
      server.destroy();
    };
    ends.push(end);
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
  });
  await new Promise<void>((resolve) => {
    line.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(async () => {
    for (const end of ends) end();
    await new Promise((resolve) => line.close(resolve));
  });
  // Safe: it listens on TCP.
  return `127.0.0.1:${(line.address() as AddressInfo).port}`;
}

it('completes a response that takes longer than the client has to answer a ping, which waits behind it', async () => {
  const url = await startSlowLine(await serveLargeOrders());
  // The client confirms nothing before the end of the response.
  const app = await startOrdersApp({ url, channelOptions: { 'grpc-node.flow_control_window': 4_194_304 } });
  onTestFinished(() => app.close());
  expect((await firstValueFrom(app.orders.get({ id: '' }, { retry: false }))).id).toHaveLength(ID.length);
});
