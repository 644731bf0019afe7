import { readFileSync } from 'node:fs';
import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { CallLoad } from '../support/call-load.js';
import { ORDERS_PROTO, aboveDebug, certificate, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { OrdersProcess } from '../support/orders-process.js';

// HTTP/2 keepalive is off in all of this, as it is by default.

type Cleanup = TestContext['onTestFinished'];
type Settings = Parameters<typeof startOrdersApp>[0];
type Options = Omit<Parameters<typeof ScriptedGrpcServer.start>[0], 'protoPath' | 'protos'>;

const DEADLINE_MS = 1_000;
const CALLS_PER_SECOND = 20;
/** How long a connection may be dead before calls go elsewhere, at 1 s deadlines. */
const FOUND_WITHIN_MS = 20_000;
const READY_THROUGHOUT = ['CONNECTING', 'READY'];
const ANSWERED = { Get: {}, Create: {}, Watch: { messages: [{ sequence: '1' }], never: true } };

async function startServer(onTestFinished: Cleanup, options: Options = {}): Promise<ScriptedGrpcServer> {
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: ANSWERED, ...options });
  onTestFinished(() => server.close());
  return server;
}
async function startProcess(onTestFinished: Cleanup): Promise<OrdersProcess> {
  const orders = await OrdersProcess.start();
  onTestFinished(() => orders.close());
  return orders;
}
async function startProxy(onTestFinished: Cleanup, upstream: string): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(upstream);
  onTestFinished(() => proxy.close());
  return proxy;
}

type Replacement = Extract<GrpcClientEvent, { type: 'connection-replaced' }>;

interface Watched {
  readonly app: OrdersApp;
  readonly replacements: readonly Replacement[];
  /** That the channel went through. */
  readonly states: readonly string[];
}

async function startApp(
  onTestFinished: Cleanup,
  settings: Settings,
  onReplaced: () => void = () => undefined,
): Promise<Watched> {
  const app = await startOrdersApp(settings);
  onTestFinished(() => app.close());
  const replacements: Replacement[] = [];
  const states: string[] = [];
  app.client.events$.subscribe((event) => {
    if (event.type === 'connectivity') states.push(event.to);
    if (event.type !== 'connection-replaced') return;
    replacements.push(event);
    onReplaced();
  });
  return { app, replacements, states };
}

/** Reads that give up after a second, for as long as the test lasts. */
async function startLoad(onTestFinished: Cleanup, { orders }: Pick<OrdersApp, 'orders'>): Promise<CallLoad> {
  const load = CallLoad.start(CALLS_PER_SECOND, () => orders.get({ id: '1' }, { timeoutMs: DEADLINE_MS }));
  onTestFinished(() => load.stop());
  await waitFor(() => load.succeeded.length >= 10);
  return load;
}

/** All of the next twenty calls succeed. */
async function expectWell(load: CallLoad): Promise<void> {
  const from = load.calls.length;
  const next = () => load.calls.slice(from, from + 20);
  await waitFor(() => next().length === 20 && next().every(({ endedAt }) => endedAt !== undefined));
  expect(next().filter(({ error }) => error !== undefined)).toEqual([]);
}

const since = (at: number): number => performance.now() - at;

interface Stream {
  readonly received: readonly unknown[];
  readonly error: unknown;
}

/** A stream that gets one message and then hangs. */
function watch({ orders }: OrdersApp): Stream {
  const received: unknown[] = [];
  const stream = { received, error: undefined as unknown };
  orders.watch({ from: '0' }).subscribe({
    next: (event) => received.push(event),
    error: (error: unknown) => {
      stream.error = error;
    },
  });
  return stream;
}

// Side by side, since most of what they do is to wait: one leak check for all.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

describe('our own event loop, blocked for 3 s', () => {
  it('is held against nobody: nothing is asked, nothing replaced', async ({ onTestFinished }) => {
    const server = await startHttp2Server((stream) => {
      succeed(stream);
    });
    const { app, replacements, states } = await startApp(onTestFinished, { url: server.url });
    const load = await startLoad(onTestFinished, app);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    await expectWell(load);
    expect(new Set(server.streams)).toEqual(new Set(['/orders.v1.Orders/Get']));
    expect([replacements, states]).toEqual([[], READY_THROUGHOUT]);
    expect(aboveDebug(app)).toEqual([]);
  });
});

describe.concurrent('a connection', () => {
  const tls = {
    cert: readFileSync(certificate('server')),
    key: readFileSync(certificate('server-key')),
  };

  it.for([
    ['plain text', {}, {}],
    ['TLS', { tls }, { tls: { ca: certificate('ca'), serverName: 'localhost' } }],
  ] as const)('into a black hole is left for a new one that is READY (%s)', async (how, { onTestFinished }) => {
    const [, options, settings] = how;
    const server = await startServer(onTestFinished, options);
    const proxy = await startProxy(onTestFinished, server.url);
    const open: number[] = [];
    const { app, replacements, states } = await startApp(onTestFinished, { url: proxy.url, ...settings }, () =>
      open.push(proxy.counters.open),
    );
    const load = await startLoad(onTestFinished, app);
    const stream = watch(app);
    await waitFor(() => stream.received.length === 1);
    const hungAt = performance.now();
    proxy.holdBytes();

    await waitFor(() => replacements.length > 0, { timeoutMs: FOUND_WITHIN_MS + 5_000 });
    expect(since(hungAt)).toBeLessThan(FOUND_WITHIN_MS);
    // The dead one is still there when the new one has taken over.
    expect(open).toEqual([2]);
    expect(states).toEqual(READY_THROUGHOUT);
    // What hung on it ends.
    await waitFor(() => stream.error !== undefined);
    expect(stream.error).toMatchObject({ code: 14, reason: 'connection-lost', reachedServer: 'yes' });
    await waitFor(() => proxy.counters.open === 1);
    await expectWell(load);
    expect(proxy.counters.accepted).toBe(2);
    expect(replacements).toMatchObject([{ reason: 'suspicion', address: proxy.url, by: 'new-channel' }]);
    const text = `warn: dead connection to ${proxy.url} ended: no byte for `;
    expect(aboveDebug(app).filter((line) => line.startsWith(text))).toHaveLength(1);
  });

  it('to a server that is frozen for 5 s is kept, and all is well 1.5 s after it thaws', async ({ onTestFinished }) => {
    const orders = await startProcess(onTestFinished);
    const proxy = await startProxy(onTestFinished, orders.url);
    const { app, replacements, states } = await startApp(onTestFinished, { url: proxy.url });
    const load = await startLoad(onTestFinished, app);
    const frozenAt = performance.now();
    orders.freeze();
    await waitFor(() => since(frozenAt) >= 5_000, { timeoutMs: 6_000 });
    orders.thaw();
    const thawedAt = performance.now();
    await waitFor(() => since(thawedAt) >= 1_500);
    await expectWell(load);
    expect(load.failed.length).toBeGreaterThan(CALLS_PER_SECOND);
    expect(proxy.counters.accepted).toBe(1);
    expect([replacements, states]).toEqual([[], READY_THROUGHOUT]);
  });

  it('to one of three under round_robin that is frozen is passed over until it thaws', async ({ onTestFinished }) => {
    const orders = await startProcess(onTestFinished);
    const others = [await startServer(onTestFinished), await startServer(onTestFinished)];
    const url = `ipv4:${[orders.url, ...others.map((other) => other.url)].join(',')}`;
    const { app, replacements } = await startApp(onTestFinished, { url, loadBalancing: 'round_robin' });
    const load = await startLoad(onTestFinished, app);
    await waitFor(() => orders.arrived().length > 0);
    const hungAt = performance.now();
    orders.freeze();
    await waitFor(() => replacements.length > 0, { timeoutMs: FOUND_WITHIN_MS + 5_000 });
    expect(since(hungAt)).toBeLessThan(FOUND_WITHIN_MS);
    // Those that picked it last.
    await waitFor(() => load.open.every(({ startedAt }) => startedAt > replacements[0]!.at));
    await expectWell(load);
    expect(replacements).toMatchObject([{ address: orders.url, by: 'other-connections' }]);
    expect(others.map(({ connections }) => connections.accepted)).toEqual([1, 1]);
    orders.thaw();
    const arrived = orders.arrived().length;
    await waitFor(() => orders.arrived().length > arrived + 5, { timeoutMs: 15_000 });
    await expectWell(load);
  });

  it('to the first of two under pick_first is left for the other when it is frozen', async ({ onTestFinished }) => {
    const orders = await startProcess(onTestFinished);
    const other = await startServer(onTestFinished);
    const url = `ipv4:${orders.url},${other.url}`;
    const { app, replacements, states } = await startApp(onTestFinished, { url });
    const load = await startLoad(onTestFinished, app);
    expect(other.connections.accepted).toBe(0);
    const hungAt = performance.now();
    orders.freeze();
    await waitFor(() => replacements.length > 0, { timeoutMs: FOUND_WITHIN_MS + 5_000 });
    expect(since(hungAt)).toBeLessThan(FOUND_WITHIN_MS);
    await expectWell(load);
    expect(other.connections.open).toBe(1);
    expect(replacements).toMatchObject([{ address: orders.url, by: 'new-channel' }]);
    expect(states).toEqual(READY_THROUGHOUT);
  });
});
