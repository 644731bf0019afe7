import { captureLeaks, FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { connect, type ClientHttp2Session } from 'node:http2';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { NestServer } from './support/nest-server.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const CLIENTS = 1_000;
const KEEPALIVE = { keepaliveTimeMs: 1_500, keepaliveTimeoutMs: 1_000 };

/** Sessions with a stream of `Watch` each, as bare as they can be: this process has to bear all of them, twice, and the proxy. */
async function watching(url: string): Promise<ClientHttp2Session[]> {
  let begun = 0;
  const sessions = Array.from({ length: CLIENTS }, () => {
    const session = connect(`http://${url}`);
    session.on('error', () => undefined);
    const path = '/orders.v1.Orders/Watch';
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
    stream.on('error', () => undefined);
    stream.once('data', () => (begun += 1));
    // A message of no bytes: from 0.
    stream.end(Buffer.alloc(5));
    return session;
  });
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
  });
  await waitFor(() => begun === CLIENTS, {
    timeoutMs: 10_000,
    describe: () => `1 000 streams to begin; ${String(begun)} have`,
  });
  return sessions;
}

describe('1 000 clients that vanish without a word', () => {
  it('are found, and their streams ended within keepalive as it is set, and no socket is left', async () => {
    const server = await NestServer.start({ keepalive: KEEPALIVE });
    onTestFinished(() => server.close());
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    await watching(proxy.url);
    expect(await server.counts()).toEqual({ streams: CLIENTS, sockets: CLIENTS });
    proxy.holdBytes('both');
    const vanishedAt = performance.now();
    await waitFor(async () => (await server.counts()).sockets === 0, { timeoutMs: 10_000, intervalMs: 50 });
    const { keepaliveTimeMs, keepaliveTimeoutMs } = KEEPALIVE;
    // And what two busy cores may need for it.
    expect(performance.now() - vanishedAt).toBeLessThan(keepaliveTimeMs + keepaliveTimeoutMs + 1_000);
    expect(await server.counts()).toEqual({ streams: 0, sockets: 0 });
    await waitFor(() => server.connectionEnds.length === CLIENTS);
    expect(new Set(server.connectionEnds)).toEqual(new Set(['keepalive']));
  });
});
