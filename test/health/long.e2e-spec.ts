import { ChildServer, FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channelOf, meet, startApp, startScripted, wordOf } from './support.js';

// What takes its time for real.

let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

const AWAY_MS = 60_000;

interface Answer {
  readonly code: number;
  readonly body: any;
}

/** A gateway of `upstream` in a process of its own. */
async function startGateway(upstream: string) {
  const server = await ChildServer.start({
    script: new URL('./gateway.mjs', import.meta.url),
    args: (port) => ['--port', String(port), '--upstream', upstream],
    ready: /listening on .*:(\d+)/,
    env: { NODE_ENV: 'production' },
  });
  const get = async (path: string): Promise<Answer> => {
    const answer = await fetch(`http://${server.url}${path}`);
    return { code: answer.status, body: await answer.json() };
  };
  const grpc = (server.messages as readonly { readonly grpc?: string }[]).find((one) => one.grpc !== undefined)!.grpc!;
  /** What its route says from now on, one line whenever that is another. */
  const follow = (route: string) => {
    const said: string[] = [];
    let count = 0;
    const timer = setInterval(() => {
      void get(`/health/${route}`).then(
        ({ code }) => {
          count += 1;
          if (said.at(-1) !== String(code)) said.push(String(code));
        },
        (error: unknown) => said.push(String(error)),
      );
    }, 100);
    return {
      stop: () => {
        clearInterval(timer);
        return { said, count };
      },
    };
  };
  return { server, get, grpc, follow };
}

describe.concurrent('health, for as long as it takes', () => {
  it(
    'of two gateways that check each other: ready throughout, though the upstream of both is gone for a minute',
    { timeout: 120_000 },
    async ({ onTestFinished }) => {
      const upstream = await ChildServer.start({ script: new URL('./health-server.mjs', import.meta.url) });
      onTestFinished(() => upstream.close());
      const gateways = await Promise.all([upstream.url, upstream.url].map(startGateway));
      for (const { server } of gateways) onTestFinished(() => server.close());
      const [one, other] = gateways as [(typeof gateways)[0], (typeof gateways)[0]];
      one.server.send({ peer: other.grpc });
      other.server.send({ peer: one.grpc });
      const all = (path: string) => Promise.all(gateways.map(({ get }) => get(path)));
      const codes = async (path: string) => (await all(path)).map(({ code }) => code);
      // Each calls its upstream, and through the other one.
      await waitFor(async () => (await codes('/peer/7')).every((code) => code === 200));
      expect(await codes('/orders/7')).toEqual([200, 200]);
      expect(await codes('/health/dependencies')).toEqual([200, 200]);

      const ready = gateways.map(({ follow }) => follow('ready'));
      const live = gateways.map(({ follow }) => follow('live'));
      await upstream.kill();
      const goneAt = performance.now();
      const calls = setInterval(() => void all('/peer/7').catch(() => undefined), 500);
      onTestFinished(() => {
        clearInterval(calls);
      });
      await waitFor(async () => (await codes('/health/dependencies')).every((code) => code === 503), {
        timeoutMs: 10_000,
      });
      const seen = new Set<string>();
      await waitFor(
        async () => {
          for (const { code, body } of await all('/health/dependencies')) {
            const { upstream: its, peer, serving } = body.details;
            seen.add([code, its.status, peer.status, serving.status].join(' '));
          }
          return performance.now() - goneAt >= AWAY_MS;
        },
        { timeoutMs: AWAY_MS + 5_000, intervalMs: 500 },
      );
      // The upstream alone: that the other one has lost it too is not held against that.
      expect([...seen]).toEqual(['503 down up up']);
      expect(await codes('/peer/7')).toEqual([500, 500]);

      await upstream.restart();
      await waitFor(async () => (await codes('/health/dependencies')).every((code) => code === 200), {
        timeoutMs: 15_000,
      });
      await waitFor(async () => (await codes('/peer/7')).every((code) => code === 200));
      clearInterval(calls);
      for (const { stop } of [...ready, ...live]) {
        const { said, count } = stop();
        expect(said).toEqual(['200']);
        expect(count).toBeGreaterThan(300);
      }
      await Promise.all(gateways.map(({ server }) => server.terminate()));
    },
  );

  it('of a black hole goes down as soon as keepalive has found it', { timeout: 40_000 }, async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, undefined);
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const keepalive = { keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 200 };
    const app = await startApp(onTestFinished, { url: proxy.url, outageGraceMs: 1_000, keepalive });
    await firstValueFrom(app.orders.get({ id: '1' }));
    proxy.holdBytes();
    proxy.refuse();
    // Nobody knows yet, and a call finds out no sooner.
    expect((await channelOf(app)).status).toBe('up');
    const hung = meet(app.orders.get({ id: '1' }, { retry: false }));
    expect((await hung).error).toMatchObject({ reason: 'connection-lost', reachedServer: 'maybe' });
    // Idle, until somebody calls.
    expect(app.client.connectivity.state).not.toBe('READY');
    const waits = meet(app.orders.get({ id: '1' }));
    await waitFor(() => app.client.connectivity.outage);
    const { graceEndsAt } = app.client.connectivity.outage!;
    const inside = await channelOf(app);
    if (Date.now() < graceEndsAt.getTime()) expect(wordOf(inside)).toBe('degraded');
    expect((await waits).error?.reason).toBe('outage');
    expect((await waits).endedAt).toBeGreaterThanOrEqual(graceEndsAt.getTime() - 5);
    expect((await channelOf(app)).status).toBe('down');
    expect((await meet(app.orders.get({ id: '1' }))).atOnce).toBe(true);
    // Found, and the way is free again.
    await proxy.forward();
    await waitFor(async () => (await channelOf(app)).status === 'up', { timeoutMs: 15_000 });
    expect((await meet(app.orders.get({ id: '1' }))).error).toBeUndefined();
  });
});
