import type { Channel, Metadata, experimental } from '@grpc/grpc-js';
import type { AttemptListener, AttemptRequest } from '../../call/attempt.js';
import { type ConnectionSnapshot, stateName } from '../../call/connectivity.js';
import { CONNECT_FAILURES } from '../../policy/connect-failure/connect-failures.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import type { AddressHistoryEvent } from '../connection/address-histories.js';
import { otherFailure, type ConnectFailure } from '../connection/connect-failure.js';
import type { EndpointLoads } from '../connection/endpoint-loads.js';
import { pickInfo } from '../connection/endpoint-picker.js';
import type { Endpoints } from '../connection/endpoints.js';
import type { LivenessProbe } from '../connection/liveness-probe.js';
import { observeConnections, type PolicyOwner } from '../connection/load-balancing-policy.js';
import type { StreamCapacity } from '../connection/policy-connections.js';
import type { PolicyEvent } from '../connection/policy-event.js';
import { DnsRefresh } from '../dns/dns-refresh.js';
import { callsOf, type ChannelCalls } from '../quirks/channel-internals.js';
import { hasLibraryResolver } from '../quirks/library-resolver.js';
import { SocketSubchannels } from '../subchannel/socket-subchannel.js';
import { ChannelWire, limitOf } from './channel-wire.js';
import { RequestCompression } from './outgoing-requests.js';
import { SocketAttempt, type UnsentCall } from './socket-attempt.js';
import type { Connecting, ConnectionEvent, Wire, WireSettings } from './wire.js';

/** grpc-js's default for `grpc.max_receive_message_length`, in bytes. */
const DEFAULT_MAX_RECEIVE_BYTES = 4_194_304;
/** Interval in milliseconds at which a retired channel closes its unused connections. */
const RELEASE_INTERVAL_MS = 1_000;
/** Details of a call that waits on a channel that is closed, as in grpc-js. */
const CLOSED = 'Channel closed before call started';
/** The 'streams' event. Created once, because it may follow the end of each call. */
const STREAMS: ConnectionEvent = { type: 'streams' };

const UNRESOLVED: Connecting = { progress: 'the name has not been resolved yet', slow: undefined };

type PolicyEventOf<T extends PolicyEvent['type']> = Extract<PolicyEvent, { readonly type: T }>;

/** Connections of the transport of this library, chosen by a load-balancing policy that it observes. */
export class SocketWire extends ChannelWire {
  readonly transport = 'socket';
  readonly channel: Channel;
  readonly endpoints: Endpoints | undefined;
  readonly loads: EndpointLoads | undefined;
  readonly calls: ChannelCalls;
  /** Calls that wait for a connection or for call credentials, oldest first. */
  readonly unsent = new Set<UnsentCall>();
  /** `undefined` if requests are not compressed. */
  readonly compression: RequestCompression | undefined;
  /** Maximum size of a response, in bytes. */
  readonly maxReceiveBytes: number;
  private readonly subchannels: SocketSubchannels;
  private readonly policy: PolicyOwner;
  private readonly refresh: DnsRefresh | undefined;
  /** True if a server limits the streams of a READY connection. */
  private isLimited = false;
  private releaseTimer: Timer | undefined;

  constructor(
    settings: WireSettings,
    handle: (from: Wire, event: ConnectionEvent) => void,
    clock: Clock,
    random: Random,
  ) {
    super(settings, handle, clock, random);
    const { channelOptions: options, credentials, dnsRefreshMs } = settings;
    const { loadBalancing, endpoints, healthCheck, maxConnectionsPerEndpoint } = settings;
    this.subchannels = new SocketSubchannels({
      clock,
      random,
      credentials,
      channel: () => this.channel,
      connectTimeoutMs: (key) => settings.connectTimeoutMs(this.histories.timeouts(key)),
      holdOffMs: (key) => this.histories.holdOffMs(key),
      keepaliveThrottled: (keepaliveTimeMs) => this.emit({ type: 'keepalive-throttled', keepaliveTimeMs }),
    });
    this.refresh = dnsRefreshMs === undefined ? undefined : new DnsRefresh(dnsRefreshMs, clock, random);
    this.compression = RequestCompression.of(options['grpc.default_compression_algorithm']);
    this.maxReceiveBytes = limitOf(options['grpc.max_receive_message_length'] ?? DEFAULT_MAX_RECEIVE_BYTES);
    this.endpoints = endpoints;
    const { refresh, subchannels } = this;
    const health = healthCheck && { ...healthCheck, clock, random };
    const dependencies = { clock, random, endpoints, refresh, health, subchannels, maxConnectionsPerEndpoint };
    this.policy = observeConnections(loadBalancing, { ...dependencies, handle: this.handlePolicy.bind(this) });
    this.loads = this.policy.loads;
    const { loadBalancingConfig } = this.policy;
    this.channel = this.openChannel({ ...options, ...this.policy.channelOptions }, loadBalancingConfig);
    this.calls = callsOf(this.channel);
    this.watchPublicState();
  }

  protected startDirectly(request: AttemptRequest, listener: AttemptListener, now: number): SocketAttempt {
    return new SocketAttempt(this, request, listener, this.clock, now).begin();
  }

  protected override historyChanged(event: AddressHistoryEvent): void {
    if (event.type === 'judged' && event.ended.answered) this.subchannels.endHoldOff(event.ended.address);
    super.historyChanged(event);
  }

  get hasFreeStream(): boolean {
    return !this.isLimited || (this.policy.control?.connections.hasFreeStream ?? true);
  }

  get streamCapacity(): StreamCapacity | undefined {
    return this.isLimited ? this.policy.control?.connections.streamCapacity : undefined;
  }

  override openAnother(): void {
    this.policy.control?.connections.openAnother();
  }

  get connections(): readonly ConnectionSnapshot[] {
    return this.histories.known.map((connection) => {
      const streams = this.policy.control?.connections.at(connection.address)?.streams;
      if (streams === undefined) return connection;
      const { used: open, limit } = streams;
      return { ...connection, streams: limit < Infinity ? { open, limit } : { open } };
    });
  }

  get connecting(): Connecting | undefined {
    return this.policy.control === undefined ? UNRESOLVED : this.subchannels.oldestAttempt;
  }

  /** Picks the connection of a call; returns `undefined` while there is no load-balancing policy. */
  pick(metadata: Metadata, tried: string[] | undefined, isUnary: boolean): experimental.PickResult | undefined {
    return this.policy.control?.picker?.pick({ metadata, extraPickInfo: pickInfo(tried, isUnary) });
  }

  /** Adds a call that waits for a connection or for call credentials. */
  addUnsent(call: UnsentCall): void {
    this.unsent.add(call);
    if (this.closed) call.refuse(StatusCode.UNAVAILABLE, CLOSED, 'not-placed');
    // In the next turn, because a channel that has just become idle has not completed that change.
    else if (this.state === 'IDLE') this.clock.defer(() => this.connect());
  }

  override endBackoff(): void {
    this.policy.control?.connections.endBackoff();
  }

  override nextAttemptAt(): number | undefined {
    const { clock, histories } = this;
    const held = histories.holdOffUntil;
    const holdOffUntil = held === undefined ? Infinity : clock.epoch() + (held - clock.now());
    const next = Math.min(this.policy.control?.connections.backoffEndsAt() ?? Infinity, holdOffUntil);
    return next === Infinity ? undefined : next;
  }

  get nextLookupAt(): number | undefined {
    return this.refresh?.nextAt;
  }

  override probe(address: string): LivenessProbe | undefined {
    return this.policy.control?.connections.at(address)?.probe();
  }

  override attemptEnded(): void {
    // Before the wire may close.
    if (this.isLimited) this.emit(STREAMS);
    super.attemptEnded();
  }

  override retire(): void {
    this.refresh?.close();
    this.policy.control?.connections.stopHealth();
    super.retire();
    if (!this.closed) this.releaseConnectionsLater();
  }

  /**
   * Closes the connections without calls, unless a call waits for one of them. Repeated, because a call that is created later, for example by
   * an interceptor, makes the channel connect again.
   */
  private releaseConnectionsLater(): void {
    this.releaseTimer = this.clock.setTimer(() => {
      if (this.unsent.size === 0) this.policy.control?.enterIdle();
      this.releaseConnectionsLater();
    }, RELEASE_INTERVAL_MS);
  }

  override close(): void {
    this.releaseTimer?.clear();
    this.refresh?.close();
    this.subchannels.isClosed = true;
    super.close();
    for (const call of this.unsent) call.refuse(StatusCode.UNAVAILABLE, CLOSED, 'not-placed');
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
        this.emit(event);
        break;
      case 'destroyed':
        this.policyDestroyed();
    }
  }

  private streamsChanged(): void {
    this.isLimited = this.policy.control?.connections.isLimited ?? false;
    this.emit(STREAMS);
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
      this.emit({ type: 'connected', address });
      this.streamsChanged();
    } else if (from === 'READY') {
      const ended = this.histories.disconnected(address);
      this.streamsChanged();
      if (this.closed) return;
      if (!ended.reason.startsWith('GOAWAY')) endpoints?.connectionLost(address);
      this.emit({ type: 'ended', ended });
      if (!ended.isUndecided) this.emit({ type: 'judged', ended });
    }
  }

  private connectionReleased({ address, isReady }: PolicyEventOf<'released'>): void {
    if (!isReady) {
      this.histories.unused(address);
      return;
    }
    this.histories.release(address, this.closed);
    this.emit({ type: 'released', address });
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

  protected publicFailure(): ConnectFailure {
    return this.resolutionFailure();
  }

  protected override readPublicState(): void {
    if (this.policy.control !== undefined) return;
    if (this.closed || stateName(this.channel.getConnectivityState(false)) !== 'READY') super.readPublicState();
    else if (this.state !== 'READY') {
      const other = "the resolver's service config replaced the load-balancing policy (set transport: 'grpc-js')";
      this.connectFailed(otherFailure('other', other));
      this.enter('TRANSIENT_FAILURE');
    }
  }
}
