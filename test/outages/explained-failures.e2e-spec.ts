import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp1Server, globalAgent, request } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { captureLeaks, FaultProxy, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { freePort } from '../support/free-port.mjs';
import { HTTP_RESPONSE_REMEDY } from '../../libs/resilient-grpc/dist/policy/evidence/grpc-js-texts.js';
import { CONNECT_FAILURES } from '../../libs/resilient-grpc/dist/policy/connect-failure/connect-failures.js';
import { failureOf } from '../calls/support.js';
import { doctor } from '../doctor/support.js';
import { ORDERS_PROTO, aboveDebug, certificate, startOrdersApp } from '../support/orders-app.js';
import { startHttp2Server } from '../calls/raw-http2-server.js';
import { answeringPeer, resettingPeer } from '../support/peers.js';
import { IN_NAMESPACES, skipWithout } from '../support/programs.js';
import { observeFailure, type FailingConnection, type ObservedFailure } from './observed-failure.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
});

const pem = (name: string) => readFileSync(certificate(name), 'utf8');
const CLIENT = join(import.meta.dirname, 'observing-client.ts');
const LOADER = join(import.meta.dirname, '../support/typescript.mjs');
const CONTROL_CHARACTERS = /\p{Cc}/u;

async function grpcServer(name?: string, clientCa?: string): Promise<number> {
  const tls = name && { key: pem(`${name}-key`), cert: pem(name), ...(clientCa && { ca: pem(clientCa) }) };
  const server = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, ...(tls && { tls }) }));
  return server.port;
}

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const http1 = () => createHttp1Server((_request, response) => response.end('hello'));
const https = () =>
  createHttpsServer({ key: pem('server-key'), cert: pem('server'), ALPNProtocols: ['http/1.1'] }, (_, response) =>
    response.end('hello'),
  );

/** Sets the HTTP proxy of the environment for this test. */
function useProxy(port: number): void {
  const env = { grpc_proxy: `http://127.0.0.1:${port}`, no_grpc_proxy: '', no_proxy: '' };
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}

/** Starts an HTTP proxy, which calls `connected` with the socket of each CONNECT request, and returns its port. */
async function startProxy(connected: (socket: Socket, target: string) => void): Promise<number> {
  const proxy = createHttp1Server().on('connect', ({ url = '' }, socket: Socket) => connected(socket.resume(), url));
  return listening(proxy);
}

/** Starts an HTTP proxy, sets it in the environment, and returns the settings of a client whose server port has no listener. */
async function throughProxy(connected: Parameters<typeof startProxy>[0]): Promise<FailingConnection['settings']> {
  useProxy(await startProxy(connected));
  return at(await freePort());
}

/** Arguments of `ip route add`. */
const ROUTES = ['unreachable 192.0.2.1', 'prohibit 192.0.2.2'];

interface Case {
  readonly kind: keyof typeof CONNECT_FAILURES;
  /** Starts the peer and returns the settings of the client. */
  readonly start: () => Promise<FailingConnection['settings']>;
  /** True if the client runs in a network namespace with only `ROUTES` and the loopback interface. */
  readonly inNamespace?: true;
  /** Doctor options that correspond to the client settings. The command that the client suggests contains them. */
  readonly options?: readonly string[];
  /** The doctor check that explains the failure. @defaultValue 'address' */
  readonly check?: 'address' | 'certificate' | 'client' | 'target';
}

const ca = certificate('ca');
const UNTRUSTED = certificate('untrusted');
const UNTRUSTED_KEY = certificate('untrusted-key');
const at = (port: number, tls?: GrpcClientSettings['tls']): FailingConnection['settings'] => ({
  url: `localhost:${port}`,
  ...(tls && { tls }),
});

const CASES: Readonly<Record<string, Case>> = {
  'a port without a listener': { kind: 'refused', start: async () => ({ url: `127.0.0.1:${await freePort()}` }) },
  'a peer that resets connections': {
    kind: 'reset',
    start: async () => {
      const peer = await closedAfterTest(resettingPeer());
      return { url: peer.url };
    },
  },
  'a server without TLS that resets the connection after the first bytes of the TLS handshake': {
    kind: 'reset-in-tls',
    start: async () =>
      at(await listening(createServer((socket) => socket.once('data', () => socket.resetAndDestroy()))), {}),
    options: ['--tls'],
  },
  'an unreachable host': {
    kind: 'host-unreachable',
    inNamespace: true,
    start: () => Promise.resolve({ url: '192.0.2.1:50051' }),
  },
  'a network without a route': {
    kind: 'network-unreachable',
    inNamespace: true,
    start: () => Promise.resolve({ url: '198.51.100.1:50051' }),
  },
  'a host to which connections are prohibited': {
    kind: 'permission-denied',
    inNamespace: true,
    start: () => Promise.resolve({ url: '192.0.2.2:50051' }),
  },
  'a silent peer': {
    kind: 'silent',
    start: async () => ({
      ...at(await listening(createServer((socket) => socket.resume()))),
      connections: { connectTimeoutMs: 300 },
    }),
  },
  'a silent peer under TLS': {
    kind: 'silent',
    start: async () => ({
      ...at(await listening(createServer((socket) => socket.resume())), {}),
      connections: { connectTimeoutMs: 300 },
    }),
    options: ['--tls'],
  },
  'a name that does not exist': {
    kind: 'name-not-resolved',
    start: async () => ({ url: 'orders.invalid:50051' }),
    check: 'target',
  },
  'a missing Unix socket': {
    kind: 'no-such-socket',
    start: async () => ({ url: `unix:${join(tmpdir(), `no-such-${process.pid}.sock`)}` }),
  },
  'a Unix socket that a killed server has left behind': {
    kind: 'socket-refused',
    start: async () => {
      const path = join(tmpdir(), `killed-${process.pid}.sock`);
      onTestFinished(() => rmSync(path));
      const script =
        'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
      await promisify(execFile)(process.execPath, ['-e', script, path]).catch(() => undefined);
      return { url: `unix:${path}` };
    },
  },
  'a TLS server, called without TLS': {
    kind: 'server-uses-tls',
    start: async () => at(await grpcServer('server')),
  },
  'a server without TLS, called with TLS': {
    kind: 'server-without-tls',
    start: async () => at(await grpcServer(), {}),
    options: ['--tls'],
  },
  'an HTTP/1 server': { kind: 'not-http2', start: async () => at(await listening(http1())) },
  'an HTTP/1 server with TLS': {
    kind: 'no-http2-in-tls',
    start: async () => at(await listening(https()), { ca }),
    options: ['--ca', ca],
  },
  'a peer that closes connections': {
    kind: 'closed',
    start: async () => at(await listening(createServer((socket) => socket.resume().end()))),
  },
  'a peer that closes connections during the TLS handshake': {
    kind: 'closed',
    start: async () => at(await listening(createServer((socket) => socket.once('data', () => socket.end()))), {}),
    options: ['--tls'],
  },
  'an expired certificate': {
    kind: 'certificate-expired',
    start: async () => at(await grpcServer('expired'), { ca: certificate('expired') }),
    options: ['--ca', certificate('expired')],
    check: 'certificate',
  },
  'a certificate that is not valid yet': {
    kind: 'certificate-not-yet-valid',
    start: async () => at(await grpcServer('not-yet-valid'), { ca: certificate('not-yet-valid') }),
    options: ['--ca', certificate('not-yet-valid')],
    check: 'certificate',
  },
  'a certificate for another name': {
    kind: 'certificate-name',
    start: async () => at(await grpcServer('named'), { ca }),
    options: ['--ca', ca],
    check: 'certificate',
  },
  'a self-signed certificate': {
    kind: 'certificate-self-signed',
    start: async () => at(await grpcServer('self-signed'), {}),
    options: ['--tls'],
    check: 'certificate',
  },
  'a certificate from an unknown authority': {
    kind: 'certificate-untrusted',
    start: async () => at(await grpcServer('server'), {}),
    options: ['--tls'],
    check: 'certificate',
  },
  'a server that requires a client certificate': {
    kind: 'client-certificate',
    start: async () => at(await grpcServer('server', 'ca'), { ca }),
    options: ['--ca', ca],
  },
  'a server that closes the connection because of the client certificate': {
    kind: 'closed-in-tls',
    start: async () => at(await grpcServer('server', 'ca'), { ca, cert: UNTRUSTED, key: UNTRUSTED_KEY }),
    options: ['--ca', ca, '--cert', UNTRUSTED, '--key', UNTRUSTED_KEY],
  },
  'a server that closes the connection because of the client certificate, with TLS 1.2': {
    kind: 'closed-in-tls',
    start: async () => {
      const options = { key: pem('server-key'), cert: pem('server'), ca: pem('ca'), requestCert: true };
      const server = createSecureServer({ ...options, rejectUnauthorized: true, maxVersion: 'TLSv1.2' });
      return at(await listening(server), { ca, cert: UNTRUSTED, key: UNTRUSTED_KEY });
    },
    options: ['--ca', ca, '--cert', UNTRUSTED, '--key', UNTRUSTED_KEY],
  },
  'a server that shares no cipher suite with the client': {
    kind: 'tls-failed',
    start: async () => {
      const options = { key: pem('server-key'), cert: pem('server'), maxVersion: 'TLSv1.2' } as const;
      return at(await listening(createSecureServer({ ...options, ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' })), { ca });
    },
    options: ['--ca', ca],
  },
  'a proxy port without a listener': {
    kind: 'proxy-failed',
    start: async () => {
      useProxy(await freePort());
      return at(await freePort());
    },
    check: 'client',
  },
  'a proxy that refuses the CONNECT request': {
    kind: 'proxy-failed',
    start: () => throughProxy((socket) => socket.write('HTTP/1.1 403 Forbidden\r\n\r\n')),
    check: 'client',
  },
};

it('fails a call after the grace period, even without a deadline, if the Unix socket is missing and its path ends with # and a number', async () => {
  const url = `unix:${join(tmpdir(), `no-such-${process.pid}#2`)}`;
  const app = await closedAfterTest(startOrdersApp({ url, outageGraceMs: 300 }));
  const { details, reachedServer } = await failureOf(app.orders.get({ id: '7' }));
  expect(details).toContain(`${url} has been unreachable for `);
  expect(reachedServer).toBe('no');
});

describe('HTTP proxy of the environment', () => {
  it.each([
    ['HTTP status 407', (socket: Socket) => socket.write('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')],
    ['the proxy closed the connection', (socket: Socket) => socket.destroy()],
  ])(
    'names the HTTP proxy and the reason in the error if the proxy does not open a connection to the server: %s',
    async (reason, connected) => {
      const proxy = await startProxy(connected);
      useProxy(proxy);
      const url = `localhost:${await freePort()}`;
      const app = await closedAfterTest(startOrdersApp({ url, outageGraceMs: 300 }));
      const { details, reachedServer } = await failureOf(app.orders.get({ id: '7' }));
      const sentence = `the HTTP proxy 127.0.0.1:${proxy} (grpc_proxy) did not open a connection to the server (CONNECT ${url}: ${reason})`;
      expect(details).toContain(sentence);
      expect(reachedServer).toBe('no');
    },
  );

  it('fails a call after the connect timeout and the grace period, even without a deadline, and closes the connection to the HTTP proxy if the proxy does not respond', async () => {
    const sockets: Socket[] = [];
    const proxy = await startProxy((socket) => sockets.push(socket));
    useProxy(proxy);
    const url = `localhost:${await freePort()}`;
    const app = await startOrdersApp({ url, connections: { connectTimeoutMs: 300 }, outageGraceMs: 300 });
    onTestFinished(() => app.close());
    const { details, reachedServer } = await failureOf(app.orders.get({ id: '7' }));
    expect(details).toContain(`the HTTP proxy 127.0.0.1:${proxy} (grpc_proxy) does not respond to the CONNECT request`);
    expect(reachedServer).toBe('no');
    await waitFor(() => sockets[0]?.readableEnded === true);
    await app.close();
    await waitFor(() => sockets.every(({ readableEnded }) => readableEnded));
  });

  it('ends a connection attempt after the connect timeout even if the global agent has no free socket for the HTTP proxy', async () => {
    const proxy = await startProxy(() => undefined);
    useProxy(proxy);
    const { maxSockets } = globalAgent;
    globalAgent.maxSockets = 1;
    // The proxy does not respond, so this request keeps the only socket.
    const holding = request({ host: '127.0.0.1', port: proxy, method: 'CONNECT', path: 'other:1' });
    holding.on('error', () => undefined).end();
    onTestFinished(() => {
      globalAgent.maxSockets = maxSockets;
      holding.destroy();
    });
    const app = await startOrdersApp({
      url: `localhost:${await freePort()}`,
      connections: { connectTimeoutMs: 300 },
      outageGraceMs: 300,
    });
    onTestFinished(() => app.close());
    expect((await failureOf(app.orders.get({ id: '7' }))).details).toContain(`the HTTP proxy 127.0.0.1:${proxy}`);
  });

  it('sends calls through the HTTP proxy, and names the proxy and the server in the error if the connection closes after CONNECT succeeds', async () => {
    const server = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {} } }));
    const targets: string[] = [];
    const proxy = await startProxy((socket, target) => {
      targets.push(target);
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      if (targets.length > 1) socket.end();
      else {
        const upstream = connect(server.port, '127.0.0.1');
        upstream.on('error', () => socket.destroy()).pipe(socket);
        socket.pipe(upstream);
      }
    });
    useProxy(proxy);
    const url = `localhost:${server.port}`;
    const app = await closedAfterTest(startOrdersApp({ url, outageGraceMs: 300 }));
    await firstValueFrom(app.orders.get({ id: '7' }));
    expect(targets).toEqual([url]);
    await server.close();
    const { details } = await failureOf(app.orders.get({ id: '7' }));
    expect(details).toContain(
      `${url} through the HTTP proxy 127.0.0.1:${proxy} (grpc_proxy) accepts the connection and`,
    );
  });

  it('uses the HTTP proxy for a list of addresses even if no_proxy contains their host, names the remedy, and bypasses the proxy with grpc.enable_http_proxy: 0', async () => {
    useProxy(await startProxy((socket) => socket.write('HTTP/1.1 403 Forbidden\r\n\r\n')));
    const ports = [await grpcServer(), await grpcServer()];
    const url = `ipv4:${ports.map((port) => `127.0.0.1:${port}`).join(',')}`;
    vi.stubEnv('no_proxy', '127.0.0.1');
    const proxied = await closedAfterTest(startOrdersApp({ url, outageGraceMs: 300 }));
    expect((await failureOf(proxied.orders.get({ id: '7' }))).message).toContain(
      'set grpc.enable_http_proxy: 0 in channelOptions, or no_proxy for one host',
    );
    const direct = await closedAfterTest(startOrdersApp({ url, channelOptions: { 'grpc.enable_http_proxy': 0 } }));
    // The servers have no handler.
    expect(await failureOf(direct.orders.get({ id: '7' }))).toMatchObject({ code: 12, reachedServer: 'yes' });
  });

  it("names the HTTP proxy in the doctor's client check if the proxy does not respond", async () => {
    const { url } = await throughProxy(() => undefined);
    const { of } = await doctor([url, '--connect-timeout', '0.3s']);
    expect(of('client').message).toMatch(/the HTTP proxy \S+ \(grpc_proxy\) has not opened a connection to localhost/);
  });
});

describe('HTTP response instead of gRPC', () => {
  it.each([
    [502, 14, 'text/html; charset=utf-8'],
    [404, 12, 'text/html'],
    // grpc-js reads the page as a message whose length exceeds the limit, so the code is RESOURCE_EXHAUSTED.
    [200, 2, 'text/html'],
    [503, 14, undefined],
  ])('explains HTTP status %i in the error, the health check, and the doctor', async (status, code, type) => {
    const { url } = await startHttp2Server((stream) => {
      stream.respond({ ':status': status, ...(type !== undefined && { 'content-type': type }) });
      stream.end('<html><h1>nginx</h1></html>');
    });
    const app = await closedAfterTest(startOrdersApp({ url }));
    const error = await failureOf(app.orders.get({ id: '7' }, { retry: false }));
    const answer = `Received HTTP status code ${status} ${type === undefined ? 'without a content-type' : `with content-type ${type}`}`;
    const sentence = `${answer}: a proxy or web server responded instead of the gRPC server`;
    expect(error).toMatchObject({ code, reason: 'http', reachedServer: 'maybe', details: sentence });
    const command = `npx nestjs-resilient-grpc doctor ${url}`;
    expect(error.message).toContain(`${sentence} (${HTTP_RESPONSE_REMEDY}; to diagnose, run: ${command})`);
    const { [app.client.name]: health } = await app.serving.check(app.client.name);
    expect(health).toMatchObject({ status: 'down', message: sentence });
    const { of } = await doctor([url]);
    expect(of('health')).toMatchObject({ status: 'failed', remedy: HTTP_RESPONSE_REMEDY });
    expect(of('health').message).toContain(sentence);
  });
});

describe("client's own certificate that is not valid", () => {
  it.each([
    [
      'expired',
      /the (certificate of this client|client's own certificate) expired on Jan {2}1 00:00:00 2021 GMT/,
      /expired on Jan/,
    ],
    ['not-yet-valid', /is not valid before Jan {2}1 00:00:00 2100 GMT/, /is not valid before Jan/],
  ])('is named in the error, in the log of the outage, and by the doctor: %s', async (name, named, short) => {
    const tls = { ca, cert: certificate(name), key: certificate(`${name}-key`) };
    const url = `localhost:${await grpcServer('server', name)}`;
    const app = await closedAfterTest(startOrdersApp({ url, tls, outageGraceMs: 1_000 }));
    const { message } = await failureOf(app.orders.get({ id: '7' }));
    expect(message).toContain(CONNECT_FAILURES['client-certificate-invalid'].cause);
    expect(message).toMatch(short);
    const line = await waitFor(() => aboveDebug(app).find((one) => one.includes('outage')), { timeoutMs: 20_000 });
    expect(line).toContain(CONNECT_FAILURES['client-certificate-invalid'].remedy);
    const { checks } = await doctor([
      url,
      '--ca',
      ca,
      '--cert',
      tls.cert,
      '--key',
      tls.key,
      '--connect-timeout',
      '0.5s',
    ]);
    expect(checks.filter(({ status }) => status === 'failed').map((check) => check.message)).toContainEqual(
      expect.stringMatching(named),
    );
  });
});

describe('TLS detection', () => {
  it('opens at most one connection to detect TLS for all failed connection attempts of a client', async () => {
    const peer = await closedAfterTest(answeringPeer(Infinity, (socket) => socket.end(), '127.0.0.1:1'));
    const app = await closedAfterTest(startOrdersApp({ url: peer.url, outageGraceMs: 60_000 }));
    const held = failureOf(app.orders.get({ id: '7' }));
    await waitFor(() => (app.client.connectivity.outage?.connectAttempts ?? 0) >= 3, { timeoutMs: 20_000 });
    const { connectAttempts } = app.client.connectivity.outage!;
    expect([connectAttempts + 1, connectAttempts + 2]).toContain(peer.acceptedAt.length);
    await app.close();
    await held;
  });
});

describe('failed connection', () => {
  it.for(Object.entries(CASES))(
    'explains a failed connection with the same cause in the error, the log, the health check, the snapshot, and the doctor: %s',
    async ([, { kind, start, inNamespace, options = [], check = 'address' }], { skip }) => {
      if (inNamespace) skip(...skipWithout('namespaces'));
      const connection = { kind, settings: await start(), options, check };
      const { error, line, health, connectivity, doctor } = await (inNamespace
        ? observeInNamespace(connection)
        : observeFailure(connection));
      const { cause, remedy } = CONNECT_FAILURES[kind];
      const command = ['npx nestjs-resilient-grpc doctor', connection.settings.url, ...options].join(' ');
      expect(error).toMatchObject({ code: 14, reason: 'outage', reachedServer: 'no' });
      expect(error.details).toContain(cause);
      expect(error.message).not.toMatch(CONTROL_CHARACTERS);
      expect(error.message.endsWith(`(${remedy}; to diagnose, run: ${command})`)).toBe(true);
      expect(line).toContain(cause);
      expect(line).toContain(`; to diagnose, run: ${command}`);
      expect(line).not.toMatch(CONTROL_CHARACTERS);
      expect(health).toMatchObject({ lastError: expect.stringContaining(cause), remedy });
      // The health check omits the doctor command, which can contain paths of TLS files, because health routes are often public.
      expect(health).not.toHaveProperty('doctorCommand');
      expect(connectivity.lastError).toContain(cause);
      expect(connectivity.lastFailure).toEqual({ kind, remedy, doctorCommand: command });
      expect(doctor).toContain(cause);
    },
  );
});

let observedInNamespace: Promise<readonly ObservedFailure[]> | undefined;

/** Observes a failure in a separate network namespace. One process observes all of them, because it takes seconds to start. */
async function observeInNamespace({ kind }: FailingConnection): Promise<ObservedFailure> {
  const all = Object.values(CASES).filter(({ inNamespace }) => inNamespace);
  observedInNamespace ??= (async () => {
    const connections = await Promise.all(
      all.map(async (one) => ({ kind: one.kind, settings: await one.start(), options: [], check: 'address' })),
    );
    const [unshare, ...namespaces] = IN_NAMESPACES;
    const routes = ROUTES.map((route) => `ip route add ${route} && `).join('');
    const script = `ip link set lo up && ${routes}exec "$@"`;
    const client = [process.execPath, '--import', LOADER, CLIENT, JSON.stringify(connections)];
    const limits = { timeout: 50_000 };
    const { stdout } = await promisify(execFile)(unshare, [...namespaces, 'sh', '-c', script, 'sh', ...client], limits);
    return JSON.parse(stdout) as readonly ObservedFailure[];
  })();
  return (await observedInNamespace)[all.findIndex((one) => one.kind === kind)]!;
}

describe('server that stops refusing connections and does not respond', () => {
  it('attributes an outage to an unanswered connection attempt instead of an earlier refusal if a server stops refusing connections and stays silent', async () => {
    const server = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {} } }));
    const proxy = await closedAfterTest(FaultProxy.start(server.url));
    const app = await closedAfterTest(startOrdersApp({ url: proxy.url, outageGraceMs: 1_000 }));
    await firstValueFrom(app.orders.get({ id: '1' }));
    proxy.refuse();
    proxy.resetAll();
    const refused = await failureOf(app.orders.get({ id: '1' }, { waitForReady: true, timeoutMs: 700 }));
    expect(refused.message).toContain('nothing is listening on this port');
    await proxy.staySilent();
    const kindNow = () => app.client.connectivity.lastFailure?.kind;
    await waitFor(() => kindNow() === 'silent', {
      timeoutMs: 30_000,
      describe: () => `a silent peer, not ${kindNow()}`,
    });
    const text = `${proxy.url} accepts the connection but does not respond (connecting for <duration>)`;
    const withoutDuration = (message: string) =>
      message.replace(/connecting for [\d.]+ s/, 'connecting for <duration>');
    const late = await failureOf(app.orders.get({ id: '1' }, { waitForReady: true, timeoutMs: 100 }));
    const failed = await failureOf(app.orders.get({ id: '1' }));
    for (const { message } of [late, failed]) {
      expect(withoutDuration(message)).toContain(text);
      expect(message).toContain(`(${CONNECT_FAILURES.silent.remedy}; to diagnose`);
      expect(message).not.toContain('nothing is listening');
    }
    expect(withoutDuration(app.client.connectivity.lastError ?? '')).toBe(text);
  });
});
