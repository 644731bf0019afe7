import type { Metadata, StatusObject } from '@grpc/grpc-js';
import type { Attempt, ResponseHeaders } from '../../call/attempt.js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { SendObstacle } from '../../transport/http2/http2-stream.js';
import type { CallFacts } from '../subchannel/socket-call.js';

/** Receives the events of a call. */
export interface TransportCallListener {
  onReceiveHeaders(headers: ResponseHeaders): void;
  onReceiveMessage(message: Buffer): void;
  onReceiveStatus(status: StatusObject): void;
  /** Ends the call on this side. */
  cancel(why: 'deadline' | 'protocol', code: number, details: string): void;
  /** True if the attempt is over. No part of the call may be sent from then on. */
  readonly isOver: boolean;
}

/** A call of a channel, on either transport. Nothing is reported inside of a method. */
export interface TransportCall {
  start(metadata: Metadata): void;
  /** @param flags write flags of grpc-js */
  send(message: Buffer, written: (() => void) | undefined, flags?: number): void;
  startRead(): void;
  halfClose(): void;
  cancelWithStatus(code: number, details: string): void;
  /** What the call waits for, so that no part of it has been sent; `undefined` if it may have been sent. */
  readonly waitsFor: 'an interceptor' | 'a connection' | 'call credentials' | undefined;
  /** True if the call may have a connection. */
  readonly isPlaced: boolean;
  /** 'ip:port' of the connection; `undefined` if there is none, or if it is unknown. */
  readonly peer: string | undefined;
  readonly authContext: Attempt['authContext'];
  /** The connection and its address in the history of the channel; `undefined` on grpc-js's transport. */
  readonly placement:
    { readonly address: string; readonly facts: CallFacts; readonly obstacle: SendObstacle | undefined } | undefined;
}

/** Evidence of a call that has never had a stream. */
export const NEVER_SENT: WireEvidence = {
  unprocessed: 'never-sent',
  httpStatus: undefined,
  resetCode: undefined,
  lacksTrailers: false,
  closedHere: false,
  goawayCode: undefined,
  acceptsNoStreams: false,
  timedOut: false,
};

/** Status of a call whose deadline passed before it was sent. */
export const EXPIRED = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: 'Deadline exceeded before the attempt was sent',
} as const;
