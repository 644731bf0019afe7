import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holdTimers } from '../server/support/held-timers.js';
import { recordTiming } from '../support/timing.js';
import { servingOf, startApp, startScripted } from './support.js';

/** A Watch that reports SERVING and never ends. */
const WATCHED = { messages: [{ status: 'SERVING' }], never: true };

// Most tests run concurrently, so all share one leak check.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

describe.concurrent('Watch', () => {
  it('uses one health Watch for any number of serving checks', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, { 'Health/Watch': WATCHED });
    const app = await startApp(onTestFinished, { url: server.url });
    await firstValueFrom(app.orders.get({ id: '1' }));
    for (let round = 0; round < 1_000; round++) {
      expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
    }
    expect(server.counts('Health/Watch')).toMatchObject({ calls: 1, open: 1 });
    expect(server.connections.accepted).toBe(1);
    expect([app.client.activeCalls(), app.client.snapshot().counters['started']]).toEqual([[], 1]);
  });

  it('does not connect an idle channel for a health Watch, lets a channel with an open Watch become idle, and starts a new Watch with the next connection', async ({
    onTestFinished,
  }) => {
    const server = await startScripted(onTestFinished, { 'Health/Watch': WATCHED, 'Orders/Watch': { never: true } });
    const app = await startApp(onTestFinished, { url: server.url, connections: { idleMs: 1_000 } });
    /** Opens a stream that keeps the channel READY until the test unsubscribes. */
    const open = async () => {
      const feed = app.orders.watch({ from: '0' }).subscribe({ error: () => undefined });
      await waitFor(() => server.counts('Orders/Watch').open === 1);
      return feed;
    };
    const check = () => servingOf(app, { mode: 'watch' });
    expect(await check()).toMatchObject({ status: 'up', state: 'IDLE' });
    expect(server.connections.accepted).toBe(0);
    const first = await open();
    expect(await check()).toMatchObject({ status: 'up', state: 'READY', serving: 'SERVING' });
    first.unsubscribe();
    await waitFor(() => app.client.connectivity.state === 'IDLE');
    await waitFor(() => server.counts('Health/Watch').open === 0);
    expect(await check()).toMatchObject({ status: 'up', state: 'IDLE' });
    expect(server.connections.accepted).toBe(1);
    const second = await open();
    await waitFor(() => server.counts('Health/Watch').open === 1);
    expect(await check()).toMatchObject({ status: 'up', serving: 'SERVING' });
    second.unsubscribe();
  });

  it('ends a health Watch when its server shuts down, and starts another Watch on a different connection', async ({
    onTestFinished,
  }) => {
    const servers = await Promise.all([0, 1].map(() => startScripted(onTestFinished, { 'Health/Watch': WATCHED })));
    const url = `ipv4:${servers.map(({ url }) => url).join(',')}`;
    const app = await startApp(onTestFinished, { url, loadBalancing: 'round_robin' });
    await waitFor(async () => {
      await firstValueFrom(app.orders.get({ id: '1' }));
      return servers.every((server) => server.counts('Get').calls > 0);
    });
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
    const [watched, other] = servers.sort((a, b) => b.counts('Health/Watch').open - a.counts('Health/Watch').open);
    expect([watched, other].map((server) => server!.counts('Health/Watch').open)).toEqual([1, 0]);
    // This stop resolves only if the Watch ends, because a graceful stop waits for every stream.
    await watched!.stop('graceful');
    expect(app.client.connectivity.state).toBe('READY');
    await waitFor(() => other!.counts('Health/Watch').open === 1);
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
  });

  it('starts a health Watch on a different connection when a server that does not implement Watch shuts down', async ({
    onTestFinished,
  }) => {
    const scripts = { 'Health/Watch': { status: 'UNIMPLEMENTED' as const } };
    const servers = await Promise.all([0, 1].map(() => startScripted(onTestFinished, scripts)));
    const url = `ipv4:${servers.map(({ url }) => url).join(',')}`;
    const app = await startApp(onTestFinished, { url, loadBalancing: 'round_robin' });
    await waitFor(async () => {
      await firstValueFrom(app.orders.get({ id: '1' }));
      return servers.every((server) => server.counts('Get').calls > 0);
    });
    const watches = (server: (typeof servers)[number]): number => server.counts('Health/Watch').calls;
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
    const [watched, other] = servers.sort((a, b) => watches(b) - watches(a));
    expect(servers.map(watches)).toEqual([1, 0]);
    other!.script('Health/Watch', { messages: [{ status: 'NOT_SERVING' }], never: true });
    await watched!.stop('graceful');
    await waitFor(() => other!.counts('Health/Watch').open === 1);
    expect(await servingOf(app, { mode: 'watch' })).toMatchObject({ status: 'down', serving: 'NOT_SERVING' });
    expect(servers.map(watches)).toEqual([1, 1]);
  });

  it(
    'reports a server as down after the timeout of the serving check if the health Watch receives no response',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startScripted(onTestFinished, { 'Health/Watch': { never: true } });
      const app = await startApp(onTestFinished, { url: server.url });
      await firstValueFrom(app.orders.get({ id: '1' }));
      const beganAt = performance.now();
      expect(await servingOf(app, { mode: 'watch', timeoutMs: 200 })).toMatchObject({
        status: 'down',
        message: 'no response within 200 ms',
      });
      const afterMs = performance.now() - beganAt;
      expect(afterMs).toBeGreaterThan(190);
      recordTiming(task, 'time until an unanswered Watch reports a server as down, timeout 200 ms, ms', afterMs, {
        atMost: 500,
      });
      expect(server.counts('Health/Watch')).toMatchObject({ calls: 1, open: 1 });
    },
  );

  it('reports a server as down when the health Watch fails, and restarts the Watch after a backoff', async ({
    onTestFinished,
  }) => {
    const server = await startScripted(onTestFinished, { 'Health/Watch': [{ status: 'UNAVAILABLE' }, WATCHED] });
    const app = await startApp(onTestFinished, { url: server.url });
    await firstValueFrom(app.orders.get({ id: '1' }));
    const check = () => servingOf(app, { mode: 'watch' });
    const beganAt = performance.now();
    expect(await check()).toMatchObject({ status: 'down', message: 'Watch failed: UNAVAILABLE' });
    await waitFor(async () => (await check()).status === 'up');
    expect(performance.now() - beganAt).toBeGreaterThan(750);
    expect(server.counts('Health/Watch').calls).toBe(2);
  });

  it.for([
    ['the application shuts down', (app: { close(): Promise<void> }) => app.close()],
    ['its client is closed', ({ client }: { client: { close(): Promise<void> } }) => client.close()],
    ['its client is drained', ({ client }: { client: { drain(): Promise<unknown> } }) => client.drain()],
  ] as const)('ends the health Watch when %s', async ([, end], { onTestFinished }) => {
    const server = await startScripted(onTestFinished, { 'Health/Watch': WATCHED });
    const app = await startApp(onTestFinished, { url: server.url });
    await firstValueFrom(app.orders.get({ id: '1' }));
    await servingOf(app, { mode: 'watch' });
    await end(app);
    await waitFor(() => server.counts('Health/Watch').open === 0 && server.connections.open === 0);
    const { calls, answered } = server.counts('Health/Watch');
    expect({ calls, answered }).toEqual({ calls: 1, answered: 0 });
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('down');
  });

  it('ends the health Watch at shutdown without waiting for open calls', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, { 'Health/Watch': WATCHED, Get: { hold: 'everything' } });
    const app = await startApp(onTestFinished, { url: server.url });
    const last = firstValueFrom(app.orders.get({ id: '1' }));
    await waitFor(() => server.heldCount('Get') === 1);
    await servingOf(app, { mode: 'watch' });
    const closing = app.close();
    await waitFor(() => server.counts('Health/Watch').open === 0);
    expect(server.counts('Get').open).toBe(1);
    server.release('Get');
    await last;
    await closing;
  });
});

// Not concurrent, because the tests replace the timers of the process.
describe('Watch and connection age', () => {
  it('moves the health Watch to the connection that replaces a connection with open calls', async ({
    onTestFinished,
  }) => {
    const server = await startScripted(onTestFinished, { 'Health/Watch': WATCHED, 'Orders/Watch': { never: true } });
    const app = await startApp(onTestFinished, { url: server.url, connections: { maxAgeMs: 1_000 } });
    const { advance, until } = holdTimers();
    const feed = app.orders.watch({ from: '0' }).subscribe();
    onTestFinished(() => {
      feed.unsubscribe();
    });
    await until(() => server.counts('Orders/Watch').open === 1);
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
    // The maximum age varies by ±10%.
    await advance(1_100);
    await until(() => server.counts('Health/Watch').open === 0);
    // The next Watch starts within 100 ms.
    await advance(100);
    await until(() => server.counts('Health/Watch').calls === 2 && server.counts('Health/Watch').open === 1);
    const peers = server.calls('Health/Watch').map(({ peer }) => peer);
    expect(server.calls('Orders/Watch').map(({ peer }) => peer)).toEqual([peers[0]]);
    expect(new Set(peers).size).toBe(2);
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
  });

  it('starts one health Watch on a replacement connection if the Watch on the replaced connection failed with UNIMPLEMENTED', async ({
    onTestFinished,
  }) => {
    const answers = [{ status: 'UNIMPLEMENTED' as const }, { messages: [{ status: 'NOT_SERVING' }], never: true }];
    const server = await startScripted(onTestFinished, { 'Health/Watch': answers });
    const app = await startApp(onTestFinished, { url: server.url, connections: { maxAgeMs: 1_000 } });
    const states = new Set<string>();
    const { advance, until } = holdTimers();
    await firstValueFrom(app.orders.get({ id: '1' }));
    const observed = app.client.connectivity$.subscribe(({ state }) => states.add(state));
    onTestFinished(() => {
      observed.unsubscribe();
    });
    expect(await servingOf(app, { mode: 'watch' })).toMatchObject({
      status: 'up',
      message: 'the server does not implement grpc.health.v1.Health',
    });
    expect((await servingOf(app, { mode: 'watch' })).status).toBe('up');
    expect(server.counts('Health/Watch').calls).toBe(1);
    // The maximum age varies by ±10%.
    await advance(1_100);
    await until(() => app.client.snapshot().counters['replaced'] === 1);
    // The next Watch starts within 100 ms.
    await advance(100);
    await until(() => server.counts('Health/Watch').open === 1);
    expect(await servingOf(app, { mode: 'watch' })).toMatchObject({ status: 'down', serving: 'NOT_SERVING' });
    expect([...states]).toEqual(['READY']);
    expect(server.counts('Health/Watch').calls).toBe(2);
  });
});
