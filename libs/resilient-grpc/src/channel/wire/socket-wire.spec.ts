import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createSecureServer, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { attemptRequest } from '../../../../../test/unit-support/attempt-request.js';
import { startFullListener } from '../../../../../test/unit-support/full-listener.js';
import type { AttemptEnd } from '../../call/attempt.js';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { waitFor } from '../../testing/wait-for.js';
import { systemClock } from '../../time/clock.js';
import { GrpcJsWire } from '../grpc-js/grpc-js-wire.js';
import { SocketWire } from './socket-wire.js';
import type { ConnectionEvent, Wire, WireSettings } from './wire.js';

const TIMEOUT_MS = 200;
const TLS = new URL('../../../../../test/fixtures/tls/', import.meta.url);
const pem = (name: string): Buffer => readFileSync(new URL(`${name}.pem`, TLS));

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Safe: the server listens on TCP.
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Starts a server that answers no call. */
async function startServer(): Promise<string> {
  const server = createHttp2Server();
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('stream', (stream) => stream.on('error', () => undefined));
  const url = await listening(server);
  onTestFinished(() => void server.close());
  return url;
}

/** Starts a peer with a full backlog, so that the kernel accepts no more connections. */
async function startFullPeer(): Promise<string> {
  return `127.0.0.1:${(await startFullListener()).port}`;
}

/** Connects a channel and records its events. Checks for leaks at the end of the test. */
function open(
  target: string,
  creds: ChannelCredentials,
  timeoutMs = TIMEOUT_MS,
  more: Partial<WireSettings> = {},
  random = 0.5,
  TestedWire: typeof SocketWire | typeof GrpcJsWire = SocketWire,
) {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const events: ConnectionEvent[] = [];
  const failures: string[] = [];
  const channel = new TestedWire(
    {
      target,
      credentials: creds,
      channelOptions: {
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_channelz': 0,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 100,
      },
      loadBalancing: [{ pick_first: {} }],
      connectTimeoutMs: () => timeoutMs,
      maxConnectionsPerEndpoint: () => 1,
      ...more,
    },
    (_, event) => {
      events.push(event);
      if (event.type === 'connect-failed') failures.push(event.failure.message);
    },
    systemClock,
    () => random,
  );
  onTestFinished(() => channel.close());
  channel.connect();
  return { channel, events, failures, leaks };
}

it("draws the first backoff of a channel on grpc-js's transport, which uses the same for each outage", () => {
  const firstMs = (random: number, given = {}): unknown => {
    const channelOptions = { 'grpc.max_reconnect_backoff_ms': 5_000, ...given };
    const plain = credentials.createInsecure();
    const { channel } = open('127.0.0.1:1', plain, TIMEOUT_MS, { channelOptions }, random, GrpcJsWire);
    const { internalChannel } = channel.channel as unknown as { internalChannel: { options: Record<string, unknown> } };
    return internalChannel.options['grpc.initial_reconnect_backoff_ms'];
  };
  expect([firstMs(0), firstMs(0.5), firstMs(0, { 'grpc.max_reconnect_backoff_ms': 300 })]).toEqual([1_000, 750, 300]);
  expect(firstMs(0.5, { 'grpc.initial_reconnect_backoff_ms': 2_000 })).toBe(2_000);
});

describe('connect timeout', () => {
  it('aborts an attempt to connect over TCP at the connect timeout, and gives the next attempt the full timeout', async () => {
    const url = await startFullPeer();
    const beganAt = performance.now();
    const { failures } = open(url, credentials.createInsecure());
    await waitFor(() => failures.length > 0);
    expect(failures[0]).toBe(`${url} does not respond (timed out after 0.2 s)`);
    // The next attempt has its own signal. With the signal of the first attempt, the next one would end immediately.
    await waitFor(() => failures.length > 1);
    expect(performance.now() - beganAt).toBeGreaterThan(2 * TIMEOUT_MS);
  });

  it('fails an attempt to connect with the certificate error, not with a timeout, if the certificate is not trusted', async () => {
    const server = createSecureServer({ key: pem('server-key'), cert: pem('server') });
    server.on('sessionError', () => undefined).on('tlsClientError', () => undefined);
    const url = await listening(server);
    onTestFinished(() => void server.close());
    const { failures } = open(url, credentials.createSsl(pem('untrusted')), 2_000);
    await waitFor(() => failures.length > 0);
    expect(failures[0]).not.toContain('timed out');
    expect(failures[0]).toMatch(/certificate|self.signed|issuer/i);
  });
});

describe('close() during an attempt to connect', () => {
  it('releases all resources of an attempt to connect if the channel is closed while TCP connects', async () => {
    const url = await startFullPeer();
    const { channel, failures, leaks } = open(url, credentials.createInsecure(), 60_000);
    await waitFor(() => process.getActiveResourcesInfo().includes('TCPConnectWrap') || channel.state === 'CONNECTING');
    channel.close();
    await leaks.settled({ timeoutMs: 20_000 });
    expect(failures).toEqual([]);
  });
});

describe('established connection', () => {
  /** Starts a call and returns its end. */
  const start = (channel: Wire) =>
    new Promise<AttemptEnd>((resolve) => {
      const listener = { onHeaders: () => undefined, onMessage: () => undefined, onEnd: resolve };
      channel.start(attemptRequest(), listener, 0).halfClose();
    });

  it('ends the calls of a TLS connection that is reset during a write', async () => {
    const frame = (type: number, length: number): Buffer => {
      const made = Buffer.alloc(9 + length);
      made.writeUIntBE(length, 0, 3);
      made.writeUInt8(type, 3);
      return made;
    };
    const [settings, ping, unknown] = [frame(4, 0), frame(6, 8), frame(0xfa, 16_384)];
    let reset: () => void = () => undefined;
    const server = createTlsServer(
      { key: pem('server-key'), cert: pem('server'), ALPNProtocols: ['h2'] },
      (secured) => {
        secured.on('error', () => undefined).write(settings);
        reset = () => {
          // Two TLS records, each of which requires a response. The write of the first response fails because of the reset, and the write
          // of the second response waits for the first write.
          secured.write(Buffer.concat([ping, unknown, ping]));
          tcp?.resetAndDestroy();
        };
      },
    );
    let tcp: Socket | undefined;
    server.on('connection', (socket) => (tcp = socket));
    const url = await listening(server);
    onTestFinished(() => void server.close());
    const { channel, events } = open(url, credentials.createSsl(pem('ca')), 5_000);
    await waitFor(() => channel.ready);
    const hanging = start(channel);
    channel.attemptStarted();
    reset();
    expect(await hanging).toMatchObject({ code: 14 });
    await waitFor(() => events.some(({ type }) => type === 'ended'));
    // libuv reports a reset as the end of the connection if data was left to be read.
    const reason: unknown = expect.stringMatching(/^(connection reset|unknown)$/);
    expect(events).toContainEqual({ type: 'ended', ended: expect.objectContaining({ reason }) });
    channel.attemptEnded();
  });

  it('reports a timed-out call only if the connection was READY when the call began', async () => {
    const url = await startServer();
    const { channel, events } = open(url, credentials.createInsecure(), 2_000);
    await waitFor(() => channel.ready);
    const [connection] = channel.histories.ready;
    const { readyAt } = connection!;
    channel.timedOut(url, readyAt, 1_000);
    channel.timedOut(url, readyAt - 1, 1_000);
    channel.timedOut('127.0.0.1:1', readyAt, 1_000);
    channel.timedOut(undefined, readyAt, 1_000);
    expect(events.filter(({ type }) => type === 'call-timed-out')).toEqual([
      { type: 'call-timed-out', connection, waitedMs: 1_000 },
    ]);
  });
});
