import type { Socket } from 'node:net';
import { Channel, type ChannelCredentials, type ChannelOptions, type experimental } from '@grpc/grpc-js';
import type { ConnectivityState } from '../call/connectivity.js';
import { shortLivedBackoffMs } from '../policy/reconnect/short-lived-backoff.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { ConnectAttempts, type ConnectLimits } from './connect-attempts.js';
import type { ConnectionProbe } from './connection-probe.js';
import type { ConnectionStream, StreamOpening } from './connection-stream.js';
import { ADDRESS_ARGUMENT, observeSockets } from './connector.js';
import { EstablishedConnection, type ConnectionOwner } from './established-connection.js';
import { observeConnections, type PolicyHandle, type PolicyObserver } from './load-balancing-policy.js';
import { stateName } from './state-name.js';
import type { WireOwner } from './wire-attempt.js';

type SubchannelAddress = experimental.SubchannelAddress;

/** What happens to a generation, told to the managed channel. */
export interface GenerationObserver {
  onState(generation: ChannelGeneration, state: ConnectivityState, error: string | undefined): void;
  /** One attempt to connect failed. */
  onConnectFailed(generation: ChannelGeneration, cause: string): void;
  /** A connection that was READY ended. */
  onConnectionEnded(generation: ChannelGeneration, ended: EndedConnection): void;
  onKeepaliveThrottled(keepaliveTimeMs: number): void;
  /** A call on `connection` was ended on this side because it took too long, `waitedMs` after it began. */
  onTimedOut(generation: ChannelGeneration, connection: EstablishedConnection, waitedMs: number): void;
}

/** A connection that was READY and is no longer. */
export interface EndedConnection {
  readonly address: string;
  readonly livedMs: number;
  /** A call on it got an answer made by the server. */
  readonly answered: boolean;
  /** It died at once, without an answer: no better than an attempt that failed. */
  readonly shortLived: boolean;
  /** Connections to other addresses are READY. */
  readonly othersReady: boolean;
}

/** What a generation is made from. */
export interface GenerationSettings {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly loadBalancing: readonly Readonly<Record<string, unknown>>[];
  readonly connectLimits: ConnectLimits;
}

/** What is remembered of the connections to one address. */
interface ConnectionHistory {
  readyAt: number | undefined;
  /** Undefined where it is not READY, and where its socket does not pass through our hands. */
  connection: EstablishedConnection | undefined;
  answered: boolean;
  /** Connections in a row that died at once. */
  shortLived: number;
  holdUntil: number;
  /** Connections that have ended. */
  ended: number;
}

/** A connection that lived less, without an answer of the server, counts as a failed attempt. */
const SHORT_LIVED_MS = 1_000;
const KNOWN_ADDRESSES = 256;
/** Where nothing else is said. */
const GRPC_JS_KEPT_BYTES = 1 << 20;

/**
 * One channel of grpc-js with all that is attached to it. A managed channel has one, and for a moment two while one replaces the
 * other; an old one is closed when its last call has ended.
 */
export class ChannelGeneration implements WireOwner, PolicyObserver, ConnectionOwner {
  readonly channel: Channel;
  state: ConnectivityState = 'IDLE';
  private readonly attempts: ConnectAttempts;
  private readonly policy: PolicyHandle | undefined;
  private readonly histories = new Map<string, ConnectionHistory>();
  readonly keptBytes: number;
  private readonly authority: string | undefined;
  /** Opened beside the calls. */
  private streams: readonly ConnectionStream[] = [];
  private active = 0;
  private closed = false;
  private retired = false;
  /** Some connection has not been answered on yet. */
  private unanswered = true;

  constructor(
    settings: GenerationSettings,
    private readonly observer: GenerationObserver,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {
    this.keptBytes = settings.channelOptions['grpc.per_rpc_retry_buffer_size'] ?? GRPC_JS_KEPT_BYTES;
    this.authority = settings.channelOptions['grpc.default_authority'];
    this.attempts = new ConnectAttempts(settings.connectLimits, clock);
    // Under xds: the control plane names the policies, and connections are seen by the public states only.
    this.policy = settings.target.startsWith('xds:') ? undefined : observeConnections(settings.loadBalancing, this);
    const serviceConfig = JSON.stringify({
      loadBalancingConfig: this.policy === undefined ? settings.loadBalancing : this.policy.loadBalancingConfig,
    });
    const credentials = observeSockets(settings.credentials, this.attempts) ?? settings.credentials;
    this.channel = new Channel(settings.target, credentials, {
      ...settings.channelOptions,
      'grpc.service_config': serviceConfig,
    });
    this.watchPublicState();
  }

  /** Whether each connection is seen, or only the public states of the channel. */
  get observed(): boolean {
    return this.policy !== undefined;
  }

  get ready(): boolean {
    return this.state === 'READY';
  }

  /** Leaves IDLE. */
  connect(): void {
    // A closed channel of grpc-js comes back to life when asked to connect.
    if (!this.closed) this.channel.getConnectivityState(true);
  }

  /** Ends the backoff of connections that wait in one. */
  endBackoff(): void {
    this.policy?.control?.endBackoff();
  }

  /** When the next attempt to connect begins, in milliseconds since 1970. */
  nextAttemptAt(): number | undefined {
    const now = this.clock.now();
    let earliest = this.policy?.control?.backoffEndsAt();
    for (const { holdUntil } of this.histories.values()) {
      if (holdUntil <= now) continue;
      const at = this.clock.epoch() + (holdUntil - now);
      if (earliest === undefined || at < earliest) earliest = at;
    }
    return earliest;
  }

  attemptStarted(): void {
    this.active += 1;
  }

  attemptEnded(): void {
    this.active -= 1;
    if (this.retired && this.active === 0) this.close();
  }

  timedOut(peer: string | undefined, startedAt: number, waitedMs: number): void {
    const connection = peer === undefined ? undefined : this.histories.get(peer)?.connection;
    // What began before this connection was there hangs on one that the server is draining.
    if (connection === undefined || startedAt < connection.readyAt) return;
    this.observer.onTimedOut(this, connection, waitedMs);
  }

  get connections(): readonly EstablishedConnection[] {
    return [...this.histories.values()].flatMap(({ connection }) => connection ?? []);
  }

  probe(address: string): ConnectionProbe | undefined {
    return this.policy?.control?.probe(address);
  }

  /** Opens a stream on a connection, beside the calls; undefined while none is READY. */
  openStream(opening: StreamOpening): ConnectionStream | undefined {
    const stream = this.policy?.control?.openStream({ ...opening, authority: this.authority });
    if (stream !== undefined) this.streams = [...this.streams.filter(({ isOver }) => !isOver), stream];
    return stream;
  }

  /** The server answered a call: the connections there are work. */
  answered(): void {
    if (!this.unanswered) return;
    this.unanswered = false;
    for (const history of this.histories.values()) {
      history.answered = true;
      history.shortLived = 0;
    }
  }

  connectionKey(peer: string | undefined): string {
    if (peer === undefined) return '';
    return `${peer}#${String(this.histories.get(peer)?.ended ?? 0)}`;
  }

  /** Takes no more calls; closes when the last one has ended. `close()` of grpc-js under keepalive would cut them. */
  retire(): void {
    this.retired = true;
    for (const stream of this.streams) stream.leaveConnection();
    if (this.active === 0) this.close();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.state = 'SHUTDOWN';
    this.policy?.release();
    this.channel.close();
    this.attempts.abortAll();
  }

  // ── as observer of the load-balancing policy ──

  onState(state: ConnectivityState, error: string | undefined): void {
    if (this.closed) return;
    this.state = state;
    this.observer.onState(this, state, error === undefined ? undefined : plain(error));
  }

  onConnection(address: string, from: ConnectivityState, to: ConnectivityState, error: string | undefined): void {
    const attempt = from === 'CONNECTING' ? this.attempts.settle(address) : undefined;
    if (from === 'CONNECTING' && to === 'TRANSIENT_FAILURE' && !this.closed) {
      this.observer.onConnectFailed(this, attempt?.timedOut ?? plain(error ?? 'the connection failed'));
    }
    if (to === 'READY') this.connected(address, attempt?.socket);
    else if (from === 'READY') this.disconnected(address);
  }

  onKeepaliveThrottled(_address: string, keepaliveTimeMs: number): void {
    this.observer.onKeepaliveThrottled(keepaliveTimeMs);
  }

  holdOffMs(address: string): number {
    const history = this.histories.get(address);
    return history === undefined ? 0 : history.holdUntil - this.clock.now();
  }

  later(task: () => void, ms: number): () => void {
    const timer = this.clock.setTimer(task, ms);
    return () => {
      this.clock.clearTimer(timer);
    };
  }

  abortable(address: SubchannelAddress): SubchannelAddress {
    return this.attempts.abortable(address, addressKey(address));
  }

  argumentsFor(address: SubchannelAddress): ChannelOptions {
    return { [ADDRESS_ARGUMENT]: addressKey(address) };
  }

  private connected(address: string, socket: Socket | undefined): void {
    this.unanswered = true;
    const history = this.history(address);
    const now = this.clock.now();
    history.readyAt = now;
    history.connection = socket && new EstablishedConnection(address, now, socket, this);
    history.answered = false;
  }

  private disconnected(address: string): void {
    const history = this.history(address);
    const now = this.clock.now();
    const livedMs = history.readyAt === undefined ? 0 : now - history.readyAt;
    const { answered } = history;
    history.readyAt = undefined;
    history.connection = undefined;
    history.ended += 1;
    const shortLived = livedMs < SHORT_LIVED_MS && !answered;
    if (shortLived) {
      history.shortLived += 1;
      history.holdUntil = now + shortLivedBackoffMs(history.shortLived, this.random);
    } else {
      history.shortLived = 0;
    }
    if (!this.closed) {
      const othersReady = [...this.histories.values()].some(({ readyAt }) => readyAt !== undefined);
      this.observer.onConnectionEnded(this, { address, livedMs, answered, shortLived, othersReady });
    }
  }

  private history(address: string): ConnectionHistory {
    let history = this.histories.get(address);
    if (history === undefined) {
      history = {
        readyAt: undefined,
        connection: undefined,
        answered: false,
        shortLived: 0,
        holdUntil: 0,
        ended: 0,
      };
      this.histories.set(address, history);
      this.forgetOldest();
    }
    return history;
  }

  /** Names resolve to other addresses over time. */
  private forgetOldest(): void {
    if (this.histories.size <= KNOWN_ADDRESSES) return;
    for (const [address, { readyAt }] of this.histories) {
      if (readyAt !== undefined) continue;
      this.histories.delete(address);
      return;
    }
  }

  /** The only source where our policy has no place, and before it exists: a name that does not resolve never gets to it. */
  private watchPublicState(): void {
    const arm = (): void => {
      if (this.closed) return;
      const seen = this.channel.getConnectivityState(false);
      this.channel.watchConnectivityState(seen, Infinity, () => {
        if (this.closed) return;
        if (this.policy?.control === undefined) this.publicState(stateName(this.channel.getConnectivityState(false)));
        arm();
      });
    };
    arm();
  }

  private publicState(state: ConnectivityState): void {
    if (state === 'SHUTDOWN' || state === this.state) return;
    if (state === 'TRANSIENT_FAILURE') {
      this.observer.onConnectFailed(
        this,
        this.policy === undefined ? 'the connection failed' : `name resolution failed for ${this.channel.getTarget()}`,
      );
    }
    this.onState(state, undefined);
  }
}

/** As grpc-js writes an address in `getPeer()`. */
function addressKey(address: SubchannelAddress): string {
  if (!('port' in address)) return address.path;
  return address.host.includes(':')
    ? `[${address.host}]:${String(address.port)}`
    : `${address.host}:${String(address.port)}`;
}

/** grpc-js's text of a failed connection without the wrapping that tells nothing. */
function plain(error: string): string {
  return error
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\. Resolution note: $/, '')
    .replace(/^(?:Error: )+/, '')
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, '');
}
