import { captureLeaks, FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { connect, type ClientHttp2Session } from 'node:http2';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { recordTiming } from '../support/timing.js';
import { NestServer } from './support/nest-server.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const CLIENTS = 1_000;
const BATCH = 100;
/** A timeout in which this process, which holds all clients and the proxy, answers on a busy machine. */
const KEEPALIVE = { keepaliveTimeMs: 1_500, keepaliveTimeoutMs: 5_000 };

/** Sessions with a stream of `Watch` each, as bare as they can be: this process has to bear all of them, twice, and the proxy. */
async function watching(url: string): Promise<void> {
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
    // A message of no bytes: from 0.
    stream.end(Buffer.alloc(5));
    return session;
  };
  // Not all at once: the system drops connections beyond the backlog of a listener, and a busy machine accepts them slowly.
  while (sessions.length < CLIENTS) {
    sessions.push(...Array.from({ length: BATCH }, watch));
    await waitFor(() => begun === sessions.length, {
      timeoutMs: 20_000,
      describe: () => `${String(sessions.length)} streams to begin; ${String(begun)} have`,
    });
  }
}

describe('1 000 clients that vanish without a word', () => {
  it(
    'are found by keepalive, their streams ended, and no socket is left',
    { tags: ['timed'], timeout: 60_000 },
    async ({ task }) => {
      const server = await NestServer.start({ keepalive: KEEPALIVE });
      onTestFinished(() => server.close());
      const proxy = await FaultProxy.start(server.url);
      onTestFinished(() => proxy.close());
      await watching(proxy.url);
      expect(await server.counts()).toEqual({ streams: CLIENTS, sockets: CLIENTS });
      proxy.holdBytes('both');
      const vanishedAt = performance.now();
      await waitFor(async () => (await server.counts()).sockets === 0, { timeoutMs: 25_000, intervalMs: 50 });
      const { keepaliveTimeMs, keepaliveTimeoutMs } = KEEPALIVE;
      // And what two cores may need for it.
      const atMost = keepaliveTimeMs + keepaliveTimeoutMs + 1_000;
      recordTiming(task, 'sockets of 1000 vanished clients closed after, ms', performance.now() - vanishedAt, {
        atMost,
      });
      expect(await server.counts()).toEqual({ streams: 0, sockets: 0 });
      await waitFor(() => server.connectionEnds.length === CLIENTS, { timeoutMs: 20_000 });
      expect(new Set(server.connectionEnds)).toEqual(new Set(['keepalive']));
    },
  );
});
