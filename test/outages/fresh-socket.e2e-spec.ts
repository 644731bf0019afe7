import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect, type Socket } from 'node:net';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';
import { startFullListener } from '../unit-support/full-listener.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

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
