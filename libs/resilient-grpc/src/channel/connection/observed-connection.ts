import { connectivityState, type experimental } from '@grpc/grpc-js';
import type { ConnectivityState } from '../../call/connectivity.js';
import { stateName } from '../state-name.js';
import { removeClosedStreamListeners } from '../quirks/closed-stream-listeners.js';
import type { WatchedSession } from './disconnect-reason-watch.js';
import { LivenessProbe } from './liveness-probe.js';
import { ConnectionStream, type StreamOpening } from './connection-stream.js';
import type { SeamReport } from '../quirks/seam.js';
import { backoffEndsAt, endBackoff, observeSession, realSubchannel } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Receives the events of each connection of a channel. */
export interface ConnectionObserver {
  /** The connection to `address` changed its state. */
  onConnection(address: string, from: ConnectivityState, to: ConnectivityState, error: string | undefined): void;
  /** The connection to `address` became READY and has `session`. Not called if this grpc-js does not expose the session. */
  onSession(address: string, session: WatchedSession): void;
  /** The channel no longer uses the connection to `address`, which is in `state`: the address was removed, or the channel went idle. */
  onReleased(address: string, state: ConnectivityState): void;
  /** The channel uses an existing connection to `address`, which is in `state`. */
  onReused(address: string, state: ConnectivityState): void;
  /** The server rejected keepalive pings (too_many_pings). grpc-js now pings every `keepaliveTimeMs`. */
  onKeepaliveThrottled(address: string, keepaliveTimeMs: number): void;
  readonly seamReport: Pick<SeamReport, 'check'>;
}

/** Tracks the connections that are in use. */
export interface ConnectionUser {
  onUsed(connection: ObservedConnection): void;
  onUnused(connection: ObservedConnection): void;
}

/** Observes one pooled connection while the child policy uses it, through any number of wrappers. */
export class ObservedConnection {
  readonly address: string;
  private readonly listener: experimental.ConnectivityStateListener;
  private keepaliveTimeMs: number | undefined;
  private refs = 0;
  private isWatching = false;
  /** The last state that was reported. */
  private state = connectivityState.IDLE;

  constructor(
    private readonly subchannel: SubchannelInterface,
    private readonly observer: ConnectionObserver,
    private readonly user: ConnectionUser,
  ) {
    const address = subchannel.getAddress();
    this.address = address;
    this.listener = (_, from, to, keepaliveTimeMs, error) => {
      // A listener that is added while grpc-js reports a change receives that change, too.
      if (from !== this.state) return;
      this.state = to;
      if (this.keepaliveTimeMs !== undefined && keepaliveTimeMs > this.keepaliveTimeMs) {
        observer.onKeepaliveThrottled(address, keepaliveTimeMs);
      }
      this.keepaliveTimeMs = keepaliveTimeMs;
      observer.onConnection(address, stateName(from), stateName(to), error);
      if (stateName(to) === 'READY') this.showSession();
    };
  }

  get isUsed(): boolean {
    return this.refs > 0;
  }

  ref(): void {
    this.refs += 1;
    if (this.isWatching) return;
    this.isWatching = true;
    this.state = this.subchannel.getConnectivityState();
    const state = stateName(this.state);
    if (state === 'READY' || state === 'CONNECTING') this.observer.onReused(this.address, state);
    // Added before the listeners of policies, so that they run after this one.
    this.subchannel.addConnectivityStateListener(this.listener);
    this.user.onUsed(this);
  }

  unref(): void {
    this.refs -= 1;
    if (this.refs === 0) this.user.onUnused(this);
  }

  private showSession(): void {
    // grpc-js sets the transport after this listener returns.
    queueMicrotask(() => {
      const real = realSubchannel(this.subchannel);
      this.observer.seamReport.check('connection', real);
      const session = observeSession(real);
      if (session === undefined) return;
      removeClosedStreamListeners(session);
      this.observer.onSession(this.address, session);
    });
  }

  probe(): LivenessProbe | undefined {
    return this.ready ? LivenessProbe.of(this.subchannel) : undefined;
  }

  openStream(opening: StreamOpening): ConnectionStream | undefined {
    if (!this.ready) return undefined;
    const stream = ConnectionStream.open(this.subchannel, opening);
    if (stream !== undefined) this.observer.seamReport.check('call on one connection', stream.call);
    return stream;
  }

  endBackoff(): void {
    if (this.inBackoff) endBackoff(this.subchannel);
  }

  backoffEndsAt(): number | undefined {
    return this.inBackoff ? backoffEndsAt(this.subchannel) : undefined;
  }

  stop(): void {
    this.isWatching = false;
    this.subchannel.removeConnectivityStateListener(this.listener);
    this.observer.onReleased(this.address, stateName(this.subchannel.getConnectivityState()));
  }

  private get ready(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'READY';
  }

  private get inBackoff(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'TRANSIENT_FAILURE';
  }
}
