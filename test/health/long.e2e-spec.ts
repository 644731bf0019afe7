import { FaultProxy, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import { holdTimers } from '../server/support/held-timers.js';
import { repeatUntil } from '../support/repeat-until.js';
import { channelOf, outcomeOf, startApp, startScripted, statusOf, type CallOutcome } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

describe('health', () => {
  it('reports a channel as down after keepalive has detected a black hole and the outage grace period has ended', async ({
    onTestFinished,
  }) => {
    const server = await startScripted(onTestFinished, undefined);
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const keepalive = { keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 200 };
    const app = await startApp(onTestFinished, { url: proxy.url, outageGraceMs: 1_000, keepalive });
    const { advance, until } = holdTimers();
    const get = () => app.orders.get({ id: '1' });
    await firstValueFrom(get());
    proxy.holdBytes();
    proxy.refuse();
    let hung: CallOutcome | undefined;
    void outcomeOf(app.orders.get({ id: '1' }, { retry: false })).then((outcome) => (hung = outcome));
    await advance(9_000);
    // Neither keepalive nor the call has detected the black hole yet.
    expect((await channelOf(app)).status).toBe('up');
    expect(hung).toBeUndefined();
    // The ping has a little longer for what was sent before it.
    await advance(1_400);
    await until(() => hung !== undefined);
    expect(hung?.error).toMatchObject({ reason: 'connection-lost', reachedServer: 'maybe' });
    // The channel stays idle until the next call.
    expect(app.client.connectivity.state).not.toBe('READY');
    let waited: CallOutcome | undefined;
    void outcomeOf(get()).then((outcome) => (waited = outcome));
    await until(() => app.client.connectivity.outage !== undefined);
    expect(statusOf(await channelOf(app))).toBe('degraded');
    // Reads the end of the grace period, because its length varies by ±10% between clients.
    const leftMs = app.client.connectivity.outage!.graceEndsAt.getTime() - Date.now();
    await advance(leftMs - 10);
    expect(waited).toBeUndefined();
    await advance(20);
    await until(() => waited !== undefined);
    expect(waited?.error?.reason).toBe('outage');
    expect((await channelOf(app)).status).toBe('down');
    const refused = await outcomeOf(get());
    expect([refused.error?.reason, refused.isImmediate]).toEqual(['outage', true]);
    await proxy.forward();
    await repeatUntil('the client connects after the proxy forwards connections again', async () => {
      await advance(1_000);
      await until(() => app.client.connectivity.state !== 'CONNECTING');
      return (await channelOf(app)).status === 'up';
    });
    expect((await outcomeOf(get())).error).toBeUndefined();
  });

  it('reports a channel as degraded while its connection is there and answers nothing', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, undefined);
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const app = await startApp(onTestFinished, { url: proxy.url });
    const { advance, until } = holdTimers();
    await firstValueFrom(app.orders.get({ id: '1' }));
    proxy.holdBytes();
    let late: CallOutcome | undefined;
    void outcomeOf(app.orders.get({ id: '1' }, { timeoutMs: 60_000 })).then((outcome) => (late = outcome));
    await advance(9_000);
    expect([(await channelOf(app)).status, app.client.connectivity.silence]).toEqual(['up', undefined]);
    await advance(2_000);
    expect(app.client.connectivity).toMatchObject({ state: 'READY', silence: { calls: 1 } });
    const health = await channelOf(app);
    expect(statusOf(health)).toBe('degraded');
    expect(health['message']).toMatch(/^connected, but nothing was received since .+; 1 call waits for an answer$/);
    proxy.releaseBytes();
    await until(() => late !== undefined);
    expect([late?.error, statusOf(await channelOf(app)), app.client.connectivity.silence]).toEqual([
      undefined,
      'up',
      undefined,
    ]);
  });
});
