import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import {
  FaultProxy,
  ScriptedGrpcServer,
  captureLeaks,
  waitFor,
  type ScriptedServerTls,
} from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { CallLoad, median } from '../support/call-load.js';
import { ORDERS_PROTO, aboveDebug, certificate, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { resettingPeer, shortLivedPeer } from '../support/peers.js';
import { timeStoodStill } from '../support/standstill.js';

const GRACE_MS = 5_000;
const UNREACHABLE =
  /^14 UNAVAILABLE: 127\.0\.0\.1:\d+ has been unreachable for \d+\.\d s \(.+; \d+ (try|tries)\); (next try in \d+\.\d s|trying now)$/;

type Settings = Parameters<typeof startOrdersApp>;
type Cleanup = TestContext['onTestFinished'];

async function startApp(onTestFinished: Cleanup, ...settings: Settings): Promise<OrdersApp> {
  const app = await startOrdersApp(...settings);
  onTestFinished(() => app.close());
  return app;
}

async function startProxy(onTestFinished: Cleanup, tls?: ScriptedServerTls): Promise<FaultProxy> {
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {}, Create: {} }, tls });
  onTestFinished(() => server.close());
  const proxy = await FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** What each call fails with, and after how long. */
async function failureOf(call: () => Parameters<typeof firstValueFrom>[0]) {
  const beganAt = performance.now();
  const error = await firstValueFrom(call()).then(
    (value) => {
      throw new Error(`it succeeded: ${JSON.stringify(value)}`);
    },
    (failure: unknown) => failure as GrpcCallError,
  );
  return { error, afterMs: performance.now() - beganAt };
}

const gaps = (times: readonly number[]) => times.slice(1).map((time, index) => time - times[index]!);
const pass = (ms: number) => {
  const since = performance.now();
  return waitFor(() => performance.now() - since >= ms, { timeoutMs: ms + 5_000, intervalMs: 20 });
};

// Side by side, since most of what they do is to wait: one leak check for all.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

describe.concurrent('a server that does not come back', () => {
  it('is waited for as long as the grace; then calls fail at once and say why', async ({ onTestFinished }) => {
    const standstillMs = timeStoodStill();
    const peer = await resettingPeer();
    onTestFinished(() => peer.close());
    const app = await startApp(onTestFinished, { url: peer.url });
    const load = CallLoad.start(50, () => app.orders.create({ requestId: '1', item: 'tea', quantity: 1 }));
    await waitFor(() => app.client.connectivity.outage);
    const { since, graceEndsAt } = app.client.connectivity.outage!;
    const graceMs = graceEndsAt.getTime() - since.getTime();
    expect(graceMs).toBeGreaterThanOrEqual(0.9 * GRACE_MS);
    expect(graceMs).toBeLessThanOrEqual(1.1 * GRACE_MS);
    await pass(16_000);
    await load.stop();

    expect(load.succeeded).toEqual([]);
    const waited = load.calls.filter(({ startedAt }) => startedAt < graceEndsAt.getTime() - 5);
    const later = load.calls.filter(({ startedAt }) => startedAt > graceEndsAt.getTime() + 100);
    expect(waited.length).toBeGreaterThan(200);
    expect(later.length).toBeGreaterThan(400);
    for (const { endedAt } of waited) {
      expect(endedAt! - graceEndsAt.getTime()).toBeGreaterThanOrEqual(-5);
      expect(endedAt! - graceEndsAt.getTime()).toBeLessThan(250 + standstillMs());
    }
    expect(median(later.map(({ latencyMs }) => latencyMs!))).toBeLessThan(5);
    for (const { error } of [...waited, ...later]) {
      expect(error).toMatchObject({ reason: 'outage', reachedServer: 'no', retryAfterMs: expect.any(Number) });
      expect((error as Error).message).toMatch(UNREACHABLE);
    }
    const lasted = (error: unknown) => Number(/for (\d+\.\d) s/.exec((error as Error).message)![1]);
    const last = later.at(-1)!;
    expect(lasted(last.error)).toBeCloseTo((last.startedAt - since.getTime()) / 1_000, 0);
    // The text's promise holds: so soon the next try is made.
    const tryAt = last.startedAt + (last.error as GrpcCallError).retryAfterMs!;
    await waitFor(() => peer.acceptedAt.at(-1)! >= tryAt - 50, { timeoutMs: 7_000 });
    expect(Math.abs(peer.acceptedAt.find((at) => at >= tryAt - 50)! - tryAt)).toBeLessThan(200 + standstillMs());

    const within = gaps(peer.acceptedAt.filter((at) => at < graceEndsAt.getTime()));
    expect(within.length).toBeGreaterThan(10);
    expect(within.length).toBeLessThan(60);
    expect(Math.min(...within)).toBeGreaterThan(45);
    expect(Math.max(...within)).toBeLessThan(375 + 150 + standstillMs());
    const beyond = gaps(peer.acceptedAt.filter((at) => at > graceEndsAt.getTime()));
    expect(beyond.length).toBeGreaterThan(1);
    expect(Math.min(...beyond)).toBeGreaterThan(750);
    expect(Math.max(...beyond)).toBeLessThan(6_200 + standstillMs());
  });

  it('is tried at the pace of the backoff alone when nobody waits', async ({ onTestFinished }) => {
    const standstillMs = timeStoodStill();
    const peer = await resettingPeer();
    onTestFinished(() => peer.close());
    const app = await startApp(onTestFinished, { url: peer.url, methods: { '*': { waitForReady: false } } });
    const load = CallLoad.start(50, () => app.orders.get({ id: '1' }));
    await pass(8_000);
    await load.stop();
    expect(Math.max(...load.calls.map(({ latencyMs }) => latencyMs!))).toBeLessThan(500 + standstillMs());
    expect(median(load.calls.map(({ latencyMs }) => latencyMs!))).toBeLessThan(5);
    expect(Math.min(...gaps(peer.acceptedAt))).toBeGreaterThan(750);
    expect(peer.acceptedAt.length).toBeLessThanOrEqual(6);
    expect(aboveDebug(app)).toEqual([
      expect.stringMatching(/^warn: outage: .*; calls wait up to \d(\.\d)? s \(0 waiting, [1-9]\d* failed\)$/),
      expect.stringMatching(/^warn: no connection for \d(\.\d)? s: .*; calls fail at once \(UNAVAILABLE\)/),
    ]);
  });

  it('is waited for by choice: not at all, or until the deadline; no more calls than allowed', async ({
    onTestFinished,
  }) => {
    const standstillMs = timeStoodStill();
    const peer = await resettingPeer();
    onTestFinished(() => peer.close());
    const { client, orders } = await startApp(onTestFinished, {
      url: peer.url,
      outageGraceMs: 600,
      maxWaitingCalls: 5,
    });
    const patient = failureOf(() => orders.get({ id: '1' }, { waitForReady: true, timeoutMs: 1_500 }));
    await waitFor(() => client.connectivity.outage);
    const impatient = await failureOf(() => orders.get({ id: '1' }, { waitForReady: false }));
    expect(impatient.error).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'outage', reachedServer: 'no' });
    expect(impatient.error.message).toMatch(UNREACHABLE);
    expect(impatient.afterMs).toBeLessThan(50 + standstillMs());

    const usual = Array.from({ length: 4 }, () => failureOf(() => orders.get({ id: '1' })));
    await waitFor(() => client.snapshot().waiting === 5);
    const sixth = await failureOf(() => orders.get({ id: '1' }));
    expect(sixth.error).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'too-many-waiting', reachedServer: 'no' });
    expect(sixth.error.message).toContain('5 calls');
    expect(sixth.afterMs).toBeLessThan(50 + standstillMs());

    for (const { error, afterMs } of await Promise.all(usual)) {
      expect(error.reason).toBe('outage');
      expect(afterMs).toBeLessThan(1_000 + standstillMs());
    }
    const late = await patient;
    expect(late.error).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reason: 'deadline', reachedServer: 'no' });
    expect(late.error.message).toContain('waiting: ');
    expect(late.afterMs).toBeGreaterThan(1_490);
    expect(late.afterMs).toBeLessThan(1_750 + standstillMs());
  });

  it('leaves nobody waiting beyond the grace, though that ended while it was READY for a moment', async ({
    onTestFinished,
  }) => {
    const standstillMs = timeStoodStill();
    // Each connection lives too short to end the outage; the second one is READY from 0.8–1.2 s after the first for 0.8 s, and
    // the grace ends in that time.
    const peer = await shortLivedPeer(800);
    onTestFinished(() => peer.close());
    const { client, orders } = await startApp(onTestFinished, { url: peer.url, outageGraceMs: 1_400 });
    const rushed = failureOf(() => orders.create({ requestId: '0', item: 'tea', quantity: 1 }));
    await waitFor(() => client.connectivity.outage && client.connectivity.state !== 'READY');
    expect((await rushed).error).toMatchObject({ reason: 'connection-lost', reachedServer: 'maybe' });
    const waiting = Array.from({ length: 100 }, (_, index) =>
      failureOf(() => orders.create({ requestId: String(index), item: 'tea', quantity: 1 })),
    );
    const { graceEndsAt } = client.connectivity.outage!;
    await waitFor(() => Date.now() > graceEndsAt.getTime());
    expect(client.connectivity.state).toBe('READY');
    expect(client.snapshot().waiting).toBeGreaterThan(50);
    await waitFor(() => client.connectivity.state !== 'READY');
    const lostAt = performance.now();
    const reasons = new Set((await Promise.all(waiting)).map(({ error }) => error.reason));
    expect(reasons).toEqual(new Set(['connection-lost', 'outage']));
    expect(performance.now() - lostAt).toBeLessThan(500 + standstillMs());
  });
});

describe.concurrent('a peer that accepts and stays silent', () => {
  describe.each([
    ['plain', {}],
    ['TLS', { tls: { serverName: 'localhost' } }],
  ] as const)('%s', (_kind, security) => {
    it('outlasts no deadline; each attempt ends at its time, with its socket', async ({ onTestFinished }) => {
      const standstillMs = timeStoodStill();
      const proxy = await startProxy(onTestFinished);
      await proxy.staySilent();
      const app = await startApp(onTestFinished, { url: proxy.url, connectTimeoutMs: 500, ...security });
      const first = failureOf(() => app.orders.get({ id: '1' }, { timeoutMs: 300 }));
      const second = failureOf(() => app.orders.get({ id: '1' }, { timeoutMs: 1_300 }));
      await waitFor(() => proxy.counters.open === 1);
      const connectedAt = performance.now();
      expect((await first).error).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reachedServer: 'no' });
      expect((await first).afterMs).toBeLessThan(400 + standstillMs());
      await waitFor(() => proxy.counters.open === 0);
      const livedMs = performance.now() - connectedAt;
      expect(livedMs).toBeGreaterThan(450);
      expect(livedMs).toBeLessThan(650 + standstillMs());
      expect(app.client.connectivity.lastError).toContain('timed out after 0.5 s');
      expect((await second).error).toMatchObject({ codeName: 'DEADLINE_EXCEEDED', reachedServer: 'no' });
      expect((await second).afterMs).toBeLessThan(1_450 + standstillMs());
      expect(proxy.counters.accepted).toBeLessThanOrEqual(2);
    });

    it.for([
      ['in the middle of its handshake', 'handshake'],
      ['while the next try is waited for', 'backoff'],
    ] as const)('lets the process exit %s', async ([, moment], { onTestFinished }) => {
      const standstillMs = timeStoodStill();
      const proxy = await startProxy(onTestFinished);
      await proxy.staySilent();
      const child = fork(
        new URL('../support/closing-app.mjs', import.meta.url),
        [proxy.url, ...('tls' in security ? ['--tls'] : [])],
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
      await waitFor(reached, { timeoutMs: 20_000 });
      const beganAt = performance.now();
      child.send('close');
      const [code] = (await exited) as [number | null];
      expect(performance.now() - beganAt).toBeLessThan(1_000 + standstillMs());
      expect(code).toBe(0);
    });
  });

  const tls = { ca: certificate('ca'), serverName: 'localhost' };
  it.for([
    ['plain', 100],
    ['plain', 700],
    ['plain', 1_400],
    ['plain', 2_200],
    ['plain', 3_000],
    ['TLS', 100],
    ['TLS', 1_400],
    ['TLS', 2_600],
  ] as const)(
    '%s, turns good after %i ms: the calls that waited succeed within the connect timeout and a second',
    async ([kind, afterMs], { onTestFinished }) => {
      const standstillMs = timeStoodStill();
      const pair = { cert: readFileSync(certificate('server')), key: readFileSync(certificate('server-key')) };
      const proxy = await startProxy(onTestFinished, kind === 'TLS' ? pair : undefined);
      await proxy.staySilent();
      const app = await startApp(onTestFinished, {
        url: proxy.url,
        connectTimeoutMs: 500,
        ...(kind === 'TLS' ? { tls } : {}),
      });
      const calls = [
        firstValueFrom(app.orders.get({ id: '1' })),
        firstValueFrom(app.orders.create({ requestId: '1', item: 'tea', quantity: 1 })),
      ];
      const settled = Promise.allSettled(calls);
      await waitFor(() => proxy.counters.open === 1);
      await pass(afterMs);
      await proxy.forward();
      const goodAt = performance.now();
      expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
      expect(performance.now() - goodAt).toBeLessThan(1_500 + standstillMs());
    },
  );
});
