import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { startOrdersApp } from '../support/orders-app.js';
import { ordersOf, serveOrders, startServers } from './served-orders.js';
import { pem } from './parity/places.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const URL = { url: '127.0.0.1:0' };

function open(port: number | undefined): ClientHttp2Session {
  const session = connectHttp2(`http://127.0.0.1:${String(port)}`).on('error', () => undefined);
  onTestFinished(() => {
    session.destroy();
  });
  return session;
}

describe('the transport of a server', () => {
  it("is grpc-js's with transport: 'grpc-js', and a line at the start names what is off", async () => {
    const { server, log, app: served } = await startServers(await serveOrders({ ...URL, transport: 'grpc-js' }));
    const texts = (): string[] => log.lines.map(({ text }) => text);
    expect(texts()).toContainEqual(expect.stringMatching(/^serving on grpc-js's transport.* Off: connections\.max, /));
    const app = await closedAfterTest(startOrdersApp({ url: `127.0.0.1:${String(server.port)}` }));
    expect(await firstValueFrom(app.orders.get({ id: '7' }))).toMatchObject({ id: '7' });
    await served.close();
    expect(server.port).toBeUndefined();
  });

  it("is the library's by default", async () => {
    const { server, log } = await startServers(await serveOrders(URL));
    expect(log.lines.map(({ text }) => text).join()).not.toContain('transport');
    const app = await closedAfterTest(startOrdersApp({ url: `127.0.0.1:${String(server.port)}` }));
    expect(await firstValueFrom(app.orders.get({ id: '7' }))).toMatchObject({ id: '7' });
  });

  it('logs a warning that names the method and the sizes if a request is larger than it takes', async () => {
    const channelOptions = { 'grpc.max_receive_message_length': 100 };
    const { server, log } = await startServers(await serveOrders({ ...URL, channelOptions }));
    const answer = await ordersOf(`127.0.0.1:${String(server.port)}`).unary('Get', { id: 'x'.repeat(200) });
    expect(answer).toMatch(/^8 Received message larger than max \(203 vs 100\)/);
    const warnings = log.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
    expect(warnings).toEqual([
      expect.stringMatching(/\/orders\.v1\.Orders\/Get.*\(203 vs 100\).*maxReceiveMessageLength/),
    ]);
  });

  it('logs a warning that names the client and the limit if it refuses or ends a connection', async () => {
    const { server, log } = await startServers(await serveOrders({ ...URL, connections: { max: 1 } }));
    const session = open(server.port);
    await new Promise((resolve) => session.ping(resolve));
    const warnings = (): string[] => log.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
    open(server.port);
    await waitFor(() => warnings().length === 1);
    expect(warnings()[0]).toMatch(
      /^connection from 127\.0\.0\.1:\d+ refused: more than 1 connections \(connections\.max\)/,
    );
    session.destroy();
    await waitFor(() => {
      const socket = connect({ port: server.port ?? 0, host: '127.0.0.1' });
      onTestFinished(() => void socket.destroy());
      socket.on('error', () => undefined).write('GET / HTTP/1.1\r\n\r\n');
      return warnings().some((line) => /^connection of 127\.0\.0\.1:\d+ ended: the client speaks HTTP\/1/.test(line));
    });
  });

  it('uses new certificates for new connections, and closes connections without any', async () => {
    const listeners = new Set<(update: experimental.IdentityCertificateUpdate | null) => void>();
    const provider: experimental.CertificateProvider = {
      addCaCertificateListener: () => undefined,
      removeCaCertificateListener: () => undefined,
      addIdentityCertificateListener: (listener) => listeners.add(listener),
      removeIdentityCertificateListener: (listener) => listeners.delete(listener),
    };
    const update = (name: string): void => {
      const identity = { certificate: pem(name), privateKey: pem(`${name}-key`) };
      for (const listener of listeners) listener(identity);
    };
    // The types of grpc-js have the providers in the wrong order.
    const create = experimental.createCertificateProviderServerCredentials as unknown as (
      identity: experimental.CertificateProvider,
      ca: experimental.CertificateProvider | null,
      requiresCertificate: boolean,
    ) => ServerCredentials;
    const served = await startServers(await serveOrders({ ...URL, credentials: create(provider, null, false) }));
    const subject = (): Promise<string | undefined> =>
      new Promise((resolve) => {
        const socket = connectTls({
          port: served.server.port ?? 0,
          host: '127.0.0.1',
          rejectUnauthorized: false,
          ALPNProtocols: ['h2'],
        });
        socket.on('secureConnect', () => {
          resolve(socket.getPeerX509Certificate()?.subject);
          socket.destroy();
        });
        socket.on('error', () => undefined).on('close', () => resolve(undefined));
      });
    expect(await subject()).toBeUndefined();
    update('server');
    const first = await subject();
    update('client');
    const second = await subject();
    expect(first).toBeDefined();
    expect(second).toBeDefined();
    expect(second).not.toBe(first);
    await served.app.close();
    expect(listeners.size).toBe(0);
  });
});
