import { status } from '@grpc/grpc-js';
import { setTimeout as pause } from 'node:timers/promises';
import { captureLeaks, FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { CallLoad } from '../support/call-load.js';
import { NestServer, type PlainServerOptions } from './support/nest-server.js';
import { PlainClient } from './support/plain-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

async function started(options: PlainServerOptions): Promise<NestServer> {
  const server = await NestServer.start(options);
  onTestFinished(() => server.close());
  return server;
}

/** A way to `server` on which bytes take so long in each direction. */
async function distant(server: NestServer, ms: number): Promise<string> {
  const proxy = await FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  proxy.delay(ms);
  return proxy.url;
}

describe('connections that end for their age', () => {
  it('cost no call of clients that are not ours, and are far away, so that requests are always on their way', async () => {
    const server = await started({ maxConnectionAgeMs: 1_000 });
    const url = await distant(server, 20);
    const clients = Array.from({ length: 10 }, () => new PlainClient(url));
    const load = CallLoad.start(200, (number) => (clients[number % clients.length] as PlainClient).get$());
    // Each was told to go twice at least, one way or the other.
    await waitFor(() => server.connectionEnds.length >= 20, { timeoutMs: 20_000 });
    await load.stop();
    expect(load.failed).toEqual([]);
    expect(load.succeeded.length).toBeGreaterThan(300);
    expect(new Set(server.connectionEnds)).toEqual(new Set(['age']));
  });

  it('let streams go on for as long as they like, and keepalive find that they live', async () => {
    const keepalive = { keepaliveTimeMs: 200, keepaliveTimeoutMs: 1_000 };
    const server = await started({ maxConnectionAgeMs: 1_000, keepalive });
    const client = new PlainClient(server.url);
    const session = client.session();
    await waitFor(() => server.connectionEnds.length === 1);
    const toldAt = performance.now();
    // Twice as long as it takes grpc-js's own to cut it off.
    while (performance.now() - toldAt < 2_400) {
      const before = session.messages.length;
      session.send();
      await waitFor(() => session.messages.length > before);
    }
    expect(session.status).toBeUndefined();
    expect(server.connectionEnds).toEqual(['age']);
    session.call.cancel();
  });

  it('end a stream UNAVAILABLE when their grace is over', async () => {
    const server = await started({ maxConnectionAgeMs: 1_000, maxConnectionAgeGraceMs: 300 });
    const watch = new PlainClient(server.url).watch();
    const stuck = new PlainClient(server.url).watch(1);
    await waitFor(() => watch.messages.length === 1 && stuck.messages.length > 2);
    stuck.call.pause();
    await waitFor(() => watch.status !== undefined);
    expect(watch.status).toMatchObject({ code: status.UNAVAILABLE, details: 'The connection has reached its age' });
    await waitFor(async () => JSON.stringify(await server.counts()) === '{"streams":0,"sockets":0}');
    expect([...server.connectionEnds].sort()).toEqual(['age', 'age', 'age-grace', 'age-grace']);
    stuck.call.resume();
    await waitFor(() => stuck.status !== undefined);
    expect(stuck.status?.code).toBe(status.UNAVAILABLE);
  });
});

describe('connections that end because they are idle', () => {
  it('cost no call of clients that come back just then', async () => {
    const server = await started({ connectionIdleTimeoutMs: 1_000 });
    const url = await distant(server, 20);
    const failed: unknown[] = [];
    // Each comes back when its connection was idle for 1 s, has been heard out (40 ms), and is just told to go (20 ms).
    const comeBack = async (client: PlainClient, afterMs: number): Promise<void> => {
      while (server.connectionEnds.length < 100) {
        await client.get().catch((error: unknown) => failed.push(error));
        await pause(afterMs);
      }
    };
    await Promise.all(Array.from({ length: 100 }, (_, at) => comeBack(new PlainClient(url), 970 + at)));
    expect(failed).toEqual([]);
    expect(new Set(server.connectionEnds)).toEqual(new Set(['idle']));
  });

  it('are none whose call came while the server stood still', async () => {
    const server = await started({ connectionIdleTimeoutMs: 1_000 });
    const client = new PlainClient(server.url);
    await client.get();
    server.freeze();
    const frozenAt = performance.now();
    const call = client.get();
    await waitFor(() => performance.now() - frozenAt > 1_500);
    server.thaw();
    await call;
    // Told after all that was told before.
    await server.counts();
    expect(server.connectionEnds).toEqual([]);
  });

  it('leave those alone on which a stream is open', async () => {
    const server = await started({ connectionIdleTimeoutMs: 1_000 });
    const watch = new PlainClient(server.url).watch();
    const idle = new PlainClient(server.url);
    await idle.get();
    await waitFor(() => watch.messages.length === 1);
    await waitFor(async () => (await server.counts()).sockets === 1);
    expect(watch.status).toBeUndefined();
    expect(server.connectionEnds).toEqual(['idle']);
  });
});
