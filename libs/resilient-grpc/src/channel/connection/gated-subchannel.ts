import { connectivityState, type experimental } from '@grpc/grpc-js';
import { stateName } from '../../call/connectivity.js';
import type { AddressConnections } from './address-connections.js';
import type { EndpointGate, Endpoints } from './endpoints.js';
import type { ObservedConnection } from './observed-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;
type Listener = experimental.ConnectivityStateListener;

/**
 * Returns a class of subchannels that are unhealthy while their endpoint is ejected or not serving, so that load-balancing policies do not
 * pick them. A subchannel stays READY if its connection ends while a further connection to the address is READY (gRFC A105).
 */
export function gatedSubchannelClass(
  Base: typeof experimental.BaseSubchannelWrapper,
): new (
  child: SubchannelInterface,
  connection: ObservedConnection,
  endpoints: Pick<Endpoints, 'use' | 'release'> | undefined,
  connections: AddressConnections | undefined,
) => SubchannelInterface {
  return class GatedSubchannel extends Base implements EndpointGate {
    private readonly listeners = new Set<Listener>();
    private unwatch: (() => void) | undefined;
    /** True if the first connection is not READY, but the last state that the listeners received is READY. */
    private isCovered = false;

    constructor(
      child: SubchannelInterface,
      private readonly connection: ObservedConnection,
      private readonly endpoints: Pick<Endpoints, 'use' | 'release'> | undefined,
      /** Further connections to the address; `undefined` if this subchannel is one of them. */
      private readonly connections: AddressConnections | undefined,
    ) {
      super(child);
    }

    get address(): string {
      return this.connection.address;
    }

    get isReady(): boolean {
      return stateName(this.getConnectivityState()) === 'READY';
    }

    override getConnectivityState(): connectivityState {
      const state = this.child.getConnectivityState();
      if (state === connectivityState.READY || this.connections?.hasReady !== true) return state;
      return connectivityState.READY;
    }

    override addConnectivityStateListener(listener: Listener): void {
      const isFirst = this.listeners.size === 0;
      this.listeners.add(listener);
      if (!isFirst) return;
      this.isCovered = this.getConnectivityState() !== this.child.getConnectivityState();
      this.child.addConnectivityStateListener(this.stateChanged);
      this.unwatch = this.connections?.watch(this.furtherChanged);
    }

    override removeConnectivityStateListener(listener: Listener): void {
      if (!this.listeners.delete(listener) || this.listeners.size > 0) return;
      this.child.removeConnectivityStateListener(this.stateChanged);
      this.unwatch?.();
    }

    private readonly stateChanged: Listener = (_, from, to, keepaliveTimeMs, error) => {
      const isReady = stateName(to) === 'READY';
      if (!isReady && this.isReady) {
        // Calls use the further connections until the first one is connected again.
        this.isCovered = true;
        if (stateName(to) === 'IDLE') this.startConnecting();
        return;
      }
      const before = this.isCovered ? connectivityState.READY : from;
      this.isCovered = false;
      if (before === to) return;
      for (const listener of [...this.listeners]) listener(this, before, to, keepaliveTimeMs, error);
    };

    private readonly furtherChanged = (): void => {
      const state = this.child.getConnectivityState();
      const isCovered = stateName(state) !== 'READY' && this.isReady;
      if (isCovered === this.isCovered) return;
      this.isCovered = isCovered;
      const [from, to] = isCovered ? [state, connectivityState.READY] : [connectivityState.READY, state];
      for (const listener of [...this.listeners]) listener(this, from, to, -1);
    };

    include(isIncluded: boolean): void {
      this.setHealthy(isIncluded);
    }

    override ref(): void {
      super.ref();
      this.connection.ref(this);
      this.endpoints?.use(this);
    }

    override unref(): void {
      super.unref();
      this.connection.unref();
    }

    /** Called once for each call, so it selects the connection for the next call. */
    override getRealSubchannel(): ReturnType<SubchannelInterface['getRealSubchannel']> {
      return (this.connections?.pickInsteadOfFirst() ?? this.child).getRealSubchannel();
    }

    /** Compares the wrapped subchannels, regardless of the connection that carries the next call. */
    override realSubchannelEquals(other: SubchannelInterface): boolean {
      return this.child.realSubchannelEquals(other instanceof GatedSubchannel ? other.child : other);
    }

    protected override destroy(): void {
      this.endpoints?.release(this);
      super.destroy();
    }
  };
}
