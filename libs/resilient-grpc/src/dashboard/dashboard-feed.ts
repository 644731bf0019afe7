import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { ServerOverload } from '../call/server-event.js';
import type { GrpcClientSnapshot, Serialized } from '../client/client-snapshot.js';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import { type ClientRegistry, clientKeys } from '../nest/client-registry.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { moment, type Clock, type Timer } from '../time/clock.js';

/**
 * State of all clients and servers at one moment, returned as JSON by the `snapshot` path of the dashboard. Within a version, properties
 * may be added, but none is removed or changes its meaning.
 */
export interface DashboardSnapshot {
  readonly version: 1;
  /** Time of the snapshot, in ISO 8601. */
  readonly at: string;
  /** True until the application starts to shut down. */
  readonly accepting: boolean;
  readonly clients: readonly GrpcClientSnapshot[];
  readonly servers: readonly DashboardServer[];
}

export interface DashboardServer {
  readonly address: string;
  readonly overload: Serialized<ServerOverload>;
}

const HISTORY_INTERVAL_MS = 2_000;
/** Number of samples kept per client, which cover ten minutes. */
const HISTORY_LENGTH = 300;
/** Number of samples sent for clients that are not open in the page: enough to compute a rate. */
const RATE_SAMPLES = 3;
/** Update interval in milliseconds while a page is open. The updates are also the heartbeat. */
const UPDATE_INTERVAL_MS = 500;
/** Maximum age in milliseconds of a snapshot that several requests share. With 500 clients, a snapshot takes about 50 ms of CPU time. */
const MAX_SNAPSHOT_AGE_MS = 1_000;

const COUNTERS = ['started', 'succeeded', 'failed', 'cancelled', 'attempts', 'retried', 'hedged'] as const;
/** Fields of a client's sample: time in milliseconds since 1970, cumulative counts, and the number of waiting calls. */
const SAMPLE_FIELDS = ['at', ...COUNTERS, 'waiting'];

type ClientSample = readonly number[];

export interface Visitor {
  /** Key of the client whose details are shown. */
  readonly openClient: string | undefined;
  /** True while the connection accepts no data. Missed changes are replaced by the full state. */
  readonly isBlocked: boolean;
  send(event: 'whole' | 'change', json: string): void;
  end(): void;
}

/** Process that serves the page. Behind a load balancer, this process can differ from request to request. */
export interface DashboardProcess {
  readonly host: string;
  readonly pid: number;
  /** Version of this library. A page of another version reloads, or warns that some data may be missing. */
  readonly release: string;
}

interface DashboardClient extends ShownClient {
  readonly samples: ClientSample[];
  readonly delta: ClientDelta;
}

/**
 * Samples the shown clients, once for all visitors. It never subscribes to client events, because every call would then have to build
 * events.
 */
export class DashboardFeed implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new LibraryLogger('ResilientGrpc');
  private readonly visitors = new Set<Visitor>();
  private readonly missed = new WeakSet<Visitor>();
  private shown: ReadonlyMap<string, DashboardClient> = new Map();
  private readonly loggedFailures = new WeakSet<ResilientGrpcClient>();
  private removed: readonly string[] = [];
  private total = 0;
  private sampledEpoch = 0;
  ending = false;
  private timer: Timer | undefined;
  /** Monotonic milliseconds. */
  private sampledAt = -Infinity;
  private serialized: { readonly json: string; readonly at: number } | undefined;

  constructor(
    private readonly clients: Pick<ClientRegistry, 'accepting' | 'servers' | typeof Symbol.iterator>,
    private readonly clock: Clock,
    private readonly process: DashboardProcess,
  ) {}

  onApplicationBootstrap(): void {
    this.schedule(0);
  }

  /** Disconnects the visitors before the servers close, because the servers would wait for the visitors. */
  beforeApplicationShutdown(): void {
    if (this.ending) return;
    this.ending = true;
    this.timer?.clear();
    if (this.visitors.size > 0) this.send();
    const visitors = [...this.visitors];
    this.visitors.clear();
    for (const visitor of visitors) visitor.end();
  }

  /** Returns the state of every client as JSON; reuses it for a second, so that the cost does not grow with the number of readers. */
  snapshotJson(): string {
    const now = this.clock.now();
    if (this.serialized === undefined || now - this.serialized.at >= MAX_SNAPSHOT_AGE_MS)
      this.serialized = { json: JSON.stringify(this.snapshot()), at: now };
    return this.serialized.json;
  }

  snapshot(): DashboardSnapshot {
    return {
      version: 1,
      at: moment(this.clock.epoch()).toISOString(),
      accepting: this.clients.accepting,
      clients: [...this.clients].flatMap((client) => this.snapshotOf(client) ?? []),
      servers: this.servers(),
    };
  }

  addVisitor(visitor: Visitor): void {
    const first = this.visitors.size === 0;
    this.visitors.add(visitor);
    // Samples the clients only for the first visitor, or if this visitor has a client open that is not shown yet. Any other visitor
    // receives the state that the other visitors last received, so that all visitors can receive the same changes.
    if (first || (visitor.openClient !== undefined && !this.shown.has(visitor.openClient))) this.send(visitor);
    visitor.send('whole', this.whole(visitor));
    if (first) this.schedule(UPDATE_INTERVAL_MS);
  }

  removeVisitor(visitor: Visitor): void {
    this.visitors.delete(visitor);
  }

  private schedule(ms: number): void {
    this.timer?.clear();
    this.timer = this.clock.setTimer(() => {
      if (this.visitors.size === 0) this.sample();
      else this.send();
      this.schedule(this.visitors.size === 0 ? HISTORY_INTERVAL_MS : UPDATE_INTERVAL_MS);
    }, ms);
  }

  /** Samples the clients and updates all visitors except `newcomer`, which has not received the full state yet. */
  private send(newcomer?: Visitor): void {
    this.sample();
    for (const visitor of this.visitors) {
      if (visitor === newcomer) continue;
      // Checked first, so that nothing is serialized for a blocked visitor.
      if (visitor.isBlocked) this.missed.add(visitor);
      else if (this.missed.delete(visitor)) visitor.send('whole', this.whole(visitor));
      else visitor.send('change', this.change(visitor));
    }
  }

  private sample(): void {
    const openInPage = new Set([...this.visitors].map(({ openClient }) => openClient));
    const { total, shown } = shownClients(this.clients, openInPage);
    const now = this.clock.now();
    const epoch = this.clock.epoch();
    const due = now - this.sampledAt >= HISTORY_INTERVAL_MS - UPDATE_INTERVAL_MS / 2;
    if (due) this.sampledAt = now;
    const before = this.shown;
    const current = new Map<string, DashboardClient>();
    for (const one of shown) {
      const snapshot = this.snapshotOf(one.client);
      if (snapshot === undefined) continue;
      const known = before.get(one.key);
      const same = known?.client === one.client ? known : undefined;
      const isOpenInPage = openInPage.has(one.key);
      const { samples, delta } = same ?? {
        samples: [] as ClientSample[],
        delta: new ClientDelta(one.key, snapshot, isOpenInPage),
      };
      // If there are no visitors, nothing needs to be serialized.
      if (same !== undefined && this.visitors.size > 0) delta.update(snapshot, isOpenInPage);
      if (due || same === undefined) samples.push(sampleOf(snapshot, epoch));
      if (samples.length > HISTORY_LENGTH) samples.shift();
      current.set(one.key, { ...one, samples, delta });
    }
    this.total = total;
    this.sampledEpoch = epoch;
    this.removed = [...before.keys()].filter((key) => !current.has(key));
    this.shown = current;
  }

  /**
   * Returns the state of a client; `undefined` if `snapshot()` throws. Logs only the first error of each client. Does not throw, because
   * the dashboard must not end the process.
   */
  private snapshotOf(client: ResilientGrpcClient): GrpcClientSnapshot | undefined {
    try {
      return client.snapshot();
    } catch (error) {
      if (!this.loggedFailures.has(client)) {
        const text = `dashboard cannot show client ${client.name}: ${String(error)}`;
        this.logger.write('error', text, { client: client.name, event: 'dashboard' });
      }
      this.loggedFailures.add(client);
      return undefined;
    }
  }

  private servers(): readonly DashboardServer[] {
    return [...this.clients.servers].map((server) => {
      const overload = server.overload();
      return { address: server.address, overload: { ...overload, since: overload.since?.toISOString() } };
    });
  }

  private whole({ openClient }: Visitor): string {
    const all = [...this.shown.values()];
    const clients = all.map(({ key, delta }) => delta.whole(key === openClient));
    const samples = all.map((one) => [one.key, one.samples.slice(one.key === openClient ? 0 : -RATE_SAMPLES)]);
    const more = JSON.stringify({ process: this.process, sampleFields: SAMPLE_FIELDS, samples });
    return `{${this.common()},${more.slice(1, -1)},"clients":[${clients.join()}]}`;
  }

  private change({ openClient }: Visitor): string {
    const clients = [...this.shown.values()].flatMap(({ key, delta }) => delta.changes(key === openClient) ?? []);
    return `{${this.common()},"gone":${JSON.stringify(this.removed)},"clients":[${clients.join()}]}`;
  }

  private common(): string {
    const { total, sampledEpoch } = this;
    // Uses the time of the last sampling, because a later visitor receives the state from that time.
    const state = { at: sampledEpoch, accepting: this.clients.accepting, total, servers: this.servers() };
    return JSON.stringify(state).slice(1, -1);
  }
}

function sampleOf({ counters, waiting }: GrpcClientSnapshot, at: number): ClientSample {
  return [at, ...COUNTERS.map((name) => counters[name]), waiting];
}

/** Maximum number of shown clients. If there are more, clients that are open in a page come first, then clients with problems. */
const MAX_SHOWN_CLIENTS = 50;

export interface ShownClient {
  readonly key: string;
  readonly client: ResilientGrpcClient;
}

/** Selects at most `MAX_SHOWN_CLIENTS` clients to show, with their keys. `openInPage` contains the keys of the clients open in a page. */
function shownClients(
  clients: Iterable<ResilientGrpcClient>,
  openInPage: ReadonlySet<string | undefined>,
): {
  readonly total: number;
  readonly shown: readonly ShownClient[];
} {
  const all = [...clientKeys([...clients])].map(([client, key]) => ({ key, client }));
  if (all.length <= MAX_SHOWN_CLIENTS) return { total: all.length, shown: all };
  const groups: [ShownClient[], ShownClient[], ShownClient[]] = [[], [], []];
  for (const one of all) groups[openInPage.has(one.key) ? 0 : hasProblem(one.client) ? 1 : 2].push(one);
  return { total: all.length, shown: groups.flat().slice(0, MAX_SHOWN_CLIENTS) };
}

function hasProblem({ connectivity }: ResilientGrpcClient): boolean {
  return connectivity.outage !== undefined || connectivity.state === 'TRANSIENT_FAILURE';
}

type Property = keyof GrpcClientSnapshot;

/** Properties that the overview shows for every client. All other properties are sent only to pages that have the client open. */
const OVERVIEW_PROPERTIES: ReadonlySet<string> = new Set<Property>([
  'name',
  'target',
  'createdAt',
  'connectivity',
  'history',
  'waiting',
  'waitingForStream',
  'oldestWaitMs',
  'active',
  'counters',
  'recent',
  'circuits',
  'drain',
]);
/** Properties omitted from each client's state. The enclosing message has its own `at`. */
const MESSAGE_PROPERTIES: ReadonlySet<string> = new Set<Property>(['version', 'at']);

type Part = readonly [property: string, json: string];

/** State of a client as last sent to visitors. Computes the changes since then and serializes them once for all visitors. */
class ClientDelta {
  private readonly lastSent = new Map<string, string>();
  private changed: readonly Part[] = [];

  constructor(
    readonly key: string,
    private snapshot: GrpcClientSnapshot,
    isOpenInPage: boolean,
  ) {
    // Everything is new to visitors that have not received this client.
    this.update(snapshot, isOpenInPage);
  }

  update(snapshot: GrpcClientSnapshot, isOpenInPage: boolean): void {
    this.snapshot = snapshot;
    this.changed = this.parts(isOpenInPage).filter(([property, json]) => this.lastSent.get(property) !== json);
    for (const [property, json] of this.changed) this.lastSent.set(property, json);
  }

  /** Returns the full state as JSON, as of the last update. `isOpenInPage` is true for a page that has this client open. */
  whole(isOpenInPage: boolean): string {
    // Records the details as sent, so that later updates contain only changes. Other pages are not affected, because they receive no
    // details.
    if (isOpenInPage) for (const [property, json] of this.parts(true)) this.lastSent.set(property, json);
    return this.json([...this.lastSent].filter(([property]) => isOpenInPage || OVERVIEW_PROPERTIES.has(property)));
  }

  changes(isOpenInPage: boolean): string | undefined {
    const parts = this.changed.filter(([property]) => isOpenInPage || OVERVIEW_PROPERTIES.has(property));
    return parts.length === 0 ? undefined : this.json(parts);
  }

  private parts(isOpenInPage: boolean): readonly Part[] {
    return Object.entries(this.snapshot)
      .filter(([property]) => !MESSAGE_PROPERTIES.has(property) && (isOpenInPage || OVERVIEW_PROPERTIES.has(property)))
      .map(([property, value]) => [property, JSON.stringify(value)]);
  }

  private json(parts: readonly Part[]): string {
    const all: readonly Part[] = [['key', JSON.stringify(this.key)], ...parts];
    return `{${all.map(([property, json]) => `${JSON.stringify(property)}:${json}`).join()}}`;
  }
}
