import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata, credentials } from '@grpc/grpc-js';
import type { Connectivity, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { filter, firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { CallLoad } from '../support/call-load.js';
import { ORDERS_PROTO, aboveDebug, certificate, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { recordTiming } from '../support/timing.js';

/** TLS of a server that asks for client certificates. */
const tls = {
  ca: readFileSync(certificate('ca')),
  cert: readFileSync(certificate('server')),
  key: readFileSync(certificate('server-key')),
};

type Cleanup = TestContext['onTestFinished'];

async function startServer(
  onTestFinished: Cleanup,
  options: Partial<Parameters<typeof ScriptedGrpcServer.start>[0]> = {},
): Promise<ScriptedGrpcServer> {
  const scripts = { Get: {}, Create: {}, Watch: { messages: [{ sequence: '1' }, { sequence: '2' }] } };
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts, ...options });
  onTestFinished(() => server.close());
  return server;
}
async function startProxy(onTestFinished: Cleanup, server: ScriptedGrpcServer): Promise<FaultProxy> {
  return closedAfterTest(FaultProxy.start(server.url), onTestFinished);
}
async function startApp(onTestFinished: Cleanup, ...settings: Parameters<typeof startOrdersApp>): Promise<OrdersApp> {
  return closedAfterTest(startOrdersApp(...settings), onTestFinished);
}

/** Options of `waitFor` for a condition that becomes true late on a busy machine. */
const WAIT_LIMITS = { timeoutMs: 50_000, intervalMs: 20 };
/** Maximum number of open calls of a load; far more than are open at once on an idle machine. */
const MAX_OPEN = 50;

const create = ({ orders }: Pick<OrdersApp, 'orders'>) => orders.create({ requestId: '1', item: 'tea', quantity: 1 });
const messages = (load: CallLoad) => load.failed.map(({ error }) => (error as Error).message);

/** Starts `count` servers whose streams send one message and stay open. */
function startFeeds(onTestFinished: Cleanup, count: number): Promise<ScriptedGrpcServer[]> {
  const scripts = { Get: {}, Watch: { messages: [{ sequence: '1' }], never: true } };
  return Promise.all(Array.from({ length: count }, () => startServer(onTestFinished, { scripts })));
}

function connections(servers: readonly ScriptedGrpcServer[], count: 'open' | 'accepted'): number {
  return servers.reduce((sum, server) => sum + server.connections[count], 0);
}

/** Subscribes to a stream until the end of the test. */
function follow(onTestFinished: Cleanup, { orders }: OrdersApp): { received: number; ended: unknown } {
  const feed: { received: number; ended: unknown } = { received: 0, ended: undefined };
  const stream = orders.watch({ from: '0' }).subscribe({
    next: () => (feed.received += 1),
    error: (error: unknown) => (feed.ended = error),
    complete: () => (feed.ended = 'completed'),
  });
  onTestFinished(() => {
    stream.unsubscribe();
  });
  return feed;
}

/** Resolves in the turn of the event loop in which the channel enters `state`. */
const becomes = (client: ResilientGrpcClient, state: Connectivity['state']): Promise<unknown> =>
  firstValueFrom(client.events$.pipe(filter((event) => event.type === 'connectivity' && event.to === state)));

/** Makes safe and unsafe calls until `act()` resolves, and expects no call to fail. Resolves to the number of calls. */
async function underLoad({ orders }: OrdersApp, act: () => Promise<unknown>): Promise<number> {
  const gets = CallLoad.start(150, () => orders.get({ id: '1' }), MAX_OPEN);
  const creates = CallLoad.start(150, () => create({ orders }), MAX_OPEN);
  try {
    await waitFor(() => creates.succeeded.length > 20, WAIT_LIMITS);
    await act();
  } finally {
    await Promise.all([gets.stop(20_000), creates.stop(20_000)]);
  }
  expect(messages(gets)).toEqual([]);
  expect(messages(creates)).toEqual([]);
  return gets.calls.length + creates.calls.length;
}

// The tests run concurrently because they mostly wait; they share one leak check.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled({ timeoutMs: 20_000 }));

describe.concurrent('connection', { timeout: 90_000 }, () => {
  it(
    'completes the waiting calls if the server becomes reachable after five failed connection attempts',
    { tags: ['timed'] },
    async ({ task, onTestFinished }) => {
      const proxy = await startProxy(onTestFinished, await startServer(onTestFinished));
      proxy.refuse();
      // With only this backoff, grpc-js would try to connect once, and no call would receive a response.
      const backoff = { 'grpc.initial_reconnect_backoff_ms': 60_000, 'grpc.max_reconnect_backoff_ms': 60_000 };
      const app = await startApp(onTestFinished, { url: proxy.url, outageGraceMs: 60_000, channelOptions: backoff });
      const triedAt: number[] = [];
      const bootedAt = Date.now();
      app.client.events$.subscribe((event) => {
        if (event.type === 'connection' && event.change === 'failed') triedAt.push(event.at);
      });
      const calls = Promise.all([
        firstValueFrom(app.orders.get({ id: '1' })),
        firstValueFrom(create(app)),
        lastValueFrom(app.orders.watch({ from: '0' }).pipe(toArray())),
      ]);
      // Also waits for the first log line, which is written 1.5 s after the outage starts.
      await waitFor(() => triedAt.length >= 5 && aboveDebug(app).length > 0, WAIT_LIMITS);
      expect(app.client.snapshot().waiting).toBe(3);
      await proxy.forward();
      const reachableAt = performance.now();
      expect((await calls)[2]).toHaveLength(2);
      recordTiming(task, 'time until the fifth connection attempt, ms', triedAt[4]! - bootedAt, { atMost: 2_000 });
      recordTiming(
        task,
        'time until the waiting calls end after the server becomes reachable, ms',
        performance.now() - reachableAt,
        { atMost: 700 },
      );
      await waitFor(() => aboveDebug(app).length === 2);
      expect(aboveDebug(app)).toEqual([
        expect.stringMatching(
          /^warn: outage: .* refused the connection: .*; calls wait up to \d+(\.\d)? s or until their deadline \(3 waiting\); to diagnose, run: .*$/,
        ),
        expect.stringMatching(/^log: reconnected after \d+(\.\d)? s, \d+ failed attempts; 3 calls waited, 0 failed$/),
      ]);
    },
  );

  it('closes the connection after connections.idleMs without calls, and opens another for the next call', async ({
    onTestFinished,
  }) => {
    const server = await startServer(onTestFinished);
    const app = await startApp(onTestFinished, { url: server.url, connections: { idleMs: 1_000 } });
    const { client, orders } = app;
    for (let rounds = 1; rounds <= 3; rounds++) {
      await firstValueFrom(orders.get({ id: '1' }));
      const usedAt = performance.now();
      await firstValueFrom(create(app));
      // A connection of an earlier round is not reused.
      expect(server.connections.accepted).toBe(rounds);
      await becomes(client, 'IDLE');
      expect(performance.now() - usedAt).toBeGreaterThan(900);
    }
    await waitFor(() => server.connections.open === 0, WAIT_LIMITS);
    expect(client.connectivity.outage).toBeUndefined();
    expect(aboveDebug(app)).toEqual([]);
  });

  it('replaces the connection after connections.maxAgeMs under load without a failed or resent call', async ({
    onTestFinished,
  }) => {
    const server = await startServer(onTestFinished);
    const app = await startApp(onTestFinished, { url: server.url, connections: { maxAgeMs: 1_000 } });
    const calls = await underLoad(app, () => waitFor(() => server.connections.accepted >= 5, WAIT_LIMITS));
    expect(server.counts().calls).toBe(calls);
    // An old connection is closed after its last call has ended.
    await waitFor(() => server.connections.open === 1, WAIT_LIMITS);
    expect(app.client.connectivity.state).toBe('READY');
    expect(aboveDebug(app)).toEqual([]);
  });

  it.for([
    ['round_robin', 3, false],
    ['round_robin', 3, true],
    ['pick_first', 1, false],
  ] as const)(
    'replaces connections after connections.maxAgeMs and keeps only the old connection that carries a stream (%s, connections in use: %i, GOAWAY: %s)',
    async ([loadBalancing, used, hasGoaway], { onTestFinished }) => {
      const servers = await startFeeds(onTestFinished, 3);
      const app = await startApp(onTestFinished, {
        url: `ipv4:${servers.map(({ url }) => url).join(',')}`,
        loadBalancing,
        connections: { maxAgeMs: 3_000 },
        // Enables pings only without GOAWAY, because a ping would end the stream on a connection that received GOAWAY. Without GOAWAY, a
        // ping would end the stream only if grpc-js had begun to close its connection.
        channelOptions: hasGoaway ? {} : { 'grpc.keepalive_time_ms': 500, 'grpc.keepalive_timeout_ms': 20_000 },
      });
      const feed = follow(onTestFinished, app);
      await waitFor(() => feed.received === 1, WAIT_LIMITS);
      // After the GOAWAY, the stream runs on a connection that grpc-js no longer tracks.
      if (hasGoaway) for (const server of servers) server.drainConnections(80_000);
      await waitFor(() => connections(servers, 'accepted') >= 3 * used, WAIT_LIMITS);
      await waitFor(() => connections(servers, 'open') === used + 1, WAIT_LIMITS);
      await firstValueFrom(app.orders.get({ id: '1' }));
      expect(feed.ended).toBeUndefined();
      expect(aboveDebug(app)).toEqual([]);
    },
  );

  it('reports why the connection of a stream was lost after its channel was replaced', async ({ onTestFinished }) => {
    const servers = await startFeeds(onTestFinished, 2);
    const proxies = await Promise.all(servers.map((server) => startProxy(onTestFinished, server)));
    const app = await startApp(onTestFinished, {
      url: `ipv4:${proxies.map(({ url }) => url).join(',')}`,
      loadBalancing: 'round_robin',
      connections: { maxAgeMs: 3_000 },
      channelOptions: { 'grpc.keepalive_time_ms': 1_000, 'grpc.keepalive_timeout_ms': 1_000 },
    });
    const feed = follow(onTestFinished, app);
    await waitFor(() => connections(servers, 'accepted') >= 4, WAIT_LIMITS);
    await waitFor(() => connections(servers, 'open') === 3, WAIT_LIMITS);
    const ends: (string | undefined)[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'connection' && event.change === 'ended') ends.push(event.reason);
    });
    for (const proxy of proxies) proxy.holdBytes();
    await waitFor(() => feed.ended !== undefined && ends.length > 0, WAIT_LIMITS);
    expect((feed.ended as Error).message).toMatch(/the server no longer responded/);
    // The other connections send no pings, because they carry no calls.
    expect(ends).toEqual(['connection timed out']);
  });

  it('sends a call whose credentials arrive after its channel was replaced', async ({ onTestFinished }) => {
    const scripts = { Get: {}, Watch: { messages: [{ sequence: '1' }], never: true } };
    const servers = await Promise.all(Array.from({ length: 2 }, () => startServer(onTestFinished, { scripts, tls })));
    const app = await startApp(onTestFinished, {
      url: `ipv4:${servers.map(({ url }) => url).join(',')}`,
      loadBalancing: 'round_robin',
      connections: { maxAgeMs: 1_000 },
      tls: {
        ca: certificate('ca'),
        cert: certificate('client'),
        key: certificate('client-key'),
        serverName: 'localhost',
      },
    });
    const replaced: string[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'connection-replaced') replaced.push(event.reason);
    });
    let deliver: (() => void) | undefined;
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      deliver = () => {
        callback(null, new Metadata());
      };
    });
    const stream = app.orders.watch({ from: '0' }).subscribe();
    const call = firstValueFrom(app.orders.get({ id: '1' }, { credentials: token, timeoutMs: 60_000 }));
    await waitFor(() => deliver !== undefined && replaced.length >= 4, WAIT_LIMITS);
    deliver?.();
    await call;
    expect(stream.closed).toBe(false);
    stream.unsubscribe();
    expect(aboveDebug(app)).toEqual([]);
  });

  it('replaces a connection older than connections.maxAgeMs once the server accepts connections again after refusing them for longer than the idle timeout', async ({
    onTestFinished,
  }) => {
    const scripts = { Watch: { messages: [{ sequence: '1' }], never: true } };
    const proxy = await startProxy(onTestFinished, await startServer(onTestFinished, { scripts }));
    const settings = { url: proxy.url, connections: { maxAgeMs: 5_000, idleMs: 1_000 } };
    const app = await startApp(onTestFinished, settings);
    const failedAt: number[] = [];
    let replaced = 0;
    app.client.events$.subscribe((event) => {
      if (event.type === 'connection' && event.change === 'failed') failedAt.push(performance.now());
      if (event.type === 'connection-replaced') replaced += 1;
    });
    // The open stream keeps the current connection from becoming idle.
    let received = 0;
    const stream = app.orders.watch({ from: '0' }).subscribe(() => (received += 1));
    onTestFinished(() => {
      stream.unsubscribe();
    });
    await waitFor(() => received > 0, WAIT_LIMITS);
    proxy.refuse();
    // Waits for more than two idle timeouts, within which the channel of the new connection becomes idle because it has no calls.
    await waitFor(() => failedAt.length > 0 && failedAt.at(-1)! - failedAt[0]! > 3_000, WAIT_LIMITS);
    expect(replaced).toBe(0);
    await proxy.forward();
    await waitFor(() => replaced > 0, WAIT_LIMITS);
    expect(aboveDebug(app)).toEqual([]);
  });

  it.for([
    ['connects immediately', true],
    ['starts an outage with early reconnects', false],
  ] as const)(
    '%s if the connection ends while its replacement is in backoff (server reachable: %s)',
    async ([, reachable], { onTestFinished }) => {
      const proxy = await startProxy(onTestFinished, await startServer(onTestFinished));
      const channelOptions = { 'grpc.initial_reconnect_backoff_ms': 60_000, 'grpc.max_reconnect_backoff_ms': 60_000 };
      const settings = { url: proxy.url, connections: { maxAgeMs: 1_000 }, outageGraceMs: 60_000, channelOptions };
      const app = await startApp(onTestFinished, settings);
      let failed = 0;
      app.client.events$.subscribe((event) => {
        if (event.type === 'connection' && event.change === 'failed') failed += 1;
      });
      await firstValueFrom(create(app));
      proxy.refuse();
      await waitFor(() => failed > 0, WAIT_LIMITS);
      expect(app.client.connectivity.state).toBe('READY');
      if (reachable) await proxy.forward();
      const ended = becomes(app.client, 'IDLE');
      proxy.closeAll();
      await ended;
      const call = firstValueFrom(
        app.orders.create({ requestId: '2', item: 'tea', quantity: 1 }, { timeoutMs: 30_000 }),
      );
      if (!reachable) {
        await waitFor(() => app.client.connectivity.outage !== undefined, WAIT_LIMITS);
        await proxy.forward();
      }
      await call;
    },
  );

  it('replaces the connection after a certificate rotation under load without a failed or resent call', async ({
    onTestFinished,
  }) => {
    const server = await startServer(onTestFinished, { tls });
    const folder = mkdtempSync(join(tmpdir(), 'rotated-'));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    copyFileSync(certificate('client'), cert);
    copyFileSync(certificate('client-key'), key);
    const app = await startApp(onTestFinished, {
      url: server.url,
      tls: { ca: certificate('ca'), serverName: 'localhost', cert, key, reload: true },
    });
    const replaced: string[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'connection-replaced') replaced.push(event.reason);
    });
    const calls = await underLoad(app, async () => {
      const { peer } = server.calls()[0]!;
      copyFileSync(certificate('next'), cert);
      copyFileSync(certificate('next-key'), key);
      await waitFor(() => replaced.length > 0, WAIT_LIMITS);
      await waitFor(() => server.calls().at(-1)!.peer !== peer, WAIT_LIMITS);
      // The old connection is closed.
      await waitFor(() => server.connections.open === 1, WAIT_LIMITS);
    });
    expect(server.counts().calls).toBe(calls);
    expect(server.connections.accepted).toBe(2);
    expect(replaced).toEqual(['credentials']);
    expect(aboveDebug(app)).toEqual([]);
  });
});

describe.concurrent('shared connection', { timeout: 90_000 }, () => {
  it('opens one connection for each of two clients of the same server', async ({ onTestFinished }) => {
    const server = await startServer(onTestFinished);
    const app = await startApp(onTestFinished, [{ url: server.url }, { url: server.url }]);
    await Promise.all(app.clients.map(({ orders }) => firstValueFrom(orders.get({ id: '1' }))));
    expect(server.connections).toEqual({ accepted: 2, open: 2 });
    await app.clients[0]!.client.close();
    await waitFor(() => server.connections.open === 1);
    await firstValueFrom(app.clients[1]!.orders.get({ id: '1' }));
    expect(server.connections.accepted).toBe(2);
  });
});
