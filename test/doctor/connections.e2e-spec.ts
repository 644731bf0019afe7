import { readFileSync } from 'node:fs';
import { createServer as createHttp1Server } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { once } from 'node:events';
import { captureLeaks, FaultProxy, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.mjs';
import { ORDERS_PROTO, certificate } from '../nest/places.js';
import { doctor } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

const pem = (name: string) => readFileSync(certificate(name), 'utf8');
const ca = certificate('ca');

async function startServer(name?: string, clientCa?: string): Promise<number> {
  const tls = name && { key: pem(`${name}-key`), cert: pem(name), ...(clientCa && { ca: pem(clientCa) }) };
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, ...(tls && { tls }) });
  onTestFinished(() => server.close());
  return server.port;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

describe('server without TLS', () => {
  it("passes the doctor's target, address, and client checks for a server without TLS", async () => {
    const port = await startServer();
    const { code, checks, of } = await doctor([`127.0.0.1:${port}`]);
    expect(code).toBe(0);
    expect(checks.map(({ check, status }) => `${check} ${status}`)).toEqual([
      'target ok',
      'address ok',
      'client ok',
      'health skipped',
      'reflection skipped',
    ]);
    expect(of('target').facts['addresses']).toEqual([`127.0.0.1:${port}`]);
    expect(of('address').facts).toMatchObject({ tcpMs: expect.any(Number), readyMs: expect.any(Number) });
    expect(of('client').facts).toMatchObject({
      target: `dns:///127.0.0.1:${port}`,
      state: 'READY',
      transport: 'socket',
    });
    expect(of('health').message).toContain('does not implement grpc.health.v1.Health');
  });

  it("warns in the doctor's address check about an unreachable address if another address works", async () => {
    const [port, unused] = [await startServer(), await freePort()];
    const { code, checks } = await doctor([`ipv4:127.0.0.1:${unused},127.0.0.1:${port}`]);
    expect(code).toBe(0);
    const addresses = checks
      .filter(({ check }) => check === 'address')
      .map(({ status, facts }) => [status, facts['address']]);
    expect(addresses).toEqual([
      ['warning', `127.0.0.1:${unused}`],
      ['ok', `127.0.0.1:${port}`],
    ]);
  });

  it('fails the client check of the doctor, and names --timeout, if the time is used up before the check', async () => {
    const silent = await listen(createServer((socket) => socket.on('error', () => undefined).resume()));
    const limits = ['--timeout', '3s', '--connect-timeout', '30s'];
    const { code, of } = await doctor([`ipv4:127.0.0.1:${silent},127.0.0.1:${await startServer()}`, ...limits]);
    expect(of('client')).toMatchObject({
      status: 'failed',
      message: 'not checked: --timeout 3s is used up',
      remedy: 'run the doctor again with a longer --timeout',
    });
    expect(code).toBe(1);
  });

  it("names the server log as the remedy in the doctor's client check if the address check passes but no connection is usable", async () => {
    const goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const port = await listen(
      createServer((socket) => {
        socket.on('error', () => undefined).resume();
        socket.end(Buffer.from([...settings, ...goaway]));
      }),
    );
    const { of } = await doctor([`127.0.0.1:${port}`, '--connect-timeout', '1.5s']);
    expect(of('address').status).toBe('ok');
    expect(of('client')).toMatchObject({
      status: 'failed',
      remedy: 'check the log of the server, or of a proxy in front of it',
    });
  });
});

describe('unresponsive target', () => {
  it("fails the doctor's address check if the connection is refused", async () => {
    const { code, of } = await doctor([`127.0.0.1:${await freePort()}`, '--keepalive', '10s']);
    expect(code).toBe(1);
    expect(of('address')).toMatchObject({
      status: 'failed',
      facts: { failure: { phase: 'tcp', code: 'ECONNREFUSED' } },
    });
    expect([of('client').status, of('keepalive').status]).toEqual(['skipped', 'skipped']);
  });

  it("fails the doctor's address check with a timeout if the server accepts the connection but sends nothing", async () => {
    const port = await listen(createServer((socket) => socket.on('error', () => undefined).resume()));
    const { code, of } = await doctor([`127.0.0.1:${port}`, '--connect-timeout', '1.5s']);
    expect(code).toBe(1);
    expect(of('address').message).toContain('accepts the connection but does not respond (timed out after ');
    expect(of('address').facts).toMatchObject({ failure: { phase: 'http2', code: 'timeout' } });
  });

  it.each([[[]], [['--tls']]])(
    "fails the doctor's address check if the server responds with HTTP/1 (additional arguments: %j)",
    async (args) => {
      const port = await listen(createHttp1Server((_request, response) => response.end('hello')));
      const { code, of } = await doctor([`127.0.0.1:${port}`, ...args]);
      expect(code).toBe(1);
      expect(of('address').message).toContain('but gRPC requires HTTP/2');
    },
  );
});

describe('TLS', () => {
  it("reports the names and the remaining days of the server certificate in the doctor's certificate check", async () => {
    const port = await startServer('server');
    const { code, of } = await doctor([`localhost:${port}`, '--ca', ca]);
    expect(code).toBe(0);
    expect(of('address').facts).toMatchObject({ protocol: 'TLSv1.3', alpn: 'h2', tlsMs: expect.any(Number) });
    const days = of('certificate').facts['expiresInDays'] as number;
    expect(days).toBeGreaterThan(30_000);
    expect(of('certificate').message).toBe(
      `CN=server, issued by CN=ca, for localhost, 127.0.0.1; matches 'localhost'; expires in ${days} days`,
    );
  });

  it("requires a certificate for the IP address of an ipv4 target in the doctor's certificate check", async () => {
    const { code, of } = await doctor([`ipv4:127.0.0.1:${await startServer('server')}`, '--ca', ca]);
    expect([code, of('certificate').facts['expected']]).toEqual([0, '127.0.0.1']);
    const refused = await doctor([`ipv4:127.0.0.1:${await startServer('named')}`, '--ca', ca]);
    expect(refused.of('certificate').message).toContain('ERR_TLS_CERT_ALTNAME_INVALID: expected 127.0.0.1');
  });

  it("warns in the doctor's certificate check about a wrong certificate at one address if another works", async () => {
    const [bad, good] = [await startServer('named'), await startServer('server')];
    const { code, checks } = await doctor([`ipv4:127.0.0.1:${bad},127.0.0.1:${good}`, '--ca', ca]);
    expect(code).toBe(0);
    expect(checks.filter(({ check }) => check === 'certificate')).toMatchObject([
      { status: 'warning', message: expect.stringContaining(`the server at 127.0.0.1:${bad} sends a certificate`) },
      { status: 'ok' },
    ]);
  });

  it("reports an unknown server name in the doctor's address check, and does not connect again without TLS", async () => {
    let connections = 0;
    const unrecognizedName = Buffer.from([0x15, 3, 3, 0, 2, 2, 112]);
    const port = await listen(
      createServer((socket) => {
        connections += 1;
        socket.on('error', () => undefined).once('data', () => socket.end(unrecognizedName));
      }),
    );
    const { code, of } = await doctor([`localhost:${port}`, '--ca', ca]);
    expect([code, connections]).toEqual([1, 1]);
    expect(of('address').message).toContain('does not recognize the requested server name (SNI)');
  });

  it("fails the doctor's certificate check if the certificate is not trusted", async () => {
    const { code, of } = await doctor([`localhost:${await startServer('server')}`, '--tls']);
    expect(code).toBe(1);
    expect(of('certificate')).toMatchObject({
      status: 'failed',
      facts: { refused: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', issuer: 'CN=ca' },
    });
    expect(of('client').status).toBe('skipped');
  });

  it("fails the doctor's certificate check for a certificate with another name, and passes it if --server-name matches", async () => {
    const port = await startServer('named');
    const refused = await doctor([`localhost:${port}`, '--ca', ca]);
    expect(refused.of('certificate').message).toContain(
      'sends a certificate for a different name (ERR_TLS_CERT_ALTNAME_INVALID: expected localhost)',
    );
    expect(refused.of('certificate').remedy).toContain("serverName: 'orders.internal'");
    expect((await doctor([`localhost:${port}`, '--ca', ca, '--server-name', 'orders.internal'])).code).toBe(0);
  });

  it("fails the doctor's address check if the server requires a client certificate and none is given", async () => {
    const port = await startServer('server', 'ca');
    const without = await doctor([`localhost:${port}`, '--ca', ca]);
    expect(without.of('address').message).toContain('requires a client certificate');
    const pair = ['--cert', certificate('client'), '--key', certificate('client-key')];
    expect((await doctor([`localhost:${port}`, '--ca', ca, ...pair])).code).toBe(0);
  });

  it('does not connect again without TLS if a server rejects the client certificate of the doctor', async () => {
    const port = await startServer('server', 'ca');
    const proxy = await FaultProxy.start(`localhost:${port}`);
    onTestFinished(() => proxy.close());
    const pair = ['--cert', certificate('untrusted'), '--key', certificate('untrusted-key')];
    const { code } = await doctor([`localhost:${proxy.port}`, '--ca', ca, ...pair]);
    expect([code, proxy.counters.accepted]).toEqual([1, 1]);
  });
});
