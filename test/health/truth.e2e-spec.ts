import { readFileSync } from 'node:fs';
import { FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startHttp2Server } from '../calls/raw-http2-server.js';
import { certificate, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { shortLivedPeer } from '../support/peers.js';
import { recordTiming } from '../support/timing.js';
import { channelOf, entryOf, outcomeOf, startApp, startScripted, statusOf, type CallOutcome } from './support.js';

// Compares the reported health with the outcome of a call that starts in the same turn of the event loop.

// Most tests run concurrently, so all share one leak check.
const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** The health at one moment, and the outcome of a call that started then. */
interface Sample {
  readonly status: 'up' | 'degraded' | 'down';
  readonly at: number;
  readonly graceEndsAt: number;
  readonly outcome: CallOutcome;
  /** True if one outage lasted from the start of the call to its end. */
  readonly inOneOutage: boolean;
}

/** Takes samples every 10 ms and at each change of the connectivity until `isOver()` is true, and then waits for all calls. */
async function takeSamples(app: OrdersApp, isOver: () => unknown): Promise<readonly Sample[]> {
  const samples: Promise<Sample>[] = [];
  const sample = () => {
    const { outage } = app.client.connectivity;
    const graceEndsAt = outage?.graceEndsAt.getTime() ?? NaN;
    // `at` is the time after the check, because the process may pause before the check.
    const checked = channelOf(app).then((entry) => ({ status: statusOf(entry), at: Date.now() }));
    const called = outcomeOf(app.orders.get({ id: '1' })).then((outcome) => ({
      outcome,
      inOneOutage: outage !== undefined && outage.since.getTime() === app.client.connectivity.outage?.since.getTime(),
    }));
    samples.push(Promise.all([checked, called]).then(([health, call]) => ({ ...health, graceEndsAt, ...call })));
  };
  // Samples at each change, because on a busy machine a state may end before the next periodic sample.
  const changes = app.client.connectivity$.subscribe(() => {
    queueMicrotask(sample);
  });
  await waitFor(
    () => {
      sample();
      return isOver();
    },
    { timeoutMs: 20_000, intervalMs: 10 },
  );
  changes.unsubscribe();
  return Promise.all(samples);
}

/** Returns the samples in which the health contradicts the call. `samples` must contain at most one outage. */
function contradictions(samples: readonly Sample[]): readonly Sample[] {
  const graceEndsAt = samples.find((one) => !Number.isNaN(one.graceEndsAt))?.graceEndsAt ?? Infinity;
  return samples.filter(({ status, outcome: { error, isImmediate, endedAt } }) =>
    status === 'down'
      ? error?.reason !== 'outage' || !isImmediate
      : // If the channel is not down, the call must succeed or wait until the end of the grace period.
        error !== undefined && endedAt < graceEndsAt - 5,
  );
}

const statuses = (samples: readonly Sample[]) => [...new Set(samples.map(({ status }) => status))];

describe.concurrent('health of a channel', () => {
  it(
    'reports a channel as down after the outage grace period, when calls fail, and up when the server listens again',
    {
      tags: ['timed'],
    },
    async ({ onTestFinished, task }) => {
      const server = await startScripted(onTestFinished, undefined);
      const app = await startApp(onTestFinished, { url: server.url, outageGraceMs: 500 });
      await firstValueFrom(app.orders.get({ id: '1' }));
      await server.stop('kill-connections');
      const stoppedAt = Date.now();
      let samplesAfterRefusal = 0;
      const samples = await takeSamples(
        app,
        // Takes twenty more samples after the first refused call.
        () => app.client.snapshot().waits.refused > 0 && (samplesAfterRefusal += 1) > 20,
      );
      expect(contradictions(samples)).toEqual([]);
      expect(statuses(samples).slice(-2)).toEqual(['degraded', 'down']);
      const degradedAt = samples.find(({ status }) => status === 'degraded')!.at;
      recordTiming(task, 'time from the server stop until the channel is degraded, ms', degradedAt - stoppedAt, {
        atMost: 250,
      });
      const { graceEndsAt } = samples.find(({ status }) => status === 'down')!;
      // The tolerance of 1 ms is for rounding, because the two times come from different clocks.
      expect(samples.filter(({ at, status }) => status === 'down' && at < graceEndsAt - 1)).toEqual([]);
      const firstDown = samples.findIndex(({ status }) => status === 'down');
      expect(statuses(samples.slice(firstDown))).toEqual(['down']);
      recordTiming(
        task,
        'time from the end of the grace period until the channel is down, ms',
        samples[firstDown]!.at - graceEndsAt,
        {
          atMost: 100,
        },
      );
      await server.restart();
      await waitFor(async () => (await channelOf(app)).status === 'up');
      const after = await takeSamples(app, () => server.counts('Get').calls > 20);
      expect([statuses(after), contradictions(after)]).toEqual([['up'], []]);
    },
  );

  it(
    'reports a channel as up after it has been READY long enough to end the outage, even without calls',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startScripted(onTestFinished, undefined);
      const settings = { url: server.url, outageGraceMs: 300, connections: { warm: true } };
      const app = await startOrdersApp(Array.from({ length: 12 }, () => settings));
      onTestFinished(() => app.close());
      await Promise.all(app.clients.map(({ client }) => client.waitForReady()));
      await server.stop('kill-connections');
      const outages = () => app.clients.filter(({ client }) => client.connectivity.outage !== undefined).length;
      await waitFor(() => outages() === 12);
      await server.restart();
      const restartedAt = performance.now();
      await waitFor(() => outages() === 0, { timeoutMs: 25_000 });
      recordTiming(task, 'time until the outages of 12 warm clients end, ms', performance.now() - restartedAt, {
        atMost: 8_000,
      });
      const reports = Object.values(await app.health.checkAll());
      expect(reports.map(({ status }) => status)).toEqual(Array(12).fill('up'));
      expect(server.counts().calls).toBe(0);
    },
  );

  it('reports an idle channel as up and does not connect it', async ({ onTestFinished }) => {
    const server = await startScripted(onTestFinished, undefined);
    const app = await startApp(onTestFinished, { url: server.url, connections: { idleMs: 1_000 } });
    expect(await channelOf(app)).toMatchObject({ status: 'up', state: 'IDLE' });
    await firstValueFrom(app.orders.get({ id: '1' }));
    await waitFor(async () => {
      expect((await channelOf(app)).status).toBe('up');
      return app.client.connectivity.state === 'IDLE';
    });
    for (let round = 0; round < 100; round++) expect((await channelOf(app)).state).toBe('IDLE');
    expect(app.client.connectivity.state).toBe('IDLE');
    expect((await outcomeOf(app.orders.get({ id: '1' }))).error).toBeUndefined();
  });

  it('keeps reporting a channel as down after the outage grace period if the server closes each connection shortly after it opens', async ({
    onTestFinished,
  }) => {
    const peer = await shortLivedPeer(5);
    onTestFinished(() => peer.close());
    const app = await startApp(onTestFinished, { url: peer.url, outageGraceMs: 500 });
    const readyMsAtOutageEnds: number[] = [];
    app.client.events$.subscribe(({ type }) => {
      if (type === 'outage-end') readyMsAtOutageEnds.push(Date.now() - app.client.connectivity.since.getTime());
    });
    await waitFor(async () => (await outcomeOf(app.orders.get({ id: '1' }))).error?.reason === 'outage', {
      timeoutMs: 20_000,
    });
    const before = peer.acceptedAt.length;
    const taken = await takeSamples(
      app,
      () => peer.acceptedAt.length > before && Date.now() > peer.acceptedAt.at(-1)! + 100,
    );
    // If this process pauses for 1 s while the channel is READY, the outage ends before the process reads the end of the connection, and
    // calls wait again. The outage must not end before the channel has been READY for 1 s. The tolerance of 1 ms is for rounding.
    expect(readyMsAtOutageEnds.filter((ms) => ms < 1_000 - 1)).toEqual([]);
    const samples = taken.filter(({ inOneOutage }) => inOneOutage);
    expect(statuses(samples)).toEqual(['down']);
    expect(samples.filter(({ outcome: { error } }) => error === undefined)).toEqual([]);
    // A call that was sent while the channel was READY fails only when its connection ends.
    expect(
      samples.filter(({ outcome: { error, isImmediate } }) => error!.attempts.length === 0 && !isImmediate),
    ).toEqual([]);
  });

  it('reports a client with TLS as up while another client is down', async ({ onTestFinished }) => {
    const pair = { cert: readFileSync(certificate('server')), key: readFileSync(certificate('server-key')) };
    const server = await startScripted(onTestFinished, undefined, { tls: pair });
    const stopped = await startScripted(onTestFinished, undefined);
    const app = await startOrdersApp([
      { url: server.url, tls: { ca: certificate('ca'), serverName: 'localhost' } },
      { url: stopped.url, outageGraceMs: 100 },
    ]);
    onTestFinished(() => app.close());
    await stopped.stop('kill-connections');
    const [healthy, unhealthy] = app.clients as [(typeof app.clients)[0], (typeof app.clients)[0]];
    expect((await outcomeOf(healthy.orders.get({ id: '1' }))).error).toBeUndefined();
    expect((await outcomeOf(unhealthy.orders.get({ id: '1' }))).error?.reason).toBe('outage');
    await waitFor(async () => entryOf(await app.health.check(unhealthy.client.name)).status === 'down');
    expect(await app.health.checkAll()).toMatchObject({
      [healthy.client.name]: { status: 'up', state: 'READY' },
      [unhealthy.client.name]: { status: 'down', message: 'outage; calls fail' },
    });
    // Two clients can share a key, because the indicator stores nothing by key.
    expect(entryOf(await app.health.check(healthy.client.name, { key: 'upstream' })).status).toBe('up');
    expect(entryOf(await app.health.check(unhealthy.client.name, { key: 'upstream' })).status).toBe('down');
  });

  it('checks health any number of times, in any state, without opening a connection or making a call', async ({
    onTestFinished,
  }) => {
    const server = await startScripted(onTestFinished, undefined);
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const app = await startApp(onTestFinished, { url: proxy.url, outageGraceMs: 60_000 });
    const check = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        await app.health.checkAll();
        // Runs any work that a check may have scheduled for a later turn.
        if (round % 100 === 99) await new Promise(setImmediate);
      }
    };
    await check(3_000);
    expect([app.client.connectivity.state, proxy.counters.accepted]).toEqual(['IDLE', 0]);
    await firstValueFrom(app.orders.get({ id: '1' }));
    const bytes = proxy.counters.bytesToUpstream;
    await check(4_000);
    expect([app.client.connectivity.state, proxy.counters.accepted]).toEqual(['READY', 1]);
    expect([proxy.counters.bytesToUpstream, server.counts().calls]).toEqual([bytes, 1]);
    proxy.refuse();
    proxy.resetAll();
    const waiting = outcomeOf(app.orders.get({ id: '1' }));
    await waitFor(() => app.client.connectivity.outage);
    await check(3_000);
    expect([proxy.counters.accepted, server.counts().calls]).toEqual([1, 1]);
    expect(app.client.snapshot().counters.started).toBe(2);
    await proxy.forward();
    expect((await waiting).error).toBeUndefined();
  });
});

describe('health of a channel to a proxy', () => {
  it('reports the number of failed calls if the channel is READY but every call fails', async () => {
    const proxy = await startHttp2Server((stream) => stream.respond({ ':status': 503 }, { endStream: true }));
    const app = await startApp(onTestFinished, { url: proxy.url });
    for (let id = 0; id < 10; id++)
      await outcomeOf(app.orders.create({ requestId: `${id}`, item: 'tea', quantity: 1 }));
    const entry = await channelOf(app);
    expect(entry).toMatchObject({ status: 'up', state: 'READY', calls: { ended: 10, failed: 10 } });
    await app.serving.check(app.client.name);
    expect((await channelOf(app))['calls']).toMatchObject({ ended: 10, failed: 10 });
  });
});

// Not concurrent, because the tests replace the wall clock.
describe('health of a channel after a change of the wall clock', () => {
  it.each([
    ['forward', 3_600_000],
    ['back', -3_600_000],
  ])(
    'reports an outage as degraded while calls wait, and as down when they fail, if the wall clock is set %s',
    async (_, stepMs) => {
      const app = await startApp(onTestFinished, { url: '127.0.0.1:1', outageGraceMs: 2_000 });
      const call = outcomeOf(app.orders.get({ id: '1' }));
      await waitFor(() => app.client.connectivity.outage);
      const now = Date.now.bind(Date);
      vi.spyOn(Date, 'now').mockImplementation(() => now() + stepMs);
      try {
        const during = await channelOf(app);
        // No await separates the two reads, so both describe one moment.
        const waiting = app.client.snapshot().waiting;
        expect([statusOf(during), waiting]).toEqual(waiting === 1 ? ['degraded', 1] : ['down', 0]);
        await call;
        expect(statusOf(await channelOf(app))).toBe('down');
      } finally {
        vi.restoreAllMocks();
      }
    },
  );
});
