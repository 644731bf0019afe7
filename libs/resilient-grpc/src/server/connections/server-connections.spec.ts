import { Server, ServerCredentials } from '@grpc/grpc-js';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ServerHttp2Session,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import type { GrpcServerEvent, HandshakeFailureReason } from '../../call/server-event.js';
import { observeHttp2Servers, type NodeHttp2Server } from '../quirks/http2-servers.js';
import { PEER_QUIET_MS, type ConnectionLifetime } from './server-connection.js';
import { ServerConnections } from './server-connections.js';

const pem = (name: string) => readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url));
const PATH = '/test.Service/Call';
const HEADERS = { ':method': 'POST', ':path': PATH, 'content-type': 'application/grpc' };
const asIs = (bytes: Buffer): Buffer => bytes;

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Waits until `count` events have been reported. The peers use real sockets and answer in real time. */
async function waitForReports(clock: VirtualClock, reported: readonly GrpcServerEvent[], count: number): Promise<void> {
  await waitFor(async () => {
    await clock.advanceAsync(0);
    return reported.length === count;
  });
}

/** Starts a grpc-js server on a free port or at `address`, with one method that never responds. */
async function startServer({
  tls = false,
  checkClientCertificate = false,
  address = '127.0.0.1:0',
  ...limits
}: Partial<ConnectionLifetime> & {
  tls?: boolean;
  checkClientCertificate?: boolean;
  address?: string;
} = {}) {
  const clock = new VirtualClock();
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  const reported: GrpcServerEvent[] = [];
  events.listen((event) => reported.push(event), false);
  const peersOfEndedCalls: string[] = [];
  const connections = new ServerConnections(
    {
      maxConnectionAgeMs: undefined,
      maxConnectionAgeGraceMs: undefined,
      connectionIdleTimeoutMs: undefined,
      keepaliveTimeMs: Infinity,
      keepaliveTimeoutMs: 20_000,
      ...limits,
    },
    {
      clock,
      random: () => 0.5,
      events,
      endCallsOf: (peer) => peersOfEndedCalls.push(peer),
    },
    { check: () => undefined },
  );
  const server = new Server();
  const calls: { getPeer(): string; end(): void }[] = [];
  const method = { path: PATH, requestStream: false, responseStream: true };
  const coding = {
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  server.addService(
    { call: { ...method, ...coding } },
    { call: ((call: (typeof calls)[number]) => calls.push(call)) as never },
  );
  const http2Servers: NodeHttp2Server[] = [];
  observeHttp2Servers(server, (http2Server) => {
    http2Servers.push(http2Server);
  });
  connections.attach(server);
  expect(connections.isAttached).toBe(true);
  const pair = { private_key: pem('server-key'), cert_chain: pem('server') };
  const security = tls
    ? ServerCredentials.createSsl(checkClientCertificate ? pem('ca') : null, [pair], checkClientCertificate)
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, security, (error, found) => {
      if (error === null) resolve(found);
      else reject(error);
    });
  });
  closing.push(() => {
    connections.destroyAll();
    server.forceShutdown();
  });
  return { clock, connections, port, reported, peersOfEndedCalls, calls, http2Servers };
}

function openSocket(port: number | string): Socket {
  const socket = (typeof port === 'number' ? connect(port, '127.0.0.1') : connect(port)).on('error', () => undefined);
  closing.push(() => socket.destroy());
  return socket;
}

function openSession(port: number, tls = false): ClientHttp2Session {
  const options = { ca: pem('ca'), servername: 'localhost' };
  const made = connectHttp2(`${tls ? 'https' : 'http'}://127.0.0.1:${String(port)}`, options);
  made.on('error', () => undefined);
  closing.push(() => made.destroy());
  return made;
}

function openStream(from: ClientHttp2Session): ClientHttp2Stream {
  const made = from.request(HEADERS);
  made.on('error', () => undefined);
  made.end(Buffer.alloc(5));
  made.resume();
  return made;
}

describe('ServerConnections', () => {
  it('counts every open socket, even one that sends nothing', async () => {
    const { connections, port } = await startServer();
    const silent = openSocket(port);
    const active = openSession(port);
    await waitFor(() => connections.size === 2);
    silent.destroy();
    active.close();
    await connections.closed();
    expect(connections.size).toBe(0);
  });

  it.each([false, true])(
    'sends GOAWAY on announceEnd(), closes each connection after its calls, and stops listening (TLS: %s)',
    async (tls) => {
      const { connections, port, calls, http2Servers } = await startServer({ tls });
      const idle = openSession(port, tls);
      const busy = openSession(port, tls);
      const goaways = new Set<string>();
      idle.on('goaway', () => goaways.add('idle'));
      busy.on('goaway', () => goaways.add('busy'));
      const open = openStream(busy);
      let ended = false;
      open.on('end', () => (ended = true));
      await waitFor(() => calls.length === 1 && connections.size === 2);
      connections.announceEnd();
      expect(http2Servers.map(({ listening }) => listening)).toEqual([false]);
      await waitFor(() => connections.size === 1 && goaways.size === 2);
      expect(busy.destroyed).toBe(false);
      calls[0]?.end();
      await connections.closed();
      expect(ended).toBe(true);
    },
  );

  it('checks at most 200 connections for protocol errors in one event-loop turn', async () => {
    const { clock, connections, port, http2Servers } = await startServer();
    let checked = 0;
    http2Servers[0]!.on('session', (session: ServerHttp2Session) => {
      Object.defineProperty(session, 'destroyed', {
        get: () => {
          checked += 1;
          return true;
        },
      });
    });
    let open = 0;
    for (let index = 0; index < 250; index++) openSession(port).once('remoteSettings', () => (open += 1));
    await waitFor(() => open === 250 && connections.size === 250, { timeoutMs: 30_000 });
    const deferred: (() => void)[] = [];
    clock.defer = (task) => deferred.push(task);
    checked = 0;
    clock.advance(1_000);
    const first = checked;
    for (const task of deferred.splice(0)) task();
    expect([first, checked, deferred]).toEqual([200, 250, []]);
  });

  it('stops listening without http2Server.close(), which would close the sessions in Node 24 and later', async () => {
    const { connections, port, http2Servers } = await startServer();
    openSession(port);
    await waitFor(() => connections.size === 1);
    let closed = 0;
    for (const http2Server of http2Servers) http2Server.close = () => ((closed += 1), http2Server);
    connections.announceEnd();
    await connections.closed();
    expect(closed).toBe(0);
  });

  it('sends GOAWAY on a connection whose TLS handshake finishes after announceEnd()', async () => {
    const { connections, port } = await startServer({ tls: true });
    const socket = openSocket(port);
    // The socket is accepted; the TLS handshake has not started.
    await waitFor(() => connections.size === 1);
    connections.announceEnd();
    const secure = connectTls({ socket, ca: pem('ca'), servername: 'localhost', ALPNProtocols: ['h2'] });
    const late = connectHttp2('https://localhost', { createConnection: () => secure });
    late.on('error', () => undefined);
    await new Promise((resolve) => late.once('goaway', resolve));
    await connections.closed();
  });

  it('closes sockets without an HTTP/2 session shortly after announceEnd()', async () => {
    const { connections, port, clock, calls } = await startServer({ tls: true });
    openSocket(port);
    const busy = openSession(port, true);
    openStream(busy);
    await waitFor(() => connections.size === 2 && calls.length === 1);
    connections.announceEnd();
    await clock.advanceAsync(PEER_QUIET_MS - 1);
    expect(connections.size).toBe(2);
    await clock.advanceAsync(1);
    await waitFor(() => connections.size === 1);
    expect(busy.destroyed).toBe(false);
  });

  it.each([false, true])(
    'closes silent connections to a Unix socket shortly after announceEnd(), and keeps those with calls (TLS: %s)',
    async (tls) => {
      const directory = mkdtempSync(join(tmpdir(), 'server-'));
      closing.push(() => rmSync(directory, { recursive: true }));
      const path = join(directory, 'orders.sock');
      const { connections, clock, calls } = await startServer({ tls, address: `unix:${path}` });
      openSocket(path);
      const socket = tls
        ? connectTls({ path, ca: pem('ca'), servername: 'localhost', ALPNProtocols: ['h2'] })
        : openSocket(path);
      const busy = connectHttp2('https://localhost', { createConnection: () => socket });
      busy.on('error', () => undefined);
      closing.push(() => busy.destroy());
      openStream(busy);
      await waitFor(() => connections.size === 2 && calls.length === 1);
      connections.announceEnd();
      await waitFor(async () => {
        await clock.advanceAsync(PEER_QUIET_MS);
        return connections.size === 1;
      });
      expect(busy.destroyed).toBe(false);
      calls[0]?.end();
      await connections.closed();
      expect(connections.cutOff).toBe(0);
    },
  );

  it('destroys all connections immediately on destroyAll(), including those in a TLS handshake', async () => {
    const { connections, port, clock, calls } = await startServer({ tls: true, keepaliveTimeMs: 60_000 });
    openSocket(port);
    openStream(openSession(port, true));
    await waitFor(() => connections.size === 2 && calls.length === 1);
    connections.destroyAll();
    await connections.closed();
    expect(clock.pending).toBe(0);
  });

  it('keeps a connection with an incomplete request until destroyAll(), which counts the connections that it closes', async () => {
    const { connections, port, clock, calls } = await startServer();
    const halfway = openSession(port);
    const half = halfway.request(HEADERS, { endStream: false });
    half.on('error', () => undefined);
    const busy = openSession(port);
    openStream(busy);
    await waitFor(() => calls.length === 1 && connections.size === 2);
    connections.announceEnd();
    await clock.advanceAsync(PEER_QUIET_MS * 3);
    expect(connections.size).toBe(2);
    expect(busy.destroyed).toBe(false);
    expect(connections.cutOff).toBe(0);
    connections.destroyAll();
    expect(connections.cutOff).toBe(2);
    await connections.closed();
    expect(clock.pending).toBe(0);
  });

  it('closes each connection after its own maximum age and grace period, and ends only the calls of that connection', async () => {
    const { connections, port, clock, reported, peersOfEndedCalls, calls } = await startServer({
      maxConnectionAgeMs: 10_000,
      maxConnectionAgeGraceMs: 1_000,
    });
    const first = openSession(port);
    openStream(first);
    await waitFor(() => calls.length === 1);
    await clock.advanceAsync(5_000);
    const second = openSession(port);
    openStream(second);
    await waitFor(() => calls.length === 2);
    const [firstPeer] = calls.map((call) => call.getPeer());
    await clock.advanceAsync(5_000);
    await waitForReports(clock, reported, 1);
    await clock.advanceAsync(2_100);
    expect(peersOfEndedCalls).toEqual([firstPeer]);
    expect(reported.map((event) => event.type === 'connection-end' && event.reason)).toEqual(['age', 'age-grace']);
    await waitFor(() => connections.size === 1);
    expect(second.closed).toBe(false);
  });

  it('closes idle connections and keeps a connection with an open stream', async () => {
    const { connections, port, clock, calls, reported } = await startServer({ connectionIdleTimeoutMs: 5_000 });
    const busy = openSession(port);
    const open = openStream(busy);
    openSession(port);
    await waitFor(() => calls.length === 1 && connections.size === 2);
    await clock.advanceAsync(5_000);
    await waitForReports(clock, reported, 1);
    await waitFor(() => connections.size === 1);
    await clock.advanceAsync(60_000);
    calls[0]?.end();
    await new Promise((resolve) => open.once('close', resolve));
    expect(busy.closed).toBe(false);
    // The two timers are the idle timer of this connection and the poll timer that all connections share.
    await waitFor(() => clock.pending === 2);
    await clock.advanceAsync(5_000);
    await waitForReports(clock, reported, 2);
    await connections.closed();
  });

  it('keeps sending probes after GOAWAY and keeps connections whose peers acknowledge the probes', async () => {
    const { connections, port, clock, calls, reported } = await startServer({ keepaliveTimeMs: 60_000 });
    const busy = openSession(port);
    let probesReceived = 0;
    openStream(busy);
    await waitFor(() => calls.length === 1);
    busy.on('remoteSettings', () => (probesReceived += 1));
    connections.announceEnd();
    for (let probe = 1; probe <= 3; probe += 1) {
      await clock.advanceAsync(60_000);
      await waitFor(() => probesReceived === probe);
    }
    expect(reported).toEqual([]);
    expect(connections.size).toBe(1);
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('failed %s handshake', (version) => {
    const startTls = () => startServer({ tls: true, checkClientCertificate: true });
    const connectWith = (port: number, options: ConnectionOptions): TLSSocket => {
      const limits = { minVersion: version, maxVersion: version };
      const base = { host: '127.0.0.1', port, servername: 'localhost', ca: pem('ca'), ALPNProtocols: ['h2'] };
      const socket = connectTls({ ...base, ...limits, ...options }).on('error', () => undefined);
      closing.push(() => socket.destroy());
      return socket;
    };
    const certificate = (name: string) => ({ cert: pem(name), key: pem(`${name}-key`) });

    it.each<[string, ConnectionOptions, HandshakeFailureReason, string]>([
      ['no certificate', {}, 'client-certificate-missing', 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'],
      ['an expired certificate', certificate('expired'), 'client-certificate-expired', 'CERT_HAS_EXPIRED'],
      [
        'a certificate that is not yet valid',
        certificate('not-yet-valid'),
        'client-certificate-not-yet-valid',
        'CERT_NOT_YET_VALID',
      ],
      [
        'a certificate from an unknown authority',
        certificate('untrusted'),
        'client-certificate-untrusted',
        'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      ],
      [
        'a self-signed certificate',
        certificate('self-signed'),
        'client-certificate-untrusted',
        'DEPTH_ZERO_SELF_SIGNED_CERT',
      ],
      [
        'no HTTP/2',
        { ...certificate('client'), ALPNProtocols: ['http/1.1'] },
        'no-http2',
        'ERR_SSL_NO_APPLICATION_PROTOCOL',
      ],
    ])(
      'reports the address, the reason, and the code of a failed handshake if a client connects with %s',
      async (_, options, reason, code) => {
        const { port, reported, connections } = await startTls();
        const socket = connectWith(port, options);
        await new Promise((resolve) => socket.once('connect', resolve));
        const peer = `127.0.0.1:${String(socket.localPort)}`;
        await waitFor(() => reported.length === 1);
        expect(reported).toMatchObject([{ type: 'handshake-failed', peer, reason, code }]);
        await connections.closed();
      },
    );

    it('reports no failed handshake for a client with a valid certificate', async () => {
      const { port, reported, connections } = await startTls();
      const socket = connectWith(port, certificate('client'));
      await new Promise((resolve) => socket.once('secureConnect', resolve));
      socket.end();
      await connections.closed();
      expect(reported).toEqual([]);
    });
  });

  it('reports a failed handshake for a client without TLS', async () => {
    const { port, reported } = await startServer({ tls: true });
    openSession(port);
    await waitFor(() => reported.length === 1);
    expect(reported).toMatchObject([{ reason: 'no-tls', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) }]);
  });

  it('reports no failed handshake for a client that connects and sends nothing, as port scans and TCP health checks do', async () => {
    const { port, reported, connections } = await startServer({ tls: true });
    for (const close of [(socket: Socket) => socket.end(), (socket: Socket) => socket.resetAndDestroy()]) {
      const socket = openSocket(port);
      await waitFor(() => connections.size === 1);
      close(socket);
      await connections.closed();
    }
    expect(reported).toEqual([]);
  });
});
