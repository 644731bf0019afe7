import { readFile } from 'node:fs/promises';
import { credentials, Metadata } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { certificate } from '../support/orders-app.js';
import type { EchoRequest } from '../testing/echo-client.js';
import { startHttp2Server } from './raw-http2-server.js';
import {
  failureOf,
  quietTime,
  scene,
  startClient,
  startServer,
  toList,
  type EchoService,
  type EchoStub,
} from './support.js';

describe('calls on a connection', () => {
  it('uses the endpoints of round_robin in turn if the channel credentials contain call credentials', async () => {
    const [cert, key, ca] = await Promise.all(
      ['server', 'server-key', 'ca'].map((name) => readFile(certificate(name))),
    );
    const servers = [
      await startServer({ tls: { cert: cert!, key: key! } }),
      await startServer({ tls: { cert: cert!, key: key! } }),
    ];
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      callback(null, new Metadata());
    });
    const client = await startClient({
      url: `ipv4:${servers.map(({ url }) => url).join()}`,
      loadBalancing: 'round_robin',
      connections: { warm: true },
      credentials: credentials.combineChannelCredentials(credentials.createSsl(ca), token),
      channelOptions: { 'grpc.default_authority': 'localhost', 'grpc.ssl_target_name_override': 'localhost' },
    });
    const echo = client.getService<EchoService>('Echo');
    await waitFor(() => servers.every(({ connections }) => connections.open === 1));
    await firstValueFrom(echo.unary({}));
    const before = servers.map((server) => server.counts().calls);
    for (let call = 0; call < 20; call++) await firstValueFrom(echo.unary({}));
    expect(servers.map((server, index) => server.counts().calls - before[index]!)).toEqual([10, 10]);
  });

  it('fails a call immediately if HTTP/2 forbids its metadata, and succeeds with the next call', async () => {
    const { echo, server } = await scene();
    await firstValueFrom(echo.unary({}));
    const metadata = { connection: 'close' };
    const error = await failureOf(echo.unary({}, { metadata, timeoutMs: 3_000 }));
    expect([error.code, error.reason, error.reachedServer]).toEqual([13, 'not-sent', 'no']);
    await firstValueFrom(echo.unary({}));
    expect(server.connections.accepted).toBe(1);
  });

  it('ends a stream whose endless requests continue after the server has ended the stream', async () => {
    const server = await startHttp2Server((stream) => {
      stream.resume();
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.alloc(10));
    });
    const client = await startClient({ url: server.url, methods: { Bidi: { prefetch: 1 } } });
    let requests = 0;
    function* source(): Generator<EchoRequest> {
      // Bounded, so that the test fails instead of blocking its process.
      for (; requests < 500_000; requests++) yield {};
    }
    const responses = client.getService<EchoStub>('Echo').bidi(source());
    let received = 0;
    for await (const _ of responses) {
      received += 1;
      // During the pause, the client receives the trailers. It reports them only after the second message is read.
      if (received === 1) await quietTime();
    }
    expect(received).toBe(2);
    expect(requests).toBeLessThan(500_000);
  });

  it('keeps the channel from becoming idle while a stream is open, but not after the stream ends', async () => {
    const { client, echo } = await scene(
      { connections: { idleMs: 1_000 } },
      {
        scripts: {
          // Longer than two idle timeouts.
          ServerStream: { messages: [{ number: 1 }, { number: 2 }], delayMs: 2_500 },
        },
      },
    );
    expect(await toList(echo.serverStream({ number: 2 }))).toHaveLength(2);
    expect(client.snapshot().history.map(({ to }) => to)).not.toContain('IDLE');
    await waitFor(() => client.connectivity.state === 'IDLE', { timeoutMs: 20_000 });
  });
});
