import {
  CallCredentials,
  type Channel,
  type ChannelOptions,
  type Metadata,
  type StatusObject,
  type experimental,
} from '@grpc/grpc-js';
import type { ChannelPathReason } from '../../call/method.js';
import type { ConnectionCallListener, TransportCall } from '../subchannel/connection-call.js';
import { COMPLETE } from './experimental.js';
import { hasLibraryResolver } from './library-resolver.js';

/** A call on one connection, and the load-balancing policy's callback for the end of the call. */
export interface PickedCall {
  readonly call: TransportCall;
  readonly onCallEnded: ((code: number, details: string, metadata: Metadata) => void) | null;
}

/** Private fields of grpc-js's channel. */
interface Internals {
  readonly defaultAuthority: string;
  onCallStart(): void;
  onCallEnd(status: Pick<StatusObject, 'code'>): void;
}

interface CallingSubchannel {
  createCall(metadata: Metadata, host: string, path: string, listener: ConnectionCallListener): TransportCall;
}

const READY = 2;
const NO_PICK_INFORMATION = {};

/** Schemes whose resolvers grpc-js includes. With the library's channel options, these resolvers return no service config. */
const BUILT_IN_SCHEMES: ReadonlySet<string> = new Set(['dns', 'ipv4', 'ipv6', 'unix']);

/** Creates calls on the connections of one grpc-js channel, without the layers of the channel. */
export class DirectChannel {
  /** Class of the empty call credentials of grpc-js, which does not export the class. */
  private readonly emptyCredentials = CallCredentials.createEmpty().constructor;
  /** Reason why calls need grpc-js's channel; set when a connection requires the channel. */
  reason: ChannelPathReason | undefined;

  private constructor(private readonly internals: Internals) {}

  /** Creates a direct channel for `channel`, or returns the reason why its calls must pass through grpc-js's channel. */
  static of(channel: Channel, options: ChannelOptions): DirectChannel | ChannelPathReason {
    if (process.env['NESTJS_RESILIENT_GRPC_DIRECT_CALLS'] === 'off') return 'disabled';
    // grpc-js adds the scheme `dns` to a target without one.
    const target = channel.getTarget();
    if (!BUILT_IN_SCHEMES.has(target.split(':')[0] ?? '') && !hasLibraryResolver(target)) return 'resolver';
    if ((options['grpc.default_compression_algorithm'] ?? 0) !== 0) return 'send-compression';
    return new DirectChannel(internalsOf(channel));
  }

  /**
   * Creates a call on the connection that `picker` selects. Returns `undefined` and sends nothing if `picker` selects no connection, or
   * selects one that cannot open a stream or needs call credentials.
   *
   * @throws TypeError if HTTP/2 does not allow the metadata
   */
  createCall(
    picker: experimental.Picker,
    path: string,
    metadata: Metadata,
    listener: ConnectionCallListener,
  ): PickedCall | undefined {
    const args = { metadata, extraPickInfo: NO_PICK_INFORMATION };
    const { pickResultType, subchannel, onCallStarted, onCallEnded } = picker.pick(args);
    if ((pickResultType as number) !== COMPLETE || subchannel === null) return undefined;
    if ((subchannel.getConnectivityState() as number) !== READY) return undefined;
    if (subchannel.getCallCredentials().constructor !== this.emptyCredentials) {
      this.reason = 'call-credentials';
      return undefined;
    }
    // Safe: the policy of this library creates all subchannels of the channel.
    const real = subchannel.getRealSubchannel() as unknown as CallingSubchannel;
    let call: TransportCall;
    try {
      call = real.createCall(metadata, this.internals.defaultAuthority, path, listener);
    } catch (error) {
      // HTTP/2 does not allow the metadata.
      if (error instanceof TypeError) throw error;
      // The connection ends, so the channel picks another one.
      return undefined;
    }
    this.internals.onCallStart();
    onCallStarted?.();
    return { call, onCallEnded };
  }

  /** Reports to grpc-js that a call has ended. grpc-js counts running calls, because a channel without running calls becomes idle. */
  callEnded(status: Pick<StatusObject, 'code'>): void {
    this.internals.onCallEnd(status);
  }
}

function internalsOf(channel: Channel): Internals {
  // Safe: `hasTransportNames()` found the names.
  return (channel as unknown as { readonly internalChannel: Internals }).internalChannel;
}

export function authorityOf(channel: Channel): string {
  return internalsOf(channel).defaultAuthority;
}
