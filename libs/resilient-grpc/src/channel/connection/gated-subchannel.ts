import type { experimental } from '@grpc/grpc-js';
import { stateName } from '../state-name.js';
import type { ObservedConnection } from './observed-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Delays connections to servers that close them immediately. */
export interface HoldOff {
  /** Milliseconds before `address` may be connected to again; 0 or less if it may be now. */
  holdOffMs(address: string): number;
  /** Runs `task` at the end of the hold-off, which a response may bring forward. Returns a function that cancels the task. */
  afterHoldOff(address: string, task: () => void): () => void;
}

/**
 * A subchannel that does not connect before its hold-off ends. grpc-js resets its backoff as soon as a connection is READY, so it would
 * connect 150 times a second to a server that closes each connection after its SETTINGS.
 */
export function gatedSubchannelClass(
  Base: typeof experimental.BaseSubchannelWrapper,
): new (child: SubchannelInterface, connection: ObservedConnection, holdOff: HoldOff) => SubchannelInterface {
  return class GatedSubchannel extends Base {
    private cancelStart: (() => void) | undefined;

    constructor(
      child: SubchannelInterface,
      private readonly connection: ObservedConnection,
      private readonly holdOff: HoldOff,
    ) {
      super(child);
    }

    override ref(): void {
      super.ref();
      this.connection.ref();
    }

    override unref(): void {
      this.connection.unref();
      super.unref();
    }

    override startConnecting(): void {
      const address = this.child.getAddress();
      if (this.holdOff.holdOffMs(address) <= 0 || stateName(this.child.getConnectivityState()) !== 'IDLE') {
        this.child.startConnecting();
        return;
      }
      this.cancelStart ??= this.holdOff.afterHoldOff(address, () => {
        this.cancelStart = undefined;
        this.child.startConnecting();
      });
    }

    protected override destroy(): void {
      this.cancelStart?.();
      this.cancelStart = undefined;
      super.destroy();
    }
  };
}
