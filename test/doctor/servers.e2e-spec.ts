import { Http2FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startHttp2Server } from '../calls/raw-http2-server.js';
import { ORDERS_PROTO, certificate } from '../nest/places.js';
import { NestServer } from '../server/support/nest-server.js';
import { doctor, fileOf } from './support.js';

let ownHalf: NestServer;
let ownHalfWithTls: NestServer;
beforeAll(async () => {
  const start = (...flags: '--tls'[]) => NestServer.start({ reflection: true }, flags);
  [ownHalf, ownHalfWithTls] = await Promise.all([start(), start('--tls')]);
});
afterAll(() => Promise.all([ownHalf.close(), ownHalfWithTls.close()]));

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

describe("a server of the library's other half", () => {
  it('says that it is well, and what it serves', async () => {
    const { port } = ownHalfWithTls;
    const { code, of } = await doctor([
      `localhost:${port}`,
      '--ca',
      certificate('ca'),
      '--service',
      'orders.v1.Orders',
    ]);
    expect(code).toBe(0);
    expect(of('health')).toMatchObject({ status: 'ok', facts: { serving: 'SERVING', service: 'orders.v1.Orders' } });
    expect(of('reflection')).toMatchObject({
      says: '1 service: orders.v1.Orders',
      facts: { version: 'grpc.reflection.v1.ServerReflection' },
    });
    expect(of('reflection').facts['services']).toContain('grpc.health.v1.Health');
  });

  it('does not know a service that it has not', async () => {
    const { url } = ownHalf;
    const { code, of } = await doctor([url, '--service', 'orders.v1.Order']);
    expect(code).toBe(1);
    expect(of('health')).toMatchObject({ status: 'failed', says: "the server knows no 'orders.v1.Order'" });
  });

  it('is what the names of a service config are compared with', async () => {
    const { url } = ownHalf;
    const name = (service: string, method?: string) => ({ service, ...(method && { method }) });
    const file = fileOf('config.json', {
      methodConfig: [{ name: [name('orders.v1.Order'), name('orders.v1.Orders', 'Gett')], timeout: '1s' }],
    });
    const { code, of } = await doctor([url, '--service-config', file]);
    expect(code).toBe(0);
    expect(of('service-config')).toMatchObject({ status: 'warning', facts: { comparedWith: 'reflection' } });
    expect(of('service-config').problems?.map(({ message }) => message)).toEqual([
      'serviceConfig names orders.v1.Order, which reflection does not have; did you mean orders.v1.Orders?',
      'serviceConfig names orders.v1.Orders/Gett, which the definition does not have',
    ]);
  });

  it('bears pings', async () => {
    const { url } = ownHalf;
    const { code, of } = await doctor([url, '--keepalive', '0.05s']);
    expect(code).toBe(0);
    expect(of('keepalive').facts).toMatchObject({ sent: 5, acknowledged: 5, withCall: true });
  });
});

describe('a server that answers otherwise', () => {
  it('ends a connection for its pings', async () => {
    const { url } = ownHalf;
    const proxy = await Http2FaultProxy.start(url);
    onTestFinished(() => proxy.close());
    proxy.tooManyPingsAfter(3);
    const { code, of } = await doctor([proxy.url, '--keepalive', '0.05s']);
    expect(code).toBe(1);
    expect(of('keepalive')).toMatchObject({
      status: 'failed',
      // A busy machine may send one more before it reads the GOAWAY.
      says: expect.stringMatching(
        /^the server ends the connection after [45] pings, one each 50 ms: GOAWAY too_many_pings$/,
      ),
    });
    expect(of('keepalive').remedy).toContain('keepaliveTimeMs');
  });

  it('ends a connection in order while it is pinged: that is none of the pings', async () => {
    const { url } = ownHalf;
    const proxy = await Http2FaultProxy.start(url);
    onTestFinished(() => proxy.close());
    const run = doctor([proxy.url, '--keepalive', '0.5s']);
    await waitFor(() => proxy.counters.pings > 0, { timeoutMs: 20_000 });
    proxy.goaway({ debugData: 'max_age' });
    const { code, of } = await run;
    expect(code).toBe(0);
    expect(of('keepalive').status).toBe('warning');
    expect(of('keepalive').says).toMatch(/^the server ended the connection in order after .*: GOAWAY max_age$/);
  });

  it('has no health service, and is asked without a call open', async () => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
    onTestFinished(() => server.close());
    const { code, of } = await doctor([server.url, '--keepalive', '0.05s']);
    expect(code).toBe(0);
    expect(of('keepalive').facts).toMatchObject({ withCall: false });
    const asked = await doctor([server.url, '--service', 'orders.v1.Orders']);
    expect(asked.code).toBe(1);
    expect(asked.of('health').status).toBe('failed');
  });

  it('is HTTP/2, and none of gRPC', async () => {
    const { url } = await startHttp2Server((stream) => {
      stream.respond({ ':status': 404, 'content-type': 'text/html' });
      stream.end('<h1>not here</h1>');
    });
    const { code, of } = await doctor([url]);
    expect(code).toBe(1);
    expect(of('health').says).toContain('an HTTP/2 server answers that is none of gRPC');
    expect(of('reflection').says).toContain('HTTP status code 404');
  });

  it('is READY and answers nothing', async () => {
    const { url } = await startHttp2Server(() => undefined);
    const { code, of } = await doctor([url, '--connect-timeout', '1.5s']);
    expect(code).toBe(1);
    expect(of('health').says).toMatch(/^no answer to a call within 1.5 s$/);
  });
});
