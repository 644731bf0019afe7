import type { GrpcCallError, GrpcClientEvent } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { CallLoad } from '../support/call-load.js';
import { ORDERS_PROTO, aboveDebug, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { OrdersProcess } from '../support/orders-process.js';
import { recordTiming } from '../support/timing.js';

// HTTP/2 keepalive is off in all tests of this file, as it is by default.

type Cleanup = TestContext['onTestFinished'];
type Settings = Parameters<typeof startOrdersApp>[0];

const DEADLINE_MS = 1_000;
const CALLS_PER_SECOND = 20;
/** Options of `waitFor` for the detection of a silent connection, which takes up to 20 s, and longer if this process is suspended. */
const HANG = { timeoutMs: 80_000 };
const READY_THROUGHOUT = ['CONNECTING', 'READY'];
const ANSWERED = { Get: {}, Create: {}, Watch: { messages: [{ sequence: '1' }], never: true } };

async function startServer(onTestFinished: Cleanup): Promise<ScriptedGrpcServer> {
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: ANSWERED });
  onTestFinished(() => server.close());
  return server;
}
async function startProcess(onTestFinished: Cleanup): Promise<OrdersProcess> {
  return closedAfterTest(OrdersProcess.start(), onTestFinished);
}

type Replacement = Extract<GrpcClientEvent, { type: 'connection-replaced' }>;

interface Watched {
  readonly app: OrdersApp;
  readonly replacements: readonly Replacement[];
  /** States that the channel entered, earliest first. */
  readonly states: readonly string[];
}

async function startApp(onTestFinished: Cleanup, settings: Settings): Promise<Watched> {
  const app = await closedAfterTest(startOrdersApp(settings), onTestFinished);
  const replacements: Replacement[] = [];
  const states: string[] = [];
  app.client.events$.subscribe((event) => {
    if (event.type === 'connectivity') states.push(event.to);
    if (event.type === 'connection-replaced') replacements.push(event);
  });
  return { app, replacements, states };
}

/** Starts a load of reads, each with a deadline of 1 s. Resolves after ten reads have succeeded. The load stops when the test ends. */
async function startLoad(onTestFinished: Cleanup, { orders }: Pick<OrdersApp, 'orders'>): Promise<CallLoad> {
  const load = CallLoad.start(CALLS_PER_SECOND, () => orders.get({ id: '1' }, { timeoutMs: DEADLINE_MS }));
  onTestFinished(() => load.stop());
  await waitFor(() => load.succeeded.length >= 10, { timeoutMs: 20_000 });
  return load;
}

/**
 * Makes twenty calls and expects them to succeed. Over a frozen connection, a call would not end before the time limit of the test.
 * Resolves to the number of failures among the next twenty calls of `load`; 0 if the machine is not busy.
 */
async function expectCallsToSucceed({ orders }: Pick<OrdersApp, 'orders'>, load: CallLoad): Promise<number> {
  const from = load.calls.length;
  await Promise.all(Array.from({ length: 20 }, () => firstValueFrom(orders.get({ id: '1' }, { timeoutMs: 300_000 }))));
  const next = () => load.calls.slice(from, from + 20);
  await waitFor(() => next().length === 20 && next().every(({ endedAt }) => endedAt !== undefined), HANG);
  return next().filter(({ error }) => error !== undefined).length;
}

const since = (at: number): number => performance.now() - at;

// Some tests run concurrently, so all tests share one leak check.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled({ timeoutMs: 20_000 }));

describe('event loop of the client, blocked for 3 s', () => {
  it('neither probes nor replaces a connection after the event loop of the client was blocked for 3 s', async ({
    onTestFinished,
  }) => {
    const server = await startHttp2Server((stream) => {
      succeed(stream);
    });
    const { app, replacements, states } = await startApp(onTestFinished, { url: server.url });
    const load = await startLoad(onTestFinished, app);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    await expectCallsToSucceed(app, load);
    expect(new Set(server.streams)).toEqual(new Set(['/orders.v1.Orders/Get']));
    expect([replacements, states]).toEqual([[], READY_THROUGHOUT]);
    expect(aboveDebug(app)).toEqual([]);
  });
});

describe('call that reaches its deadline', () => {
  it('explains in the deadline error that a frozen server sent nothing', async ({ onTestFinished }) => {
    const orders = await startProcess(onTestFinished);
    const { app } = await startApp(onTestFinished, { url: orders.url });
    await firstValueFrom(app.orders.get({ id: '1' }));
    orders.freeze();
    // Repeats the call until its error has the explanation, which is missing if a busy machine delays the checks of the connection.
    let error: unknown;
    await waitFor(
      async () => {
        error = await firstValueFrom(app.orders.get({ id: '1' }, { timeoutMs: 800 })).catch(
          (failure: unknown) => failure,
        );
        return String(error).includes('nothing received');
      },
      { timeoutMs: 20_000, describe: () => `an explanation in ${String(error)}` },
    );
    orders.thaw();
    const { message, details } = error as GrpcCallError;
    expect(details).toMatch(/^Deadline exceeded after 0\.\d+s,(?:[\w ]+: [\d.]+s,)*remote_addr=[\d.:]+$/);
    expect(
      message
        .replace(details, '<details>')
        .replace(/\d\.\d s/, '<duration>')
        .replace(/took [\d.]+ ms \(median\) to [\d.]+ ms/, 'took <range>'),
    ).toBe(
      '4 DEADLINE_EXCEEDED: <details> (nothing received on the connection for <duration>: the server is slow, stuck, or unreachable; ' +
        `if it is only slow, raise the timeout; to diagnose, run: npx nestjs-resilient-grpc doctor ${orders.url}; timeoutMs 800 of the call; ` +
        'successful calls lately took <range> (p99))',
    );
  });

  it('omits the explanation "nothing received" from the deadline error if the connection receives data', async ({
    onTestFinished,
  }) => {
    const server = await startServer(onTestFinished);
    server.script('Create', { never: true });
    const { app } = await startApp(onTestFinished, { url: server.url });
    await startLoad(onTestFinished, app);
    const create = firstValueFrom(
      app.orders.create({ requestId: '1', item: 'tea', quantity: 1 }, { timeoutMs: DEADLINE_MS }),
    );
    const error: unknown = await create.catch((failure: unknown) => failure);
    expect(error).toMatchObject({ reason: 'deadline', message: expect.not.stringContaining('nothing received') });
  });
});

describe('calls without a deadline', () => {
  it(
    'logs how many calls without a deadline wait for a frozen server, and names remedies',
    { timeout: 120_000 },
    async ({ onTestFinished }) => {
      const orders = await startProcess(onTestFinished);
      const { app } = await startApp(onTestFinished, { url: orders.url });
      await firstValueFrom(app.orders.get({ id: '1' }));
      orders.freeze();
      const calls = ['1', '2'].map((id) => firstValueFrom(app.orders.get({ id })));
      await waitFor(() => aboveDebug(app).length > 0, HANG);
      orders.thaw();
      await Promise.all(calls);
      expect(aboveDebug(app).map((line) => line.replace(/\d+(?:\.\d)? s\b/g, '<duration>'))).toEqual([
        `warn: ${orders.url} has not answered 2 calls to /orders.v1.Orders/Get for up to <duration>; the calls have no deadline and may never ` +
          'end: set timeoutMs; nothing received on the connection for <duration>: the server is slow, stuck, or unreachable; set ' +
          'keepalive to detect connections that no longer respond; ' +
          `to diagnose, run: npx nestjs-resilient-grpc doctor ${orders.url}`,
      ]);
    },
  );
});

const SLOW = { tags: ['timed'], timeout: 120_000 };

describe.concurrent('frozen connection', () => {
  it(
    'stops sending calls to one frozen backend of three under round_robin until the backend resumes',
    SLOW,
    async ({ task, onTestFinished }) => {
      const orders = await startProcess(onTestFinished);
      const others = [await startServer(onTestFinished), await startServer(onTestFinished)];
      const url = `ipv4:${[orders.url, ...others.map((other) => other.url)].join(',')}`;
      const { app, replacements } = await startApp(onTestFinished, { url, loadBalancing: 'round_robin' });
      const load = await startLoad(onTestFinished, app);
      await waitFor(() => orders.arrived().length > 0, HANG);
      const hungAt = performance.now();
      orders.freeze();
      await waitFor(() => replacements.length > 0, HANG);
      recordTiming(task, 'time from the freeze until the connection is replaced, ms', since(hungAt), {
        atMost: 20_000,
      });
      // Waits until all calls that started before the replacement have ended.
      await waitFor(() => load.open.every(({ startedAt }) => startedAt > replacements[0]!.at), { timeoutMs: 20_000 });
      recordTiming(task, 'failures of the next 20 calls', await expectCallsToSucceed(app, load), { atMost: 0 });
      expect(replacements).toMatchObject([{ address: orders.url, by: 'other-connections' }]);
      expect(others.map(({ connections }) => connections.accepted)).toEqual([1, 1]);
      orders.thaw();
      const arrived = orders.arrived().length;
      await waitFor(() => orders.arrived().length > arrived + 5, HANG);
      await expectCallsToSucceed(app, load);
    },
  );

  it(
    'replaces a frozen connection with a connection to the second of two backends under pick_first',
    SLOW,
    async ({ task, onTestFinished }) => {
      const orders = await startProcess(onTestFinished);
      const other = await startServer(onTestFinished);
      const proxy = await closedAfterTest(FaultProxy.start(other.url), onTestFinished);
      // Refuses connections to the second address at first, because pick_first also tries that address if the first one connects slowly.
      proxy.refuse();
      const url = `ipv4:${orders.url},${proxy.url}`;
      const { app, replacements, states } = await startApp(onTestFinished, { url });
      const load = await startLoad(onTestFinished, app);
      await proxy.forward();
      expect(other.connections.accepted).toBe(0);
      const hungAt = performance.now();
      orders.freeze();
      await waitFor(() => replacements.length > 0, HANG);
      recordTiming(task, 'time from the freeze until the connection is replaced, ms', since(hungAt), {
        atMost: 20_000,
      });
      recordTiming(task, 'failures of the next 20 calls', await expectCallsToSucceed(app, load), { atMost: 0 });
      expect(other.connections.open).toBe(1);
      expect(replacements).toMatchObject([{ address: orders.url, by: 'new-channel' }]);
      expect(states).toEqual(READY_THROUGHOUT);
      expect(aboveDebug(app)).toEqual([
        expect.stringContaining(`no response from ${orders.url}`),
        expect.stringContaining(`dead connection to ${orders.url} closed`),
      ]);
    },
  );
});
