import { FaultProxy, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import { holdTimers } from '../server/support/held-timers.js';
import { repeatUntil } from '../support/repeat-until.js';
import { channelOf, meet, startApp, startScripted, wordOf, type Met } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

describe('health', () => {
  it('of a black hole goes down as soon as keepalive has found it', async ({ onTestFinished }) => {
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
    let hung: Met | undefined;
    void meet(app.orders.get({ id: '1' }, { retry: false })).then((met) => (hung = met));
    await advance(9_000);
    // Not found yet, and a call finds out no sooner.
    expect((await channelOf(app)).status).toBe('up');
    expect(hung).toBeUndefined();
    await advance(1_200);
    await until(() => hung !== undefined);
    expect(hung?.error).toMatchObject({ reason: 'connection-lost', reachedServer: 'maybe' });
    // Idle, until a call is made.
    expect(app.client.connectivity.state).not.toBe('READY');
    let waited: Met | undefined;
    void meet(get()).then((met) => (waited = met));
    await until(() => app.client.connectivity.outage !== undefined);
    expect(wordOf(await channelOf(app))).toBe('degraded');
    // The grace is a tenth longer or shorter, so that clients do not give up together.
    const leftMs = app.client.connectivity.outage!.graceEndsAt.getTime() - Date.now();
    await advance(leftMs - 10);
    expect(waited).toBeUndefined();
    await advance(20);
    await until(() => waited !== undefined);
    expect(waited?.error?.reason).toBe('outage');
    expect((await channelOf(app)).status).toBe('down');
    const refused = await meet(get());
    expect([refused.error?.reason, refused.atOnce]).toEqual(['outage', true]);
    // The path is free again.
    await proxy.forward();
    await repeatUntil('the client connects once the path is free', async () => {
      await advance(1_000);
      await until(() => app.client.connectivity.state !== 'CONNECTING');
      return (await channelOf(app)).status === 'up';
    });
    expect((await meet(get())).error).toBeUndefined();
  });
});
