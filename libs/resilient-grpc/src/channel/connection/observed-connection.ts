import type { experimental } from '@grpc/grpc-js';
import { stateName } from '../../call/connectivity.js';
import { LivenessProbe } from './liveness-probe.js';
import { ConnectionStream, type StreamOpening } from './connection-stream.js';
import type { SocketSubchannel } from '../subchannel/socket-subchannel.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import type { HealthWatch } from './health-watch.js';
import type { PolicyEvent } from './policy-event.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Observes one connection while it is used through at least one wrapper, by the child policy or as a further connection. */
export class ObservedConnection {
  /** The latest wrapper through which the connection is used. */
  private user: SubchannelInterface | undefined;
  private healthWatch: HealthWatch | undefined;

  constructor(
    readonly subchannel: SocketSubchannel,
    private readonly handle: (event: PolicyEvent) => void,
    /** Called when the first use of the connection begins, and when its last use ends. */
    private readonly useChanged: (connection: ObservedConnection) => void,
    /** Watches the health of a READY connection; `undefined` if health is not checked. */
    private readonly watchHealth: ((connection: ObservedConnection) => HealthWatch) | undefined,
    /** True for a further connection to its address. The load-balancing policy does not select it. */
    readonly isFurther = false,
  ) {
    // Added first, so that the policies' listeners run after this one.
    subchannel.addConnectivityStateListener(this.stateChanged);
  }

  private readonly stateChanged: experimental.ConnectivityStateListener = (_, from, to) => {
    const { address, isFurther, handle } = this;
    const { connection, failure } = this.subchannel;
    if (connection !== undefined) connection.changed = () => handle({ type: 'streams' });
    this.stopHealth();
    const error = stateName(to) === 'TRANSIENT_FAILURE' ? failure : undefined;
    handle({ type: 'connection', address, isFurther, from: stateName(from), to: stateName(to), connection, error });
    if (connection !== undefined) this.healthWatch = this.watchHealth?.(this);
  };

  /** Address of the connection. Further connections to one address have a number, as in '10.0.0.7:50051#2'. */
  get address(): string {
    return this.subchannel.key;
  }

  get isUsed(): boolean {
    return this.subchannel.isUsed;
  }

  /** Streams of the connection; `undefined` if it is not READY. */
  get streams(): Pick<SubchannelConnection, 'limit' | 'used' | 'free'> | undefined {
    return this.subchannel.connection;
  }

  get isReady(): boolean {
    return this.streams !== undefined;
  }

  /** True if the endpoint of the connection may be used; false if it is ejected or not serving. */
  get isHealthy(): boolean {
    return this.user?.isHealthy() !== false;
  }

  /** @param user the wrapper through which the connection is used */
  ref(user: SubchannelInterface): void {
    this.user = user;
    this.useChanged(this);
  }

  unref(): void {
    if (!this.isUsed) this.useChanged(this);
  }

  /** The connection for an attempt; `undefined` if the connection is not READY, or if its endpoint is unhealthy. */
  get pickable(): SubchannelInterface | undefined {
    return this.isReady && this.user?.isHealthy() === true ? this.user : undefined;
  }

  probe(): LivenessProbe | undefined {
    const { connection } = this.subchannel;
    return connection && new LivenessProbe(this.subchannel, connection);
  }

  /** Opens a stream that is not a call of the channel; `undefined` if the connection is not READY. */
  openStream(opening: StreamOpening): ConnectionStream | undefined {
    return this.isReady ? new ConnectionStream(this.subchannel, opening) : undefined;
  }

  /** Ends the health Watch, because its stream would keep the connection open. */
  stopHealth(): void {
    this.healthWatch?.stop();
    this.healthWatch = undefined;
  }

  /** Closes the connection, which is no longer used, when its last call has ended. */
  stop(): void {
    this.stopHealth();
    this.subchannel.removeConnectivityStateListener(this.stateChanged);
    this.handle({ type: 'released', address: this.address, isReady: this.isReady });
    this.subchannel.close();
  }
}
