import { type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import type { GrpcClientSnapshot } from '../client/client-snapshot.js';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import type { GrpcClients } from '../nest/grpc-clients.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { moment, type Clock, type Timer } from '../time/clock.js';
import { SAMPLE_FIELDS, SampleRing, sampleOf } from './sample-ring.js';
import { shownClients, SHOWN_CLIENTS, type ShownClient } from './shown-clients.js';
import { StateChanges } from './state-changes.js';
import { ToldClient } from './told-client.js';

/** With nobody looking: what draws the last minutes for who comes after the trouble, and no more. */
const HISTORY_EVERY_MS = 2_000;
/** Ten minutes. */
const HISTORY_LENGTH = 300;
/** Of clients that are not looked at: enough for a rate. */
const SHORT_HISTORY = 3;
/** With somebody looking. It is the heartbeat, too. */
const TELL_EVERY_MS = 1_000;
/** Between a change of state and what is told of it; and from then on for a while, in which all that follows from it changes. */
const TELL_SOON_MS = 250;
const RESTLESS_MS = 2_000;

/** Somebody who is told. */
export interface Visitor {
  /** Key of the client whose details are wanted. */
  readonly looksAt: string | undefined;
  /** Takes nothing at present. What it misses is made good by a whole one. */
  readonly isBlocked: boolean;
  send(event: 'whole' | 'change', json: string): void;
  end(): void;
}

/** All clients at one moment. Within a version nothing is taken away and nothing changes its meaning; there may be more. */
export interface DashboardSnapshot {
  readonly version: 1;
  /** Moment of the snapshot. */
  readonly at: string;
  /** False from the beginning of the application's shutdown on. */
  readonly accepting: boolean;
  readonly clients: readonly GrpcClientSnapshot[];
}

/** What answers: behind a balancer it may be another process each time. */
export interface DashboardProcess {
  readonly host: string;
  readonly pid: number;
  /** Of the library: the page of another release does not know this one's events. */
  readonly release: string;
}

interface Watched extends ShownClient {
  readonly ring: SampleRing;
  readonly told: ToldClient;
}

/**
 * One sampler for all visitors. With nobody looking it takes a sample of each client now and then; it never subscribes to events,
 * which would make every call build them.
 */
export class DashboardFeed implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new LibraryLogger('ResilientGrpc');
  private readonly visitors = new Set<Visitor>();
  private readonly missed = new WeakSet<Visitor>();
  private readonly changes = new StateChanges(() => this.stateChanged());
  private watched: ReadonlyMap<string, Watched> = new Map();
  /** Histories of clients that gave way to others in trouble: as many as are shown, the last to go at the end. */
  private readonly setAside = new Map<ResilientGrpcClient, SampleRing>();
  private gone: readonly string[] = [];
  private total = 0;
  /** Milliseconds since 1970. */
  private lookedAt = 0;
  private ended = false;
  private failed = false;
  private next: { readonly timer: Timer; readonly at: number } | undefined;
  // Monotonic milliseconds.
  private sampledAt = -Infinity;
  private toldAt = -Infinity;
  private changedAt = -Infinity;

  constructor(
    private readonly clients: GrpcClients,
    private readonly clock: Clock,
    private readonly process: DashboardProcess,
  ) {}

  /** No visitor is taken any more. */
  get ending(): boolean {
    return this.ended;
  }

  onApplicationBootstrap(): void {
    this.wake(0);
  }

  /** Before the servers close, which would wait for the visitors. */
  beforeApplicationShutdown(): void {
    if (this.ended) return;
    this.ended = true;
    if (this.next !== undefined) this.clock.clearTimer(this.next.timer);
    this.changes.follow([]);
    if (this.visitors.size > 0) this.tell();
    const visitors = [...this.visitors];
    this.visitors.clear();
    for (const visitor of visitors) visitor.end();
  }

  /** Every client there is. */
  snapshot(): DashboardSnapshot {
    return {
      version: 1,
      at: moment(this.clock.epoch()).toISOString(),
      accepting: this.clients.accepting,
      clients: [...this.clients].flatMap((client) => this.snapshotOf(client) ?? []),
    };
  }

  /** Sends everything now, and then what changes. */
  join(visitor: Visitor): void {
    const first = this.visitors.size === 0;
    this.visitors.add(visitor);
    // Later ones are told what the others were told last, and all go on from there.
    if (first || (visitor.looksAt !== undefined && !this.watched.has(visitor.looksAt))) this.tell(visitor);
    visitor.send('whole', this.whole(visitor));
    this.wake(TELL_EVERY_MS);
  }

  leave(visitor: Visitor): void {
    this.visitors.delete(visitor);
    if (this.visitors.size === 0) this.changes.follow([]);
  }

  private stateChanged(): void {
    const now = this.clock.now();
    this.changedAt = now;
    this.wake(Math.max(0, TELL_SOON_MS - (now - this.toldAt)));
  }

  /** Has the next turn come in `ms` at the latest. */
  private wake(ms: number): void {
    const at = this.clock.now() + ms;
    if (this.ended || (this.next !== undefined && this.next.at <= at)) return;
    if (this.next !== undefined) this.clock.clearTimer(this.next.timer);
    this.next = { at, timer: this.clock.setTimer(() => this.turn(), ms) };
  }

  private turn(): void {
    this.next = undefined;
    if (this.visitors.size === 0) {
      this.look();
      return this.wake(HISTORY_EVERY_MS);
    }
    this.tell();
    this.wake(this.clock.now() - this.changedAt < RESTLESS_MS ? TELL_SOON_MS : TELL_EVERY_MS);
  }

  /** Looks, and tells everybody but `newcomer`, who has not been told anything. */
  private tell(newcomer?: Visitor): void {
    this.look();
    this.toldAt = this.clock.now();
    for (const visitor of this.visitors) {
      if (visitor === newcomer) continue;
      // Before anything is written for it.
      if (visitor.isBlocked) this.missed.add(visitor);
      else if (this.missed.delete(visitor)) visitor.send('whole', this.whole(visitor));
      else visitor.send('change', this.change(visitor));
    }
  }

  /** Looks at every client: who is there, how it is, and what is new. */
  private look(): void {
    const looked = new Set([...this.visitors].map(({ looksAt }) => looksAt));
    const { total, shown } = shownClients(this.clients, looked);
    const now = this.clock.now();
    const epoch = this.clock.epoch();
    const due = now - this.sampledAt >= HISTORY_EVERY_MS - TELL_SOON_MS / 2;
    if (due) this.sampledAt = now;
    const before = this.watched;
    const watched = new Map<string, Watched>();
    for (const one of shown) {
      const snapshot = this.snapshotOf(one.client);
      if (snapshot === undefined) continue;
      const known = before.get(one.key);
      const same = known?.client === one.client ? known : undefined;
      const isLooked = looked.has(one.key);
      const { ring, told } = same ?? {
        ring: this.setAside.get(one.client) ?? new SampleRing(HISTORY_LENGTH),
        told: new ToldClient(one.key, snapshot, isLooked),
      };
      // With nobody to tell there is nothing to write.
      if (same !== undefined && this.visitors.size > 0) told.update(snapshot, isLooked);
      if (due || same === undefined) ring.push(sampleOf(snapshot, epoch));
      watched.set(one.key, { ...one, ring, told });
      this.setAside.delete(one.client);
    }
    this.putAside(before, total > shown.length ? new Set(shown.map(({ client }) => client)) : undefined);
    this.total = total;
    this.lookedAt = epoch;
    this.gone = [...before.keys()].filter((key) => !watched.has(key));
    this.watched = watched;
    if (this.visitors.size > 0 && !this.ended) this.changes.follow(shown.map(({ client }) => client));
  }

  /** Keeps histories of those of `before` that are not among `shown`; of nobody where all are. */
  private putAside(before: ReadonlyMap<string, Watched>, shown: ReadonlySet<ResilientGrpcClient> | undefined): void {
    if (shown === undefined) return this.setAside.clear();
    for (const { client, ring } of before.values()) if (!shown.has(client)) this.setAside.set(client, ring);
    for (const client of this.setAside.keys()) {
      if (this.setAside.size <= SHOWN_CLIENTS) break;
      this.setAside.delete(client);
    }
  }

  /** A client that cannot be looked at is no reason to end the process that it serves. */
  private snapshotOf(client: ResilientGrpcClient): GrpcClientSnapshot | undefined {
    try {
      return client.snapshot();
    } catch (error) {
      if (!this.failed) this.logger.error(`the dashboard cannot show ${client.name}: ${String(error)}`);
      this.failed = true;
      return undefined;
    }
  }

  private whole({ looksAt }: Visitor): string {
    const all = [...this.watched.values()];
    const clients = all.map(({ key, told }) => told.whole(key === looksAt));
    const samples = all.map(({ key, ring }) => [key, ring.latest(key === looksAt ? undefined : SHORT_HISTORY)]);
    const more = JSON.stringify({ process: this.process, sampleFields: SAMPLE_FIELDS, samples });
    return `{${this.common()},${more.slice(1, -1)},"clients":[${clients.join()}]}`;
  }

  private change({ looksAt }: Visitor): string {
    const clients = [...this.watched.values()].flatMap(({ key, told }) => told.changes(key === looksAt) ?? []);
    return `{${this.common()},"gone":${JSON.stringify(this.gone)},"clients":[${clients.join()}]}`;
  }

  private common(): string {
    const { total, lookedAt } = this;
    // Its moment is that of the look, which those who come later are told of, too.
    return JSON.stringify({ at: lookedAt, accepting: this.clients.accepting, total }).slice(1, -1);
  }
}
