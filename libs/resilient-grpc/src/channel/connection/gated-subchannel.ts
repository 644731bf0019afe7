import type { experimental } from '@grpc/grpc-js';
import { selectingSubchannelClass } from '../quirks/subchannel.js';
import { stateName } from '../state-name.js';
import type { Timer } from '../../time/clock.js';
import type { AddressConnections } from './address-connections.js';
import type { AddressHistories } from './address-histories.js';
import type { EndpointGate, Endpoints } from './endpoints.js';
import type { ObservedConnection } from './observed-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Hold-offs of addresses whose servers close each connection immediately. */
type HoldOffs = Pick<AddressHistories, 'holdOffMs' | 'afterHoldOff'>;

/**
 * A subchannel that does not connect before its hold-off ends. grpc-js resets its backoff as soon as a connection is READY, so it would
 * connect 150 times a second to a server that closes each connection after its SETTINGS. It is unhealthy while its endpoint is ejected or
 * does not serve; balancing policies then do not pick it.
 */
export function gatedSubchannelClass(
  Base: typeof experimental.BaseSubchannelWrapper,
): new (
  child: SubchannelInterface,
  connection: ObservedConnection,
  holdOffs: HoldOffs,
  endpoints: Pick<Endpoints, 'use' | 'release'> | undefined,
  connections: AddressConnections | undefined,
) => SubchannelInterface {
  return class GatedSubchannel extends selectingSubchannelClass(Base) implements EndpointGate {
    private delayedStart: Timer | undefined;

    constructor(
      child: SubchannelInterface,
      private readonly connection: ObservedConnection,
      private readonly holdOffs: HoldOffs,
      private readonly endpoints: Pick<Endpoints, 'use' | 'release'> | undefined,
      /** Further connections to the address; `undefined` if there are never any. */
      private readonly connections: AddressConnections | undefined,
    ) {
      super(child);
    }

    get address(): string {
      return this.connection.address;
    }

    get isReady(): boolean {
      return stateName(this.child.getConnectivityState()) === 'READY';
    }

    include(isIncluded: boolean): void {
      this.setHealthy(isIncluded);
    }

    override ref(): void {
      super.ref();
      this.connection.ref(this);
      this.endpoints?.use(this);
    }

    override unref(): void {
      this.connection.unref();
      super.unref();
    }

    override startConnecting(): void {
      const { address } = this.connection;
      if (this.holdOffs.holdOffMs(address) <= 0 || stateName(this.child.getConnectivityState()) !== 'IDLE') {
        this.child.startConnecting();
        return;
      }
      this.delayedStart ??= this.holdOffs.afterHoldOff(address, () => {
        this.delayedStart = undefined;
        this.child.startConnecting();
      });
    }

    /** True if no connection to the endpoint has a free stream. */
    get isFull(): boolean {
      return !this.connection.hasFreeStream && (this.connections?.free ?? 0) === 0;
    }

    override selectForCall(): SubchannelInterface {
      return this.connections?.insteadOf(this.connection) ?? this.child;
    }

    protected override destroy(): void {
      this.endpoints?.release(this);
      this.delayedStart?.clear();
      this.delayedStart = undefined;
      super.destroy();
    }
  };
}
