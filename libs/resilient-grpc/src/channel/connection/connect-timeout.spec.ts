import { createServer as createHttp2Server } from 'node:http2';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { GrpcClientEvent } from '../../call/call-event.js';
import { EventHub } from '../../call/event-hub.js';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { insecureCredentials } from '../channel-checks.js';
import { ManagedChannel } from '../managed-channel.js';

// Real sockets; the connect timeout passes in virtual time, grpc-js's backoff in real time.

/** Accepts TCP connections and stays silent on them, or hands them to an HTTP/2 server. */
async function startServer() {
  const http2 = createHttp2Server();
  const server = { port: 0, isSilent: true, accepted: [] as Socket[] };
  const tcp = createServer((socket) => {
    server.accepted.push(socket.on('error', () => undefined));
    if (!server.isSilent) http2.emit('connection', socket);
    // Reads, so that it sees the end of the connection.
    else socket.resume();
  });
  await new Promise<void>((resolve) => {
    tcp.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(async () => {
    for (const socket of server.accepted) socket.destroy();
    await new Promise((resolve) => tcp.close(resolve));
  });
  server.port = (tcp.address() as AddressInfo).port;
  return server;
}

function startChannel(port: number) {
  const clock = new VirtualClock();
  const events: GrpcClientEvent[] = [];
  const hub = new EventHub({ client: 'echo' }, () => clock.epoch());
  hub.listen((event) => events.push(event), false);
  const channel = new ManagedChannel(
    {
      target: `127.0.0.1:${port}`,
      credentials: { current: insecureCredentials(), watch: () => () => undefined, close: () => undefined },
      // Shorter than the connect timeout, which then grows from the first try on.
      outageGraceMs: 1_000,
      maxWaitingCalls: 10,
      maxWaitingBytes: 1_000,
      connection: 'warm',
      loadBalancing: [{ pick_first: {} }],
      connectTimeoutMs: 2_000,
      maxConnectionAgeMs: undefined,
      channelOptions: {
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_channelz': 0,
        'grpc.service_config_disable_resolution': 1,
        // Over long before the connect timeout, so that the next try follows at once.
        'grpc.initial_reconnect_backoff_ms': 1,
        'grpc.max_reconnect_backoff_ms': 1,
      },
    },
    { clock, random: () => 0.5, events: hub, changed: () => undefined },
  );
  onTestFinished(() => {
    channel.close();
  });
  clock.advance(0);
  return { clock, channel, events };
}

/** Lets the try under way, which is number `count`, run into its timeout; returns why it failed. */
async function timeOut(
  { clock, channel }: ReturnType<typeof startChannel>,
  server: Awaited<ReturnType<typeof startServer>>,
  count: number,
  timeoutMs: number,
): Promise<string | undefined> {
  await waitFor(() => server.accepted.length === count);
  const socket = server.accepted.at(-1)!;
  clock.advance(timeoutMs);
  await waitFor(() => socket.destroyed);
  await waitFor(() => server.accepted.length === count + 1);
  return channel.lastError;
}

it('lengthens the connect timeout while tries time out, and returns to the configured one after a connection', async () => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await startServer();
  const scene = startChannel(server.port);
  const { channel } = scene;
  expect(await timeOut(scene, server, 1, 2_000)).toContain('timed out after 2.0 s');
  expect(await timeOut(scene, server, 2, 3_200)).toContain('timed out after 3.2 s');
  server.isSilent = false;
  scene.clock.advance(5_120);
  await waitFor(() => channel.ready);
  // A connection that lived this long is replaced at once.
  scene.clock.advance(60_000);
  server.isSilent = true;
  const connected = server.accepted.length;
  server.accepted.at(-1)!.destroy();
  await waitFor(() => !channel.ready);
  scene.clock.advance(0);
  expect(await timeOut(scene, server, connected + 1, 2_000)).toContain('timed out after 2.0 s');
});
