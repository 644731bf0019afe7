import { Channel, type ChannelCredentials, type ChannelOptions, type experimental, type Metadata } from '@grpc/grpc-js';
import type { Transport } from '../call/method.js';
import {
  type ConnectionSnapshot,
  type ConnectivityState,
  type EndpointWatchSnapshot,
  stateName,
} from '../call/connectivity.js';
import { maskAddress } from '../errors/error-message.js';
import { CONNECT_FAILURES, withDoctor } from '../policy/connect-failure/connect-failures.js';
import { firstBackoffMs } from '../policy/reconnect/reconnect-times.js';
import { silenceRemedy } from '../policy/deadline/silent-peer.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { RequestCompression } from './attempt/outgoing-requests.js';
import { CLIENT_SEAMS, grpcJsSubjects, hasTransportNames } from './quirks/client-seams.js';
import type { BalancingSettings } from './channel-settings.js';
import { AddressHistories, type AddressHistoryEvent, type EndedConnection } from './connection/address-histories.js';
import { connectFailure, otherFailure, plainError, type ConnectFailure } from './connection/connect-failure.js';
import { httpProxy, withProxyVariables } from './connection/http-proxy.js';
import type { EndpointLoads } from './connection/endpoint-loads.js';
import { pickInfo } from './connection/endpoint-picker.js';
import type { LivenessProbe } from './connection/liveness-probe.js';
import { dnsNameOf, DnsRefresh } from './dns/dns-refresh.js';
import { hasLibraryResolver, WATCH_OPTION, WatchReceiver } from './quirks/library-resolver.js';
import type { Endpoints } from './connection/endpoints.js';
import { observeConnections, supported, type PolicyOwner } from './connection/load-balancing-policy.js';
import { IdleReadBarrier } from './connection/idle-read-barrier.js';
import type { StreamCapacity } from './connection/policy-connections.js';
import type { PolicyEvent } from './connection/policy-event.js';
import { reportMissing } from './quirks/seam.js';
import { SocketSubchannels } from './subchannel/socket-subchannel.js';
import type { UntestedVersion } from '../call/call-event.js';
import type { SubchannelConnection } from './subchannel/subchannel-connection.js';

/** An event of a wire channel or of one of its connections. The managed channel handles it. */
export type ConnectionEvent =
  | AddressHistoryEvent
  | { readonly type: 'state'; readonly state: ConnectivityState; readonly error: string | undefined }
  /** An attempt to connect failed. `isFurther` is true for a further connection to `address`. */
  | {
      readonly type: 'connect-failed';
      readonly address: string | undefined;
      readonly isFurther: boolean;
      readonly failure: ConnectFailure;
    }
  | { readonly type: 'connected'; readonly address: string }
  | { readonly type: 'ended'; readonly ended: EndedConnection }
  /** The channel no longer uses the READY connection to `address`, for example because the address was removed or the channel is idle. */
  | { readonly type: 'released'; readonly address: string }
  /**
   * The client ended a call on `connection` because the call took too long. `waitedMs`: time since the start of the attempt; 0 if the call
   * was waiting for a message of its response stream.
   */
  | { readonly type: 'call-timed-out'; readonly connection: SubchannelConnection; readonly waitedMs: number }
  /** The number of free streams changed, because a connection was opened or lost, its limit changed, or a call on it ended. */
  | { readonly type: 'streams' }
  | { readonly type: 'keepalive-throttled'; readonly keepaliveTimeMs: number }
  | { readonly type: 'lookup-ended'; readonly ok: boolean; readonly isError: boolean }
  | { readonly type: 'addresses'; readonly addresses: readonly string[] }
  | { readonly type: 'endpoint-watch'; readonly watch: EndpointWatchSnapshot }
  | { readonly type: 'addresses-limited'; readonly reported: number; readonly used: number }
  | ({ readonly type: 'untested-version' } & UntestedVersion);

export interface WireChannelSettings extends Pick<BalancingSettings, 'loadBalancing' | 'dnsRefreshMs'> {
  readonly target: string;
  /** Transport of the connections; 'grpc-js' is used, too, if the installed grpc-js lacks required names. */
  readonly transport: Transport;
  readonly doctorCommand?: string | undefined;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  /** Returns the timeout of the next attempt to connect to an address, given the number of consecutive attempts to it that timed out. */
  readonly connectTimeoutMs: (timeouts: number) => number;
  readonly endpoints?: Endpoints | undefined;
  /** Service whose health is checked, and the metadata for a Watch; absent if the health of the endpoints is not checked. */
  readonly healthCheck?: { readonly service: string; readonly metadata: () => Promise<Metadata> } | undefined;
  /** Returns the maximum number of connections to one address. */
  readonly maxConnectionsPerEndpoint: () => number;
}

/** grpc-js's default for `grpc.max_receive_message_length`, in bytes. */
const DEFAULT_MAX_RECEIVE_BYTES = 4_194_304;
/** Interval in milliseconds at which a retired channel closes its unused connections. */
const RELEASE_INTERVAL_MS = 1_000;
/** Details of a call that waits on a channel that is closed, as in grpc-js. */
const CLOSED = 'Channel closed before call started';
/** A target whose scheme grpc-js does not know, as it looks it up. */
const UNKNOWN_SCHEME = /^dns:([a-z][\w+.-]*):\/\//i;
/** The 'streams' event. Created once, because it may follow the end of each call. */
const STREAMS: ConnectionEvent = { type: 'streams' };

/** A call that has no stream yet. */
export interface UnsentCall {
  /** Called when the next pick may find a connection. */
  pickAgain(): void;
  cancelWithStatus(code: number, details: string): void;
}

type PolicyEventOf<T extends PolicyEvent['type']> = Extract<PolicyEvent, { readonly type: T }>;

/**
 * One grpc-js channel with its load-balancing policy, connections, and streams. A managed channel has one current wire channel, and a
 * second one while a replacement is pending. A replaced channel closes when its last call has ended.
 */
export class WireChannel {
  readonly channel: Channel;
  readonly transport: Transport;
  state: ConnectivityState = 'IDLE';
  readonly histories: AddressHistories;
  readonly readBarrier: IdleReadBarrier;
  /** Loads of the endpoints; `undefined` if no policy uses them. */
  readonly loads: EndpointLoads | undefined;
  /** Health of the endpoints; `undefined` if they are neither ejected nor checked. */
  readonly endpoints: Endpoints | undefined;
  /** Calls on the transport of this library that wait for a connection or for call credentials, oldest first. */
  readonly unsent = new Set<UnsentCall>();
  /** `undefined` if requests are not compressed. */
  readonly compression: RequestCompression | undefined;
  /** Maximum size of a request, in bytes. */
  readonly maxSendBytes: number;
  /** Maximum size of a response, in bytes. */
  readonly maxReceiveBytes: number;
  private readonly subchannels: SocketSubchannels;
  private readonly policy: PolicyOwner | undefined;
  private readonly refresh: DnsRefresh | undefined;
  private readonly hasKeepalive: boolean;
  private readonly doctorCommand: string | undefined;
  private readonly target: string;
  /** True if a server limits the streams of a READY connection. */
  private isLimited = false;
  private active = 0;
  private closed = false;
  private retired = false;
  private releaseTimer: Timer | undefined;

  constructor(
    settings: WireChannelSettings,
    private readonly handle: (from: WireChannel, event: ConnectionEvent) => void,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {
    const isOwn = settings.transport === 'socket' && hasTransportNames();
    this.transport = isOwn ? 'socket' : 'grpc-js';
    this.endpoints = isOwn ? settings.endpoints : undefined;
    this.histories = new AddressHistories(clock, random, (event) => {
      if (event.type === 'judged' && event.ended.answered) this.subchannels.endHoldOff(event.ended.address);
      handle(this, event);
    });
    this.subchannels = new SocketSubchannels({
      clock,
      random,
      credentials: settings.credentials,
      channel: () => this.channel,
      connectTimeoutMs: (key) => settings.connectTimeoutMs(this.histories.timeouts(key)),
      holdOffMs: (key) => this.histories.holdOffMs(key),
      keepaliveThrottled: (keepaliveTimeMs) => handle(this, { type: 'keepalive-throttled', keepaliveTimeMs }),
    });
    this.readBarrier = new IdleReadBarrier(() => this.histories.ready, clock);
    this.doctorCommand = settings.doctorCommand;
    this.target = settings.target;
    this.hasKeepalive = (settings.channelOptions['grpc.keepalive_time_ms'] ?? 0) > 0;
    const { dnsRefreshMs } = settings;
    this.refresh = dnsRefreshMs === undefined ? undefined : new DnsRefresh(dnsRefreshMs, clock, random);
    this.policy = isOwn ? this.observeConnections(settings) : undefined;
    this.loads = this.policy?.loads;
    const loadBalancingConfig =
      this.policy?.loadBalancingConfig ?? settings.loadBalancing.map((policy) => supported(policy, false));
    const { 'grpc.max_reconnect_backoff_ms': maxBackoffMs = Infinity } = settings.channelOptions;
    const channelOptions = {
      // This library's transport draws it for each outage.
      ...(!isOwn && { 'grpc.initial_reconnect_backoff_ms': firstBackoffMs(maxBackoffMs, random) }),
      ...settings.channelOptions,
      ...this.policy?.channelOptions,
      ...(hasLibraryResolver(settings.target) && { [WATCH_OPTION]: this.watchReceiver() }),
      'grpc.service_config': JSON.stringify({ loadBalancingConfig }),
    };
    this.channel = withProxyVariables(
      process.env,
      () => new Channel(settings.target, settings.credentials, channelOptions),
    );
    const options = settings.channelOptions;
    this.compression = RequestCompression.of(options['grpc.default_compression_algorithm']);
    this.maxSendBytes = limitOf(options['grpc.max_send_message_length'] ?? -1);
    this.maxReceiveBytes = limitOf(options['grpc.max_receive_message_length'] ?? DEFAULT_MAX_RECEIVE_BYTES);
    reportMissing(CLIENT_SEAMS, grpcJsSubjects(), (untested) => {
      handle(this, { type: 'untested-version', ...untested });
    });
    this.watchPublicState();
  }

  private observeConnections(settings: WireChannelSettings): PolicyOwner {
    const { loadBalancing, healthCheck, maxConnectionsPerEndpoint } = settings;
    const { clock, random, endpoints, refresh, subchannels } = this;
    const handle = this.handlePolicy.bind(this);
    const health = healthCheck && { ...healthCheck, clock, random };
    const dependencies = { clock, random, endpoints, refresh, handle, health, subchannels };
    return observeConnections(loadBalancing, { ...dependencies, maxConnectionsPerEndpoint });
  }

  private watchReceiver(): WatchReceiver {
    return new WatchReceiver((watch) => {
      this.handle(this, { type: 'endpoint-watch', watch });
    });
  }

  get ready(): boolean {
    return this.state === 'READY';
  }

  /** True if an attempt finds a free stream: streams are not limited, at least one is free, or the number of free streams is unknown. */
  get hasFreeStream(): boolean {
    return !this.isLimited || (this.policy?.control?.connections.hasFreeStream ?? true);
  }

  /** Streams of the READY connections; `undefined` if no server limits them. */
  get streamCapacity(): StreamCapacity | undefined {
    return this.isLimited ? this.policy?.control?.connections.streamCapacity : undefined;
  }

  /** Opens another connection for calls that are waiting for a stream, if the maximum allows another one. */
  openAnother(): void {
    this.policy?.control?.connections.openAnother();
  }

  get connections(): readonly ConnectionSnapshot[] {
    return this.histories.known.map((connection) => {
      const streams = this.policy?.control?.connections.at(connection.address)?.streams;
      if (streams === undefined) return connection;
      const { used: open, limit } = streams;
      return { ...connection, streams: limit < Infinity ? { open, limit } : { open } };
    });
  }

  /** Progress of the name lookup or the connection attempt; `undefined` between two attempts, or if grpc-js does not expose it. */
  get connecting(): string | undefined {
    const { policy } = this;
    if (policy !== undefined && policy.control === undefined) return 'the name has not been resolved yet';
    return this.subchannels.oldestAttempt?.progress;
  }

  /** Describes the oldest attempt to connect if it is slow; `undefined` otherwise. */
  get slowAttempt(): ConnectFailure | undefined {
    return this.subchannels.oldestAttempt?.slow;
  }

  /** Picks the connection of a call; returns `undefined` while there is no load-balancing policy. */
  pick(metadata: Metadata, tried: string[] | undefined): experimental.PickResult | undefined {
    return this.policy?.control?.picker?.pick({ metadata, extraPickInfo: pickInfo(tried) });
  }

  /** Adds a call that waits for a connection or for call credentials. */
  addUnsent(call: UnsentCall): void {
    this.unsent.add(call);
    if (this.closed) call.cancelWithStatus(StatusCode.UNAVAILABLE, CLOSED);
    // In the next turn, because a channel that has just become idle has not completed that change.
    else if (this.state === 'IDLE') this.clock.defer(() => this.connect());
  }

  connect(): void {
    // A closed grpc-js channel would connect again.
    if (!this.closed) this.channel.getConnectivityState(true);
  }

  endBackoff(): void {
    this.policy?.control?.connections.endBackoff();
  }

  /** Start of the next connection attempt in milliseconds since 1970; `undefined` if none is scheduled. */
  nextAttemptAt(): number | undefined {
    const { clock, histories } = this;
    const held = histories.holdOffUntil;
    const holdOffUntil = held === undefined ? Infinity : clock.epoch() + (held - clock.now());
    const next = Math.min(this.policy?.control?.connections.backoffEndsAt() ?? Infinity, holdOffUntil);
    return next === Infinity ? undefined : next;
  }

  /** Time of the next periodic lookup in milliseconds since 1970; `undefined` if none is scheduled. */
  get nextLookupAt(): number | undefined {
    return this.refresh?.nextAt;
  }

  attemptStarted(): void {
    this.active += 1;
    this.readBarrier.used();
  }

  attemptEnded(): void {
    this.active -= 1;
    this.readBarrier.used();
    if (this.isLimited) this.handle(this, STREAMS);
    if (this.retired && this.active === 0) this.close();
  }

  /** Reports that the client ended an attempt on the connection to `peer` because the attempt took too long. */
  timedOut(peer: string | undefined, startedAt: number, waitedMs: number): void {
    const connection = peer === undefined ? undefined : this.histories.at(peer);
    // A call that began before this connection was READY runs on a previous connection, which the server is draining.
    if (connection === undefined || startedAt < connection.readyAt) return;
    this.handle(this, { type: 'call-timed-out', connection, waitedMs });
  }

  /**
   * Returns the remedy for an attempt that took too long on a silent connection. The remedy names the duration of the silence, counted from
   * `countFrom` if the silence began earlier. Returns `undefined` if the connection to `peer` has received data (except shortly after the
   * attempt began), or if the silence is short or unknown.
   */
  silenceRemedy(peer: string | undefined, startedAt: number, countFrom = startedAt): string | undefined {
    const silentMs = peer === undefined ? undefined : this.silentMs(peer, startedAt, countFrom);
    return silentMs === undefined
      ? undefined
      : withDoctor(silenceRemedy(silentMs, this.hasKeepalive), this.doctorCommand);
  }

  silentMs(peer: string, startedAt: number, countFrom = startedAt): number | undefined {
    return this.histories.at(peer)?.silenceMs(startedAt, this.clock.now(), countFrom);
  }

  /** Creates a liveness probe of the connection to `address`; `undefined` if the connection is not READY. */
  probe(address: string): LivenessProbe | undefined {
    return this.policy?.control?.connections.at(address)?.probe();
  }

  /**
   * Retires the channel. Its connections close when the last calls on them have ended, and the channel closes when its last call has ended.
   * grpc-js's `close()` would end running calls if keepalive is on.
   */
  retire(): void {
    this.retired = true;
    this.refresh?.close();
    this.policy?.control?.connections.stopHealth();
    if (this.active === 0) this.close();
    else this.releaseConnectionsLater();
  }

  /**
   * Closes the connections without calls, unless a call waits for one of them. Repeated, because a call that is created later, for example by
   * an interceptor, makes the channel connect again.
   */
  private releaseConnectionsLater(): void {
    this.releaseTimer = this.clock.setTimer(() => {
      if (this.unsent.size === 0) this.policy?.control?.enterIdle();
      this.releaseConnectionsLater();
    }, RELEASE_INTERVAL_MS);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.state = 'SHUTDOWN';
    this.releaseTimer?.clear();
    this.refresh?.close();
    this.subchannels.isClosed = true;
    this.channel.close();
    for (const call of this.unsent) call.cancelWithStatus(StatusCode.UNAVAILABLE, CLOSED);
  }

  // ── events of the policy ──

  private handlePolicy(event: PolicyEvent): void {
    // Copied, because a call that waits again is added again.
    if (this.unsent.size > 0) for (const call of [...this.unsent]) call.pickAgain();
    switch (event.type) {
      case 'state':
        if (event.state === 'TRANSIENT_FAILURE' && this.state !== event.state) this.reportUnusable();
        this.enter(event.state, event.error);
        break;
      case 'unresolved':
        this.nameUnresolved(event.details);
        break;
      case 'connection':
        this.connectionChanged(event);
        break;
      case 'released':
        this.connectionReleased(event);
        break;
      case 'streams':
        this.streamsChanged();
        break;
      case 'lookup-ended':
      case 'addresses':
      case 'addresses-limited':
        this.handle(this, event);
        break;
      case 'destroyed':
        this.policyDestroyed();
    }
  }

  private streamsChanged(): void {
    this.isLimited = this.policy?.control?.connections.isLimited ?? false;
    this.handle(this, STREAMS);
  }

  private enter(state: ConnectivityState, error?: string): void {
    if (this.closed) return;
    this.state = state;
    this.handle(this, { type: 'state', state, error: error === undefined ? undefined : plainError(error) });
  }

  /** Reports a connect failure if endpoints are connected but none is serving. */
  private reportUnusable(): void {
    const why = this.closed ? undefined : this.endpoints?.unusableReason;
    if (why !== undefined) this.connectFailed(otherFailure('not-serving', why));
  }

  private nameUnresolved(details: string): void {
    if (this.closed) return;
    // `details` from other resolvers are ignored, because they may contain credentials from the target.
    this.connectFailed(this.resolutionFailure(hasLibraryResolver(this.channel.getTarget()) ? details : ''));
    // After a failed lookup, grpc-js resolves the name again only if a connection is requested, and not before its backoff has ended.
    this.clock.defer(() => {
      this.connect();
    });
  }

  private connectionChanged({ address, isFurther, from, to, connection, error }: PolicyEventOf<'connection'>): void {
    this.histories.entered(address, to);
    // Further connections do not affect the health of an endpoint.
    const endpoints = isFurther ? undefined : this.endpoints;
    if (to === 'READY' || from === 'READY') endpoints?.connectionChanged(address, to === 'READY');
    if (error !== undefined && !this.closed) {
      this.histories.connectFailed(address, CONNECT_FAILURES[error.kind].reconnect === 'timeout');
      this.connectFailed(error, address, isFurther);
    }
    if (connection !== undefined) {
      this.histories.connected(address, connection);
      this.handle(this, { type: 'connected', address });
      this.streamsChanged();
    } else if (from === 'READY') {
      const ended = this.histories.disconnected(address);
      this.streamsChanged();
      if (this.closed) return;
      if (!ended.reason.startsWith('GOAWAY')) endpoints?.connectionLost(address);
      this.handle(this, { type: 'ended', ended });
      if (!ended.isUndecided) this.handle(this, { type: 'judged', ended });
    }
  }

  private connectionReleased({ address, isReady }: PolicyEventOf<'released'>): void {
    if (!isReady) {
      this.histories.unused(address);
      return;
    }
    this.histories.release(address, this.closed);
    this.handle(this, { type: 'released', address });
    this.streamsChanged();
  }

  private policyDestroyed(): void {
    if (this.closed) return;
    this.enter('IDLE');
    // An application may replace a resolver of grpc-js by its own, whose service config replaces the policy.
    queueMicrotask(() => {
      this.readPublicState();
    });
  }

  private connectFailed(failure: ConnectFailure, address?: string, isFurther = false): void {
    this.handle(this, { type: 'connect-failed', address, isFurther, failure });
  }

  /** Failure of a name lookup. `reason` is empty if it is unknown. */
  private resolutionFailure(reason = ''): ConnectFailure {
    const target = maskAddress(this.channel.getTarget());
    const name = dnsNameOf(target)?.host;
    const [, scheme] = UNKNOWN_SCHEME.exec(target) ?? [];
    if (scheme !== undefined) {
      const cause = `no resolver is registered for the scheme '${scheme}' of ${target.slice('dns:'.length)}`;
      return otherFailure('target-not-resolved', `${cause}, so grpc-js looks it up as a host`);
    }
    if (name === undefined) {
      return otherFailure('target-not-resolved', `${target} cannot be resolved${reason === '' ? '' : ` (${reason})`}`);
    }
    // If the environment sets an HTTP proxy, grpc-js resolves the name of the proxy.
    const owner = dnsNameOf(this.target)?.host === name ? '' : ` of ${httpProxy()}`;
    return connectFailure('name-not-resolved', `the name ${name}${owner}`, reason);
  }

  /** Watches the public state of the channel, which is the only known state while there is no policy. */
  private watchPublicState(): void {
    const arm = (): void => {
      if (this.closed) return;
      const seen = this.channel.getConnectivityState(false);
      this.channel.watchConnectivityState(seen, Infinity, () => {
        this.readPublicState();
        arm();
      });
    };
    arm();
  }

  private readPublicState(): void {
    if (this.closed || this.policy?.control !== undefined) return;
    const state = stateName(this.channel.getConnectivityState(false));
    if (state === 'SHUTDOWN' || state === this.state) return;
    if (state === 'READY' && this.policy !== undefined) {
      const other = "the resolver's service config replaced the load-balancing policy (set transport: 'grpc-js')";
      this.connectFailed(otherFailure('other', other));
      this.enter('TRANSIENT_FAILURE');
      return;
    }
    if (state === 'TRANSIENT_FAILURE') {
      this.connectFailed(
        this.policy === undefined
          ? connectFailure('other', undefined, 'the connection failed')
          : this.resolutionFailure(),
      );
    }
    this.enter(state);
  }
}

/** Returns a limit of grpc-js, where -1 stands for none. */
function limitOf(bytes: number): number {
  return bytes === -1 ? Infinity : bytes;
}
