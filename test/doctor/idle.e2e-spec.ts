import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttp2Server } from 'node:http2';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { FaultProxy, ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { runDoctor } from '../../libs/resilient-grpc/dist/doctor/run-doctor.js';
import { HAPROXY, NGINX, RealProxy } from '../guides/proxies/real-proxy.js';
import { ORDERS_PROTO, certificate } from '../nest/places.js';
import { skipWithout } from '../support/programs.js';
import { doctor } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

const SOCKET = join(tmpdir(), `doctor-${process.pid}.sock`);
/** The shortest idle timeout of the peers. */
const TIMEOUT_MS = 1_200;
/** A limit longer than the idle timeout of every peer. */
const LIMIT = '60s';

/** Runs the idle check and returns its result. */
async function runIdleCheck(url: string, limit = LIMIT, ...args: readonly string[]) {
  const { code, of } = await doctor([url, '--idle', limit, ...args]);
  const { status, message, remedy = '', facts } = of('idle');
  return { code, status, message, remedy, facts, outcome: facts['outcome'] as Readonly<Record<string, any>> };
}

async function startScriptedServer(): Promise<ScriptedGrpcServer> {
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  onTestFinished(() => server.close());
  return server;
}

/** Starts a proxy in front of a server without an idle timeout. */
async function startProxy(): Promise<FaultProxy> {
  const proxy = await FaultProxy.start((await startScriptedServer()).url);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** Starts a grpc-js server and returns its address. */
async function startGrpcJsServer(options: ServerOptions): Promise<string> {
  const server = new Server(options);
  const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
  onTestFinished(() => {
    server.forceShutdown();
  });
  return `127.0.0.1:${port}`;
}

it.each([
  ['a DNS name', 0, (port: number) => `dns:///localhost:${port}`, (port: number) => `localhost:${port}`],
  ['addresses', 0, (port: number) => `ipv4:127.0.0.1:${port},127.0.0.2:${port}`, (port: number) => `127.0.0.1:${port}`],
  ['a Unix socket', SOCKET, () => `unix:${SOCKET}`, () => 'localhost'],
])(
  'sends the same :authority as a client in the calls of all doctor checks for a target with %s',
  async (_, place, target, authority) => {
    const authorities = new Set<string | undefined>();
    let requests = 0;
    const server = createHttp2Server().on('stream', (stream, headers) => {
      requests += 1;
      authorities.add(headers[':authority']);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12' }, { endStream: true });
    });
    await once(server.listen(place), 'listening');
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = address === null || typeof address === 'string' ? 0 : address.port;
    await doctor([target(port), '--idle', '1s', '--keepalive', '1s']);
    expect([...authorities]).toEqual([authority(port)]);
    expect(requests).toBeGreaterThan(2);
  },
);

describe('a peer that ends idle connections', () => {
  it("passes the doctor's idle check if a server sends GOAWAY after its maximum idle time", async () => {
    const { code, status, message, outcome } = await runIdleCheck(
      await startGrpcJsServer({ 'grpc.max_connection_idle_ms': TIMEOUT_MS }),
    );
    expect([code, status]).toEqual([0, 'ok']);
    expect(outcome).toMatchObject({ kind: 'closed', end: { how: 'goaway' } });
    expect(outcome['idleMs']).toBeGreaterThanOrEqual(TIMEOUT_MS - 100);
    expect(message).toContain('no call is lost');
  });

  it.each([
    ['fin', 'TCP FIN without GOAWAY'],
    ['rst', 'TCP RST'],
  ] as const)(
    "warns in the doctor's idle check about lost calls if a proxy closes idle connections with %s",
    async (how, text) => {
      const proxy = await startProxy();
      proxy.cutIdleAfter(TIMEOUT_MS * 2, how);
      const { code, status, message, remedy, facts, outcome } = await runIdleCheck(proxy.url);
      expect([code, status]).toEqual([0, 'warning']);
      expect(outcome).toMatchObject({ kind: 'closed', end: { how } });
      expect(outcome['idleMs']).toBeGreaterThanOrEqual(TIMEOUT_MS * 2 - 100);
      expect(message).toContain(text);
      expect(facts['idleTimeoutMs']).toBeLessThan(outcome['idleMs']);
      expect(remedy).toContain(`set connections.idleMs to ${facts['idleTimeoutMs']} or less`);
    },
  );

  it("measures the idle timeout of HAProxy in the doctor's idle check", async ({ skip }) => {
    skip(...skipWithout('haproxy'));
    const server = await startScriptedServer();
    const proxy = await RealProxy.start(HAPROXY, [server.port, server.port], {
      'timeout client 1h': `timeout client ${TIMEOUT_MS}ms`,
    });
    onTestFinished(() => proxy.close());
    const { outcome } = await runIdleCheck(proxy.url);
    expect(outcome).toMatchObject({ kind: 'closed' });
    expect(outcome['idleMs']).toBeGreaterThanOrEqual(TIMEOUT_MS - 100);
  });

  it("measures the idle timeout of nginx in the doctor's idle check", async ({ skip }) => {
    skip(...skipWithout('nginx'));
    const server = await startScriptedServer();
    const proxy = await RealProxy.start(NGINX, [server.port, server.port], {
      'grpc_read_timeout 1h;': 'keepalive_timeout 2s; grpc_read_timeout 1h;',
    });
    onTestFinished(() => proxy.close());
    const { outcome } = await runIdleCheck(proxy.url);
    expect(outcome).toMatchObject({ kind: 'closed', end: { how: 'goaway' } });
    expect(outcome['idleMs']).toBeGreaterThanOrEqual(1_900);
  });
});

describe('a peer that drops idle connections silently', () => {
  it("reports the bounds of the idle timeout in the doctor's idle check if a proxy drops idle connections silently, and recommends a smaller connections.idleMs", async () => {
    const proxy = await startProxy();
    proxy.cutIdleAfter(TIMEOUT_MS * 3, 'silent');
    const { code, status, message, remedy, facts, outcome } = await runIdleCheck(
      proxy.url,
      LIMIT,
      '--connect-timeout',
      '2s',
    );
    expect([code, status]).toEqual([0, 'warning']);
    expect(outcome).toMatchObject({ kind: 'dropped', how: 'silent' });
    expect(outcome['answeredMs']).toBeGreaterThan(0);
    expect(outcome['lostMs']).toBeGreaterThanOrEqual(TIMEOUT_MS * 3 - 100);
    expect(outcome['answeredMs']).toBeLessThan(outcome['lostMs']);
    expect(message).toMatch(/received no response.*: a load balancer, NAT, or firewall has dropped it silently/);
    expect(facts['idleTimeoutMs']).toBeLessThan(outcome['answeredMs']);
    expect(remedy).toContain(`set connections.idleMs to ${facts['idleTimeoutMs']} or less`);
  });

  it("reports in the doctor's idle check that an idle connection is reset when it is used", async () => {
    const { outcome, message } = await runIdleCheck(
      await startForgetfulProxy((await startScriptedServer()).port, TIMEOUT_MS * 3),
    );
    expect(outcome).toMatchObject({ kind: 'dropped', how: 'reset' });
    expect(message).toContain('was reset when it was used');
  });
});

describe('a peer that does not end idle connections', () => {
  it("passes the doctor's idle check if the peer keeps idle connections until the limit of --idle", async () => {
    const { code, status, outcome } = await runIdleCheck((await startScriptedServer()).url, '1s');
    expect([code, status, outcome]).toEqual([0, 'ok', { kind: 'kept', idleMs: 1_000 }]);
  });

  it("reports in the doctor's idle check over TLS that the peer keeps idle connections until the limit of --idle", async () => {
    const pem = (name: string) => readFileSync(certificate(name), 'utf8');
    const tls = { key: pem('server-key'), cert: pem('server') };
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, tls });
    onTestFinished(() => server.close());
    const { outcome } = await runIdleCheck(server.url, '0.5s', '--ca', certificate('ca'));
    expect(outcome).toEqual({ kind: 'kept', idleMs: 500 });
  });

  it("warns in the doctor's idle check that a maximum connection age, not an idle timeout, ended a connection in use", async () => {
    const { status, outcome, remedy } = await runIdleCheck(
      await startGrpcJsServer({ 'grpc.max_connection_age_ms': 2_000 }),
    );
    expect(status).toBe('warning');
    expect(outcome).toMatchObject({ kind: 'ended-in-use', end: { how: 'goaway', details: 'max_age' } });
    expect(remedy).toContain('not an idle timeout');
  });

  it("fails the doctor's idle check if even connections in use receive no response", async () => {
    const proxy = await startProxy();
    let stdout = '';
    const stderr = {
      isTTY: true,
      write: (text: string) => {
        // The progress shows that the measurement has started.
        if (text.includes('idle for')) proxy.holdBytes();
      },
    };
    const args = ['doctor', proxy.url, '--idle', LIMIT, '--connect-timeout', '1s'];
    const terminal = { env: process.env, stdout: { write: (text: string) => (stdout += text) }, stderr };
    expect(await runDoctor(args, terminal)).toBe(1);
    expect(stdout).toMatch(/^FAIL {2}idle {12}a connection in use stopped responding after/m);
  });
});

describe('--idle', () => {
  it("skips the doctor's idle check if no address is usable", async () => {
    const { of } = await doctor(['127.0.0.1:1', '--idle', '10m']);
    expect(of('idle')).toMatchObject({ status: 'skipped', message: 'not checked: no usable address' });
  });

  it("shows the progress of the doctor's idle check in a terminal, and removes it before the result", async () => {
    const written: string[] = [];
    const stream = { write: (text: string) => written.push(text), isTTY: true, hasColors: () => false };
    const args = ['doctor', (await startScriptedServer()).url, '--idle', '1.5s'];
    await runDoctor(args, { env: process.env, stdout: stream, stderr: stream });
    const text = written.join('');
    expect(text).toMatch(/\r\u001b\[2Kidle for 0 ms of 1.5 s: 12 connections left/);
    expect(text).toMatch(/\r\u001b\[2Kidle for 1 s of 1.5 s: \d+ connections? left; last answer after \d+ ms/);
    expect(text).toMatch(/\r\u001b\[2Kok {4}idle /);
  });
});

/** Starts a proxy that resets a connection if the client sends bytes after a pause of more than `idleMs`. Returns the proxy's address. */
async function startForgetfulProxy(port: number, idleMs: number): Promise<string> {
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => sockets.add(socket.on('error', () => undefined));
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    keep(client);
    keep(upstream);
    let usedAt = performance.now();
    client.on('data', (bytes) => {
      if (performance.now() - usedAt > idleMs) client.resetAndDestroy();
      else upstream.write(bytes);
      usedAt = performance.now();
    });
    upstream.on('data', (bytes) => client.write(bytes));
    client.on('close', () => upstream.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
