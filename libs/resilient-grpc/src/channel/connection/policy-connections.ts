import type { experimental } from '@grpc/grpc-js';
import type { AddressConnections } from './address-connections.js';
import type { ObservedConnection } from './observed-connection.js';

/** Streams of the READY connections of a channel. */
export interface StreamCapacity {
  readonly connections: number;
  /** Sum of the connections' stream limits; Infinity if a connection has no limit. */
  readonly limit: number;
  /** True if a further connection is being opened. */
  readonly isGrowing: boolean;
}

/** The connections that a load-balancing policy uses: those of its child policy, and the further connections to their addresses. */
export class PolicyConnections {
  readonly all = new Set<ObservedConnection>();
  private readonly byAddress = new Map<string, AddressConnections>();

  /** @param isBalancing true if the child policy uses several connections. pick_first has one, whose health it ignores (gRFC A17). */
  constructor(private readonly isBalancing: () => boolean) {}

  delete(connection: ObservedConnection): void {
    this.all.delete(connection);
    this.prune(connection.address);
  }

  to(address: string, create: () => AddressConnections): AddressConnections {
    const connections = this.byAddress.get(address) ?? create();
    this.byAddress.set(address, connections);
    return connections;
  }

  /** Forgets `address` if it has no further connections and the child policy does not use it. */
  prune(address: string): void {
    // The first connection counts.
    if (this.byAddress.get(address)?.count !== 1) return;
    for (const connection of this.all) if (connection.address === address) return;
    this.byAddress.delete(address);
  }

  /** Drops all further connections. Calls on them may finish. */
  releaseFurther(): void {
    for (const connections of this.byAddress.values()) connections.release();
  }

  /** Returns a connection to `address`, preferably a READY one; `undefined` if none is in use. */
  at(address: string): ObservedConnection | undefined {
    let found: ObservedConnection | undefined;
    for (const connection of this.all) {
      if (connection.address === address && found?.isReady !== true) found = connection;
    }
    return found;
  }

  /** Ends the health Watches. */
  stopHealth(): void {
    for (const connection of this.all) connection.stopHealth();
  }

  /** Ends all running backoffs, so that the next attempts to connect start immediately. */
  endBackoff(): void {
    for (const { subchannel } of this.all) subchannel.endBackoff();
  }

  /** Earliest end of a backoff, in milliseconds since 1970; `undefined` if no connection is in backoff. */
  backoffEndsAt(): number | undefined {
    const ends = [...this.all].flatMap(({ subchannel }) => subchannel.backoffEndsAt ?? []);
    return ends.length === 0 ? undefined : Math.min(...ends);
  }

  /** True if the server of a READY connection limits its streams. */
  get isLimited(): boolean {
    for (const { streams } of this.all) if (streams !== undefined && streams.limit < Infinity) return true;
    return false;
  }

  /** True if a stream can start without waiting for another one to end, or if the number of free streams is unknown. */
  get hasFreeStream(): boolean {
    let isKnown = false;
    for (const connection of this.all) {
      const { address, streams, isFurther } = connection;
      if (isFurther || !this.isSelectable(connection)) continue;
      const further = this.byAddress.get(address);
      if (streams === undefined && further?.hasReady !== true) continue;
      if ((streams?.free ?? 0) + (further?.free ?? 0) > 0) return true;
      isKnown = true;
    }
    return !isKnown;
  }

  /**
   * Returns a connection to the selectable address with the most free streams, for a call whose selected endpoint has no free stream.
   * Returns `undefined` if no selectable address has a free stream, or if the child policy is pick_first.
   */
  readonly spare = (): experimental.SubchannelInterface | undefined => {
    if (!this.isBalancing()) return undefined;
    let best: ObservedConnection | undefined;
    let most = 0;
    for (const connection of this.all) {
      const { address, streams, isFurther } = connection;
      if (isFurther || !this.isSelectable(connection)) continue;
      const free = (streams?.free ?? 0) + (this.byAddress.get(address)?.free ?? 0);
      if (free <= most) continue;
      most = free;
      best = connection;
    }
    if (best === undefined || (best.streams?.free ?? 0) > 0) return best?.subchannel;
    return this.byAddress.get(best.address)?.takeFree();
  };

  get streamCapacity(): StreamCapacity {
    let connections = 0;
    let limit = 0;
    let isGrowing = false;
    for (const one of this.all) {
      if (one.streams === undefined) isGrowing ||= one.isFurther;
      else {
        connections += 1;
        limit += one.streams.limit;
      }
    }
    return { connections, limit, isGrowing };
  }

  /**
   * Opens another connection to the address with the fewest connections. Ignores addresses whose first connection is not READY or not
   * selectable. Does nothing if the address has the maximum number of connections, or if a further connection to it is being opened.
   */
  openAnother(): void {
    let fewest: AddressConnections | undefined;
    for (const one of this.all) {
      const connections = one.streams === undefined || one.isFurther ? undefined : this.byAddress.get(one.address);
      if (connections === undefined || !this.isSelectable(one)) continue;
      if (fewest === undefined || connections.count < fewest.count) fewest = connections;
    }
    fewest?.open();
  }

  /** True if the child policy may select `connection`, because it is healthy, or because the policy ignores its health (pick_first). */
  private isSelectable(connection: ObservedConnection): boolean {
    return !this.isBalancing() || connection.isHealthy;
  }
}
