import { FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channelOf, meet, startApp, startScripted, wordOf } from './support.js';

// What takes its time for real.

let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

describe('health, for as long as it takes', () => {
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
