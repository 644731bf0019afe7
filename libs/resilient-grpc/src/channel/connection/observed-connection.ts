import { connectivityState, type experimental } from '@grpc/grpc-js';
import type { ConnectivityState } from '../../call/connectivity.js';
import { stateName } from '../state-name.js';
import { forgetClosedStreams } from '../quirks/closed-streams.js';
import type { WatchedSession } from './connection-end.js';
import { ConnectionProbe } from './connection-probe.js';
import { ConnectionStream, type StreamOpening } from './connection-stream.js';
import { observeTransport } from '../quirks/connection-record.js';
import { backoffEndsAt, realSubchannel } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Is told of each connection of a channel. */
export interface ConnectionObserver {
  /** A connection to `address` changed from one state to another. */
  onConnection(address: string, from: ConnectivityState, to: ConnectivityState, error: string | undefined): void;
  /** What runs on the connection to `address` that has just become READY, where this grpc-js shows it. */
  onSession(address: string, session: WatchedSession): void;
  /** The channel no longer uses the connection to `address`, which is in `state`: its address was removed, or the channel goes idle. */
  onLetGo(address: string, state: ConnectivityState): void;
  /** The channel uses a connection to `address` that is in `state` already. */
  onTakenUp(address: string, state: ConnectivityState): void;
  /** The server found our pings too many; grpc-js will ping every `keepaliveTimeMs` from now on. */
  onKeepaliveThrottled(address: string, keepaliveTimeMs: number): void;
  /** Reports which private names the first `subject` of its kind lacks. */
  checkSeams(on: string, subject: unknown): void;
}

/** Keeps the connections that are in use. */
export interface ConnectionUser {
  onUsed(connection: ObservedConnection): void;
  onUnused(connection: ObservedConnection): void;
}

/** Watches one connection of the pool while the child policy uses it, through any number of wrappers. */
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
    if (state === 'READY' || state === 'CONNECTING') this.observer.onTakenUp(this.address, state);
    // Policies add their listener after this, so that they act on what is known here.
    this.subchannel.addConnectivityStateListener(this.listener);
    this.user.onUsed(this);
  }

  unref(): void {
    this.refs -= 1;
    if (this.refs === 0) this.user.onUnused(this);
  }

  private showSession(): void {
    // In this turn it has not got its transport yet.
    queueMicrotask(() => {
      const real = realSubchannel(this.subchannel);
      this.observer.checkSeams('connection', real);
      const { transport } = real;
      if (transport?.session === undefined) return;
      observeTransport(transport);
      forgetClosedStreams(transport.session);
      this.observer.onSession(this.address, transport.session);
    });
  }

  probe(): ConnectionProbe | undefined {
    return this.ready ? ConnectionProbe.of(this.subchannel) : undefined;
  }

  openStream(opening: StreamOpening): ConnectionStream | undefined {
    if (!this.ready) return undefined;
    const stream = ConnectionStream.open(this.subchannel, opening);
    if (stream !== undefined) this.observer.checkSeams('call on one connection', stream.call);
    return stream;
  }

  endBackoff(): void {
    if (!this.inBackoff) return;
    realSubchannel(this.subchannel).resetBackoff?.();
  }

  backoffEndsAt(): number | undefined {
    return this.inBackoff ? backoffEndsAt(this.subchannel) : undefined;
  }

  stop(): void {
    this.isWatching = false;
    this.subchannel.removeConnectivityStateListener(this.listener);
    this.observer.onLetGo(this.address, stateName(this.subchannel.getConnectivityState()));
  }

  private get ready(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'READY';
  }

  private get inBackoff(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'TRANSIENT_FAILURE';
  }
}
