import { createRequire } from 'node:module';
import { Http2FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { startHttp2Server } from '../calls/raw-http2-server.js';
import { ORDERS_PROTO, certificate } from '../nest/places.js';
import { NestServer } from '../server/support/nest-server.js';
import { doctor, createFile } from './support.js';

let ourServer: NestServer;
let ourServerWithTls: NestServer;
beforeAll(async () => {
  const start = (...flags: '--tls'[]) => NestServer.start({ reflection: true }, flags);
  [ourServer, ourServerWithTls] = await Promise.all([start(), start('--tls')]);
});
afterAll(() => Promise.all([ourServer.close(), ourServerWithTls.close()]));

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

describe("this library's server", () => {
  it("passes the doctor's health and reflection checks for this library's server", async () => {
    const { port } = ourServerWithTls;
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
      message: '1 service: orders.v1.Orders',
      facts: { version: 'grpc.reflection.v1.ServerReflection' },
    });
    expect(of('reflection').facts['services']).toContain('grpc.health.v1.Health');
  });

  it("fails the doctor's health check of an unknown service", async () => {
    const { url } = ourServer;
    const { code, of } = await doctor([url, '--service', 'orders.v2.Orders']);
    expect(code).toBe(1);
    expect(of('health')).toMatchObject({
      status: 'failed',
      message: "the health service has no status for 'orders.v2.Orders'",
      remedy: expect.stringContaining('compare the name with those of the reflection check') as string,
    });
  });

  it("compares the names in a service config with the server's services in the doctor's service-config check", async () => {
    const { url } = ourServer;
    const name = [{ service: 'orders.v1.Order' }, { service: 'orders.v1.Orders' }];
    const file = createFile('config.json', { methodConfig: [{ name, timeout: '1s' }] });
    const { code, of } = await doctor([url, '--service-config', file]);
    expect(code).toBe(0);
    expect(of('service-config')).toMatchObject({ status: 'warning', facts: { comparedWith: 'reflection' } });
    expect(of('service-config').problems?.map(({ message }) => message)).toEqual([
      'serviceConfig names orders.v1.Order, which reflection does not list',
    ]);
  });

  it("passes the doctor's keepalive check if the server accepts the pings", async () => {
    const { url } = ourServer;
    const { code, of } = await doctor([url, '--keepalive', '0.05s']);
    expect(code).toBe(0);
    expect(of('keepalive').facts).toMatchObject({ sent: 5, acknowledged: 5, withCall: true });
  });
});

describe('other servers', () => {
  it("reports the error of a server that rejects the doctor's reflection request", async () => {
    const protoPath = createRequire(import.meta.url).resolve(
      '@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto',
    );
    const errorResponse = { errorCode: 7, errorMessage: 'reflection is not allowed' };
    const server = await ScriptedGrpcServer.start({
      protoPath,
      scripts: { ServerReflectionInfo: { messages: [{ errorResponse }] } },
    });
    onTestFinished(() => server.close());
    const { of } = await doctor([server.url]);
    expect(of('reflection')).toMatchObject({
      status: 'skipped',
      message: 'PERMISSION_DENIED: reflection is not allowed',
    });
  });

  it("fails the doctor's keepalive check if the server closes the connection with too_many_pings", async () => {
    const { url } = ourServer;
    const proxy = await Http2FaultProxy.start(url);
    onTestFinished(() => proxy.close());
    proxy.tooManyPingsAfter(3);
    const { code, of } = await doctor([proxy.url, '--keepalive', '0.05s']);
    expect(code).toBe(1);
    expect(of('keepalive')).toMatchObject({
      status: 'failed',
      // On a busy machine, the doctor may send one more ping before it reads the GOAWAY.
      message: expect.stringMatching(
        /^the server closed the connection after [45] pings, one every 50 ms: GOAWAY too_many_pings$/,
      ),
    });
    expect(of('keepalive').remedy).toContain('keepaliveTimeMs');
  });

  it("warns if the server cleanly ends the connection during the doctor's keepalive check", async () => {
    const { url } = ourServer;
    const proxy = await Http2FaultProxy.start(url);
    onTestFinished(() => proxy.close());
    const run = doctor([proxy.url, '--keepalive', '0.5s']);
    await waitFor(() => proxy.counters.pings > 0, { timeoutMs: 20_000 });
    proxy.goaway({ debugData: 'max_age' });
    const { code, of } = await run;
    expect(code).toBe(0);
    expect(of('keepalive').status).toBe('warning');
    expect(of('keepalive').message).toMatch(/^the server closed the connection cleanly after .*: GOAWAY max_age$/);
  });

  it("runs the doctor's keepalive check without a call, and fails the doctor's health check of a named service, if the server has no health service", async () => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
    onTestFinished(() => server.close());
    const { code, of } = await doctor([server.url, '--keepalive', '0.05s']);
    expect(code).toBe(0);
    expect(of('keepalive').facts).toMatchObject({ withCall: false });
    const withService = await doctor([server.url, '--service', 'orders.v1.Orders']);
    expect(withService.code).toBe(1);
    expect(withService.of('health').status).toBe('failed');
  });

  it("runs the doctor's keepalive check without an open call if the server resets the Watch call of the check", async () => {
    const proxy = await Http2FaultProxy.start(ourServer.url);
    onTestFinished(() => proxy.close());
    proxy.failCalls({ kind: 'reset', code: 'ENHANCE_YOUR_CALM', at: 'headers' }, { method: 'Watch', times: Infinity });
    const { of } = await doctor([proxy.url, '--keepalive', '0.5s']);
    expect(of('keepalive').facts).toMatchObject({ sent: 5, acknowledged: 5, withCall: false });
    expect(of('keepalive').message).toContain('without an open call');
  });

  it("names a proxy that drops trailers in the doctor's health check", async () => {
    const proxy = await Http2FaultProxy.start(ourServer.url);
    onTestFinished(() => proxy.close());
    proxy.failCalls({ kind: 'missing-trailers' }, { times: Infinity });
    const { code, of } = await doctor([proxy.url]);
    expect(code).toBe(1);
    expect(of('health')).toMatchObject({
      status: 'failed',
      message: expect.stringContaining('ended without trailers'),
      remedy: expect.stringContaining('forward HTTP/2 trailers'),
    });
  });

  it("fails the doctor's health check for an HTTP/2 server that does not serve gRPC", async () => {
    const { url } = await startHttp2Server((stream) => {
      stream.respond({ ':status': 404, 'content-type': 'text/html' });
      stream.end('<h1>not here</h1>');
    });
    const { code, of } = await doctor([url]);
    expect(code).toBe(1);
    expect(of('health').message).toContain('a proxy or web server responded instead of the gRPC server');
    expect(of('reflection').message).toContain('HTTP status code 404');
  });

  it("fails the doctor's health check if the server accepts connections but answers no call", async () => {
    const { url } = await startHttp2Server(() => undefined);
    const { code, of } = await doctor([url, '--connect-timeout', '1.5s']);
    expect(code).toBe(1);
    expect(of('health').message).toMatch(/^no response to a call within 1.5 s$/);
  });
});
