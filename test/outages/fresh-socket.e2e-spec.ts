import { spawn } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Accepts no connection until a byte arrives at its standard input. Then forwards all to the port that is its argument. */
const LISTENER = `
  const { readSync, writeSync } = require('node:fs');
  const { connect, createServer } = require('node:net');
  const server = createServer((client) => {
    const upstream = connect(Number(process.argv[1]), '127.0.0.1');
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(upstream).pipe(client);
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    writeSync(1, server.address().port + '\\n');
    readSync(0, Buffer.alloc(1));
  });`;

/** Starts a listener whose backlog is full, so that the kernel drops each SYN, until `accept()` is called. */
async function startFullListener(upstream: number): Promise<{ readonly port: number; accept(): void }> {
  const child = spawn(process.execPath, ['-e', LISTENER, String(upstream)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const fillers: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  // Linux accepts one connection more than the backlog.
  for (let taken = 0; taken < 2; taken++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    fillers.push(socket);
    await once(socket, 'connect');
  }
  return { port, accept: () => child.stdin.write('x') };
}

/** Records the sockets that this process opens, and how many of them are open at once. */
function watchSockets(): { readonly opened: Socket[]; atOnce: number } {
  const watched = { opened: [] as Socket[], atOnce: 0 };
  const open = (message: unknown): void => {
    watched.opened.push((message as { socket: Socket }).socket);
    process.nextTick(() => {
      const count = watched.opened.filter(({ destroyed }) => !destroyed).length;
      watched.atOnce = Math.max(watched.atOnce, count);
    });
  };
  subscribe('net.client.socket', open);
  onTestFinished(() => {
    unsubscribe('net.client.socket', open);
  });
  return watched;
}

it('connects before TCP repeats the first SYN, after many were lost, and by at most two sockets at once', async () => {
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Get: { message: { id: '7' } } },
  });
  onTestFinished(() => server.close());
  const listener = await startFullListener(Number(server.url.split(':')[1]));
  // Shows when the first socket of the client, which begins a little later, would be connected.
  const control = connect(listener.port, '127.0.0.1');
  onTestFinished(() => void control.destroy());
  const sockets = watchSockets();
  const app = await startOrdersApp({ url: `127.0.0.1:${listener.port}` });
  onTestFinished(() => app.close());
  const answered = firstValueFrom(app.orders.get({ id: '7' }));
  // The fifth one begins after 8 s. Depending on its version, Linux sends the first SYN again after 7 and 11 s, or after 7 and 15 s.
  await waitFor(() => sockets.opened.length === 5, { timeoutMs: 30_000 });
  expect(control.connecting).toBe(true);
  listener.accept();
  expect(await answered).toMatchObject({ id: '7' });
  expect(control.connecting).toBe(true);
  expect(sockets.atOnce).toBe(2);
  expect(sockets.opened.filter(({ destroyed }) => !destroyed)).toHaveLength(1);
});
