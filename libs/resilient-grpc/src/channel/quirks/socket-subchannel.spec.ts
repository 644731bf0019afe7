import { once } from 'node:events';
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connectivityState, credentials, Metadata, type StatusObject } from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { systemClock } from '../../time/clock.js';
import { ADDRESS_ARGUMENT } from './connector.js';
import { SocketSubchannels, type SocketSubchannel } from './socket-subchannel.js';

const { IDLE, READY } = connectivityState;

/** A server that answers when a test ends its streams, and a subchannel to it. */
async function start() {
  const sessions: ServerHttp2Session[] = [];
  const streams: ServerHttp2Stream[] = [];
  const server = createServer();
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
  const target = (): string => `ipv4:${key}`;
  const pool = new SocketSubchannels({ clock: systemClock, credentials: () => credentials.createInsecure(), target });
  const subchannel = pool.get({ host, port }, { [ADDRESS_ARGUMENT]: key });
  subchannel.ref();
  onTestFinished(() => {
    subchannel.unref();
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { subchannel, sessions, streams };
}

async function connect(subchannel: SocketSubchannel): Promise<void> {
  subchannel.startConnecting();
  await waitFor(() => subchannel.getConnectivityState() === READY);
}

function call(subchannel: SocketSubchannel): StatusObject[] {
  const ends: StatusObject[] = [];
  const listener = {
    onReceiveMetadata: () => undefined,
    onReceiveMessage: () => undefined,
    onReceiveStatus: (status: StatusObject) => void ends.push(status),
  };
  subchannel.createCall(new Metadata(), 'x', '/a.B/C', listener).halfClose();
  return ends;
}

it('stays READY on its new connection when the old one closes after its last call', async () => {
  const { subchannel, sessions, streams } = await start();
  await connect(subchannel);
  const ends = call(subchannel);
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
  const ends = call(subchannel);
  await waitFor(() => streams.length === 1);
  sessions[0]!.destroy();
  await waitFor(() => ends.length === 1);
  expect(ends[0]).toMatchObject({ code: 14 });
  expect(subchannel.getConnectivityState()).toBe(IDLE);
});

it('becomes IDLE before the stream ids of its connection run out, and completes the calls on it', async () => {
  const { subchannel, streams, sessions } = await start();
  await connect(subchannel);
  const http2 = subchannel.connection!.socket.http2 as unknown as { nextId: number };
  http2.nextId = 2 ** 31 - 1;
  const last = call(subchannel);
  await waitFor(() => subchannel.getConnectivityState() === IDLE);
  await connect(subchannel);
  const next = call(subchannel);
  await waitFor(() => streams.length === 2);
  for (const stream of streams) stream.end();
  await waitFor(() => last.length === 1 && next.length === 1);
  expect([last[0], next[0]]).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(sessions).toHaveLength(2);
});
