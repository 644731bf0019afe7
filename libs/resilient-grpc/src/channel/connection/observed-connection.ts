import type { experimental } from '@grpc/grpc-js';
import type { ConnectivityState } from '../../call/connectivity.js';
import { stateName } from '../state-name.js';
import { forgetClosedStreams } from '../quirks/closed-streams.js';
import type { WatchedSession } from './connection-end.js';
import { ConnectionProbe } from './connection-probe.js';
import { ConnectionStream, type StreamOpening } from './connection-stream.js';
import { recordUnprocessed } from '../quirks/connection-record.js';
import { backoffEndsAt, realSubchannel } from '../quirks/subchannel.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Is told of each connection of a channel. */
export interface ConnectionObserver {
  /** A connection to `address` changed from one state to another. */
  onConnection(address: string, from: ConnectivityState, to: ConnectivityState, error: string | undefined): void;
  /** What runs on the connection to `address` that has just become READY, where this grpc-js shows it. */
  onSession(address: string, session: WatchedSession): void;
  /** The connection to `address` is READY, and nobody uses it any more: the channel goes idle, or is closed. */
  onLetGo(address: string): void;
  /** The server found our pings too many; grpc-js will ping every `keepaliveTimeMs` from now on. */
  onKeepaliveThrottled(address: string, keepaliveTimeMs: number): void;
  /** Reports which private names the first `subject` of its kind lacks. */
  checkSeams(on: string, subject: unknown): void;
}

/** Watches one connection of the pool, however many wrappers the child policy has around it. */
export class ObservedConnection {
  readonly address: string;
  private readonly listener: experimental.ConnectivityStateListener;
  private keepaliveTimeMs: number | undefined;

  constructor(
    private readonly subchannel: SubchannelInterface,
    private readonly observer: ConnectionObserver,
  ) {
    const address = subchannel.getAddress();
    this.address = address;
    this.listener = (_, from, to, keepaliveTimeMs, error) => {
      if (this.keepaliveTimeMs !== undefined && keepaliveTimeMs > this.keepaliveTimeMs) {
        observer.onKeepaliveThrottled(address, keepaliveTimeMs);
      }
      this.keepaliveTimeMs = keepaliveTimeMs;
      observer.onConnection(address, stateName(from), stateName(to), error);
      if (stateName(to) === 'READY') this.showSession();
    };
    // Before the child policy adds its own, so that what is known here is known when that one acts.
    subchannel.addConnectivityStateListener(this.listener);
  }

  private showSession(): void {
    // In this turn it has not got its transport yet.
    queueMicrotask(() => {
      const real = realSubchannel(this.subchannel);
      this.observer.checkSeams('connection', real);
      const { transport } = real;
      if (transport?.session === undefined) return;
      recordUnprocessed(transport);
      forgetClosedStreams(transport.session);
      this.observer.onSession(this.address, transport.session);
    });
  }

  get idle(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'IDLE';
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
    this.subchannel.removeConnectivityStateListener(this.listener);
    const state = stateName(this.subchannel.getConnectivityState());
    // How that attempt ends will not be seen any more: nobody may hold a connect timeout against what comes of it.
    if (state === 'CONNECTING') this.observer.onConnection(this.address, 'CONNECTING', 'IDLE', undefined);
    else if (state === 'READY') this.observer.onLetGo(this.address);
  }

  private get ready(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'READY';
  }

  private get inBackoff(): boolean {
    return stateName(this.subchannel.getConnectivityState()) === 'TRANSIENT_FAILURE';
  }
}
