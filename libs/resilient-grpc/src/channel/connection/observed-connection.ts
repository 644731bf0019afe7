import { connectivityState, type experimental } from '@grpc/grpc-js';
import { type ConnectivityState, stateName } from '../../call/connectivity.js';
import { LivenessProbe } from './liveness-probe.js';
import { ConnectionStream, type StreamOpening } from './connection-stream.js';
import type { SocketSubchannel } from '../quirks/socket-subchannel.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import type { HealthWatch } from './health-watch.js';
import type { PolicyEvent } from './policy-event.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Observes one pooled connection while it is used through at least one wrapper, by the child policy or as a further connection. */
export class ObservedConnection {
  private readonly listener: experimental.ConnectivityStateListener;
  private keepaliveTimeMs: number | undefined;
  private refs = 0;
  /** The latest wrapper through which the connection is used. */
  private user: SubchannelInterface | undefined;
  private isWatching = false;
  private healthWatch: HealthWatch | undefined;
  /** Streams that are not calls of the channel, such as a health Watch. */
  private ownStreams: readonly ConnectionStream[] = [];
  /** Streams of the connection; `undefined` if it is not READY. */
  streams: Pick<SubchannelConnection, 'limit' | 'used' | 'free'> | undefined;
  /** The last state that was reported. */
  private state = connectivityState.IDLE;

  constructor(
    readonly subchannel: SocketSubchannel,
    private readonly handle: (event: PolicyEvent) => void,
    /** Called when the first use of the connection begins, and when its last use ends. */
    private readonly useChanged: (connection: ObservedConnection) => void,
    /** Watches the health of a READY connection; `undefined` if health is not checked. */
    private readonly watchHealth: ((connection: ObservedConnection) => HealthWatch) | undefined,
    /** Address of the connection. Further connections to one address have a number, as in '10.0.0.7:50051#2'. */
    readonly address: string = subchannel.getAddress(),
    /** True for a further connection to its address. The load-balancing policy does not select it. */
    readonly isFurther = false,
  ) {
    this.listener = (_, from, to, keepaliveTimeMs, error) => {
      // Ignores a change that grpc-js was already reporting when this listener was added, because grpc-js also reports it to new listeners.
      if (from !== this.state) return;
      this.state = to;
      if (stateName(from) === 'READY') this.stopHealth();
      if (this.keepaliveTimeMs !== undefined && keepaliveTimeMs > this.keepaliveTimeMs) {
        handle({ type: 'keepalive-throttled', address, keepaliveTimeMs });
      }
      this.keepaliveTimeMs = keepaliveTimeMs;
      if (stateName(from) === 'READY') this.setStreams(undefined);
      handle({ type: 'connection', address, isFurther, from: stateName(from), to: stateName(to), error });
      if (stateName(to) === 'READY') this.reportSession();
    };
  }

  get isUsed(): boolean {
    return this.refs > 0;
  }

  get isReady(): boolean {
    return this.isIn('READY');
  }

  /** True if the endpoint of the connection may be used; false if it is ejected or not serving. */
  get isHealthy(): boolean {
    return this.user?.isHealthy() !== false;
  }

  /** @param user the wrapper through which the connection is used */
  ref(user: SubchannelInterface): void {
    this.refs += 1;
    this.user = user;
    if (this.isWatching) return;
    this.isWatching = true;
    this.state = this.subchannel.getConnectivityState();
    const state = stateName(this.state);
    const { address, isFurther } = this;
    if (state === 'READY' || state === 'CONNECTING') this.handle({ type: 'reused', address, isFurther, state });
    // The connection may have become READY while the channel was not using it.
    if (state === 'READY') this.reportSession();
    // Added first, so that the policies' listeners run after this one.
    this.subchannel.addConnectivityStateListener(this.listener);
    this.useChanged(this);
  }

  unref(): void {
    this.refs -= 1;
    if (this.refs === 0) this.useChanged(this);
  }

  private reportSession(): void {
    // The listeners of the policies run before.
    queueMicrotask(() => {
      if (this.isWatching && this.isIn('READY')) this.healthWatch ??= this.watchHealth?.(this);
      const { connection } = this.subchannel;
      if (connection === undefined) return;
      this.setStreams(connection);
      this.handle({ type: 'session', address: this.address, connection });
    });
  }

  private setStreams(streams: SubchannelConnection | undefined): void {
    if (this.streams === undefined && streams === undefined) return;
    this.streams = streams;
    const report = (): void => {
      if (this.streams === streams) this.handle({ type: 'streams' });
    };
    if (streams !== undefined) streams.changed = report;
    report();
  }

  /** The connection for an attempt; `undefined` if the connection is not READY, or if its endpoint is unhealthy. */
  get pickable(): SubchannelInterface | undefined {
    return this.isIn('READY') && this.user?.isHealthy() === true ? this.user : undefined;
  }

  probe(): LivenessProbe | undefined {
    return this.isReady ? LivenessProbe.of(this.subchannel) : undefined;
  }

  openStream(opening: StreamOpening): ConnectionStream | undefined {
    if (!this.isReady) return undefined;
    const stream = ConnectionStream.open(this.subchannel, opening);
    this.ownStreams = [...this.ownStreams.filter(({ isOver }) => !isOver), stream];
    return stream;
  }

  endBackoff(): void {
    if (this.isIn('TRANSIENT_FAILURE')) this.subchannel.resetBackoff();
  }

  backoffEndsAt(): number | undefined {
    return this.isIn('TRANSIENT_FAILURE') ? this.subchannel.backoffTimeout.getEndTime().getTime() : undefined;
  }

  private stopHealth(): void {
    this.healthWatch?.stop();
    this.healthWatch = undefined;
  }

  stop(): void {
    this.isWatching = false;
    this.stopHealth();
    this.setStreams(undefined);
    this.subchannel.removeConnectivityStateListener(this.listener);
    this.handle({ type: 'released', address: this.address, state: stateName(this.subchannel.getConnectivityState()) });
    // Ends open streams, because they would keep the connection open.
    for (const stream of this.ownStreams) stream.endWithConnection();
  }

  private isIn(state: ConnectivityState): boolean {
    return stateName(this.subchannel.getConnectivityState()) === state;
  }
}
