import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { NestFactory } from '@nestjs/core';
import { getGrpcClientToken, ResilientGrpcModule, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  failureOf,
  startClient,
  startServer,
  upTo,
  type ClientSettings,
  type EchoService,
  type EchoStub,
} from '../calls/support.js';
import { CapturedLog } from '../support/captured-log.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { certificate } from '../support/orders-app.js';
import { PYTHON, skipWithout } from '../support/programs.js';
import { recordTiming } from '../support/timing.js';
import { identity, TlsFront } from './tls-front.js';

const ca = certificate('ca');
const portOf = ({ url }: { readonly url: string }): number => Number(url.split(':').at(-1));

async function echoOf(url: string, settings: ClientSettings = {}): Promise<EchoStub> {
  return (await startClient({ url, ...settings })).getService<EchoService>('Echo');
}

async function expectAllKinds(echo: EchoStub): Promise<void> {
  const payload = Buffer.alloc(300_000, 'abc');
  expect(payload.equals((await firstValueFrom(echo.unary({ payload }))).payload)).toBe(true);
  expect(await firstValueFrom(echo.clientStream(upTo(20)))).toMatchObject({ number: 20 });
  expect(await lastValueFrom(echo.serverStream({ number: 500 }).pipe(toArray()))).toHaveLength(500);
  expect(await lastValueFrom(echo.bidi(upTo(20)).pipe(toArray()))).toMatchObject(upTo(20));
}

/** Listens on a free port of `host`, forwards to `port` on 127.0.0.1, and returns its own port. */
async function forward(host: string, port: number): Promise<number> {
  return listen(
    createServer((socket) => pipe(socket, connect(port, '127.0.0.1'))),
    host,
  );
}

async function listen(server: Server, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => {
    server.listen(0, host, resolve);
  });
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  // Safe: the server listens on TCP.
  return (server.address() as AddressInfo).port;
}

function pipe(one: Socket, other: Socket): void {
  one.on('error', () => other.destroy()).on('close', () => other.destroy());
  other.on('error', () => one.destroy()).on('close', () => one.destroy());
  one.pipe(other).pipe(one);
}

describe('TLS', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'carries all kinds of calls over %s, with a client certificate',
    async (version) => {
      const server = await startServer();
      const options = { minVersion: version, maxVersion: version, requestCert: true, rejectUnauthorized: true };
      const front = await TlsFront.start(portOf(server), options);
      const tls = { ca, cert: certificate('client'), key: certificate('client-key') };
      await expectAllKinds(await echoOf(`localhost:${String(front.port)}`, { tls }));
      expect(front.sockets.map((socket) => [socket.getProtocol(), socket.authorized, socket.servername])).toEqual([
        [version, true, 'localhost'],
      ]);
    },
  );

  it('requests the certificate of another name, and does not accept it without that', async () => {
    const server = await startServer();
    const front = await TlsFront.start(portOf(server), identity('named'));
    const url = `localhost:${String(front.port)}`;
    const options = { waitForReady: false };
    const rejected = await echoOf(url, { tls: { ca }, outageGraceMs: 0 });
    expect(await failureOf(rejected.unary({}, options))).toMatchObject({ code: 14, reachedServer: 'no' });
    const serverName = 'orders.internal';
    await firstValueFrom((await echoOf(url, { tls: { ca, serverName } })).unary({}));
    expect(front.sockets.at(-1)?.servername).toBe(serverName);
  });

  it('keeps its connection when the server gets another certificate, rejects an expired one, and recovers', async () => {
    const server = await startServer();
    const front = await TlsFront.start(portOf(server));
    const echo = await echoOf(`localhost:${String(front.port)}`, { tls: { ca }, outageGraceMs: 0 });
    await firstValueFrom(echo.unary({}));
    front.rotate('expired');
    await firstValueFrom(echo.unary({}));
    expect(front.sockets).toHaveLength(1);
    front.sockets[0]?.destroy();
    await waitFor(
      async () => /expired/.test((await failureOf(echo.unary({})).catch(() => ({ details: '' }))).details),
      {
        timeoutMs: 20_000,
      },
    );
    front.rotate('server');
    await firstValueFrom(echo.unary({}, { waitForReady: true, timeoutMs: 30_000 }));
  });
});

describe('addresses', () => {
  it('connects over IPv6', async ({ skip }) => {
    const server = await startServer();
    const port = await forward('::1', portOf(server)).catch(() => undefined);
    skip(port === undefined, 'not run: this machine has no IPv6');
    await expectAllKinds(await echoOf(`[::1]:${String(port)}`));
  });

  it(
    'tries the second address 250 ms after the first, which does not respond',
    { tags: ['timed'] },
    async ({ skip, task }) => {
      skip(...skipWithout('procfs', 'grpcio'));
      const server = await startServer();
      const port = portOf(server);
      const dead = spawn(PYTHON, [new URL('full_backlog.py', import.meta.url).pathname, '127.0.0.2', String(port)]);
      onTestFinished(async () => {
        dead.stdin.end();
        await once(dead, 'exit');
      });
      await once(dead.stdout, 'data');
      const echo = await echoOf(`ipv4:127.0.0.2:${String(port)},127.0.0.1:${String(port)}`, {
        serviceConfig: { loadBalancingConfig: [{ pick_first: {} }] },
      });
      const startedAt = performance.now();
      await firstValueFrom(echo.unary({}));
      recordTiming(task, 'time to the first response, ms', performance.now() - startedAt, { atMost: 600 });
    },
  );
});

describe('HTTP proxy', () => {
  /** Starts an HTTP proxy that connects to `server`, sets it as the variable `name`, and returns its requests. */
  async function useProxy(name: string, server: ScriptedGrpcServer): Promise<IncomingMessage[]> {
    const requests: IncomingMessage[] = [];
    const proxy = createHttpServer().on('connect', (request: IncomingMessage, socket: Socket) => {
      requests.push(request);
      socket.on('error', () => undefined);
      const upstream = connect(portOf(server), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        pipe(socket, upstream);
      });
    });
    const port = await listen(proxy);
    for (const other of ['grpc_proxy', 'https_proxy', 'http_proxy', 'no_proxy', 'no_grpc_proxy']) vi.stubEnv(other, '');
    vi.stubEnv(name, `http://me:s%40cret@127.0.0.1:${String(port)}`);
    onTestFinished(() => void vi.unstubAllEnvs());
    return requests;
  }

  it.each(['https_proxy', 'HTTPS_PROXY', 'HTTP_PROXY'])(
    'opens a tunnel with the credentials in %s, to names and IPv6 addresses',
    async (variable) => {
      const server = await startServer();
      const requests = await useProxy(variable, server);
      await expectAllKinds(await echoOf('orders.invalid:50051'));
      await firstValueFrom((await echoOf('[::1]:50052')).unary({}));
      expect(requests.map(({ url, headers }) => [url, headers.host, headers['proxy-authorization']])).toEqual(
        ['orders.invalid:50051', '[::1]:50052'].map((target) => [target, target, `Basic ${btoa('me:s@cret')}`]),
      );
    },
  );

  it.each(['no_proxy', 'NO_PROXY'])('is bypassed for hosts in %s', async (variable) => {
    const server = await startServer();
    const requests = await useProxy('HTTPS_PROXY', server);
    vi.stubEnv(variable, 'elsewhere.example,127.0.0.1');
    await firstValueFrom((await echoOf(server.url)).unary({}));
    expect(requests).toEqual([]);
  });

  it.each([
    ['https_proxy', 'socks5://me:secret@127.0.0.1:1080', 1],
    ['HTTPS_PROXY', 'https://127.0.0.1:3128', 1],
    ['HTTPS_PROXY', 'http://127.0.0.1:3128', 0],
  ])('is bypassed with a warning if %s is %s', async (variable, value, count) => {
    const server = await startServer();
    await useProxy(variable, server);
    vi.stubEnv(variable, value);
    const log = new CapturedLog();
    const channelOptions = count === 0 ? { 'grpc.enable_http_proxy': 0 } : {};
    const settings = { name: 'echo', protoPath: ECHO_PROTO, url: server.url, channelOptions };
    class AppModule {}
    const imports = [ResilientGrpcModule.forRoot(), ResilientGrpcModule.forFeature([settings])];
    const app = await NestFactory.createApplicationContext({ module: AppModule, imports }, { logger: log });
    onTestFinished(() => app.close());
    const client = app.get<ResilientGrpcClient>(getGrpcClientToken('echo'));
    await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
    const warnings = log.lines.filter(({ text }) => text.includes(variable));
    expect(warnings).toHaveLength(count);
    for (const { text } of warnings) expect(text).not.toContain('secret');
  });
});
