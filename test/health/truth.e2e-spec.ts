import { readFileSync } from 'node:fs';
import { FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startHttp2Server } from '../calls/raw-http2-server.js';
import { certificate, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { shortLivedPeer } from '../support/peers.js';
import { recordTiming } from '../support/timing.js';
import { NOT_IN_THIS_TEST_MS, channelOf, entryOf, meet, startApp, startScripted, wordOf, type Met } from './support.js';

// What health says, beside what a call meets that is made in the same turn of the event loop.

// Side by side, since most of what they do is to wait: one leak check for all.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

/** What health said at one moment, and what a call met that was made then. */
interface Sample {
  readonly word: 'up' | 'degraded' | 'down';
  readonly at: number;
  readonly graceEndsAt: number;
  readonly met: Met;
}

/** Looks every few milliseconds until `over`, and then waits for the last call. */
async function look(app: OrdersApp, over: () => unknown): Promise<readonly Sample[]> {
  const samples: Promise<Sample>[] = [];
  const sample = () => {
    const at = Date.now();
    const graceEndsAt = app.client.connectivity.outage?.graceEndsAt.getTime() ?? NaN;
    const asked = channelOf(app);
    const called = meet(app.orders.get({ id: '1' }));
    samples.push(Promise.all([asked, called]).then(([entry, met]) => ({ word: wordOf(entry), at, graceEndsAt, met })));
  };
  // At each change too: on a busy machine a state may be over before the next look.
  const changes = app.client.connectivity$.subscribe(() => {
    queueMicrotask(sample);
  });
  await waitFor(
    () => {
      sample();
      return over();
    },
    { timeoutMs: 20_000, intervalMs: 10 },
  );
  changes.unsubscribe();
  return Promise.all(samples);
}

/** Samples in which health and a call disagree; the one outage among them ends behind its grace, or there is none. */
function lies(samples: readonly Sample[]): readonly Sample[] {
  const graceEndsAt = samples.find((one) => !Number.isNaN(one.graceEndsAt))?.graceEndsAt ?? Infinity;
  return samples.filter(({ word, met: { error, atOnce, endedAt } }) =>
    word === 'down'
      ? error?.reason !== 'outage' || !atOnce
      : // It succeeds, or waits to the end of the grace.
        error !== undefined && endedAt < graceEndsAt - 5,
  );
}

const words = (samples: readonly Sample[]) => [...new Set(samples.map(({ word }) => word))];

describe.concurrent('health of a channel', () => {
  it('is up and degraded through a restart: calls wait and succeed', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, undefined);
    const app = await startApp(onTestFinished, { url: server.url, outageGraceMs: NOT_IN_THIS_TEST_MS });
    await firstValueFrom(app.orders.get({ id: '1' }));
    let back: boolean | undefined;
    await server.stop('kill-connections');
    const samples = await look(app, () => {
      if (app.client.connectivity.outage === undefined) return back;
      // Calls have waited by now.
      if (back === undefined && app.client.activeCalls().length > 20) {
        back = false;
        void server.restart().then(() => (back = true));
      }
      return false;
    });
    expect(words(samples)).toEqual(['up', 'degraded']);
    expect(samples.filter(({ met: { error } }) => error !== undefined)).toEqual([]);
  });

  it(
    'is down at the end of the grace of an outage, when calls fail, and up when the server is back',
    {
      tags: ['timed'],
    },
    async ({ onTestFinished, task }) => {
      const server = await startScripted(onTestFinished, undefined);
      const app = await startApp(onTestFinished, { url: server.url, outageGraceMs: 500 });
      await firstValueFrom(app.orders.get({ id: '1' }));
      await server.stop('kill-connections');
      const stoppedAt = Date.now();
      let refusedLooks = 0;
      const samples = await look(
        app,
        // Twenty looks at the least.
        () => app.client.snapshot().waits.refused > 0 && (refusedLooks += 1) > 20,
      );
      expect(lies(samples)).toEqual([]);
      expect(words(samples).slice(-2)).toEqual(['degraded', 'down']);
      const degradedAt = samples.find(({ word }) => word === 'degraded')!.at;
      recordTiming(task, 'health degraded after the server stopped, ms', degradedAt - stoppedAt, { atMost: 250 });
      const { graceEndsAt } = samples.find(({ word }) => word === 'down')!;
      // Both are whole milliseconds, of two clocks.
      expect(samples.filter(({ at, word }) => word === 'down' && at < graceEndsAt - 1)).toEqual([]);
      const firstDown = samples.findIndex(({ word }) => word === 'down');
      expect(words(samples.slice(firstDown))).toEqual(['down']);
      recordTiming(task, 'health down after the end of the grace, ms', samples[firstDown]!.at - graceEndsAt, {
        atMost: 100,
      });
      await server.restart();
      await waitFor(async () => (await channelOf(app)).status === 'up');
      const after = await look(app, () => server.counts('Get').calls > 20);
      expect([words(after), lies(after)]).toEqual([['up'], []]);
    },
  );

  it(
    'is up again when the channel has been READY for a while, though nobody calls',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startScripted(onTestFinished, undefined);
      const one = { url: server.url, outageGraceMs: 300, connection: 'warm' as const };
      const app = await startOrdersApp(Array.from({ length: 12 }, () => one));
      onTestFinished(() => app.close());
      await Promise.all(app.clients.map(({ client }) => client.waitForReady()));
      await server.stop('kill-connections');
      const outages = () => app.clients.filter(({ client }) => client.connectivity.outage !== undefined).length;
      await waitFor(() => outages() === 12);
      await server.restart();
      const restartedAt = performance.now();
      await waitFor(() => outages() === 0, { timeoutMs: 25_000 });
      recordTiming(task, 'outages of 12 warm clients over after, ms', performance.now() - restartedAt, {
        atMost: 8_000,
      });
      expect(server.counts().calls).toBe(0);
    },
  );

  it('is up while the channel is idle, and leaves it so', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, undefined);
    const app = await startApp(onTestFinished, { url: server.url, connectionIdleTimeoutMs: 1_000 });
    expect(await channelOf(app)).toMatchObject({ status: 'up', state: 'IDLE' });
    await firstValueFrom(app.orders.get({ id: '1' }));
    await waitFor(async () => {
      expect((await channelOf(app)).status).toBe('up');
      return app.client.connectivity.state === 'IDLE';
    });
    for (let round = 0; round < 100; round++) expect((await channelOf(app)).state).toBe('IDLE');
    expect(app.client.connectivity.state).toBe('IDLE');
    expect((await meet(app.orders.get({ id: '1' }))).error).toBeUndefined();
  });

  it('of a server that comes and goes is down by the end of the grace, and stays so', async ({ onTestFinished }) => {
    const peer = await shortLivedPeer(5);
    onTestFinished(() => peer.close());
    const app = await startApp(onTestFinished, { url: peer.url, outageGraceMs: 500 });
    expect((await meet(app.orders.get({ id: '1' }))).error?.reason).toBe('outage');
    const before = peer.acceptedAt.length;
    const samples = await look(
      app,
      () => peer.acceptedAt.length > before && Date.now() > peer.acceptedAt.at(-1)! + 100,
    );
    expect(words(samples)).toEqual(['down']);
    expect(samples.filter(({ met: { error } }) => error === undefined)).toEqual([]);
    // One that was sent while it was READY has to learn of the connection's end.
    expect(samples.filter(({ met: { error, atOnce } }) => error!.attempts.length === 0 && !atOnce)).toEqual([]);
  });

  it('is that of each client: one over TLS is up while another is down', async ({ onTestFinished }) => {
    const pair = { cert: readFileSync(certificate('server')), key: readFileSync(certificate('server-key')) };
    const server = await startScripted(onTestFinished, undefined, { tls: pair });
    const gone = await startScripted(onTestFinished, undefined);
    const app = await startOrdersApp([
      { url: server.url, tls: { ca: certificate('ca'), serverName: 'localhost' } },
      { url: gone.url, outageGraceMs: 100 },
    ]);
    onTestFinished(() => app.close());
    await gone.stop('kill-connections');
    const [well, ill] = app.clients as [(typeof app.clients)[0], (typeof app.clients)[0]];
    expect((await meet(well.orders.get({ id: '1' }))).error).toBeUndefined();
    expect((await meet(ill.orders.get({ id: '1' }))).error?.reason).toBe('outage');
    await waitFor(async () => entryOf(await app.health.check(ill.client.name)).status === 'down');
    expect(await app.health.checkAll()).toMatchObject({
      [well.client.name]: { status: 'up', state: 'READY' },
      [ill.client.name]: { status: 'down', message: 'outage; calls fail' },
    });
    // The same name for both is the caller's business: nothing is kept under it.
    expect(entryOf(await app.health.check(well.client.name, { key: 'upstream' })).status).toBe('up');
    expect(entryOf(await app.health.check(ill.client.name, { key: 'upstream' })).status).toBe('down');
  });

  it('costs no socket and no call, however often it is asked, in any state', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, undefined);
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const app = await startApp(onTestFinished, { url: proxy.url, outageGraceMs: 60_000 });
    const ask = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        await app.health.checkAll();
        // What it might have begun happens in turns of its own.
        if (round % 100 === 99) await new Promise(setImmediate);
      }
    };
    await ask(3_000);
    expect([app.client.connectivity.state, proxy.counters.accepted]).toEqual(['IDLE', 0]);
    await firstValueFrom(app.orders.get({ id: '1' }));
    const bytes = proxy.counters.bytesToUpstream;
    await ask(4_000);
    expect([app.client.connectivity.state, proxy.counters.accepted]).toEqual(['READY', 1]);
    expect([proxy.counters.bytesToUpstream, server.counts().calls]).toEqual([bytes, 1]);
    proxy.refuse();
    proxy.resetAll();
    const waiting = meet(app.orders.get({ id: '1' }));
    await waitFor(() => app.client.connectivity.outage);
    await ask(3_000);
    expect([proxy.counters.accepted, server.counts().calls]).toEqual([1, 1]);
    expect(app.client.snapshot().counters.started).toBe(2);
    await proxy.forward();
    expect((await waiting).error).toBeUndefined();
  });
});

describe('health of a channel behind a proxy', () => {
  it('shows the share of failed calls where the channel is READY and everything fails', async () => {
    const proxy = await startHttp2Server((stream) => stream.respond({ ':status': 503 }, { endStream: true }));
    const app = await startApp(onTestFinished, { url: proxy.url });
    for (let id = 0; id < 10; id++) await meet(app.orders.create({ requestId: `${id}`, item: 'tea', quantity: 1 }));
    const entry = await channelOf(app);
    expect(entry).toMatchObject({ status: 'up', state: 'READY', calls: { ended: 10, failed: 10 } });
    await app.serving.check(app.client.name);
    expect((await channelOf(app))['calls']).toMatchObject({ ended: 10, failed: 10 });
  });
});
