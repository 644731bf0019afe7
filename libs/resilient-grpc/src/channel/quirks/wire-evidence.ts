import { constants } from 'node:http2';
import type { WireEvidence } from '../../policy/evidence/attempt-evidence.js';
import {
  connectionRecord,
  observeTransport,
  unprocessed,
  type ConnectionRecord,
  type ConnectionTransport,
} from './connection-record.js';

/** grpc-js's call on one connection. */
interface SubchannelCall {
  readonly http2Stream?: { readonly rstCode: number };
  /** Its `rstCode` is present only if the status was made from the way the stream closed. */
  readonly finalStatus?: { readonly rstCode?: number } | null;
  readonly httpStatusCode?: number;
  readonly connectionDropped?: boolean;
  readonly transport?: ConnectionTransport & {
    readonly session?: { readonly closed: boolean; readonly destroyed: boolean };
  };
}

/** The private objects of grpc-js below a call of its channel. */
interface ChannelCall {
  readonly child?: {
    readonly underlyingCalls?: readonly { readonly call?: { readonly child?: SubchannelCall | null } }[];
  } | null;
}

/** Evidence of an attempt, and the connection that carried it. */
export interface WireFacts {
  readonly evidence: WireEvidence;
  readonly connection: ConnectionRecord;
}

/** Observes the connection of `channelCall` from now on, if grpc-js has created the stream. */
export function observeConnectionOf(channelCall: object): void {
  const transport = subchannelCall(channelCall)?.transport;
  if (transport !== undefined) observeTransport(transport);
}

function subchannelCall(channelCall: object): SubchannelCall | null | undefined {
  // True at every grpc-js this was written for; another may have no such fields, hence the question marks.
  const { child } = channelCall as ChannelCall;
  return child?.underlyingCalls?.at(-1)?.call?.child;
}

/**
 * Reads what the connection shows of the stream of `channelCall`, a call of grpc-js that has ended. `undefined` if no stream was
 * created, or if this grpc-js has no such fields. grpc-js removes the reset code and the progress from the status that it reports.
 */
export function readWire(channelCall: object): WireFacts | undefined {
  const call = subchannelCall(channelCall);
  const { http2Stream, transport } = call ?? {};
  if (http2Stream === undefined || transport === undefined) return undefined;
  const { finalStatus, httpStatusCode, connectionDropped = false } = call ?? {};
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
      connectionOver:
        goawayCode !== undefined || connectionDropped || session === undefined || session.closed || session.destroyed,
    },
  };
}
