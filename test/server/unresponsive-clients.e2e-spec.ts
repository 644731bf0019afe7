import { captureLeaks, FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { connect, type ClientHttp2Session } from 'node:http2';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { recordTiming } from '../support/timing.js';
import { NestServer } from './support/nest-server.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const CLIENTS = 250;
const BATCH = 50;
/** Timeouts long enough for a busy machine, because this process runs all clients and the proxy. */
const KEEPALIVE = { keepaliveTimeMs: 1_500, keepaliveTimeoutMs: 5_000 };

/**
 * Opens HTTP/2 sessions with one `Watch` each. They need fewer resources than gRPC clients, which matters because this process also holds
 * both sockets of the proxy for each session.
 */
async function openWatches(url: string): Promise<void> {
  let begun = 0;
  const sessions: ClientHttp2Session[] = [];
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
  });
  const watch = (): ClientHttp2Session => {
    const session = connect(`http://${url}`);
    session.on('error', () => undefined);
    const path = '/orders.v1.Orders/Watch';
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
    stream.on('error', () => undefined);
    stream.once('data', () => (begun += 1));
    // An empty message, whose `from` is 0.
    stream.end(Buffer.alloc(5));
    return session;
  };
  // Connects in batches, because the system drops connections beyond the backlog of a listener and a busy machine accepts them slowly.
  while (sessions.length < CLIENTS) {
    sessions.push(...Array.from({ length: BATCH }, watch));
    await waitFor(() => begun === sessions.length, {
      timeoutMs: 20_000,
      describe: () => `${String(sessions.length)} streams to begin; ${String(begun)} have begun`,
    });
  }
}

describe('250 clients that stop responding', () => {
  it(
    'detects unresponsive clients by keepalive, ends their streams, and closes their sockets',
    { tags: ['timed'], timeout: 60_000 },
    async ({ task }) => {
      const server = await closedAfterTest(NestServer.start({ keepalive: KEEPALIVE }));
      const proxy = await closedAfterTest(FaultProxy.start(server.url));
      await openWatches(proxy.url);
      expect(await server.counts()).toMatchObject({ streams: CLIENTS, sockets: CLIENTS });
      proxy.holdBytes('both');
      const heldAt = performance.now();
      await waitFor(async () => (await server.counts()).sockets === 0, { timeoutMs: 25_000, intervalMs: 50 });
      const { keepaliveTimeMs, keepaliveTimeoutMs } = KEEPALIVE;
      // The bound includes 1 s for closing all sockets on a machine with two cores.
      const atMost = keepaliveTimeMs + keepaliveTimeoutMs + 1_000;
      recordTiming(
        task,
        'time until the sockets of 250 unresponsive clients are closed, ms',
        performance.now() - heldAt,
        {
          atMost,
        },
      );
      expect(await server.counts()).toMatchObject({ streams: 0, sockets: 0 });
      await waitFor(() => server.connectionEnds.length === CLIENTS, { timeoutMs: 20_000 });
      expect(new Set(server.connectionEnds)).toEqual(new Set(['keepalive']));
    },
  );
});
