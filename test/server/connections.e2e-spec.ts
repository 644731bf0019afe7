import { status } from '@grpc/grpc-js';
import { once } from 'node:events';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { setTimeout as pause } from 'node:timers/promises';
import { captureLeaks, FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { CallLoad } from '../support/call-load.js';
import { recordTiming } from '../support/timing.js';
import { NestServer, type PlainServerOptions } from './support/nest-server.js';
import { PlainClient } from './support/plain-client.js';

/** Number of clients whose connections become idle; their calls spread over 100 ms around the idle timeout. */
const CLIENTS = 40;
/** Timeout for conditions that may take a long time on a busy machine. */
const PATIENTLY = { timeoutMs: 20_000 };

// These tests mostly wait, so they run concurrently and share one leak check.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled({ timeoutMs: 20_000 }));

type Cleanup = TestContext['onTestFinished'];

async function startServer(onTestFinished: Cleanup, options: PlainServerOptions): Promise<NestServer> {
  return closedAfterTest(NestServer.start(options), onTestFinished);
}

async function startProxy(onTestFinished: Cleanup, server: NestServer): Promise<FaultProxy> {
  return closedAfterTest(FaultProxy.start(server.url), onTestFinished);
}

/** Starts a proxy that delays bytes to and from `server` by `ms` milliseconds each way; resolves to the URL of the proxy. */
async function startDistantProxy(onTestFinished: Cleanup, server: NestServer, ms: number): Promise<string> {
  const proxy = await startProxy(onTestFinished, server);
  proxy.delay(ms);
  return proxy.url;
}

/** Starts a call of `orders.v1.Orders` without sending a message. */
function callOver(session: ClientHttp2Session, method: string): ClientHttp2Stream {
  const path = `/orders.v1.Orders/${method}`;
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
  return stream.on('error', () => undefined);
}

/** Starts a call with one empty message and reads its responses. */
function messagesOf(session: ClientHttp2Session, method: string): ClientHttp2Stream {
  return callOver(session, method).end(Buffer.alloc(5)).resume();
}

describe.concurrent('connections.maxAgeMs', () => {
  it(
    'fails no call of distant plain grpc-js clients under load when their connections reach the maximum age',
    {
      tags: ['timed'],
      timeout: 120_000,
    },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, { connections: { maxAgeMs: 1_000 } });
      const url = await startDistantProxy(onTestFinished, server, 20);
      const clients = Array.from({ length: 10 }, () => new PlainClient(url, { onTestFinished }));
      const beganAt = performance.now();
      // Maximum number of open calls. On an idle machine, far fewer calls are open at the same time.
      const maxOpen = 100;
      const load = CallLoad.start(200, (number) => (clients[number % clients.length] as PlainClient).get$(), maxOpen);
      // Waits until each client has replaced two connections on average.
      await waitFor(() => server.connectionEnds.length >= 20, { timeoutMs: 45_000 });
      recordTiming(
        task,
        'time until 20 connections with a maximum age of 1000 ms are closed, ms',
        performance.now() - beganAt,
        {
          atMost: 8_000,
        },
      );
      await load.stop(20_000);
      expect(load.failed).toEqual([]);
      expect(load.succeeded.length).toBeGreaterThan(300);
      expect(new Set(server.connectionEnds)).toEqual(new Set(['age']));
      const slowestMs = Math.max(...load.calls.map(({ latencyMs }) => latencyMs ?? NaN));
      recordTiming(task, 'slowest call of 10 clients, ms', slowestMs, { atMost: 5_000 });
    },
  );

  it('keeps an old connection with an open stream while its client answers keepalive probes', async ({
    onTestFinished,
  }) => {
    const keepalive = { keepaliveTimeMs: 200, keepaliveTimeoutMs: 20_000 };
    const server = await startServer(onTestFinished, { connections: { maxAgeMs: 1_000 }, keepalive });
    const session = connect(`http://${server.url}`).on('error', () => undefined);
    onTestFinished(() => {
      session.destroy();
    });
    const stream = callOver(session, 'Session');
    let [received, closed, goAways, probes] = [0, false, 0, 0];
    stream.on('data', () => (received += 1));
    stream.on('close', () => (closed = true));
    session.on('goaway', () => (goAways += 1));
    session.on('remoteSettings', () => (probes += goAways));
    session.on('ping', () => (probes += goAways));
    await waitFor(() => goAways > 0, PATIENTLY);
    // The server sends the next probe after the previous one is acknowledged. On node:http2, probes are SETTINGS frames, because Node sends
    // no pings after GOAWAY. grpc-js's own keepalive, which relies on pings, would close the connection.
    await waitFor(() => probes >= 4, PATIENTLY);
    const before = received;
    // An empty message.
    stream.write(Buffer.alloc(5));
    await waitFor(() => received > before, PATIENTLY);
    expect(closed).toBe(false);
    expect(server.connectionEnds).toEqual(['age']);
  });

  it('ends a stream with UNAVAILABLE after the grace period of the connection age', async ({ onTestFinished }) => {
    // The maximum age is long enough for the streams to start on a busy machine before their connections end.
    const server = await startServer(onTestFinished, { connections: { maxAgeMs: 6_000, graceMs: 300 } });
    const watch = new PlainClient(server.url, { onTestFinished }).watch();
    const stuck = new PlainClient(server.url, { onTestFinished }).watch(1);
    await waitFor(() => watch.messages.length === 1 && stuck.messages.length > 2, PATIENTLY);
    stuck.call.pause();
    await waitFor(() => watch.status !== undefined, PATIENTLY);
    expect(watch.status).toMatchObject({
      code: status.UNAVAILABLE,
      details: 'The connection has reached its maximum age',
    });
    await waitFor(async () => {
      const { streams, sockets } = await server.counts();
      return streams === 0 && sockets === 0;
    }, PATIENTLY);
    expect([...server.connectionEnds].sort()).toEqual(['age', 'age', 'age-grace', 'age-grace']);
    stuck.call.resume();
    await waitFor(() => stuck.status !== undefined, PATIENTLY);
    expect(stuck.status?.code).toBe(status.UNAVAILABLE);
  });
});

describe.concurrent('connections.idleMs', () => {
  it(
    'fails no call of clients that become active just as their idle connection is closed',
    { tags: ['timed'], timeout: 120_000 },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, { connections: { idleMs: 1_000 } });
      const url = await startDistantProxy(onTestFinished, server, 20);
      const failed: unknown[] = [];
      let slowestMs = 0;
      // Each client calls again at about the time at which the GOAWAY for its idle connection is in flight. This is 1 s after its last
      // call, plus 40 ms for the ping and 20 ms for the GOAWAY.
      const callRepeatedly = async (client: PlainClient, afterMs: number): Promise<void> => {
        while (server.connectionEnds.length < CLIENTS) {
          const beganAt = performance.now();
          await client.get().catch((error: unknown) => failed.push(error));
          slowestMs = Math.max(slowestMs, performance.now() - beganAt);
          await pause(afterMs);
        }
      };
      const clients = Array.from({ length: CLIENTS }, () => new PlainClient(url, { onTestFinished }));
      const beganAt = performance.now();
      await Promise.all(clients.map((client, at) => callRepeatedly(client, 970 + (at * 100) / CLIENTS)));
      recordTiming(
        task,
        `time until ${String(CLIENTS)} connections with a maximum idle time of 1000 ms are closed, ms`,
        performance.now() - beganAt,
        {
          atMost: 8_000,
        },
      );
      recordTiming(task, `slowest call of ${String(CLIENTS)} clients, ms`, slowestMs, { atMost: 5_000 });
      expect(failed).toEqual([]);
      expect(new Set(server.connectionEnds)).toEqual(new Set(['idle']));
    },
  );

  it('keeps an idle connection if a call arrived while the server was frozen', async ({ onTestFinished }) => {
    const server = await startServer(onTestFinished, { connections: { idleMs: 1_000 } });
    const proxy = await startProxy(onTestFinished, server);
    const used = await waitFor(async () => {
      const calledAt = performance.now();
      const session = connect(`http://${proxy.url}`).on('error', () => undefined);
      onTestFinished(() => {
        session.destroy();
      });
      await once(messagesOf(session, 'Get'), 'end');
      server.freeze();
      const frozenAt = performance.now();
      // Tries again if the connection was idle for too long before the freeze, which can happen on a busy machine.
      if (frozenAt - calledAt < 800) return { session, frozenAt };
      server.thaw();
      return undefined;
    }, PATIENTLY);
    let goAways = 0;
    used.session.on('goaway', () => (goAways += 1));
    const { bytesToUpstream } = proxy.counters;
    const watch = messagesOf(used.session, 'Watch');
    const sent = () => proxy.counters.bytesToUpstream > bytesToUpstream && performance.now() - used.frozenAt > 1_200;
    await waitFor(sent, PATIENTLY);
    server.thaw();
    await once(watch, 'data');
    // The stream is open now, so the connection is no longer idle.
    expect(goAways).toBe(0);
  });

  it('does not count a connection as idle while a stream is open', async ({ onTestFinished }) => {
    // The idle timeout is long enough for the stream to start on a busy machine before its connection ends.
    const server = await startServer(onTestFinished, { connections: { idleMs: 5_000 } });
    const watch = new PlainClient(server.url, { onTestFinished }).watch();
    await waitFor(() => watch.messages.length === 1, PATIENTLY);
    const idle = new PlainClient(server.url, { onTestFinished });
    await idle.get();
    await waitFor(async () => (await server.counts()).sockets === 1, PATIENTLY);
    expect(watch.status).toBeUndefined();
    expect(server.connectionEnds).toEqual(['idle']);
  });
});
