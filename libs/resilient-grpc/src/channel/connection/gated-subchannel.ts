import type { experimental } from '@grpc/grpc-js';
import { stateName } from '../state-name.js';
import type { ObservedConnection } from './observed-connection.js';

type SubchannelInterface = experimental.SubchannelInterface;

/** Delays connections to servers that close them immediately. */
export interface HoldOff {
  /** Milliseconds before a connection to `address` may be tried again; 0: at once. */
  holdOffMs(address: string): number;
  /** Runs `task` when they are over, or found needless; returns how to take it back. */
  afterHoldOff(address: string, task: () => void): () => void;
}

/**
 * A connection that is not tried again before its hold-off is over. grpc-js forgets its backoff as soon as a connection is
 * READY, so a server that dies right after its SETTINGS is connected to 150 times a second.
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
