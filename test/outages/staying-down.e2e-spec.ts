import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { turns } from '../calls/support.js';
import { bundled } from '../support/bundled.js';
import { median } from '../support/call-load.js';
import { ORDERS_PROTO, aboveDebug, certificate, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { holdTimers } from '../server/support/held-timers.js';
import { answeringPeer, resettingPeer, type Peer } from '../support/peers.js';
import { recordTiming } from '../support/timing.js';

const UNREACHABLE =
  /^14 UNAVAILABLE: 127\.0\.0\.1:\d+ has been unreachable for \d+\.\d s \(\d+ connection attempts?, (next in \d+\.\d s|connecting now)\): .+ \(.+; to diagnose, run: npx nestjs-resilient-grpc doctor 127\.0\.0\.1:\d+\)$/;
/** Backoff with which grpc-js alone would try to connect only once per test. */
const FAR_BACKOFF = { 'grpc.initial_reconnect_backoff_ms': 60_000, 'grpc.max_reconnect_backoff_ms': 60_000 };
const pair = { cert: readFileSync(certificate('server')), key: readFileSync(certificate('server-key')) };
const tls = { ca: certificate('ca'), serverName: 'localhost' };
const HTTP_1 = 'HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n';
/** Duration in milliseconds that is longer than any wait in these tests, for limits that must not end during a test. */
const FAR_MS = 60_000;

type Settings = Parameters<typeof startOrdersApp>;
type Cleanup = TestContext['onTestFinished'];

async function startApp(onTestFinished: Cleanup, ...settings: Settings): Promise<OrdersApp> {
  return closedAfterTest(startOrdersApp(...settings), onTestFinished);
}

async function startPeer(onTestFinished: Cleanup): Promise<Peer> {
  return closedAfterTest(resettingPeer(), onTestFinished);
}

type Tls = Parameters<typeof ScriptedGrpcServer.start>[0]['tls'];

async function startProxy(onTestFinished: Cleanup, tls?: Tls): Promise<FaultProxy> {
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {}, Create: {} }, tls });
  onTestFinished(() => server.close());
  return closedAfterTest(FaultProxy.start(server.url), onTestFinished);
}

/** A call that must fail. `startedAt` and `endedAt` are in milliseconds since 1970. */
interface FailingCall {
  readonly startedAt: number;
  /** `undefined` while the call runs. */
  endedAt: number | undefined;
  /** 0 while the call runs. */
  latencyMs: number;
  error: GrpcCallError | undefined;
  readonly ended: Promise<GrpcCallError>;
}

/** Starts `call` in this turn of the event loop. */
function failing(call: () => Parameters<typeof firstValueFrom>[0]): FailingCall {
  const beganAt = performance.now();
  const started: Omit<FailingCall, 'ended'> = {
    startedAt: Date.now(),
    endedAt: undefined,
    latencyMs: 0,
    error: undefined,
  };
  const ended = firstValueFrom(call()).then(
    (value) => {
      throw new Error(`the call succeeded: ${JSON.stringify(value)}`);
    },
    (error: unknown) => {
      started.error = error as GrpcCallError;
      started.endedAt = Date.now();
      started.latencyMs = performance.now() - beganAt;
      return started.error;
    },
  );
  return Object.assign(started, { ended });
}

/** Expects `call` to fail within eight event-loop turns. */
async function failsAtOnce(call: () => Parameters<typeof firstValueFrom>[0]): Promise<FailingCall> {
  const started = failing(call);
  await turns();
  expect(started.error).toBeDefined();
  return started;
}

/**
 * Runs `begin` in the event-loop turn in which an outage of `app` begins. On a slow machine, the grace period could otherwise end before
 * `begin` runs.
 */
function atOutage<T>({ client, orders }: OrdersApp, begin: () => T): Promise<T> {
  return new Promise((resolve) => {
    client.events$.subscribe((event) => {
      // Delays `begin` by a microtask, after which the call below, which sets `waitForReady: false`, is no longer in the queue.
      if (event.type === 'outage-start') resolve(Promise.resolve().then(begin));
    });
    // Makes the client connect.
    orders.get({ id: '0' }, { waitForReady: false }).subscribe({ error: () => undefined });
  });
}

const create = ({ orders }: OrdersApp) => orders.create({ requestId: '1', item: 'tea', quantity: 1 });
const gaps = (times: readonly number[]) => times.slice(1).map((time, index) => time - times[index]!);

// Most tests run concurrently because they mostly wait, so all share one leak check.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled({ timeoutMs: 20_000 }));

describe.concurrent('server that stays down', () => {
  it(
    'makes calls wait until the outage grace period ends, and fails later calls immediately with the cause',
    { tags: ['timed'] },
    async ({ task, onTestFinished }) => {
      const graceMs = 2_000;
      // The backoff is constant, so that early attempts during the grace period do not delay later attempts.
      const backoff = { 'grpc.initial_reconnect_backoff_ms': 1_000, 'grpc.max_reconnect_backoff_ms': 1_000 };
      const peer = await startPeer(onTestFinished);
      const app = await startApp(onTestFinished, { url: peer.url, outageGraceMs: graceMs, channelOptions: backoff });
      const connectsFrom = Date.now();
      const waited = await atOutage(app, () => Array.from({ length: 200 }, () => failing(() => create(app))));
      const { since, graceEndsAt } = app.client.connectivity.outage!;
      const spreadMs = graceEndsAt.getTime() - since.getTime();
      expect(spreadMs).toBeGreaterThanOrEqual(0.9 * graceMs);
      expect(spreadMs).toBeLessThanOrEqual(1.1 * graceMs);
      expect(app.client.snapshot().waiting).toBe(200);
      await Promise.all(waited.map(({ ended }) => ended));
      const later: FailingCall[] = [];
      for (let i = 0; i < 400; i++) later.push(await failsAtOnce(() => create(app)));

      const overdueMs = waited.map(({ endedAt }) => endedAt! - graceEndsAt.getTime());
      expect(Math.min(...overdueMs)).toBeGreaterThanOrEqual(-5);
      for (const { error } of [...waited, ...later]) {
        expect(error).toMatchObject({ reason: 'outage', reachedServer: 'no', retryAfterMs: expect.any(Number) });
        expect(error!.message).toMatch(UNREACHABLE);
      }
      const last = later.at(-1)!;
      // The duration in the error includes the first attempt to connect, whose failure started the outage.
      const unreachableMs = 1_000 * Number(/for (\d+\.\d) s/.exec(last.error!.message)![1]);
      expect(unreachableMs).toBeGreaterThan(last.startedAt - since.getTime() - 100);
      expect(unreachableMs).toBeLessThan(last.endedAt! - connectsFrom + 100);

      // No attempt is made before the `retryAfterMs` of the error has passed.
      await waitFor(() => app.client.connectivity.state === 'TRANSIENT_FAILURE');
      const attempts = peer.acceptedAt.length;
      const failed = await failsAtOnce(() => create(app));
      const nextAttemptAt = failed.startedAt + failed.error!.retryAfterMs!;
      const beyond = () => peer.acceptedAt.filter((at) => at > graceEndsAt.getTime());
      await waitFor(() => peer.acceptedAt.length > attempts && beyond().length >= 4, { timeoutMs: 20_000 });
      expect(peer.acceptedAt[attempts]!).toBeGreaterThanOrEqual(nextAttemptAt - 50);
      // At least two gaps lie between the end of the grace period and the fourth attempt accepted after it: the first two attempts may have
      // been due earlier. Only the sum of the gaps is checked, because single gaps vary: a busy process accepts connections late.
      expect(beyond()[3]! - graceEndsAt.getTime()).toBeGreaterThan(2 * 750);

      recordTiming(
        task,
        'time from the end of the grace period until a waiting call fails, ms',
        Math.max(...overdueMs),
        { atMost: 250 },
      );
      const latenciesMs = later.map(({ latencyMs }) => latencyMs);
      recordTiming(task, 'median time until a call after the grace period fails, ms', median(latenciesMs), {
        atMost: 5,
      });
      const lateMs = peer.acceptedAt[attempts]! - nextAttemptAt;
      recordTiming(task, 'time from the end of retryAfterMs until the attempt, ms', lateMs, { atMost: 200 });
      // The bound is a backoff of 1 s + 20%, plus 200 ms.
      recordTiming(task, 'longest time between attempts after the grace period, ms', Math.max(...gaps(beyond())), {
        atMost: 1_400,
      });
    },
  );

  it(
    'makes repeated connection attempts during the outage grace period while calls wait, long before the backoff of grpc-js ends',
    { tags: ['timed'] },
    async ({ task, onTestFinished }) => {
      const peer = await startPeer(onTestFinished);
      const app = await startApp(
        onTestFinished,
        { url: peer.url, outageGraceMs: FAR_MS, channelOptions: FAR_BACKOFF },
        { drain: { timeoutMs: 50 } },
      );
      const beganAt = Date.now();
      const call = create(app).subscribe({ error: () => undefined });
      await waitFor(() => peer.acceptedAt.length >= 12, { timeoutMs: 20_000 });
      call.unsubscribe();
      // With backoffs of 100, 160, and then 250 ms, and a jitter of ±50%, twelve attempts take at least 1,255 ms.
      expect(peer.acceptedAt[11]! - beganAt).toBeGreaterThan(1_100);
      const within = gaps(peer.acceptedAt);
      recordTiming(task, 'shortest time between attempts in the grace period, ms', Math.min(...within), {
        atLeast: 45,
      });
      recordTiming(task, 'longest time between attempts in the grace period, ms', Math.max(...within), { atMost: 525 });
    },
  );

  it(
    'fails a call immediately during an outage if the call sets waitForReady: false or exceeds maxWaitingCalls',
    { tags: ['timed'] },
    async ({ task, onTestFinished }) => {
      const peer = await startPeer(onTestFinished);
      const app = await startApp(
        onTestFinished,
        { url: peer.url, outageGraceMs: FAR_MS, maxWaitingCalls: 5 },
        { drain: { timeoutMs: 50 } },
      );
      const { client, orders } = app;
      const waiting = await atOutage(app, () =>
        Array.from({ length: 5 }, () => failing(() => orders.get({ id: '1' }))),
      );
      expect(client.snapshot().waiting).toBe(5);
      const impatient = await failsAtOnce(() => orders.get({ id: '1' }, { waitForReady: false }));
      expect(impatient.error).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'outage', reachedServer: 'no' });
      expect(impatient.error!.message).toMatch(UNREACHABLE);
      const sixth = await failsAtOnce(() => orders.get({ id: '1' }));
      expect(sixth.error).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'too-many-waiting', reachedServer: 'no' });
      expect(sixth.error!.message).toContain('5 calls');
      expect(waiting.map(({ endedAt }) => endedAt)).toEqual(Array(5).fill(undefined));
      recordTiming(task, 'time until a call with waitForReady: false fails, ms', impatient.latencyMs, { atMost: 50 });
      recordTiming(task, 'time until a call beyond maxWaitingCalls fails, ms', sixth.latencyMs, { atMost: 50 });
      await app.close();
      for (const { ended } of waiting) expect((await ended).reason).toBe('draining');
    },
  );

  it(
    'makes a call wait until its deadline if waitForReady is true, and until the outage grace period ends otherwise',
    { tags: ['timed'] },
    async ({ task, onTestFinished }) => {
      const proxy = await startProxy(onTestFinished);
      proxy.refuse();
      // The second attempt outlasts the test, so that only the end of the grace period or a deadline ends a wait.
      const settings = { url: proxy.url, outageGraceMs: 600, connections: { connectTimeoutMs: FAR_MS } };
      const app = await startApp(onTestFinished, settings);
      const { orders } = app;
      const { outage, patient, usual, silent } = await atOutage(app, () => ({
        outage: app.client.connectivity.outage!,
        silent: proxy.staySilent(),
        patient: failing(() => orders.get({ id: '1' }, { waitForReady: true, timeoutMs: 1_200 })),
        usual: Array.from({ length: 4 }, () => failing(() => orders.get({ id: '1' }))),
      }));
      await silent;
      for (const { ended } of usual) expect((await ended).reason).toBe('outage');
      const late = await patient.ended;
      expect(late).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reason: 'deadline', reachedServer: 'no' });
      expect(late.message).toContain('waiting: ');
      const { since, graceEndsAt } = outage;
      expect(graceEndsAt.getTime() - since.getTime()).toBeGreaterThanOrEqual(540);
      expect(Math.min(...usual.map(({ endedAt }) => endedAt!))).toBeGreaterThanOrEqual(graceEndsAt.getTime() - 5);
      expect(patient.latencyMs).toBeGreaterThan(1_190);
      const usualMs = Math.max(...usual.map(({ latencyMs }) => latencyMs));
      recordTiming(task, 'time until a waiting call fails, grace period 600 ms, ms', usualMs, { atMost: 1_000 });
      recordTiming(task, 'time from the deadline until the call ends, ms', patient.latencyMs - 1_200, { atMost: 250 });
    },
  );
});

// These tests do not run concurrently, because they replace the timers of the process.
describe('server that stays down', () => {
  it('tries to connect only at the pace of the backoff while no call waits or fails', async ({ onTestFinished }) => {
    const peer = await startPeer(onTestFinished);
    const channelOptions = { 'grpc.initial_reconnect_backoff_ms': 1_000 };
    const app = await startApp(onTestFinished, { url: peer.url, channelOptions });
    const { advance, until } = holdTimers();
    await failing(() => app.orders.get({ id: '1' }, { waitForReady: false })).ended;
    for (let passedMs = 0; passedMs < 8_000; passedMs += 20) {
      await advance(20);
      await until(() => app.client.connectivity.state !== 'CONNECTING');
    }
    // Only the failed call has caused an early attempt. The first backoff is 0.5 to 1 s, and each further one 1.6 times as long, ±20%.
    expect(Math.min(...gaps(peer.acceptedAt).slice(1))).toBeGreaterThan(490);
    expect(peer.acceptedAt.length).toBeGreaterThanOrEqual(4);
    expect(peer.acceptedAt.length).toBeLessThanOrEqual(7);
  });

  it('tries to connect about four times per second while calls fail at once', async ({ onTestFinished }) => {
    const peer = await startPeer(onTestFinished);
    const app = await startApp(onTestFinished, {
      url: peer.url,
      methods: { '*': { waitForReady: false } },
      channelOptions: FAR_BACKOFF,
    });
    const { advance, until } = holdTimers();
    const get = () => app.orders.get({ id: '1' });
    await failing(get).ended;
    for (let passedMs = 0; passedMs < 8_000; passedMs += 20) {
      await advance(20);
      await until(() => app.client.connectivity.state !== 'CONNECTING');
      await failsAtOnce(get);
    }
    // After 0.1 s, later after 0.25 s, ±50%.
    expect(Math.min(...gaps(peer.acceptedAt))).toBeGreaterThanOrEqual(50);
    expect(peer.acceptedAt.length).toBeGreaterThan(20);
    expect(peer.acceptedAt.length).toBeLessThan(60);
    expect(aboveDebug(app)).toEqual([
      expect.stringMatching(/^warn: outage: .*; [1-9]\d* calls? failed, and none is waiting; to diagnose, run: \S/),
      expect.stringMatching(/^warn: outage has lasted \d(\.\d)? s: .*; calls fail immediately \(UNAVAILABLE\)/),
    ]);
  });

  it('does not log the end of the grace period if the channel is READY at that time', async ({ onTestFinished }) => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: { never: true } } });
    onTestFinished(() => server.close());
    await server.stop('force');
    const { advance, until } = holdTimers();
    const app = await startApp(onTestFinished, { url: server.url, outageGraceMs: 3_000 });
    const call = app.orders.get({ id: '1' }).subscribe();
    await until(() => app.client.connectivity.outage !== undefined);
    const graceEndsAt = app.client.connectivity.outage!.graceEndsAt.getTime();
    while (Date.now() < graceEndsAt - 900) await advance(20);
    await server.restart();
    while (app.client.connectivity.state !== 'READY') {
      await advance(20);
      await turns();
    }
    while (Date.now() < graceEndsAt + 40) await advance(20);
    expect(app.client.connectivity).toMatchObject({ state: 'READY', outage: { connectAttempts: expect.any(Number) } });
    expect(aboveDebug(app)).toEqual([expect.stringMatching(/^warn: outage: .*; calls wait up to /)]);
    call.unsubscribe();
  });

  it('logs the end of the grace period only when a call fails', async ({ onTestFinished }) => {
    const peer = await startPeer(onTestFinished);
    const { advance, until } = holdTimers();
    const app = await startApp(onTestFinished, { url: peer.url, connections: { warm: true }, outageGraceMs: 1_000 });
    await until(() => app.client.connectivity.outage !== undefined);
    for (let passedMs = 0; passedMs < 2_000; passedMs += 100) await advance(100);
    expect(aboveDebug(app)).toEqual([]);
    await failsAtOnce(() => app.orders.get({ id: '1' }));
    expect(aboveDebug(app)).toEqual([expect.stringMatching(/^warn: outage has lasted 2(\.\d)? s: /)]);
  });
});

describe.concurrent('peer that does not use HTTP/2', () => {
  it.for([
    ['plain', 'garbage', (socket: Socket) => socket.write(Buffer.alloc(5_000, 7))],
    ['plain', 'HTTP/1', (socket: Socket) => socket.write(HTTP_1)],
    ['plain', 'a closed connection', (socket: Socket) => socket.end()],
    ['TLS', 'garbage', (socket: Socket) => socket.write(Buffer.alloc(5_000, 7))],
    ['TLS', 'HTTP/1', (socket: Socket) => socket.write(HTTP_1)],
    ['TLS', 'a closed connection', (socket: Socket) => socket.end()],
  ] as const)(
    'lets waiting calls succeed after five connection attempts that the peer does not answer with HTTP/2, long before the backoff of grpc-js ends (%s, %s)',
    async ([kind, , answer], { onTestFinished }) => {
      const proxy = await startProxy(onTestFinished, kind === 'TLS' ? pair : undefined);
      const peer = await closedAfterTest(answeringPeer(5, answer, proxy.url), onTestFinished);
      const app = await startApp(onTestFinished, {
        url: peer.url,
        outageGraceMs: FAR_MS,
        channelOptions: FAR_BACKOFF,
        ...(kind === 'TLS' ? { tls } : {}),
      });
      await Promise.all(Array.from({ length: 10 }, () => firstValueFrom(create(app))));
      expect(peer.acceptedAt).toHaveLength(6);
    },
  );
});

describe.concurrent('peer that accepts connections and stays silent', () => {
  describe.each([
    ['plain', {}],
    ['TLS', { tls: { serverName: 'localhost' } }],
  ] as const)('%s', (_kind, security) => {
    it(
      'ends a call at its deadline while the connection attempt to a silent peer continues',
      { tags: ['timed'] },
      async ({ task, onTestFinished }) => {
        const proxy = await startProxy(onTestFinished);
        await proxy.staySilent();
        const app = await startApp(onTestFinished, {
          url: proxy.url,
          connections: { connectTimeoutMs: FAR_MS },
          ...security,
        });
        const call = failing(() => app.orders.get({ id: '1' }, { timeoutMs: 300 }));
        expect(await call.ended).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reachedServer: 'no' });
        await waitFor(() => proxy.counters.open === 1, { timeoutMs: 20_000 });
        expect(app.client.connectivity.state).toBe('CONNECTING');
        recordTiming(task, 'time from the deadline until the call ends, ms', call.latencyMs - 300, { atMost: 100 });
      },
    );

    it(
      'closes the connection to a silent peer at the connect timeout, and ends a call at its deadline, after at most two connection attempts',
      { tags: ['timed'] },
      async ({ task, onTestFinished }) => {
        const proxy = await startProxy(onTestFinished);
        await proxy.staySilent();
        const channelOptions = { 'grpc.initial_reconnect_backoff_ms': 1_000 };
        const app = await startApp(onTestFinished, {
          url: proxy.url,
          connections: { connectTimeoutMs: 500 },
          channelOptions,
          ...security,
        });
        const causes: string[] = [];
        app.client.events$.subscribe((event) => {
          if (event.type === 'connection' && event.change === 'failed') causes.push(event.cause);
        });
        const beganAt = performance.now();
        const call = failing(() => app.orders.get({ id: '1' }, { timeoutMs: 1_300 }));
        const acceptedByEnd = call.ended.then(() => proxy.counters.accepted);
        await waitFor(() => proxy.counters.accepted > 0, { timeoutMs: 20_000 });
        const connectedAt = performance.now();
        await waitFor(() => proxy.counters.accepted > proxy.counters.open, { timeoutMs: 20_000 });
        const closedAt = performance.now();
        expect(closedAt - beganAt).toBeGreaterThan(490);
        expect(causes[0]).toContain('timed out after 0.5 s');
        expect(await call.ended).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reachedServer: 'no' });
        expect(await acceptedByEnd).toBeLessThanOrEqual(2);
        recordTiming(task, 'time until the connection to a silent peer is closed, ms', closedAt - connectedAt, {
          atMost: 650,
        });
        recordTiming(task, 'time from the deadline until the call ends, ms', call.latencyMs - 1_300, { atMost: 150 });
      },
    );

    it('opens one connection after another to a silent peer, and keeps each open for the full connect timeout', async ({
      onTestFinished,
    }) => {
      const proxy = await startProxy(onTestFinished);
      await proxy.staySilent();
      // The connect timeout is longer than the backoff of grpc-js, so the backoff timer has already fired when the attempt ends.
      const channelOptions = { 'grpc.initial_reconnect_backoff_ms': 500 };
      const app = await startApp(onTestFinished, {
        url: proxy.url,
        connections: { connectTimeoutMs: 1_100 },
        outageGraceMs: FAR_MS,
        channelOptions,
        ...security,
      });
      const causes: string[] = [];
      app.client.events$.subscribe((event) => {
        if (event.type === 'connection' && event.change === 'failed') causes.push(event.cause);
      });
      const call = app.orders.get({ id: '1' }, { timeoutMs: FAR_MS }).subscribe({ error: () => undefined });
      onTestFinished(() => call.unsubscribe());
      await waitFor(() => causes.length === 3, { timeoutMs: 50_000 });
      expect(causes).toEqual(causes.map(() => expect.stringMatching(/timed out after 1\.1 s/)));
      expect(proxy.counters.accepted - causes.length).toBeLessThanOrEqual(1);
    });

    it.for([
      ['during the handshake', 'handshake'],
      ['during the backoff before the next attempt', 'backoff'],
    ] as const)(
      'lets the process exit if a peer stays silent and app.close() is called %s',
      { tags: ['timed'], timeout: 60_000 },
      async ([, moment], context) => {
        const { task, onTestFinished } = context;
        const proxy = await startProxy(onTestFinished);
        await proxy.staySilent();
        const connectTimeoutMs = moment === 'handshake' ? FAR_MS : 300;
        const child = fork(
          bundled(new URL('../support/closing-app.mjs', import.meta.url)),
          [proxy.url, '--connect-timeout', String(connectTimeoutMs), ...('tls' in security ? ['--tls'] : [])],
          { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
        );
        onTestFinished(() => void child.kill('SIGKILL'));
        let state: string | undefined;
        child.on('message', (message: { readonly state: string }) => {
          state = message.state;
        });
        const exited = once(child, 'exit');
        const reached = () =>
          moment === 'handshake' ? proxy.counters.open === 1 && state === 'CONNECTING' : state === 'TRANSIENT_FAILURE';
        await waitFor(reached, { timeoutMs: 30_000 });
        const beganAt = performance.now();
        child.send('close');
        const [code] = (await exited) as [number | null];
        recordTiming(task, 'time from close() until the process exits, ms', performance.now() - beganAt, {
          atMost: 1_000,
        });
        expect(code).toBe(0);
      },
    );
  });

  it.for([
    ['plain', 'during', 1],
    ['plain', 'after', 1],
    ['plain', 'during', 2],
    ['plain', 'after', 2],
    ['plain', 'during', 3],
    ['TLS', 'during', 1],
    ['TLS', 'during', 2],
    ['TLS', 'after', 2],
  ] as const)(
    'lets waiting calls succeed within the connect timeout plus 1 s after a silent peer starts to respond (%s, %s attempt %i)',
    { tags: ['timed'] },
    async ([kind, when, attempt], { task, onTestFinished }) => {
      const proxy = await startProxy(onTestFinished, kind === 'TLS' ? pair : undefined);
      await proxy.staySilent();
      const app = await startApp(onTestFinished, {
        url: proxy.url,
        connections: { connectTimeoutMs: 500 },
        outageGraceMs: FAR_MS,
        channelOptions: FAR_BACKOFF,
        ...(kind === 'TLS' ? { tls } : {}),
      });
      const calls = [firstValueFrom(app.orders.get({ id: '1' })), firstValueFrom(create(app))];
      const settled = Promise.allSettled(calls);
      const open = when === 'during' ? 1 : 0;
      await waitFor(() => proxy.counters.accepted >= attempt && proxy.counters.open === open, { timeoutMs: 20_000 });
      await proxy.forward();
      const goodAt = performance.now();
      expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
      recordTiming(
        task,
        'time until the waiting calls are answered after the peer starts to respond, ms',
        performance.now() - goodAt,
        { atMost: 1_500 },
      );
    },
  );
});
