import type { experimental } from '@grpc/grpc-js';
import { stateName } from '../state-name.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { ObservedConnection } from './observed-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;
type Listener = experimental.ConnectivityStateListener;

/** A further connection closes after one to two of these periods without a call. */
export const FURTHER_IDLE_MS = 30_000;

/** Returns the address of connection `number` to `address` in the history of its channel, such as '10.0.0.7:50051#2'. */
export function furtherAddress(address: string, number: number): string {
  return `${address}#${String(number)}`;
}

/** True if `address` belongs to a further connection, which the load-balancing policy does not select. */
export function isFurther(address: string): boolean {
  return /#\d+$/.test(address);
}

/** A further connection that was created, and the subchannel that connects it. */
export interface CreatedConnection {
  readonly subchannel: SubchannelInterface;
  readonly connection: ObservedConnection;
}

/** Dependencies of the connections to one address. */
export interface AddressConnectionsDependencies {
  /** Returns the maximum number of connections, including the first. It may change; a lower one closes no connection. */
  readonly maximum: () => number;
  readonly clock: Clock;
  /** Creates the connection with this number; the first is number 1. */
  readonly create: (number: number) => CreatedConnection;
  /** Called after a further connection was dropped. `wasOpen`: it was READY, and no call used it. */
  readonly dropped: (wasOpen: boolean) => void;
}

/**
 * The connections to one address in addition to the first one, which the load-balancing policy selects (gRFC A105). They exist while the
 * streams of the first are used up: a server or a proxy limits the streams of one connection, and each connection to a balancer may
 * reach another server.
 */
export class AddressConnections {
  /** In the order in which they were opened. */
  private further: readonly FurtherConnection[] = [];

  constructor(private readonly dependencies: AddressConnectionsDependencies) {}

  get isEmpty(): boolean {
    return this.further.length === 0;
  }

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

  /**
   * Returns the connection for the next call if it is not `first`: the oldest one with a free stream. If none has one, opens another
   * connection, and the call is queued on the first by HTTP/2.
   */
  insteadOf(first: ObservedConnection): SubchannelInterface | undefined {
    if (first.hasFreeStream) return undefined;
    const found = this.further.find(({ connection }) => (connection.streams?.free ?? 0) > 0);
    if (found === undefined) this.open();
    else found.isUnused = false;
    return found?.subchannel;
  }

  /** Opens a further connection, one at a time. Returns false if the maximum is reached. */
  open(): boolean {
    const { further, dependencies } = this;
    // Also true in the backoff after a failed attempt.
    if (further.some(({ connection }) => connection.streams === undefined)) return true;
    if (this.count >= dependencies.maximum()) return false;
    let number = 2;
    while (further.some((one) => one.number === number)) number += 1;
    const opened = new FurtherConnection(number, dependencies.create(number), dependencies.clock, (wasOpen) => {
      this.further = this.further.filter((one) => one !== opened);
      dependencies.dropped(wasOpen);
    });
    this.further = [...further, opened];
    opened.connect();
    return true;
  }

  /** Drops all further connections. Calls on them may finish. */
  release(): void {
    for (const one of this.further) one.drop(false);
  }
}

/** One further connection: dropped when it ends, when it cannot be opened, and when it is idle. */
class FurtherConnection {
  readonly connection: ObservedConnection;
  readonly subchannel: SubchannelInterface;
  /** True if no call used it since the last check. */
  isUnused = false;
  private timer: Timer | undefined;

  constructor(
    readonly number: number,
    { connection, subchannel }: CreatedConnection,
    private readonly clock: Clock,
    private readonly dropped: (wasOpen: boolean) => void,
  ) {
    this.connection = connection;
    this.subchannel = subchannel;
  }

  connect(): void {
    const { subchannel } = this;
    subchannel.ref();
    subchannel.addConnectivityStateListener(this.stateChanged);
    subchannel.startConnecting();
    this.checkLater();
  }

  drop(isIdle: boolean): void {
    this.timer?.clear();
    this.subchannel.removeConnectivityStateListener(this.stateChanged);
    this.subchannel.unref();
    this.dropped(isIdle);
  }

  /** After a failed attempt, grpc-js leaves its backoff to IDLE. Calls that still wait open the connection again. */
  private readonly stateChanged: Listener = (_, from, to) => {
    if (stateName(to) === 'IDLE' && from !== to) this.drop(false);
  };

  private checkLater(): void {
    this.timer = this.clock.setTimer(() => {
      const { streams } = this.connection;
      if (streams === undefined || streams.used > 0) this.isUnused = false;
      else if (this.isUnused) {
        this.drop(true);
        return;
      } else this.isUnused = true;
      this.checkLater();
    }, FURTHER_IDLE_MS);
  }
}
