import type { GrpcClientEvent, GrpcClientSettings } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, Observable, Subject, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { turns } from '../calls/support.js';
import { CallLoad } from '../support/call-load.js';
import { ORDERS_PROTO, startOrdersApp, type OrdersApp } from '../support/orders-app.js';
import { Replicas } from '../support/replicas.js';
import { recordTiming } from '../support/timing.js';

const HANG = { timeoutMs: 50_000, intervalMs: 20 };

interface Setup {
  readonly replicas: Replicas;
  readonly app: OrdersApp;
  readonly events: readonly GrpcClientEvent[];
}

/** Starts `count` replicas and a client that, by default, balances calls across them and resolves their name every second. */
async function setUp(count: number, settings: Partial<GrpcClientSettings> = {}): Promise<Setup> {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled({ timeoutMs: 20_000 }));
  const replicas = await Replicas.start(count);
  onTestFinished(() => {
    replicas.close();
  });
  const { app, events } = await startClient(replicas, settings);
  return { replicas, app, events };
}

async function startClient(
  replicas: Replicas,
  settings: Partial<GrpcClientSettings> = {},
): Promise<Pick<Setup, 'app' | 'events'>> {
  const app = await startOrdersApp({
    url: replicas.url,
    loadBalancing: 'round_robin',
    dnsRefreshMs: 1_000,
    connections: { warm: true },
    outageGraceMs: 60_000,
    ...settings,
  });
  onTestFinished(() => app.close());
  const events: GrpcClientEvent[] = [];
  app.client.events$.subscribe((event) => events.push(event));
  return { app, events };
}

function startReads({ app }: Pick<Setup, 'app'>): CallLoad {
  const load = CallLoad.start(60, () => app.orders.get({ id: '7' }), 50);
  onTestFinished(() => load.stop(60_000));
  return load;
}

const ended = (events: readonly GrpcClientEvent[]) =>
  events.filter((event) => event.type === 'connection' && event.change === 'ended');
const closed = (events: readonly GrpcClientEvent[]) =>
  events.filter((event) => event.type === 'connection' && event.change === 'closed').length;
const isReady = (app: OrdersApp, count: number): boolean =>
  app.client.snapshot().connections.filter(({ state }) => state === 'READY').length === count;

describe('name whose addresses change', () => {
  it('sends calls to an added server and ends no connection', { tags: ['timed'] }, async ({ task }) => {
    const { replicas, app, events } = await setUp(2);
    await waitFor(() => isReady(app, 2), HANG);
    const load = startReads({ app });
    await replicas.scale(3);
    const addedAt = performance.now();
    const [, , added] = replicas.all;
    await waitFor(() => added!.calls > 0, HANG);
    recordTiming(task, 'time until a new server receives a call, ms', performance.now() - addedAt, { atMost: 2_000 });
    await load.stop(60_000);
    expect(load.failed).toEqual([]);
    const before = replicas.all.map(({ calls }) => calls);
    // These calls run one at a time, because under a concurrent load, the counts would miss calls that have not reached their server.
    for (let call = 0; call < 150; call += 1) await firstValueFrom(app.orders.get({ id: '7' }));
    expect(replicas.all.map(({ calls }, index) => calls - before[index]!)).toEqual([50, 50, 50]);
    expect(ended(events)).toEqual([]);
    const port = replicas.url.split(':').at(-1)!;
    expect(events.filter(({ type }) => type === 'addresses-changed')).toMatchObject([
      { added: [`${added!.address}:${port}`], removed: [], total: 3 },
    ]);
    expect(app.lines.map(({ text }) => text)).toContainEqual(
      expect.stringMatching(/^addresses-changed: added=127\.1\.\d+\.3:\d+, removed=, total=3$/),
    );
  });

  it('sends no more calls to a removed server, and closes its connection', async () => {
    const { replicas, app, events } = await setUp(3);
    await waitFor(() => isReady(app, 3), HANG);
    const load = startReads({ app });
    await replicas.scale(2);
    await waitFor(() => events.some(({ type }) => type === 'addresses-changed'), HANG);
    const [, , removed] = replicas.all;
    // Waits for the calls that were sent before the addresses changed, because they may still arrive.
    const sent = [...load.calls];
    await waitFor(() => sent.every(({ endedAt }) => endedAt !== undefined), HANG);
    const before = removed!.calls;
    const total = load.calls.length;
    await waitFor(() => load.calls.length > total + 100, HANG);
    expect(removed!.calls).toBe(before);
    await waitFor(() => closed(events) === 1, HANG);
    await load.stop(60_000);
    expect(load.failed).toEqual([]);
    expect(ended(events)).toEqual([]);
  });

  it('lets calls of each kind finish on a removed server, despite keepalive pings', async () => {
    const { replicas, app, events } = await setUp(3, { channelOptions: { 'grpc.keepalive_time_ms': 300 } });
    await waitFor(() => isReady(app, 3), HANG);
    const requests = new Subject<{ messageId: string; order: undefined }>();
    const uploads = new Subject<{ requestId: string; item: string; quantity: number }>();
    const results: Promise<unknown>[] = [];
    const { orders } = app;
    for (const start of [
      () => firstValueFrom(orders.get({ id: 'hold' })),
      () => lastValueFrom(orders.watch({ from: '1' }).pipe(toArray())),
      () => lastValueFrom(orders.session(requests).pipe(toArray())),
      () => firstValueFrom(orders.upload(uploads)),
    ]) {
      const before = replicas.all.map(({ calls }) => calls);
      for (let call = 0; call < 3; call++) results.push(start());
      await waitFor(() => replicas.all.every(({ calls }, index) => calls === before[index]! + 1), HANG);
    }
    // The fourth connection has no calls, so it closes when grpc-js next closes unused connections.
    await replicas.scale(4);
    await waitFor(() => isReady(app, 4), HANG);
    await replicas.scale(1);
    await waitFor(() => closed(events) === 1, HANG);
    // Meanwhile, several pings are due on the other connections.
    const probe = CallLoad.start(20, () => orders.get({ id: '7' }), 5);
    await waitFor(() => probe.succeeded.length >= 40, HANG);
    await probe.stop();
    expect(replicas.all.slice(1).map(({ calls }) => calls)).toEqual([4, 4, 0]);
    requests.next({ messageId: '1', order: undefined });
    requests.complete();
    uploads.next({ requestId: '1', item: 'tea', quantity: 1 });
    uploads.complete();
    replicas.release();
    const values = await Promise.all(results);
    expect(values).toHaveLength(12);
    expect(values.slice(3, 6)).toEqual(
      Array.from({ length: 3 }, () => [
        expect.objectContaining({ sequence: '1' }),
        expect.objectContaining({ sequence: '2' }),
      ]),
    );
    expect(values.slice(9)).toEqual(Array.from({ length: 3 }, () => expect.objectContaining({ count: 1 })));
    // The connections of the other two removed servers close after their last calls.
    await waitFor(() => closed(events) === 3, HANG);
    expect(probe.failed).toEqual([]);
    expect(ended(events)).toEqual([]);
  });
});

describe('name with only unreachable addresses', () => {
  it('keeps the open connections of a name with only unreachable addresses until a new address is reachable, and then replaces them', async () => {
    const { replicas, app, events } = await setUp(1);
    await waitFor(() => isReady(app, 1), HANG);
    const load = startReads({ app });
    replicas.nameServer.addresses = ['127.1.255.254'];
    await waitFor(() => app.client.snapshot().connections.some(({ state }) => state === 'TRANSIENT_FAILURE'), HANG);
    const before = load.calls.length;
    await waitFor(() => load.calls.length > before + 100, HANG);
    expect(app.client.connectivity.state).toBe('READY');
    await replicas.scale(2);
    const [former, next] = replicas.all;
    replicas.list([next!]);
    await waitFor(() => next!.calls > 0, HANG);
    const last = former!.calls;
    const seen = next!.calls;
    await waitFor(() => next!.calls > seen + 50, HANG);
    expect(former!.calls).toBe(last);
    await load.stop(60_000);
    expect(load.failed).toEqual([]);
    expect(events.filter(({ type }) => type === 'outage-start')).toEqual([]);
  });
});

describe('failed lookup', () => {
  it('keeps the addresses in use and logs one warning if lookups fail', async () => {
    const { replicas, app, events } = await setUp(2);
    await waitFor(() => isReady(app, 2), HANG);
    const load = startReads({ app });
    replicas.nameServer.hasRecords = false;
    const { queries } = replicas.nameServer;
    await waitFor(() => replicas.nameServer.queries >= queries + 3, HANG);
    expect(app.client.snapshot().resolution).toMatchObject({ addresses: 2, failing: true });
    expect(events.filter(({ type }) => type === 'lookup-failed')).toMatchObject([{ addresses: 2 }]);
    const warnings = app.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
    expect(warnings).toEqual([expect.stringMatching(/DNS lookup failed; the client keeps its 2 addresses/)]);
    replicas.nameServer.hasRecords = true;
    await replicas.scale(3);
    await waitFor(() => replicas.all[2]!.calls > 0, HANG);
    expect(app.client.snapshot().resolution).toMatchObject({ addresses: 3, failing: false });
    await load.stop(60_000);
    expect(load.failed).toEqual([]);
    expect(ended(events)).toEqual([]);
  });
});

describe('periodic lookup', () => {
  it('resolves the name periodically by default for round_robin but not for pick_first, and applies an explicit dnsRefreshMs', async () => {
    const { replicas, app } = await setUp(1, { dnsRefreshMs: undefined });
    const first = await startClient(replicas, { dnsRefreshMs: undefined, loadBalancing: 'pick_first' });
    const off = await startClient(replicas, { dnsRefreshMs: false });
    const explicit = await startClient(replicas, { loadBalancing: 'pick_first' });
    const apps = [app, first.app, off.app, explicit.app];
    await waitFor(() => apps.every(({ client: one }) => one.connectivity.state === 'READY'), HANG);
    const next = apps.map(({ client: one }) => one.snapshot().resolution.nextLookupAt);
    expect(next.map((at) => at !== undefined)).toEqual([true, false, false, true]);
    for (const { client: one } of apps) expect(one.snapshot().resolution.lastLookupAt).toBeDefined();
  });

  it('pauses periodic lookups while the channel is idle, and resumes them with the next call', async () => {
    const { replicas, app } = await setUp(1, { connections: { idleMs: 1_000 } });
    await firstValueFrom(app.orders.get({ id: '7' }));
    await waitFor(() => app.client.connectivity.state === 'IDLE', HANG);
    expect(app.client.snapshot().resolution.nextLookupAt).toBeUndefined();
    const { queries } = replicas.nameServer;
    const busy = await startClient(replicas);
    // While the first client is idle, the second client makes its first lookup and three more.
    await waitFor(() => replicas.nameServer.queries >= queries + 4, HANG);
    expect(app.client.connectivity.state).toBe('IDLE');
    await busy.app.close();
    await firstValueFrom(app.orders.get({ id: '7' }));
    expect(app.client.snapshot().resolution.nextLookupAt).toBeDefined();
  });
});

describe('lookup after a disconnect', () => {
  it('keeps a channel idle while it looks up its name after a disconnect', async () => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {} } });
    onTestFinished(() => server.close());
    const app = await startOrdersApp({ url: server.url.replace('127.0.0.1', 'localhost') });
    onTestFinished(() => app.close());
    const lastLookup = () => app.client.snapshot().resolution.lastLookupAt;
    // A failed connection causes a lookup. grpc-js makes at most one lookup in 5 s, so the lookup after the next disconnect is delayed.
    await server.stop('force');
    const answered = firstValueFrom(app.orders.get({ id: '7' }));
    await waitFor(() => app.client.connectivity.state === 'TRANSIENT_FAILURE');
    await server.restart();
    await answered;
    const before = lastLookup();
    await server.stop('force');
    await waitFor(() => lastLookup() !== before, HANG);
    await turns();
    expect(app.client.connectivity.state).toBe('IDLE');
    await server.restart();
    await firstValueFrom(app.orders.get({ id: '7' }));
  });
});

describe('load balancing of a live service config', () => {
  const balanced = (name: string) => ({ loadBalancingConfig: [{ [name]: {} }] });

  it('applies the load balancing of a live service config without failing a call, and lets running calls finish', async () => {
    const configs = new Subject<object>();
    const opening = setUp(3, {
      loadBalancing: undefined,
      dnsRefreshMs: undefined,
      serviceConfig: new Observable((subscriber) => {
        subscriber.next(balanced('pick_first'));
        return configs.subscribe(subscriber);
      }),
    });
    const { replicas, app, events } = await opening;
    const load = startReads({ app });
    const watch = lastValueFrom(app.orders.watch({ from: '1' }).pipe(toArray()));
    await waitFor(() => load.succeeded.length > 50, HANG);
    expect(replicas.all.filter(({ calls }) => calls > 0)).toHaveLength(1);
    configs.next(balanced('pick_first'));
    configs.next(balanced('round_robin'));
    await waitFor(() => replicas.all.every(({ calls }) => calls > 10), HANG);
    expect(app.client.snapshot().resolution.nextLookupAt).toBeDefined();
    configs.next(balanced('no_such_policy'));
    configs.next(balanced('round_robin'));
    const before = load.calls.length;
    await waitFor(() => load.calls.length > before + 100, HANG);
    replicas.release();
    expect(await watch).toHaveLength(2);
    await load.stop(60_000);
    expect(load.failed).toEqual([]);
    expect(events.filter(({ type }) => type === 'connection-replaced')).toMatchObject([{ reason: 'load-balancing' }]);
    const warnings = app.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
    expect(warnings).toEqual([expect.stringMatching(/no_such_policy.+current service config stays in effect/)]);
  });
});
