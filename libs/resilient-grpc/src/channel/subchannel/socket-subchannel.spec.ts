import { once } from 'node:events';
import { createServer, type ServerHttp2Session, type ServerHttp2Stream, type ServerOptions } from 'node:http2';
import type { AddressInfo } from 'node:net';
import {
  Channel,
  connectivityState,
  credentials,
  Metadata,
  type ChannelOptions,
  type StatusObject,
} from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { attemptRequest } from '../../../../../test/unit-support/attempt-request.js';
import { fakeChannel } from '../../../../../test/unit-support/fake-connection.js';
import type { AttemptEnd } from '../../call/attempt.js';
import { waitFor } from '../../testing/wait-for.js';
import { systemClock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { createBackoff } from '../quirks/secure-connector.js';
import { SocketAttempt } from '../wire/socket-attempt.js';
import { SocketSubchannels, type SocketSubchannel } from './socket-subchannel.js';

const { IDLE, READY, TRANSIENT_FAILURE } = connectivityState;

/** A server that answers when a test ends its streams, and a subchannel to it. */
async function start(options: ServerOptions = {}, random: Random = () => 0, channelOptions: ChannelOptions = {}) {
  const sessions: ServerHttp2Session[] = [];
  const streams: ServerHttp2Stream[] = [];
  const server = createServer(options);
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => undefined);
  });
  server.on('stream', (stream) => {
    streams.push(stream);
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const host = '127.0.0.1';
  const key = `${host}:${port}`;
  const insecure = credentials.createInsecure();
  const channel = new Channel(`ipv4:${key}`, insecure, {});
  const pool = new SocketSubchannels({
    clock: systemClock,
    random,
    credentials: insecure,
    channel: () => channel,
    connectTimeoutMs: () => 20_000,
    holdOffMs: () => 0,
    keepaliveThrottled: () => undefined,
  });
  const subchannel = pool.get(key, { host, port }, channelOptions);
  subchannel.ref();
  onTestFinished(() => {
    pool.isClosed = true;
    subchannel.close();
    channel.close();
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { subchannel, sessions, streams, server };
}

async function connect(subchannel: SocketSubchannel): Promise<void> {
  subchannel.startConnecting();
  await waitFor(() => subchannel.getConnectivityState() === READY);
}

function begin(subchannel: SocketSubchannel, isComplete = true) {
  const ends: AttemptEnd[] = [];
  const listener = {
    onHeaders: () => undefined,
    onMessage: () => undefined,
    onEnd: (end: AttemptEnd) => void ends.push(end),
  };
  const { wire } = fakeChannel({ subchannel });
  const call = new SocketAttempt(wire, attemptRequest(), listener, systemClock, 0).begin();
  if (isComplete) call.halfClose();
  return { call, ends };
}

it('stays READY on its new connection when the old one closes after its last call', async () => {
  const { subchannel, sessions, streams } = await start();
  await connect(subchannel);
  const { ends } = begin(subchannel);
  await waitFor(() => streams.length === 1);
  sessions[0]!.goaway(0);
  await waitFor(() => subchannel.getConnectivityState() === IDLE);
  await connect(subchannel);
  const states: connectivityState[] = [];
  subchannel.addConnectivityStateListener((_subchannel, _from, to) => states.push(to));
  streams[0]!.end();
  await waitFor(() => ends.length === 1);
  expect(ends[0]).toMatchObject({ code: 0 });
  expect(states).toEqual([]);
  expect(subchannel.getConnectivityState()).toBe(READY);
});

it('fails the calls of a lost connection, and becomes IDLE', async () => {
  const { subchannel, sessions, streams } = await start();
  await connect(subchannel);
  const { ends } = begin(subchannel);
  await waitFor(() => streams.length === 1);
  sessions[0]!.destroy();
  await waitFor(() => ends.length === 1);
  expect(ends[0]).toMatchObject({ code: 14 });
  expect(subchannel.getConnectivityState()).toBe(IDLE);
});

it('closes a connection without calls when its last background call ends', async () => {
  const { subchannel, sessions, streams } = await start();
  await connect(subchannel);
  const ends: StatusObject[] = [];
  const watch = subchannel.connectionChannel.createCall('/grpc.health.v1.Health/Watch');
  watch.start(new Metadata(), {
    onReceiveMetadata: () => undefined,
    onReceiveMessage: () => undefined,
    onReceiveStatus: (status) => void ends.push(status),
  });
  await waitFor(() => streams.length === 1);
  subchannel.close();
  expect(sessions[0]!.destroyed).toBe(false);
  watch.cancelWithStatus(1, 'enough');
  await waitFor(() => sessions[0]!.destroyed);
  expect(ends).toMatchObject([{ code: 1, details: 'enough' }]);
});

it('takes a reset for an answer only if the stream was opened after another reset', async () => {
  const { subchannel, streams } = await start();
  await connect(subchannel);
  const resets: (boolean | undefined)[] = [];
  for (let call = 0; call < 2; call++) {
    const { ends } = begin(subchannel);
    await waitFor(() => streams.length === call + 1);
    streams[call]!.close(2);
    await waitFor(() => ends.length === 1);
    resets.push(ends[0]!.wire?.resetsStreams);
  }
  expect(resets).toEqual([false, true]);
});

it('draws the first backoff of each outage, unless the application sets it', async () => {
  const draws = [0, 1, 0.5];
  let drawn = 0;
  const options = { 'grpc.max_reconnect_backoff_ms': 40_000 };
  const { subchannel, sessions, server } = await start({}, () => draws[drawn++] ?? 0, options);
  // Safe: the server listens on TCP.
  const { port } = server.address() as AddressInfo;
  const backoffs: number[] = [];
  for (let outage = 0; outage < 3; outage++) {
    await new Promise((resolve) => server.close(resolve));
    const startedAt = Date.now();
    subchannel.startConnecting();
    await waitFor(() => subchannel.getConnectivityState() === TRANSIENT_FAILURE);
    backoffs.push(Math.round((subchannel.backoffEndsAt! - startedAt) / 250));
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    subchannel.resetBackoff();
    await waitFor(() => subchannel.getConnectivityState() === READY);
    sessions.at(-1)!.destroy();
    await waitFor(() => subchannel.getConnectivityState() === IDLE);
  }
  // 1 s, 0.5 s, and 0.75 s.
  expect(backoffs).toEqual([4, 2, 3]);
  const exact = createBackoff(
    () => undefined,
    { 'grpc.initial_reconnect_backoff_ms': 40_000 },
    () => 1,
  );
  exact.runOnce();
  onTestFinished(() => exact.stop());
  expect(exact.getEndTime().getTime() - Date.now()).toBeGreaterThan(39_000);
});

it('reports a call as never sent if it is cancelled while it waits for a stream', async () => {
  const { subchannel, streams } = await start({ settings: { maxConcurrentStreams: 1 } });
  await connect(subchannel);
  const first = begin(subchannel);
  const second = begin(subchannel);
  await waitFor(() => streams.length === 1);
  second.call.cancel('cancel', 1, 'enough');
  first.call.cancel('cancel', 1, 'enough');
  expect(second.call.wire).toMatchObject({ unprocessed: 'never-sent', closedHere: true });
  expect(first.call.wire).toMatchObject({ unprocessed: undefined, closedHere: true });
  await waitFor(() => streams[0]!.destroyed);
  expect(streams).toHaveLength(1);
});

it('becomes IDLE before the stream ids of its connection run out, and completes the calls on it', async () => {
  const { subchannel, streams, sessions } = await start();
  await connect(subchannel);
  const http2 = subchannel.connection!.socket.http2 as unknown as { nextId: number };
  http2.nextId = 2 ** 31 - 1;
  const last = begin(subchannel).ends;
  await waitFor(() => subchannel.getConnectivityState() === IDLE);
  await connect(subchannel);
  const next = begin(subchannel).ends;
  await waitFor(() => streams.length === 2);
  for (const stream of streams) stream.end();
  await waitFor(() => last.length === 1 && next.length === 1);
  expect([last[0], next[0]]).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(sessions).toHaveLength(2);
});

it.each([
  [0, 127],
  [512, 63],
])(
  'lets the event loop continue after messages of %i bytes that occupy 64 KiB, including overhead',
  async (bytes, most) => {
    const { subchannel, streams } = await start();
    await connect(subchannel);
    const { call } = begin(subchannel, false);
    let sent = 0;
    const next = (): void => {
      if (sent >= 1_000) return;
      sent += 1;
      call.send(Buffer.alloc(bytes), next);
    };
    next();
    // Microtasks only: the event loop has not continued.
    for (let task = 0; task < 2_000; task++) await Promise.resolve();
    expect(sent).toBeLessThanOrEqual(most + 1);
    expect(sent).toBeGreaterThan(most / 2);
    await waitFor(() => streams.length === 1);
    streams[0]!.resume();
    await waitFor(() => sent === 1_000);
    call.cancel('cancel', 1, 'enough');
  },
);

it('lets the event loop continue for each message after the end of the call', async () => {
  const { subchannel, streams } = await start();
  await connect(subchannel);
  const { call, ends } = begin(subchannel, false);
  await waitFor(() => streams.length === 1);
  call.cancel('cancel', 1, 'enough');
  await waitFor(() => ends.length === 1);
  let written = 0;
  call.send(Buffer.from('late'), () => (written += 1));
  for (let task = 0; task < 10; task++) await Promise.resolve();
  expect(written).toBe(0);
  await waitFor(() => written === 1);
});
