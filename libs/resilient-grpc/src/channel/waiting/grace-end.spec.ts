import { createServer } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import type { WaitRefusal } from '../../call/call-transport.js';
import { EventHub } from '../../call/event-hub.js';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { insecureCredentials } from '../channel-checks.js';
import { ManagedChannel } from '../managed-channel.js';

// Real sockets in virtual time.

const GRACE_MS = 1_400;

/** A server whose connections become READY until they are reset. */
async function startServer() {
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const resetAll = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  onTestFinished(async () => {
    resetAll();
    await new Promise((resolve) => server.close(resolve));
  });
  // True: it listens on TCP.
  return { url: `127.0.0.1:${(server.address() as AddressInfo).port}`, resetAll };
}

function openChannel(target: string, clock: VirtualClock): ManagedChannel {
  const channel = new ManagedChannel(
    {
      target,
      credentials: { current: insecureCredentials(), watch: () => () => undefined, close: () => undefined },
      outageGraceMs: GRACE_MS,
      maxWaitingCalls: 1_000,
      maxWaitingBytes: 1_000,
      connection: 'on-demand',
      loadBalancing: [{ pick_first: {} }],
      connectTimeoutMs: 20_000,
      maxConnectionAgeMs: undefined,
      channelOptions: {
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_channelz': 0,
        'grpc.service_config_disable_resolution': 1,
        'grpc.client_idle_timeout_ms': 200_000,
      },
    },
    {
      clock,
      random: () => 0.5,
      events: new EventHub({ client: 'orders' }, () => clock.epoch()),
      changed: () => undefined,
    },
  );
  onTestFinished(() => {
    channel.close();
  });
  return channel;
}

it('refuses all waiting calls at once when the connection is lost that was READY at the end of the grace', async () => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await startServer();
  const clock = new VirtualClock();
  const channel = openChannel(server.url, clock);
  channel.wire.getConnectivityState(true);
  await waitFor(() => channel.ready);
  // A connection that lived too short, without an answer, begins an outage.
  server.resetAll();
  await waitFor(() => channel.connectivity.outage);

  const released: number[] = [];
  const refused: WaitRefusal[] = [];
  for (let number = 0; number < 100; number++) {
    channel.wait({
      waitForReady: undefined,
      waitingSince: clock.now(),
      deadline: Infinity,
      bytes: 0,
      paced: false,
      answerDue: true,
      release: () => released.push(number),
      refuse: (refusal) => refused.push(refusal),
    });
  }
  // The next attempt begins after 1 s; its connection is READY for less than the second that would end the outage.
  await clock.advanceAsync(1_000);
  await waitFor(() => channel.ready);
  await clock.advanceAsync(GRACE_MS - 1_000 + 10);
  expect(channel.ready).toBe(true);
  expect(channel.connectivity.outage).toBeDefined();
  expect(refused).toEqual([]);
  expect(channel.waiting.size).toBeGreaterThan(50);

  server.resetAll();
  await waitFor(() => !channel.ready);
  clock.advance(0);
  expect(channel.waiting.size).toBe(0);
  expect(refused).toHaveLength(100 - released.length);
  expect(new Set(refused.map(({ reason }) => reason))).toEqual(new Set(['outage']));
});
