import type { Socket } from 'node:net';
import { Channel, type ChannelCredentials, type ChannelOptions, type Metadata, type experimental } from '@grpc/grpc-js';
import type { ConnectivityState } from '../call/connectivity.js';
import type { EventHub } from '../call/event-hub.js';
import { maskAddress } from '../errors/mask-credentials.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import type { WireCallbacks } from './attempt/wire-attempt.js';
import { DirectCall, type DirectCallListener, type MessageLimits } from './attempt/direct-call.js';
import { DirectChannel, type ChannelPathReason } from './quirks/direct-channel.js';
import { closeUnused } from './quirks/close-unused.js';
import { observeConnectionOf } from './quirks/wire-evidence.js';
import type { ConnectionEvent } from './connection-event.js';
import { connectFailure, type ConnectFailure } from './connection/connect-failure.js';
import { ConnectAttempts, type ConnectLimits } from './connection/connect-attempts.js';
import type { WatchedSession } from './connection/disconnect-reason-watch.js';
import {
  AddressHistories,
  type ClosedConnection,
  type EndedConnection,
  type AddressHistoryCallbacks,
  type KnownConnection,
} from './connection/address-histories.js';
import type { LivenessProbe } from './connection/liveness-probe.js';
import type { ConnectionStream, StreamOpening } from './connection/connection-stream.js';
import { ADDRESS_ARGUMENT, observeSockets } from './quirks/connector.js';
import type { ConnectionCallbacks, EstablishedConnection } from './connection/established-connection.js';
import { observeConnections, type PolicyHandle, type PolicyObserver } from './connection/load-balancing-policy.js';
import { addressKey, plainError } from './connection/grpc-js-text.js';
import { IdleReadBarrier } from './connection/idle-read-barrier.js';
import { HoldOffs } from './connection/hold-offs.js';
import { clientSeamReport } from './quirks/client-seam-report.js';
import type { SeamReport } from './quirks/seam-report.js';
import { MissedResetDetector } from './connection/missed-reset-detector.js';
import { stateName } from './state-name.js';

type SubchannelAddress = experimental.SubchannelAddress;

/** Settings of a wire channel. */
export interface WireChannelSettings {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly channelOptions: ChannelOptions;
  readonly loadBalancing: readonly Readonly<Record<string, unknown>>[];
  readonly connectLimits: ConnectLimits;
}

/** Dependencies of a wire channel. */
export interface WireChannelDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventHub;
}

/**
 * One grpc-js channel with everything attached to it. A managed channel has one, and briefly two while one replaces the other. The old
 * one closes when its last call has ended.
 */
export class WireChannel implements WireCallbacks, PolicyObserver, ConnectionCallbacks, AddressHistoryCallbacks {
  readonly channel: Channel;
  private readonly direct: DirectChannel | ChannelPathReason;
  private readonly limits: MessageLimits;
  state: ConnectivityState = 'IDLE';
  private readonly attempts: ConnectAttempts;
  private readonly policy: PolicyHandle | undefined;
  private readonly histories: AddressHistories;
  private readonly holdOffs: HoldOffs;
  readonly readBarrier: IdleReadBarrier;
  private readonly seamReport: SeamReport;
  private readonly missedResets: MissedResetDetector;
  private readonly authority: string | undefined;
  /** Streams that are not calls of the channel, such as a health Watch. */
  private streams: readonly ConnectionStream[] = [];
  private readonly pings: boolean;
  private active = 0;
  private closed = false;
  private retired = false;

  constructor(
    settings: WireChannelSettings,
    private readonly handle: (from: WireChannel, event: ConnectionEvent) => void,
    private readonly dependencies: WireChannelDependencies,
  ) {
    const { clock, random } = dependencies;
    this.histories = new AddressHistories(this, clock, random, this);
    this.holdOffs = new HoldOffs(this.histories, clock);
    this.readBarrier = new IdleReadBarrier(() => this.connections, clock);
    this.missedResets = new MissedResetDetector(
      () => this.histories.open,
      () => this.active > 0,
      clock,
    );
    this.authority = settings.channelOptions['grpc.default_authority'];
    this.pings = (settings.channelOptions['grpc.keepalive_time_ms'] ?? 0) > 0;
    this.attempts = new ConnectAttempts(settings.connectLimits, clock);
    // With xds:, the control plane selects the policies, so only the public states are observed.
    this.policy = settings.target.startsWith('xds:') ? undefined : observeConnections(settings.loadBalancing, this);
    const serviceConfig = JSON.stringify({
      loadBalancingConfig: this.policy === undefined ? settings.loadBalancing : this.policy.loadBalancingConfig,
    });
    const credentials = observeSockets(settings.credentials, this.attempts, this) ?? settings.credentials;
    this.channel = new Channel(settings.target, credentials, {
      ...settings.channelOptions,
      ...this.policy?.channelOptions,
      'grpc.service_config': serviceConfig,
      // The library decides on each resend. grpc-js would also resend streams that the server reset with REFUSED_STREAM, which proxies
      // send for requests that were processed.
      'grpc.enable_retries': 0,
    });
    this.direct = DirectChannel.of(this.channel, settings.channelOptions);
    this.limits = {
      maxSendBytes: settings.channelOptions['grpc.max_send_message_length'] ?? -1,
      maxReceiveBytes: settings.channelOptions['grpc.max_receive_message_length'] ?? 4_194_304,
    };
    this.seamReport = clientSeamReport(this.events, settings.credentials, this.channel);
    this.watchPublicState();
  }

  /** True if each connection is observed; false if only the public states of the channel are. */
  get observed(): boolean {
    return this.policy !== undefined;
  }

  get ready(): boolean {
    return this.state === 'READY';
  }

  /** Progress of the connection attempt; `undefined` between two attempts, or if this grpc-js does not expose it. */
  get connecting(): string | undefined {
    const { attempts, policy } = this;
    if (policy !== undefined && policy.control === undefined) return 'the name is not resolved yet';
    return attempts.progress;
  }

  get clock(): Clock {
    return this.dependencies.clock;
  }

  private get events(): EventHub {
    return this.dependencies.events;
  }

  /** Starts a call on a connection; `undefined` if the channel has to create it. */
  startDirect(
    path: string,
    deadline: number,
    metadata: Metadata,
    listener: DirectCallListener,
  ): DirectCall | undefined {
    const picker = this.policy?.control?.picker;
    if (typeof this.direct === 'string' || picker === undefined) return undefined;
    const call = new DirectCall(this.direct, this.limits, listener, this.clock);
    return call.start(picker, path, deadline, metadata) ? call : undefined;
  }

  /** Leaves IDLE. */
  connect(): void {
    // A closed grpc-js channel would connect again.
    if (!this.closed) this.channel.getConnectivityState(true);
  }

  /** Ends the backoff of every connection that is in one. */
  endBackoff(): void {
    this.policy?.control?.endBackoff();
  }

  /** Start of the next connection attempt in milliseconds since 1970; `undefined` if none is scheduled. */
  nextAttemptAt(): number | undefined {
    const { clock, histories } = this;
    const held = histories.holdOffUntil;
    const holdOffUntil = held === undefined ? Infinity : clock.epoch() + (held - clock.now());
    const next = Math.min(this.policy?.control?.backoffEndsAt() ?? Infinity, holdOffUntil);
    return next === Infinity ? undefined : next;
  }

  attemptStarted(): void {
    this.active += 1;
    this.readBarrier.used();
    this.missedResets.wake();
  }

  /**
   * Observes the connection of `call` if the policy is not active: with `xds:`, or if a resolver selects another policy. The stream of the
   * call exists in the next turn.
   */
  callCreated(call: object): void {
    if (this.policy?.control !== undefined) return;
    this.dependencies.clock.defer(() => {
      observeConnectionOf(call);
    });
  }

  attemptEnded(): void {
    this.active -= 1;
    this.readBarrier.used();
    if (this.retired && this.active === 0) this.close();
  }

  timedOut(peer: string | undefined, startedAt: number, waitedMs: number): void {
    const connection = peer === undefined ? undefined : this.histories.at(peer);
    // A call that began earlier runs on a previous connection, which the server is draining.
    if (connection === undefined || startedAt < connection.readyAt) return;
    this.handle(this, { type: 'call-timed-out', connection, waitedMs });
  }

  get connections(): readonly EstablishedConnection[] {
    return this.histories.ready;
  }

  /** Known addresses, in any state. */
  get knownConnections(): readonly KnownConnection[] {
    return this.histories.known;
  }

  probe(address: string): LivenessProbe | undefined {
    return this.policy?.control?.probe(address);
  }

  /** Opens a stream that is not a call of the channel; `undefined` if no connection is READY. */
  openStream(opening: StreamOpening): ConnectionStream | undefined {
    const stream = this.policy?.control?.openStream({ ...opening, authority: this.authority });
    if (stream !== undefined) this.streams = [...this.streams.filter(({ isOver }) => !isOver), stream];
    return stream;
  }

  /** Reports that the server responded to a call. All current connections then count as working. */
  answered(): void {
    this.histories.answered();
  }

  get isUndecided(): boolean {
    return this.histories.isUndecided;
  }

  answeredTo(peer: string | undefined, startedAt: number): void {
    if (peer === undefined) return;
    this.histories.answeredTo(peer, startedAt);
    this.holdOffs.reconsider(peer);
  }

  /** Accepts no more calls, and closes after the last one. grpc-js's `close()` would end running calls if keepalive is on. */
  retire(): void {
    this.retired = true;
    for (const stream of this.streams) stream.leaveConnection();
    if (this.active === 0) this.close();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.state = 'SHUTDOWN';
    this.missedResets.stop();
    this.policy?.release();
    this.attempts.abortAll();
    this.channel.close();
  }

  // ── PolicyObserver ──

  onState(state: ConnectivityState, error: string | undefined): void {
    if (this.closed) return;
    this.state = state;
    this.handle(this, { type: 'state', state, error: error === undefined ? undefined : plainError(error) });
  }

  onConnection(address: string, from: ConnectivityState, to: ConnectivityState, error: string | undefined): void {
    const attempt = from === 'CONNECTING' ? this.attempts.settle(address, to === 'READY') : undefined;
    this.histories.entered(address, to);
    if (from === 'CONNECTING' && to === 'TRANSIENT_FAILURE' && !this.closed) {
      this.connectFailed(attempt?.timedOut ?? connectFailure(plainError(error ?? 'the connection failed')), address);
    }
    if (to === 'READY') {
      this.connected(address, attempt?.socket);
    } else if (from === 'READY') {
      const ended = this.histories.disconnected(address);
      if (this.closed) return;
      this.reportEnded('ended', ended);
      this.handle(this, { type: 'ended', ended });
      if (!ended.isUndecided) this.handle(this, { type: 'judged', ended });
    }
  }

  onSession(address: string, session: WatchedSession): void {
    this.histories.at(address)?.carries(session, this.pings);
  }

  checkSeams(on: string, subject: unknown): void {
    this.seamReport.check(on, subject);
  }

  onUnresolved(): void {
    if (this.closed) return;
    this.connectFailed(connectFailure(this.unresolved));
    // After a failed lookup, grpc-js resolves the name again only if it is requested to connect, and after its backoff.
    this.clock.defer(() => {
      this.connect();
    });
  }

  onReleased(address: string, state: ConnectivityState): void {
    if (state === 'READY') {
      this.histories.release(address, this.closed);
      this.handle(this, { type: 'released', address });
      return;
    }
    this.histories.unused(address);
    if (state === 'CONNECTING') this.attempts.use(address, false);
  }

  onReused(address: string, state: ConnectivityState): void {
    this.attempts.use(address, true);
    if (state !== 'READY') return;
    // An attempt that the channel did not use succeeded meanwhile.
    const attempt = this.attempts.settle(address, true);
    if (!this.histories.reused(address)) this.connected(address, attempt?.socket);
  }

  onAddressesLimited(reported: number, used: number): void {
    if (this.events.wanted) this.events.emit({ type: 'addresses-limited', reported, used });
  }

  onDestroyed(): void {
    if (this.closed) return;
    if (this.histories.hasReleased) closeUnused(this.channel);
    this.onState('IDLE', undefined);
    // If a service config of the resolver replaced the policy, the channel may be READY through another one.
    queueMicrotask(() => {
      this.readPublicState();
    });
  }

  private connected(address: string, socket: Socket | undefined): void {
    this.histories.connected(address, socket);
    if (socket !== undefined) this.checkSeams('socket', socket);
    this.handle(this, { type: 'open-connections', change: 1 });
    if (this.events.wanted) this.events.emit({ type: 'connection', change: 'connected', address });
  }

  private connectFailed(failure: ConnectFailure, address?: string): void {
    const at = address === undefined ? {} : { address };
    if (this.events.wanted) this.events.emit({ type: 'connection', change: 'failed', ...at, cause: failure.message });
    this.handle(this, { type: 'connect-failed', failure });
  }

  onClosed(closed: ClosedConnection): void {
    this.reportEnded('closed', closed);
  }

  onJudged(judged: EndedConnection): void {
    if (!this.closed) this.handle(this, { type: 'judged', ended: judged });
  }

  private reportEnded(change: 'ended' | 'closed', { address, livedMs, reason }: ClosedConnection): void {
    this.handle(this, { type: 'open-connections', change: -1 });
    if (this.events.wanted) this.events.emit({ type: 'connection', change, address, livedMs, reason });
  }

  onKeepaliveThrottled(_address: string, keepaliveTimeMs: number): void {
    this.handle(this, { type: 'keepalive-throttled', keepaliveTimeMs });
  }

  holdOffMs(address: string): number {
    return this.histories.holdOffMs(address);
  }

  afterHoldOff(address: string, task: () => void): () => void {
    return this.holdOffs.after(address, task);
  }

  abortable(address: SubchannelAddress): SubchannelAddress {
    return this.attempts.abortable(address, addressKey(address));
  }

  argumentsFor(address: SubchannelAddress): ChannelOptions {
    return { [ADDRESS_ARGUMENT]: addressKey(address) };
  }

  private get unresolved(): string {
    return this.policy?.refusal ?? `name resolution failed for ${maskAddress(this.channel.getTarget())}`;
  }

  /**
   * Watches the public state of the channel. It is the only source without the policy and before the policy exists: a failed name lookup
   * may never reach the policy.
   */
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
    if (state === 'TRANSIENT_FAILURE') {
      this.connectFailed(connectFailure(this.policy === undefined ? 'the connection failed' : this.unresolved));
    }
    this.onState(state, undefined);
  }
}
