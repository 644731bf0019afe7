import type { experimental } from '@grpc/grpc-js';
import { stateName } from '../../call/connectivity.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { ObservedConnection } from './observed-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Idle period of a further connection, in milliseconds. The connection closes after one to two periods without a call. */
export const FURTHER_IDLE_MS = 30_000;

/** Returns the history key of connection `number` to `address`, such as '10.0.0.7:50051#2'. */
export function furtherAddress(address: string, number: number): string {
  return `${furtherPrefix(address)}${String(number)}`;
}

/** Returns the prefix of the history keys of all further connections to `address`. */
export function furtherPrefix(address: string): string {
  return `${address}#`;
}

/** A connection that was created, and the subchannel that connects it. */
export interface CreatedConnection {
  readonly subchannel: SubchannelInterface;
  readonly connection: ObservedConnection;
}

export interface AddressConnectionsDependencies {
  /** Returns the maximum number of connections, including the first. The maximum may change; a lower maximum closes no connection. */
  readonly maximum: () => number;
  readonly clock: Clock;
  /** Creates the connection with this number; the first is number 1. */
  readonly create: (number: number) => CreatedConnection;
  /** Returns a connection that has a free stream and leads to another address; `undefined` if no connection does. */
  readonly spare: () => SubchannelInterface | undefined;
  /** Called after a further connection was dropped. */
  readonly dropped: () => void;
}

/**
 * The connections to one address in addition to the first one, which the load-balancing policy selects (gRFC A105). They are opened when
 * the streams of the first are used up, because a server or a proxy limits the streams of one connection. If the address belongs to a load
 * balancer, each connection may reach a different server.
 */
export class AddressConnections {
  /** The connection that the load-balancing policy selects. */
  first: Pick<ObservedConnection, 'isReady' | 'streams'> | undefined;
  /** Further connections, oldest first. */
  private further: readonly FurtherConnection[] = [];
  private readonly listeners = new Set<() => void>();

  constructor(private readonly dependencies: AddressConnectionsDependencies) {}

  /** Number of connections, including the first and those that are connecting. */
  get count(): number {
    return this.further.length + 1;
  }

  /** Number of streams that can start on the further connections. */
  get free(): number {
    let free = 0;
    for (const { connection } of this.further) free += connection.streams?.free ?? 0;
    return free;
  }

  /** True if a further connection is READY. Calls can then start, even if the first connection has ended. */
  get hasReady(): boolean {
    return this.further.some(isReady);
  }

  /** Calls `listener` after each change of the state of a further connection. Returns a function that removes the listener. */
  watch(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  /**
   * Returns the connection for the next call; `undefined` means the first one. If the first connection has no free stream, the call
   * uses the oldest further connection that has one, or else a connection to another address. If no connection has a free stream, a further
   * connection is opened, up to the maximum, and HTTP/2 queues the call.
   */
  pickInsteadOfFirst(): SubchannelInterface | undefined {
    const { first, further } = this;
    const streams = first?.streams;
    if (streams === undefined ? further.length === 0 || first?.isReady === true : streams.free > 0) return undefined;
    const found = this.takeFree() ?? this.dependencies.spare();
    if (found !== undefined) return found;
    this.open();
    return first?.isReady === true ? undefined : further.find(isReady)?.subchannel;
  }

  /** Returns the oldest further connection with a free stream for a call; `undefined` if none has one. */
  takeFree(): SubchannelInterface | undefined {
    const found = this.further.find(({ connection }) => (connection.streams?.free ?? 0) > 0);
    if (found !== undefined) found.isUnused = false;
    return found?.subchannel;
  }

  /** Opens a further connection if none is being opened, and the maximum is not reached. */
  open(): void {
    const { further, dependencies } = this;
    // A further connection has no `streams` while it is connecting, or in backoff after a failed attempt.
    if (further.some(({ connection }) => connection.streams === undefined)) return;
    if (this.count >= dependencies.maximum()) return;
    let number = 2;
    while (further.some((connection) => connection.number === number)) number += 1;
    const { connection, subchannel } = dependencies.create(number);
    const opened = new FurtherConnection(number, connection, subchannel, dependencies.clock, this);
    this.further = [...further, opened];
    opened.connect();
  }

  /** Drops all further connections. Calls on them may finish. */
  release(): void {
    for (const connection of this.further) connection.drop();
  }

  /** Called after each change of the state of a further connection. */
  changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  dropped(dropped: FurtherConnection): void {
    this.further = this.further.filter((connection) => connection !== dropped);
    this.dependencies.dropped();
  }
}

function isReady({ subchannel }: FurtherConnection): boolean {
  return stateName(subchannel.getConnectivityState()) === 'READY';
}

/** One further connection: dropped when it ends, when it cannot be opened, or when it is idle. */
class FurtherConnection {
  /** True if the last check found the connection unused, and no call has been assigned to the connection since then. */
  isUnused = false;
  private timer: Timer | undefined;

  constructor(
    readonly number: number,
    readonly connection: ObservedConnection,
    readonly subchannel: SubchannelInterface,
    private readonly clock: Clock,
    private readonly owner: AddressConnections,
  ) {}

  connect(): void {
    const { subchannel } = this;
    subchannel.ref();
    subchannel.addConnectivityStateListener(this.stateChanged);
    subchannel.startConnecting();
    this.checkLater();
  }

  drop(): void {
    this.timer?.clear();
    this.subchannel.removeConnectivityStateListener(this.stateChanged);
    this.subchannel.unref();
    this.owner.dropped(this);
  }

  /**
   * Drops the connection when it becomes IDLE: after it has ended, or after the backoff for a failed attempt. Calls that are still
   * waiting open another connection.
   */
  private readonly stateChanged: experimental.ConnectivityStateListener = (_, from, to) => {
    if (stateName(to) === 'IDLE' && from !== to) this.drop();
    this.owner.changed();
  };

  private checkLater(): void {
    this.timer = this.clock.setTimer(() => {
      const { streams } = this.connection;
      // While the first connection is not READY, calls need this one.
      const isNeeded = this.owner.first?.isReady !== true;
      if (streams === undefined || streams.used > 0 || isNeeded) this.isUnused = false;
      else if (this.isUnused) {
        this.drop();
        return;
      } else this.isUnused = true;
      this.checkLater();
    }, FURTHER_IDLE_MS);
  }
}
