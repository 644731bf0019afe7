import { Logger } from '@nestjs/common';
import { BehaviorSubject } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import type { GrpcClientSnapshot } from '../client/client-snapshot.js';
import type { ObservableServer } from '../call/server-event.js';
import type { ClientRegistry } from '../nest/client-registry.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { DashboardFeed, type Visitor } from './dashboard-feed.js';

/** A client that counts its snapshots. Reading `events$` fails the test. */
class ClientInTest {
  readonly states = new BehaviorSubject('READY');
  readonly connectivity$ = this.states;
  readonly counters = { started: 0, succeeded: 0, failed: 0, cancelled: 0, attempts: 0, retried: 0, hedged: 0 };
  snapshots = 0;
  waiting = 0;
  methods: unknown[] = [];
  broken = false;

  constructor(readonly name: string) {}

  get connectivity() {
    return { state: this.states.value };
  }
  get events$(): never {
    throw new Error('the dashboard has subscribed to events');
  }
  snapshot(): GrpcClientSnapshot {
    this.snapshots += 1;
    if (this.broken) throw new Error('broken');
    const { name, waiting, connectivity, methods } = this;
    const value = {
      version: 1,
      at: String(this.snapshots),
      name,
      waiting,
      connectivity,
      methods,
      counters: { ...this.counters },
    };
    // The cast is safe: the feed reads no other field.
    return value as unknown as GrpcClientSnapshot;
  }
}

class VisitorInTest implements Visitor {
  readonly received: { event: string; data: any; atMs: number }[] = [];
  isBlocked = false;
  ended = false;
  constructor(
    private readonly clock: VirtualClock,
    readonly openClient: string | undefined,
  ) {}
  send(event: string, json: string): void {
    this.received.push({ event, data: JSON.parse(json), atMs: this.clock.now() });
  }
  end(): void {
    this.ended = true;
  }
  get last() {
    return this.received.at(-1)!;
  }
}

const PROCESS = { host: 'here', pid: 7, release: '1.2.3' };

let clock: VirtualClock;
let clients: ClientInTest[];
let servers: Set<ObservableServer>;
let feed: DashboardFeed;
beforeEach(() => {
  clock = new VirtualClock();
  clients = [new ClientInTest('orders'), new ClientInTest('audit')];
  servers = new Set();
  const registry = { accepting: true, servers, [Symbol.iterator]: () => clients[Symbol.iterator]() };
  feed = new DashboardFeed(registry as unknown as ClientRegistry, clock, PROCESS);
  feed.onApplicationBootstrap();
  clock.advance(0);
});
const join = (openClient?: string): VisitorInTest => {
  const visitor = new VisitorInTest(clock, openClient);
  feed.addVisitor(visitor);
  return visitor;
};

describe('feed with no page open', () => {
  it('samples every client every two seconds while no page is open, without subscribing to client events', () => {
    clock.advance(20_000);
    expect(clients.map(({ snapshots }) => snapshots)).toEqual([11, 11]);
  });

  it('keeps the samples of each client for ten minutes', () => {
    clients[0]!.counters.failed = 7;
    clock.advance(3_600_000);
    const { data } = join('orders').last;
    const samples = new Map<string, number[][]>(data.samples);
    const [oldest, newest] = [samples.get('orders')![0]!, samples.get('orders')!.at(-1)!];
    expect(samples.get('orders')).toHaveLength(300);
    expect(newest[0]! - oldest[0]!).toBe(598_000);
    expect(newest[data.sampleFields.indexOf('failed')]).toBe(7);
    expect(samples.get('audit')).toHaveLength(3);
  });
});

describe('visitor', () => {
  it('sends a later visitor the state that earlier visitors have, then the same changes', () => {
    const early = join('orders');
    clock.advance(500);
    clients[0]!.counters.started = 1;
    clock.advance(150);
    const snapshots = clients[0]!.snapshots;
    const late = join('orders');
    expect(clients[0]!.snapshots).toBe(snapshots);
    expect(late.last.data.clients[0].counters.started).toBe(0);
    clock.advance(350);
    expect(late.last.data).toEqual(early.last.data);
    expect(late.last.data.clients[0].counters.started).toBe(1);
  });

  it('sends nothing to a visitor while its connection is blocked, and then the full state', () => {
    const slow = join();
    clock.advance(500);
    slow.isBlocked = true;
    const count = slow.received.length;
    clock.advance(10_000);
    expect(slow.received).toHaveLength(count);
    slow.isBlocked = false;
    clock.advance(500);
    expect(slow.last).toMatchObject({ event: 'whole' });
    clock.advance(500);
    expect(slow.last).toMatchObject({ event: 'change' });
  });

  it('sends a visitor the host, the pid, and the release of the process', () => {
    expect(join().last.data.process).toEqual(PROCESS);
  });

  it('reports to a visitor each client that is added, replaced under the same name, or removed', () => {
    const visitor = join();
    clients.push(new ClientInTest('tenant'));
    clock.advance(500);
    expect(visitor.last.data.clients).toMatchObject([{ key: 'tenant', name: 'tenant' }]);
    clients[2] = Object.assign(new ClientInTest('tenant'), { waiting: 4 });
    clock.advance(500);
    expect(visitor.last.data.clients).toMatchObject([{ key: 'tenant', name: 'tenant', waiting: 4 }]);
    clients.pop();
    clock.advance(500);
    expect(visitor.last.data).toMatchObject({ gone: ['tenant'], total: 2 });
  });

  it('sends a visitor at most 50 clients: the client open in the page first, then clients with problems', () => {
    clients = Array.from({ length: 200 }, (_none, i) => new ClientInTest(`tenant-${i}`));
    clients[150]!.states.next('TRANSIENT_FAILURE');
    clock.advance(2_000);
    const { data } = join('tenant-199').last;
    const keys = data.clients.map(({ key }: { key: string }) => key);
    expect(data.total).toBe(200);
    expect(keys).toHaveLength(50);
    expect(keys.slice(0, 3)).toEqual(['tenant-199', 'tenant-150', 'tenant-0']);
  });

  it('sends a visitor the client open in the page even if more than 50 other clients have problems', () => {
    clients = Array.from({ length: 200 }, (_none, i) => new ClientInTest(`tenant-${i}`));
    for (const client of clients.slice(0, 100)) client.states.next('TRANSIENT_FAILURE');
    clock.advance(2_000);
    const visitor = join('tenant-199');
    expect(visitor.last.data.clients[0].key).toBe('tenant-199');
    clock.advance(2_000);
    expect(visitor.last.data.gone).toEqual([]);
  });

  it('sends a visitor different client keys even if the name of one client looks like a numbered key of another', () => {
    clients.push(new ClientInTest('orders'), new ClientInTest('orders (2)'), new ClientInTest('orders (2)'));
    expect(join().last.data.clients.map(({ key }: { key: string }) => key)).toEqual([
      'orders',
      'audit',
      'orders (2)',
      'orders (2) (2)',
      'orders (2) (3)',
    ]);
  });

  it('sends a visitor the details of a client that no page had open before, then only their changes', () => {
    clients[0]!.methods = [{ path: '/a' }];
    const early = join();
    const first = join('orders');
    expect(first.last.data.clients[0].methods).toEqual([{ path: '/a' }]);
    clock.advance(500);
    expect(first.last.data.clients).toEqual([]);
    expect(early.last.data.clients).toEqual([]);
  });

  it('returns to slow sampling of clients when the last visitor disconnects', () => {
    const visitor = join();
    feed.removeVisitor(visitor);
    clock.advance(500);
    const snapshots = clients[0]!.snapshots;
    clock.advance(20_000);
    expect(clients[0]!.snapshots - snapshots).toBe(10);
  });

  it('sends a visitor the last changes, disconnects the visitor, and clears all timers of the feed when the shutdown begins', () => {
    const visitor = join();
    clients[0]!.waiting = 3;
    feed.beforeApplicationShutdown();
    expect(visitor.last.data.clients).toEqual([{ key: 'orders', waiting: 3 }]);
    expect(visitor.ended).toBe(true);
    expect(feed.ending).toBe(true);
    expect(clock.pending).toBe(0);
  });
});

it('sends a visitor the other clients if the snapshot of one client throws', () => {
  Logger.overrideLogger(false);
  clients[0]!.broken = true;
  const visitor = join();
  clock.advance(5_000);
  expect(visitor.received[0]!.data.clients.map(({ key }: { key: string }) => key)).toEqual(['audit']);
  expect(visitor.received).toHaveLength(11);
  expect(feed.snapshot().clients).toHaveLength(1);
});

it('computes at most one snapshot a second for all readers of the JSON', () => {
  const before = clients[0]!.snapshots;
  const first = feed.snapshotJson();
  clients[0]!.waiting = 3;
  expect(feed.snapshotJson()).toBe(first);
  expect(JSON.parse(first)).toMatchObject({ version: 1, clients: [{ name: 'orders', waiting: 0 }, { name: 'audit' }] });
  expect(clients[0]!.snapshots).toBe(before + 1);
  clock.advance(1_000);
  expect(JSON.parse(feed.snapshotJson())).toMatchObject({ clients: [{ waiting: 3 }, {}] });
});

it('logs one line for each client whose snapshot throws', ({ onTestFinished }) => {
  const lines: string[] = [];
  const log = (message: unknown) => void lines.push(String(message));
  Logger.overrideLogger({ log, warn: log, error: log });
  onTestFinished(() => Logger.overrideLogger(false));
  for (const client of clients) client.broken = true;
  clock.advance(10_000);
  feed.snapshot();
  expect(lines).toEqual([
    'dashboard cannot show client orders: Error: broken',
    'dashboard cannot show client audit: Error: broken',
  ]);
});

it('sends a visitor the overload of each server with every update', () => {
  const overload = { since: undefined, queued: 0, shed: 0, limits: [] };
  const server = { address: '0.0.0.0:50051', overload: () => overload };
  servers.add(server);
  const visitor = join();
  expect(visitor.last.data.servers).toEqual([
    { address: '0.0.0.0:50051', overload: { queued: 0, shed: 0, limits: [] } },
  ]);
  Object.assign(overload, { since: new Date(5_000), queued: 3, shed: 40 });
  clock.advance(500);
  expect(visitor.last).toMatchObject({ event: 'change' });
  expect(visitor.last.data.servers[0].overload).toMatchObject({
    since: '1970-01-01T00:00:05.000Z',
    queued: 3,
    shed: 40,
  });
});
