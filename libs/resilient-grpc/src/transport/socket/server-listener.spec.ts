import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { expect, it, onTestFinished } from 'vitest';
import {
  FLAG,
  FRAME,
  FrameReader,
  PREFACE,
  frame,
  headers,
  numbers,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../../../../../test/unit-support/frames.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { RequestStream } from '../grpc/request-stream.js';
import { encodedBound, encodeFields } from '../hpack/hpack-encoder.js';
import { MemoryBudget } from '../http2/memory-budget.js';
import type { ServerStream } from '../http2/server-stream.js';
import { HELD_MS, type SocketEnd } from './http2-socket.js';
import { ServerListener, type ListenerOptions, type ListenerOwner, type RefusedConnection } from './server-listener.js';
import type { ServerSocket, ServerSocketOwner } from './server-socket.js';

const REQUEST = { ':method': 'POST', ':scheme': 'http', ':path': '/a.B/C', ':authority': 'x', te: 'trailers' };
const ANSWER = [':status', '200', 'content-type', 'application/grpc', 'grpc-status', '0'];
const OPTIONS: Omit<ListenerOptions, 'memory'> = {
  settings: {
    streamWindow: 65_535,
    connectionWindow: 1_048_576,
    maxHeaderListSize: 16_384,
    headerTableSize: 4_096,
    maxConcurrentStreams: 2_000,
    minPingIntervalMs: 0,
  },
  headTimeoutMs: 10_000,
  sendTimeoutMs: 30_000,
  drainTimeoutMs: 5_000,
  handshakeTimeoutMs: 10_000,
  maxConnections: 100,
};
const GREETING = Buffer.concat([PREFACE, settings()]);

const pem = (name: string): string =>
  readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url), 'utf8');
const identity = (name: string) => ({ key: pem(`${name}-key`), cert: pem(name) });

/** A listener whose calls are answered when their requests have ended. */
class Scene implements ListenerOwner, ServerSocketOwner {
  readonly clock = new VirtualClock();
  readonly listener: ServerListener;
  readonly connections: ServerSocket[] = [];
  readonly sockets: Socket[] = [];
  readonly refusals: RefusedConnection[] = [];
  readonly ends: SocketEnd[] = [];
  readonly events: string[] = [];
  onEnded: (stream: ServerStream) => void = answer;
  wanted?: () => number;

  constructor(options: Partial<ListenerOptions>) {
    this.listener = new ServerListener(
      this,
      { ...OPTIONS, memory: new MemoryBudget(67_108_864), ...options },
      this.clock,
    );
  }

  static async start(options: Partial<ListenerOptions> = {}): Promise<Scene> {
    const scene = new Scene(options);
    await scene.listener.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => scene.listener.destroy());
    return scene;
  }

  accepted(connection: ServerSocket, socket: Socket): ServerSocketOwner {
    this.sockets.push(socket);
    this.connections.push(connection);
    return this;
  }
  refused(connection: RefusedConnection): void {
    this.refusals.push(connection);
  }
  failed(error: Error): void {
    throw error;
  }

  request(stream: ServerStream, _block: unknown, isEnd: boolean): RequestStream {
    this.events.push('request');
    const handler = {
      message: () => undefined,
      ended: () => this.onEnded(stream),
      unreadable: () => undefined,
      failed: ({ cause }: { cause: string }) => {
        this.events.push(cause);
        stream.release();
      },
      drained: () => undefined,
    };
    const request = new RequestStream(stream, handler, { maxMessageBytes: 1_000_000, encoding: undefined }, isEnd);
    request.request(Infinity);
    return request;
  }
  ended(end: SocketEnd): void {
    this.ends.push(end);
  }

  connect(options?: NetConnectOpts): Client {
    return new Client(connect(options ?? { port: this.listener.port ?? 0, host: '127.0.0.1' }));
  }

  connectTls(options: ConnectionOptions = {}): Client {
    const { port } = this.listener;
    const all = { port, host: '127.0.0.1', servername: 'localhost', ca: pem('ca'), ALPNProtocols: ['h2'], ...options };
    return new Client(connectTls({ ...all, checkServerIdentity: () => undefined }));
  }
}

function answer(stream: ServerStream): void {
  stream.trailers(encodedBound(ANSWER), (target, at) => encodeFields(target, at, ANSWER));
  stream.release();
}

/** A client that writes bytes and reads frames. */
class Client {
  readonly frames: string[] = [];
  error: Error | undefined;
  private readonly reader = new FrameReader(0, ({ type, flags, stream, payload }) => {
    if (type === FRAME.goaway) this.frames.push(`GOAWAY ${payload.toString('utf8', 8)}`);
    if (type === FRAME.headers) this.frames.push(`HEADERS ${String(stream)}`);
    if (type === FRAME.ping && (flags & FLAG.ack) === 0 && this.pongs) this.socket.write(ping(payload, FLAG.ack));
  });
  pongs = true;

  constructor(readonly socket: Socket) {
    socket.on('data', (bytes) => this.reader.read(bytes));
    socket.on('error', (error) => (this.error = error));
    onTestFinished(() => void socket.destroy());
  }

  async got(text: string): Promise<void> {
    await waitFor(() => this.frames.some((one) => one.startsWith(text)));
  }

  async closed(): Promise<void> {
    if (this.socket.closed) return;
    // `once` of node:events rejects for errors.
    await new Promise((resolve) => this.socket.once('close', resolve));
  }
}

const call = (id = 1): Buffer =>
  Buffer.concat([headers(id, REQUEST), frame(FRAME.data, FLAG.endStream, id, Buffer.alloc(5))]);

it('serves on a port and on a Unix socket, and names its clients', async () => {
  const scene = await Scene.start();
  const client = scene.connect();
  client.socket.write(Buffer.concat([GREETING, call()]));
  await client.got('HEADERS 1');
  expect(scene.connections[0]?.peer).toBe(`127.0.0.1:${String(client.socket.localPort)}`);
  const path = join(mkdtempSync(join(tmpdir(), 'listener-')), 'socket');
  const local = new Scene({});
  onTestFinished(() => local.listener.destroy());
  await local.listener.listen({ path });
  const neighbor = local.connect({ path });
  neighbor.socket.write(Buffer.concat([GREETING, call()]));
  await neighbor.got('HEADERS 1');
  expect([local.connections[0]?.peer, local.listener.port]).toEqual(['unix', undefined]);
});

it('fails to listen at an address that is in use', async () => {
  const scene = await Scene.start();
  const other = new Scene({});
  await expect(other.listener.listen({ port: scene.listener.port, host: '127.0.0.1' })).rejects.toThrow('EADDRINUSE');
});

it('closes connections above the limit, and says so', async () => {
  const scene = await Scene.start({ maxConnections: 1 });
  const first = scene.connect();
  await waitFor(() => scene.connections.length === 1);
  const second = scene.connect();
  await second.closed();
  expect(scene.refusals).toMatchObject([{ protection: 'max-connections', details: 'more than 1 connections' }]);
  first.socket.destroy();
});

it('closes TLS connections for which there is no memory, and says so', async () => {
  const memory = new MemoryBudget(300_000);
  const scene = await Scene.start({ tls: identity('server'), memory });
  const clients: Client[] = [];
  const connectOne = async () => {
    const client = scene.connectTls();
    clients.push(client);
    await Promise.race([new Promise((resolve) => client.socket.once('secureConnect', resolve)), client.closed()]);
  };
  // Half of the budget beside it, and three quarters of it.
  for (let count = 0; count < 7; count++) await connectOne();
  await waitFor(() => scene.refusals.length === 1);
  expect(scene.refusals).toMatchObject([{ protection: 'max-connections', details: /TLS connections of this process/ }]);
  expect([scene.connections.length, memory.usedBytes > 150_000]).toEqual([6, true]);
  clients[0]?.socket.destroy();
  await waitFor(() => memory.usedBytes < 150_000);
  await connectOne();
  await waitFor(() => scene.connections.length === 7);
  for (const { socket } of clients) socket.destroy();
  await waitFor(() => memory.usedBytes === 0);
});

it('serves over TLS, uses replaced certificates for new connections, and requires ALPN', async () => {
  const scene = await Scene.start({ tls: identity('server') });
  const client = scene.connectTls();
  client.socket.write(Buffer.concat([GREETING, call()]));
  await client.got('HEADERS 1');
  scene.listener.setSecureContext(identity('client'));
  const next = scene.connectTls({ rejectUnauthorized: false });
  await once(next.socket, 'secureConnect');
  const subject = (one: Client): unknown =>
    (one.socket as unknown as { getPeerCertificate(): { fingerprint: string } }).getPeerCertificate().fingerprint;
  expect(subject(next)).not.toBe(subject(client));
  client.socket.write(call(3));
  await client.got('HEADERS 3');
  const old = scene.connectTls({ ALPNProtocols: ['http/1.1'], rejectUnauthorized: false });
  await old.closed();
  const none = scene.connectTls({ ALPNProtocols: undefined, rejectUnauthorized: false });
  await none.closed();
  await waitFor(() => scene.refusals.length === 2);
  expect(scene.refusals.map(({ protection }) => protection)).toEqual(['handshake', 'handshake']);
  expect(scene.refusals[1]?.details).toMatch('by ALPN');
  expect(scene.connections).toHaveLength(2);
});

it('ends the connection of a client that renegotiates TLS, and no other', async () => {
  const scene = await Scene.start({ tls: identity('server') });
  const [client, other] = [scene.connectTls({ maxVersion: 'TLSv1.2' }), scene.connectTls({ maxVersion: 'TLSv1.2' })];
  for (const one of [client, other]) {
    one.socket.write(Buffer.concat([GREETING, call()]));
    await one.got('HEADERS 1');
  }
  const socket = client.socket as TLSSocket;
  socket.renegotiate({ rejectUnauthorized: false }, () => undefined);
  await client.closed();
  await waitFor(() => scene.ends.length === 1);
  expect(scene.ends).toMatchObject([{ protection: 'tls-renegotiation' }]);
  other.socket.write(call(3));
  await other.got('HEADERS 3');
});

it.each<[string, (client: Client) => void]>([
  ['is silent', () => undefined],
  ['closes its side', (client) => client.socket.end()],
])('ends the TLS handshake of a client that %s', async (_what, act) => {
  const scene = await Scene.start({ tls: identity('server'), handshakeTimeoutMs: 300 });
  const client = scene.connect();
  await once(client.socket, 'connect');
  act(client);
  await waitFor(() => scene.refusals.length === 1);
  expect(scene.refusals[0]?.protection).toBe('handshake');
  client.socket.destroy();
  await scene.listener.drain();
});

it.each([
  ['its preface', PREFACE.subarray(0, 10)],
  ['its settings', PREFACE],
])('ends a connection whose client does not complete %s', async (_what, bytes) => {
  const scene = await Scene.start();
  const client = scene.connect();
  client.socket.write(bytes);
  await waitFor(() => scene.sockets[0]?.bytesRead === bytes.length);
  await scene.clock.advanceAsync(25_000);
  expect(scene.ends[0]?.details).toBe('the client did not complete its preface and settings within 10000 ms');
  await client.got('GOAWAY the client did not complete');
});

it.each([
  ['a frame', headers(1, REQUEST).subarray(0, 20)],
  ['a header block', frame(FRAME.headers, 0, 1, Buffer.alloc(0))],
])('ends a connection whose client does not complete %s, also later', async (_what, bytes) => {
  const scene = await Scene.start();
  const client = scene.connect();
  client.socket.write(GREETING);
  await waitFor(() => scene.sockets[0]?.bytesRead === GREETING.length);
  await scene.clock.advanceAsync(100_000);
  expect(scene.ends).toEqual([]);
  client.socket.write(bytes);
  await waitFor(() => scene.sockets[0]?.bytesRead === GREETING.length + bytes.length);
  await scene.clock.advanceAsync(25_000);
  expect(scene.ends[0]?.details).toBe('the client did not complete its frame 2 within 10000 ms');
  await client.got('GOAWAY the client did not complete');
});

it('does not end a connection that completes its frames in time, however often they are cut', async () => {
  const scene = await Scene.start();
  const client = scene.connect();
  const bytes = Buffer.concat([GREETING, ...Array.from({ length: 40 }, (_, index) => call(2 * index + 1))]);
  let arrived = 0;
  for (let at = 0; at < bytes.length; at += 61) {
    client.socket.write(bytes.subarray(at, at + 61));
    arrived = Math.min(at + 61, bytes.length);
    await waitFor(() => (scene.sockets[0]?.bytesRead ?? 0) === arrived);
    await scene.clock.advanceAsync(3_000);
  }
  await client.got('HEADERS 79');
  expect(scene.ends).toEqual([]);
});

it('ends a connection whose client reads nothing', async () => {
  const scene = await Scene.start();
  scene.onEnded = (stream) => {
    stream.head(encodedBound(ANSWER), (target, at) => encodeFields(target, at, ANSWER));
    for (let sent = 0; sent < 30; sent++) stream.send(Buffer.alloc(1_000_000));
  };
  const client = scene.connect();
  client.socket.pause();
  client.socket.write(
    Buffer.concat([PREFACE, settings([4, 2 ** 31 - 1]), frame(FRAME.windowUpdate, 0, 0, numbers(2 ** 30)), call()]),
  );
  await waitFor(() => scene.events.length === 1);
  await waitFor(() => scene.sockets[0]?.writableNeedDrain === true);
  await scene.clock.advanceAsync(70_000);
  expect(scene.ends[0]?.details).toBe('the client has read nothing for 30000 ms');
  expect(scene.events).toEqual(['request', 'lost']);
});

const VIOLATION = frame(FRAME.pushPromise, 4, 1, numbers(2));
const FLOOD = settings(...Array.from({ length: 33 }, () => [1, 4_096] as const));
it.each([
  ['violates the protocol', 'a second later', VIOLATION, 999, (scene: Scene) => scene.clock.advanceAsync(1)],
  ['exceeds a limit', 'five seconds later', FLOOD, 4_999, (scene: Scene) => scene.clock.advanceAsync(1)],
  ['exceeds a limit', 'with the server', FLOOD, 4_999, (scene: Scene) => void scene.listener.drain()],
])(
  'tells a client that %s why, and closes its connection %s, even if its input is unread',
  async (_what, _when, fault, ms, close) => {
    const scene = await Scene.start();
    const client = scene.connect();
    client.socket.write(Buffer.concat([GREETING, fault, Buffer.alloc(3_000_000)]));
    await client.got('GOAWAY ');
    client.socket.end();
    await scene.clock.advanceAsync(ms);
    expect(scene.sockets[0]?.writableEnded).toBe(false);
    await close(scene);
    await client.closed();
    expect(client.error).toBeUndefined();
  },
);

it('answers HTTP/1 as HTTP/1', async () => {
  const scene = await Scene.start();
  const socket = connect({ port: scene.listener.port ?? 0, host: '127.0.0.1' });
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  let text = '';
  for await (const bytes of socket) text += String(bytes);
  expect(text).toMatch(/^HTTP\/1\.1 505 [^]*This port serves HTTP\/2/);
});

it('fails the calls of a client that closes its side', async () => {
  const scene = await Scene.start();
  const client = scene.connect();
  client.socket.write(Buffer.concat([GREETING, headers(1, REQUEST)]));
  await waitFor(() => scene.events.length === 1);
  client.socket.end();
  await client.closed();
  expect(scene.events).toEqual(['request', 'lost']);
  expect(scene.ends).toMatchObject([{ details: 'the peer closed the connection' }]);
});

it('ends a connection whose client does not answer keepalive pings', async () => {
  const scene = await Scene.start({ keepalive: { intervalMs: 1_000, timeoutMs: 500 } });
  const client = scene.connect();
  client.pongs = false;
  client.socket.write(GREETING);
  await waitFor(() => scene.sockets[0]?.bytesRead === GREETING.length);
  await scene.clock.advanceAsync(3_000);
  expect(scene.ends).toMatchObject([{ protection: 'keepalive' }]);
  await client.closed();
});

it('takes a client that has read nothing of many bytes for a slow reader behind a proxy, for a quarter of an hour', async () => {
  const scene = await Scene.start({ keepalive: { intervalMs: 60_000, timeoutMs: 20_000 }, sendTimeoutMs: HELD_MS });
  scene.onEnded = (stream) => {
    stream.head(encodedBound(ANSWER), (target, at) => encodeFields(target, at, ANSWER));
    for (let sent = 0; sent < 30; sent++) stream.send(Buffer.alloc(1_000));
  };
  const client = scene.connect();
  client.pongs = false;
  client.socket.write(Buffer.concat([GREETING, call(1)]));
  await waitFor(() => client.socket.bytesRead > 30_000);
  for (let minutes = 0; minutes < 14; minutes += 1) await scene.clock.advanceAsync(60_000);
  expect(scene.ends).toEqual([]);
  for (let minutes = 0; minutes < 3; minutes += 1) await scene.clock.advanceAsync(60_000);
  expect(scene.ends).toMatchObject([{ protection: 'keepalive' }]);
  await client.closed();
});

it('does not end a connection because of a ping whose answer it has not read', async () => {
  const scene = await Scene.start({ keepalive: { intervalMs: 1_000, timeoutMs: 500 } });
  const client = scene.connect();
  client.socket.write(GREETING);
  await waitFor(() => scene.sockets[0]?.bytesRead === GREETING.length);
  scene.wanted = () => 0;
  client.socket.write(call(1));
  await waitFor(() => scene.sockets[0]?.isPaused() === true);
  await scene.clock.advanceAsync(5_000);
  expect(scene.ends).toEqual([]);
  scene.wanted = () => Infinity;
  await client.got('HEADERS 1');
  client.pongs = false;
  await scene.clock.advanceAsync(5_000);
  expect(scene.ends).toMatchObject([{ protection: 'keepalive' }]);
});

it('takes any bytes of a client for an answer to a ping, and ends the connection when no more arrive', async () => {
  const scene = await Scene.start({ keepalive: { intervalMs: 10_000, timeoutMs: 5_000 } });
  const client = scene.connect();
  client.pongs = false;
  client.socket.write(GREETING);
  await waitFor(() => scene.sockets[0]?.bytesRead === GREETING.length);
  await scene.clock.advanceAsync(10_000);
  for (let second = 0; second < 60; second += 4) {
    await scene.clock.advanceAsync(4_000);
    client.socket.write(windowUpdate(0, 1));
    await waitFor(() => scene.connections[0]?.readAt === scene.clock.now());
  }
  expect(scene.ends).toEqual([]);
  await scene.clock.advanceAsync(10_100);
  expect(scene.ends).toMatchObject([{ protection: 'keepalive' }]);
  await client.closed();
});

it('hands out the requests of one write over several turns', async () => {
  const scene = await Scene.start();
  const client = scene.connect();
  client.socket.write(Buffer.concat([GREETING, ...Array.from({ length: 1_500 }, (_, index) => call(2 * index + 1))]));
  let largest = 0;
  let before = 0;
  while (scene.events.length < 1_500) {
    await new Promise(setImmediate);
    largest = Math.max(largest, scene.events.length - before);
    before = scene.events.length;
  }
  await client.got('HEADERS 2999');
  expect(largest).toBeLessThanOrEqual(2 * 128);
});

it('drains: serves what has begun, and resolves when all connections are closed', async () => {
  const scene = await Scene.start();
  const streams: ServerStream[] = [];
  scene.onEnded = (stream) => void streams.push(stream);
  const [busy, idle, silent] = [scene.connect(), scene.connect(), scene.connect()];
  busy.socket.write(Buffer.concat([GREETING, call()]));
  idle.socket.write(GREETING);
  await waitFor(() => streams.length === 1 && scene.connections.length === 3);
  await waitFor(() => scene.sockets.every(({ bytesRead }, at) => at === 2 || bytesRead > 0));
  const events: string[] = [];
  const drained = scene.listener.drain().then(() => events.push('drained'));
  for (const client of [idle, silent]) {
    await client.got('GOAWAY');
    client.socket.end();
    await client.closed();
  }
  await busy.got('GOAWAY');
  busy.socket.write(Buffer.concat([call(3), reset(3, 8)]));
  events.push('answered');
  for (const stream of streams) answer(stream);
  await busy.got('HEADERS 1');
  busy.socket.end();
  await drained;
  expect(events).toEqual(['answered', 'drained']);
  const late = scene.connect();
  await late.closed();
  expect(late.error).toMatchObject({ code: 'ECONNREFUSED' });
});

it.each([
  ['the client does', (_: Scene, client: Client) => void client.socket.end()],
  ['half a second has passed', (scene: Scene) => scene.clock.advanceAsync(1)],
])(
  'closes a drained connection when %s, because nginx loses a response that arrives together with the end',
  async (_, close) => {
    const scene = await Scene.start();
    const client = scene.connect();
    client.socket.write(Buffer.concat([GREETING, headers(1, REQUEST)]));
    await waitFor(() => scene.events.length === 1);
    const drained = scene.listener.drain();
    client.socket.write(frame(FRAME.data, FLAG.endStream, 1, Buffer.alloc(5)));
    await client.got('HEADERS 1');
    await waitFor(() => scene.ends.length === 1);
    await scene.clock.advanceAsync(499);
    expect(scene.sockets[0]?.writableEnded).toBe(false);
    await close(scene, client);
    await client.closed();
    await drained;
  },
);

it('refuses further requests of a client that does not acknowledge the drain', async () => {
  const scene = await Scene.start();
  scene.onEnded = () => undefined;
  const client = scene.connect();
  client.pongs = false;
  client.socket.write(Buffer.concat([GREETING, call()]));
  await waitFor(() => scene.events.length === 1);
  scene.connections[0]?.drain('drain');
  await client.got('GOAWAY');
  await scene.clock.advanceAsync(12_000);
  await waitFor(() => client.frames.filter((text) => text.startsWith('GOAWAY')).length === 2);
  expect(scene.ends).toEqual([]);
});

it('waits for the client as long as the shorter of two drains', async () => {
  const scene = await Scene.start();
  const client = scene.connect();
  client.pongs = false;
  client.socket.write(Buffer.concat([GREETING, call()]));
  await waitFor(() => scene.events.length === 1);
  const goaways = () => client.frames.filter((text) => text.startsWith('GOAWAY')).length;
  scene.connections[0]?.drain('age', 60_000);
  await client.got('GOAWAY');
  await scene.clock.advanceAsync(12_000);
  client.socket.write(call(3));
  await waitFor(() => scene.events.length === 2);
  expect(goaways()).toBe(1);
  scene.connections[0]?.drain('drain');
  await scene.clock.advanceAsync(12_000);
  await waitFor(() => goaways() === 2);
});

it('destroys connections, whatever their calls do', async () => {
  const scene = await Scene.start({ tls: identity('server') });
  const [secured, raw] = [scene.connectTls(), scene.connect()];
  secured.socket.write(Buffer.concat([GREETING, headers(1, REQUEST)]));
  await waitFor(() => scene.events.length === 1);
  scene.listener.destroy();
  await Promise.all([secured.closed(), raw.closed()]);
  expect(scene.events).toEqual(['request', 'lost']);
  await scene.listener.drain();
});
