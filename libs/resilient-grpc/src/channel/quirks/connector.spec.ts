import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect, createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Metadata, credentials, type ChannelCredentials, type ChannelOptions } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { waitFor } from '../../testing/wait-for.js';
import { systemClock } from '../../time/clock.js';
import { WireChannel } from '../wire-channel.js';
import type { EndedConnection } from '../connection/address-histories.js';
import { ConnectAttempts } from '../connection/connect-attempts.js';
import { ADDRESS_ARGUMENT, observeSockets } from './connector.js';
import type { EstablishedConnection } from '../connection/established-connection.js';

// These tests use the installed grpc-js. They must fail on a version that creates connections in another way.

const TIMEOUT_MS = 200;
const TLS = new URL('../../../../../test/fixtures/tls/', import.meta.url);
const pem = (name: string): Buffer => readFileSync(new URL(`${name}.pem`, TLS));

const PLAIN = ['plain', () => credentials.createInsecure()] as const;
const SECURE = ['TLS', () => credentials.createSsl(pem('ca'))] as const;

/** Starts a peer that accepts connections and sends nothing. */
async function startSilentPeer() {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.resume();
  });
  const url = await listening(server);
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url, sockets };
}

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Safe: the server listens on TCP.
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Starts a peer with a full backlog, so that the kernel accepts no more connections. */
async function startFullPeer(): Promise<string> {
  const code = `
    const server = require('node:net').createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      require('node:fs').writeSync(1, server.address().port + '\\n');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  const fillers: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of fillers) socket.destroy();
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  // Linux accepts one connection more than the backlog. Further connections get no response.
  for (let taken = 0; taken < 2; taken++) {
    const socket = connect({ port, host: '127.0.0.1' }).on('error', () => undefined);
    fillers.push(socket);
    await once(socket, 'connect');
  }
  return `127.0.0.1:${port}`;
}

/** Creates a channel with the library's connector, and records the channel's events. Checks for leaks at the end of the test. */
function makeWireChannel(
  target: string,
  creds: ChannelCredentials,
  timeoutMs = TIMEOUT_MS,
  loadBalancing: 'pick_first' | 'round_robin' = 'pick_first',
) {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const failures: string[] = [];
  const states: string[] = [];
  const ended: EndedConnection[] = [];
  const timedOut: { connection: EstablishedConnection; waitedMs: number }[] = [];
  const made = new WireChannel(
    {
      target,
      credentials: creds,
      channelOptions: {
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_channelz': 0,
        'grpc.initial_reconnect_backoff_ms': 100,
        'grpc.max_reconnect_backoff_ms': 100,
      },
      loadBalancing: [{ [loadBalancing]: {} }],
      connectTimeoutMs: () => timeoutMs,
      maxConnectionsPerEndpoint: () => 1,
    },
    (_, event) => {
      if (event.type === 'state') states.push(event.state);
      else if (event.type === 'connect-failed') failures.push(event.failure.message);
      else if (event.type === 'ended') ended.push(event.ended);
      else if (event.type === 'call-timed-out')
        timedOut.push({ connection: event.connection, waitedMs: event.waitedMs });
    },
    systemClock,
    () => 0.5,
  );
  onTestFinished(() => made.close());
  return { made, failures, states, ended, timedOut };
}

describe('connect timeout', () => {
  it('aborts an attempt to connect over TCP at the connect timeout, and gives the next attempt the full timeout', async () => {
    const url = await startFullPeer();
    const { made, failures } = makeWireChannel(url, credentials.createInsecure());
    const beganAt = performance.now();
    made.connect();
    await waitFor(() => failures.length > 0);
    expect(failures[0]).toBe(`${url} does not respond (timed out after 0.2 s)`);
    // The next attempt has its own signal. With the signal of the first attempt, the next one would end immediately.
    await waitFor(() => failures.length > 1);
    expect(performance.now() - beganAt).toBeGreaterThan(2 * TIMEOUT_MS);
  });

  it.each([PLAIN, SECURE])(
    'closes the socket of an attempt to connect at the connect timeout if the peer stays silent (%s)',
    async (_how, creds) => {
      const peer = await startSilentPeer();
      const { made, failures } = makeWireChannel(peer.url, creds());
      made.connect();
      await waitFor(() => failures.length > 0);
      expect(failures[0]).toBe(`${peer.url} accepts the connection but does not respond (timed out after 0.2 s)`);
      await waitFor(() => peer.sockets[0]?.closed, { timeoutMs: 20_000 });
      await waitFor(() => failures.length >= 3);
      expect(peer.sockets.length).toBeGreaterThanOrEqual(3);
      await waitFor(() => peer.sockets.filter(({ closed }) => !closed).length <= 1, { timeoutMs: 20_000 });
    },
  );
});

describe('close() during an attempt to connect', () => {
  it('releases all resources of an attempt to connect if the channel is closed while TCP connects', async () => {
    const url = await startFullPeer();
    const { made, failures } = makeWireChannel(url, credentials.createInsecure(), 60_000);
    const leaks = captureLeaks();
    made.connect();
    await waitFor(() => process.getActiveResourcesInfo().includes('TCPConnectWrap') || made.state === 'CONNECTING');
    made.close();
    await leaks.settled({ timeoutMs: 20_000 });
    expect(failures).toEqual([]);
  });

  it.each([PLAIN, SECURE])(
    'closes the socket of an attempt to connect if the channel is closed while the peer is silent (%s)',
    async (_how, creds) => {
      const peer = await startSilentPeer();
      const { made, failures } = makeWireChannel(peer.url, creds(), 60_000);
      made.connect();
      await waitFor(() => peer.sockets.length === 1);
      made.close();
      await waitFor(() => peer.sockets[0]?.closed, { timeoutMs: 20_000 });
      expect(failures).toEqual([]);
    },
  );
});

describe('responsive peer', () => {
  it.each([
    [...PLAIN, () => createHttp2Server()],
    [...SECURE, () => createSecureServer({ key: pem('server-key'), cert: pem('server') })],
  ] as const)('connects to a responsive peer without leaking a timer (%s)', async (_how, creds, makeServer) => {
    const server = makeServer();
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => sessions.add(session));
    const url = await listening(server);
    onTestFinished(() => void server.close());
    const { made, states, ended } = makeWireChannel(url, creds(), 2_000);
    made.connect();
    await waitFor(() => made.ready);
    expect(states).toEqual(expect.arrayContaining(['CONNECTING', 'READY']));
    for (const session of sessions) session.destroy();
    await waitFor(() => ended.length === 1);
    expect(ended[0]).toMatchObject({ address: url, answered: false });
  });

  it('fails an attempt to connect with the certificate error, not with a timeout, if the certificate is not trusted', async () => {
    const server = createSecureServer({ key: pem('server-key'), cert: pem('server') });
    server.on('sessionError', () => undefined).on('tlsClientError', () => undefined);
    const url = await listening(server);
    onTestFinished(() => void server.close());
    const { made, failures } = makeWireChannel(url, credentials.createSsl(pem('untrusted')), 2_000);
    made.connect();
    await waitFor(() => failures.length > 0);
    expect(failures[0]).not.toContain('timed out');
    expect(failures[0]).toMatch(/certificate|self.signed|issuer/i);
  });
});

describe('established connection', () => {
  /** Starts a server that responds only to calls to '/a/Answered'. */
  async function startServer(makeServer: () => Http2Server | Http2SecureServer) {
    const server = makeServer();
    const sessions = new Set<ServerHttp2Session>();
    const streams: ServerHttp2Stream[] = [];
    server.on('session', (session) => sessions.add(session.on('error', () => undefined)));
    server.on('stream', (stream, headers) => {
      streams.push(stream.on('error', () => undefined));
      if (headers[':path'] !== '/a/Answered') return;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' }, { endStream: true });
    });
    const url = await listening(server);
    onTestFinished(() => {
      for (const session of sessions) session.destroy();
      server.close();
    });
    return { url, sessions, streams };
  }
  const call = (made: WireChannel, path: string) =>
    new Promise<{ readonly code: number; readonly details: string }>((resolve) => {
      const begun = made.channel.createCall(path, Infinity, null, null, null);
      begun.start(new Metadata(), {
        onReceiveMetadata: () => undefined,
        onReceiveMessage: () => undefined,
        onReceiveStatus: resolve,
      });
      begun.startRead();
      begun.halfClose();
    });
  const getOnlyConnection = (made: WireChannel): EstablishedConnection => {
    const [connection, second] = made.histories.ready;
    if (connection === undefined || second !== undefined) throw new Error('expected one connection');
    return connection;
  };

  const KINDS = [
    [...PLAIN, () => createHttp2Server()],
    [...SECURE, () => createSecureServer({ key: pem('server-key'), cert: pem('server') })],
  ] as const;

  it.each(KINDS)('counts only bytes received from the peer (%s)', async (_how, creds, makeServer) => {
    const server = await startServer(makeServer);
    const { made } = makeWireChannel(server.url, creds(), 2_000);
    made.connect();
    await waitFor(() => made.ready);
    await call(made, '/a/Answered');
    const connection = getOnlyConnection(made);
    expect(connection.address).toBe(server.url);
    const before = connection.bytesRead;
    expect(before).toBeGreaterThan(0);
    await call(made, '/a/Answered');
    expect(connection.bytesRead).toBeGreaterThan(before);
    // The peer does not respond to this call, so bytes are sent, but none are received.
    const quiet = connection.bytesRead;
    void call(made, '/a/Silent');
    await waitFor(() => server.streams.length === 3);
    expect(connection.bytesRead).toBe(quiet);
    connection.probe()?.ping();
    await waitFor(() => connection.bytesRead > quiet);
  });

  it.each(KINDS)('fails hanging calls when the connection is destroyed (%s)', async (_how, creds, makeServer) => {
    const server = await startServer(makeServer);
    const { made, ended } = makeWireChannel(server.url, creds(), 2_000);
    made.connect();
    await waitFor(() => made.ready);
    const hangingCall = call(made, '/a/Silent');
    await waitFor(() => server.streams.length === 1);
    getOnlyConnection(made).destroy();
    expect(await hangingCall).toMatchObject({ code: 14, details: 'Connection dropped' });
    await waitFor(() => ended.length === 1);
    expect(made.histories.ready).toEqual([]);
    await waitFor(() => [...server.sessions].every((session) => session.destroyed));
  });

  it('closes a TLS connection after a reset that Node does not report because it occurs during a write', async () => {
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
    const { made, ended } = makeWireChannel(url, SECURE[1](), 5_000);
    made.connect();
    await waitFor(() => made.ready);
    const hangingCall = call(made, '/a/Silent');
    made.attemptStarted();
    reset();
    expect(await hangingCall).toMatchObject({ code: 14, details: 'Connection dropped' });
    made.attemptEnded();
    await waitFor(() => ended.length === 1);
    expect(ended[0]).toMatchObject({ reason: 'connection reset' });
  });

  it('lists the other READY connections of the channel in EstablishedConnection.others', async () => {
    const [a, b] = [await startServer(() => createHttp2Server()), await startServer(() => createHttp2Server())];
    const target = `ipv4:${a.url},${b.url}`;
    const { made } = makeWireChannel(target, credentials.createInsecure(), 2_000, 'round_robin');
    made.connect();
    await waitFor(() => made.histories.ready.length === 2);
    const [first, second] = made.histories.ready;
    expect(first?.others).toEqual([second]);
  });

  it('reports a timed-out call only if the connection was READY when the call began', async () => {
    const server = await startServer(() => createHttp2Server());
    const { made, timedOut } = makeWireChannel(server.url, credentials.createInsecure(), 2_000);
    made.connect();
    await waitFor(() => made.ready);
    const connection = getOnlyConnection(made);
    made.timedOut(server.url, connection.readyAt, 1_000);
    made.timedOut(server.url, connection.readyAt - 1, 1_000);
    made.timedOut('127.0.0.1:1', connection.readyAt, 1_000);
    made.timedOut(undefined, connection.readyAt, 1_000);
    expect(timedOut).toEqual([{ connection, waitedMs: 1_000 }]);
  });
});

describe('connector', () => {
  function make(inner: ChannelCredentials, options: ChannelOptions = { [ADDRESS_ARGUMENT]: '127.0.0.1:1' }) {
    const begun: string[] = [];
    const attempts = new ConnectAttempts(() => 60_000, systemClock);
    const { begin } = attempts;
    attempts.begin = (key) => {
      begun.push(key);
      return begin.call(attempts, key);
    };
    const observed = observeSockets(inner, attempts, { check: () => undefined });
    if (observed === undefined) throw new Error('the installed grpc-js lacks private names that the connector needs');
    const target = { scheme: 'dns', path: '127.0.0.1:1' };
    onTestFinished(() => attempts.abortAll());
    return { begun, observed, connector: observed._createSecureConnector(target, options) };
  }

  const makeRecordedSocket = () => {
    const keepAliveCalls: unknown[][] = [];
    const socket = new Socket();
    socket.setKeepAlive = (...args) => {
      keepAliveCalls.push(args);
      return socket;
    };
    return { socket, keepAliveCalls };
  };

  it.each([
    ['known address', undefined],
    ['unknown address', {}],
  ])('enables TCP keepalive for a socket (%s)', async (_what, options) => {
    const { connector } = make(credentials.createInsecure(), options);
    const { socket, keepAliveCalls } = makeRecordedSocket();
    expect(await connector.connect(socket)).toMatchObject({ socket, secure: false });
    expect(keepAliveCalls).toEqual([[true, 60_000]]);
  });

  it('begins an attempt to connect on each waitForReady() call', async () => {
    const { begun, connector } = make(credentials.createInsecure());
    await connector.waitForReady();
    await connector.waitForReady();
    expect(begun).toEqual(['127.0.0.1:1', '127.0.0.1:1']);
  });

  it('begins one attempt to connect for each attempt of grpc-js', async () => {
    const peer = await startSilentPeer();
    const { made, failures } = makeWireChannel(peer.url, credentials.createInsecure(), 50);
    const { attempts } = made as unknown as { readonly attempts: ConnectAttempts };
    // Number of failures so far at the start of each attempt.
    const begun: number[] = [];
    const { begin } = attempts;
    attempts.begin = (key) => {
      begun.push(failures.length);
      expect(key).toBe(peer.url);
      return begin.call(attempts, key);
    };
    made.connect();
    await waitFor(() => failures.length > 2);
    expect(begun.slice(0, 3)).toEqual([0, 1, 2]);
  });

  it('keeps the secure flag and the call credentials of the wrapped credentials', async () => {
    const calls = credentials.createFromMetadataGenerator((_, callback) => {
      const metadata = new Metadata();
      metadata.set('authorization', 'Bearer x');
      callback(null, metadata);
    });
    const plain = make(credentials.createInsecure());
    expect(plain.observed._isSecure()).toBe(false);
    const secure = make(credentials.combineChannelCredentials(credentials.createSsl(), calls));
    expect(secure.observed._isSecure()).toBe(true);
    const metadata = await secure.connector
      .getCallCredentials()
      .generateMetadata({ service_url: 'https://127.0.0.1/x', method_name: 'x' });
    expect(metadata.get('authorization')).toEqual(['Bearer x']);
    const composed = make(credentials.createSsl().compose(calls));
    expect(
      (
        await composed.connector.getCallCredentials().generateMetadata({ service_url: 'https://a/b', method_name: 'c' })
      ).get('authorization'),
    ).toEqual(['Bearer x']);
  });
});
