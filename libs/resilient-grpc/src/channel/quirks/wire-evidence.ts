import { constants } from 'node:http2';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import { TransportCall } from '../subchannel/connection-call.js';
import {
  connectionRecord,
  hasTimedOut,
  isQueued,
  observeTransport,
  recordResetInQueue,
  unprocessed,
  type ConnectionRecord,
  type ConnectionTransport,
} from './connection-record.js';

/** grpc-js's call on one connection. */
interface SubchannelCall {
  readonly http2Stream?: { readonly rstCode: number } & Parameters<typeof isQueued>[0];
  /** Status of the call. Has `rstCode` only if grpc-js derived the status from the way the stream closed. */
  readonly finalStatus?: { readonly rstCode?: number } | null;
  readonly httpStatusCode?: number;
  readonly connectionDropped?: boolean;
  getPeer?(): string;
  readonly transport?: ConnectionTransport & {
    readonly session?: { readonly closed: boolean; readonly destroyed: boolean };
  };
}

/** grpc-js's call on a channel; the fields are private. */
interface ChannelCall {
  readonly child?: {
    readonly underlyingCalls?: readonly { readonly call?: { readonly child?: SubchannelCall | null } }[];
  } | null;
}

/** Wire evidence of an attempt, and the connection that carried it. */
export interface WireFacts {
  readonly evidence: WireEvidence;
  readonly connection: Pick<ConnectionRecord, 'endListeners'>;
}

/** Starts to observe the connection of `channelCall` if grpc-js has created the stream. */
export function observeConnectionOf(channelCall: object): void {
  const transport = subchannelCall(channelCall)?.transport;
  if (transport !== undefined) observeTransport(transport);
}

function subchannelCall(channelCall: object): SubchannelCall | null | undefined {
  // Safe for the supported releases of grpc-js. Other releases may lack these fields, hence the optional chaining.
  const { child } = channelCall as ChannelCall;
  return child?.underlyingCalls?.at(-1)?.call?.child;
}

/**
 * Peer of the connection that carries `channelCall`; `undefined` if there is no connection, or if the installed grpc-js lacks the
 * private fields.
 */
export function peerOf(channelCall: object): string | undefined {
  return subchannelCall(channelCall)?.getPeer?.();
}

/**
 * True if grpc-js has created the first attempt of `channelCall`, but no stream. It then sends nothing after a cancellation. False if this
 * is not known.
 */
export function isWithoutStream(channelCall: object): boolean {
  // Safe for the supported releases of grpc-js. Other releases may lack these fields, hence the optional chaining.
  const attempts = (channelCall as ChannelCall).child?.underlyingCalls;
  return attempts?.length === 1 && attempts[0]?.call?.child === null;
}

/** True if `channelCall`, a call that has not ended, may still create its first stream. False if this is not known. */
export function mayCreateStream(channelCall: object): boolean {
  // `child` is null before an interceptor has started the call.
  return (channelCall as ChannelCall).child === null || isWithoutStream(channelCall);
}

/**
 * Reads the evidence from the stream that carried `channelCall`, an ended call of grpc-js. Returns `undefined` if no stream was created, or
 * if the installed grpc-js lacks the private fields. The status that grpc-js reports contains neither the reset code nor the progress.
 */
export function readWire(channelCall: object): WireFacts | undefined {
  return readConnectionCall(subchannelCall(channelCall) ?? {});
}

/**
 * Returns the address of the connection that carried `call`, as in the channel's history: '10.0.0.7:50051#2' for a further connection.
 * Returns `undefined` if no connection carried the call, or if the library's load-balancing policy, which records addresses, is not used
 * (for example, for an `xds:` target). If `isDirect` is true, `call` is a call on one connection instead of a call of the channel.
 */
export function connectionAddress(call: object, isDirect: boolean): string | undefined {
  // Safe for the supported releases of grpc-js. Other releases may lack the field, which is optional.
  const onConnection = isDirect ? (call as SubchannelCall) : subchannelCall(call);
  if (onConnection instanceof TransportCall) return onConnection.address;
  const { transport } = onConnection ?? {};
  return transport === undefined ? undefined : connectionRecord(transport).address;
}

/**
 * Runs `cancel`, which resets the stream of `connectionCall`, and records the stream if it was never sent. Must be called from a timer,
 * because a stream that is reset inside an event of the connection may still be sent afterward.
 */
export function cancelWithEvidence(connectionCall: object, cancel: () => void): void {
  // Safe for the supported releases of grpc-js. Other releases may lack the field, which is optional.
  const { http2Stream } = connectionCall as SubchannelCall;
  const wasQueued = http2Stream !== undefined && isQueued(http2Stream);
  cancel();
  if (wasQueued) recordResetInQueue(http2Stream);
}

/** Returns the same as `readWire`, for a call that runs directly on one connection. */
export function readConnectionCall(connectionCall: object): WireFacts | undefined {
  if (connectionCall instanceof TransportCall) return connectionCall.facts;
  // Safe for the supported releases of grpc-js. Other releases may lack these fields, which are optional.
  const call = connectionCall as SubchannelCall;
  const { http2Stream, transport } = call;
  if (http2Stream === undefined || transport === undefined) return undefined;
  const { finalStatus, httpStatusCode, connectionDropped = false } = call;
  const resetCode = finalStatus?.rstCode;
  const connection = connectionRecord(transport);
  const { goawayCode } = connection;
  const { session } = transport;
  return {
    connection,
    evidence: {
      unprocessed: unprocessed(http2Stream),
      httpStatus: httpStatusCode,
      resetCode,
      closedHere:
        finalStatus !== undefined &&
        resetCode === undefined &&
        !connectionDropped &&
        http2Stream.rstCode === constants.NGHTTP2_CANCEL,
      goawayCode,
      acceptsNoStreams:
        goawayCode !== undefined || connectionDropped || session === undefined || session.closed || session.destroyed,
      timedOut: connectionDropped && session !== undefined && hasTimedOut(session),
    },
  };
}
