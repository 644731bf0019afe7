import { AsyncResource } from 'node:async_hooks';
import { Metadata, type StatusObject } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import { STREAM_REFUSED } from '../../policy/evidence/grpc-js-texts.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { StatusCode } from '../../status/status-code.js';
import { ResponseStream, type ResponseFailure, type ResponseHandler } from '../../transport/grpc/response-stream.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import {
  MAX_BURST_BYTES,
  MESSAGE_BYTES,
  type Http2Stream,
  type SendObstacle,
} from '../../transport/http2/http2-stream.js';
import { metadataOf, ReceivedHeaders, ReceivedStatus } from './header-fields.js';
import type { SubchannelConnection } from './subchannel-connection.js';
import { systemClock } from '../../time/clock.js';

/** Statuses of HTTP responses that are not gRPC (gRPC, "HTTP to gRPC Status Code Mapping"), with 400 as in grpc-js. */
const BY_HTTP_STATUS: Readonly<Record<number, StatusCode>> = {
  400: StatusCode.INTERNAL,
  401: StatusCode.UNAUTHENTICATED,
  403: StatusCode.PERMISSION_DENIED,
  404: StatusCode.UNIMPLEMENTED,
  429: StatusCode.UNAVAILABLE,
  502: StatusCode.UNAVAILABLE,
  503: StatusCode.UNAVAILABLE,
  504: StatusCode.UNAVAILABLE,
};

/** Statuses of streams that the peer has reset (gRPC over HTTP/2, "Errors"), with the texts of grpc-js. */
const BY_RESET: Readonly<Record<number, readonly [code: StatusCode, details: string]>> = {
  [HTTP2_ERROR_CODES.NO_ERROR]: [
    StatusCode.INTERNAL,
    'Received RST_STREAM with code 0 (Call ended without gRPC status)',
  ],
  [HTTP2_ERROR_CODES.INTERNAL_ERROR]: [StatusCode.INTERNAL, 'Received RST_STREAM with code 2 (Internal server error)'],
  [HTTP2_ERROR_CODES.REFUSED_STREAM]: [StatusCode.UNAVAILABLE, STREAM_REFUSED],
  [HTTP2_ERROR_CODES.CANCEL]: [StatusCode.CANCELLED, 'Call cancelled'],
  [HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM]: [
    StatusCode.RESOURCE_EXHAUSTED,
    'Bandwidth exhausted or memory limit exceeded',
  ],
  [HTTP2_ERROR_CODES.INADEQUATE_SECURITY]: [StatusCode.PERMISSION_DENIED, 'Protocol not secure enough'],
};

/** Number of header fields of a request that Node's HTTP/2 servers take (`maxHeaderListPairs`), and number of those without metadata. */
const NODE_MAX_FIELDS = 128;
const HEAD_FIELDS = 7;

export interface ConnectionCallListener {
  onReceiveHeaders(headers: ReceivedHeaders): void;
  onReceiveMessage(message: Buffer, isCompressed: boolean): void;
  onReceiveStatus(status: StatusObject): void;
}

/** Evidence of a call on the transport of this library, and its connection. */
export interface CallFacts {
  readonly evidence: WireEvidence;
  readonly connection: { readonly endListeners: Set<() => void> };
}

/** A call on one connection of the transport of this library. */
export class SocketCall implements ResponseHandler {
  private readonly response: ResponseStream;
  private readonly stream: Http2Stream;
  private status: StatusObject | undefined = undefined;
  private httpStatus: number | undefined = undefined;
  private resetCode: number | undefined = undefined;
  private unprocessed: WireEvidence['unprocessed'] = undefined;
  private lacksTrailers = false;
  private isClosedHere = false;
  private isDropped = false;
  private hasTooLargeHeaders = false;
  private readonly fieldCount: number;
  /** What the requests waited for when this side ended the call. */
  private lastObstacle: SendObstacle | undefined = undefined;
  /** Callbacks of messages that wait for the peer or the socket. */
  private written: (() => void)[] | undefined = undefined;
  private burstBytes = 0;
  /** Async context of the caller. Without it, callbacks would run in the context in which the connection was opened. */
  private readonly context = new AsyncResource('GRPC_CALL', { requireManualDestroy: true });

  constructor(
    private readonly connection: SubchannelConnection,
    path: string,
    authority: string,
    fields: readonly string[],
    private readonly listener: ConnectionCallListener,
    private readonly isBackground: boolean,
  ) {
    this.fieldCount = HEAD_FIELDS + fields.length / 2;
    this.response = new ResponseStream(this, connection.maxMessageBytes);
    this.stream = connection.open(this.response, path, authority, fields);
    this.response.stream = this.stream;
    if (!isBackground) connection.socket.callStarted();
  }

  cancelWithStatus(code: number, details: string): void {
    if (this.status !== undefined) return;
    this.isClosedHere = true;
    this.lastObstacle = this.stream.obstacle;
    if (this.lastObstacle === 'connection-window') this.connection.retireIfStalled();
    if (this.stream.id === 0) this.unprocessed = 'never-sent';
    this.response.cancel();
    this.end({ code, details, metadata: new Metadata() });
  }

  get peer(): string {
    return this.connection.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.connection.authContext;
  }

  startRead(): void {
    // What has arrived is not passed on inside of the caller's call.
    if (this.response.hasHeld) process.nextTick(requestOne, this.response);
    else this.response.request();
  }

  /**
   * Sends a message. `written` is called when the next message may be sent.
   *
   * @param compressed the compressed flag, 0 or 1
   * @param isOwn true if nobody changes the message afterward
   */
  send(message: Uint8Array, written: (() => void) | undefined, compressed = 0, isOwn = false): void {
    const mayContinue = this.stream.send(message, compressed, isOwn);
    if (written === undefined) return;
    this.burstBytes += message.length + MESSAGE_BYTES;
    if (this.isWritableEnded) systemClock.defer(written);
    else if (mayContinue && this.burstBytes < MAX_BURST_BYTES) queueMicrotask(written);
    else {
      (this.written ??= []).push(written);
      this.stream.awaitDrain();
    }
  }

  halfClose(): void {
    this.stream.end();
  }

  /** True if requests can no longer be sent. */
  private get isWritableEnded(): boolean {
    return this.stream.isClosed || this.stream.isLocalEnded;
  }

  // ── evidence ──

  get address(): string {
    return this.connection.address;
  }

  /** What the requests wait for. */
  get obstacle(): SendObstacle | undefined {
    return this.status === undefined ? this.stream.obstacle : this.lastObstacle;
  }

  /** True if the peer has refused the request, and may have done so because of the number of its header fields. */
  private get hasTooManyFields(): boolean {
    return this.resetCode === HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM && this.fieldCount > NODE_MAX_FIELDS;
  }

  get facts(): CallFacts {
    const { connection, unprocessed, httpStatus, resetCode, lacksTrailers, isClosedHere: closedHere, isDropped } = this;
    const { hasTooManyFields, hasTooLargeHeaders } = this;
    const { goawayCode, isUsable, hasTimedOut, resetsStreams } = connection;
    const acceptsNoStreams = !isUsable;
    const timedOut = isDropped && hasTimedOut;
    return {
      connection,
      evidence: {
        unprocessed,
        httpStatus,
        resetCode,
        lacksTrailers,
        closedHere,
        goawayCode,
        acceptsNoStreams,
        resetsStreams,
        hasTooManyFields,
        hasTooLargeHeaders,
        timedOut,
      },
    };
  }

  // ── of the response ──

  headers(block: HeaderBlock): void {
    this.httpStatus = Number(block.status);
    this.pass(receiveHeaders, new ReceivedHeaders(block));
  }

  message(message: Buffer, isCompressed: boolean): void {
    this.pass(isCompressed ? receiveCompressed : receiveMessage, message);
  }

  trailers(block: HeaderBlock, isOnly: boolean): void {
    if (isOnly) this.httpStatus = Number(block.status);
    const { grpcStatus, grpcMessage = '' } = block;
    if (grpcStatus === undefined) {
      const http = this.httpStatus ?? 0;
      const code = BY_HTTP_STATUS[http] ?? StatusCode.UNKNOWN;
      const details = `Received HTTP status code ${String(http).padStart(3, '0')}`;
      this.endNow({ code, details, metadata: metadataOf(block) });
      return;
    }
    this.endNow(new ReceivedStatus(Number(grpcStatus), decoded(grpcMessage), block));
  }

  failed(failure: ResponseFailure): void {
    const { cause, code, details, progress, protection } = failure;
    const metadata = new Metadata();
    if (progress === 'never-sent') this.unprocessed = 'never-sent';
    switch (cause) {
      case 'reset':
      case 'no-trailers': {
        if (cause === 'reset') this.connection.streamReset(this.stream.id);
        this.resetCode = code;
        this.lacksTrailers = cause === 'no-trailers';
        if (this.hasTooManyFields) {
          const text =
            `The server refused the request, which has ${String(this.fieldCount)} header fields; servers on Node take at most ` +
            `${String(NODE_MAX_FIELDS)}: send less metadata`;
          this.endNow({ code: StatusCode.RESOURCE_EXHAUSTED, details: text, metadata });
          break;
        }
        const [status, text] = BY_RESET[code] ?? [StatusCode.INTERNAL, `Received RST_STREAM with code ${String(code)}`];
        this.endNow({ code: status, details: text, metadata });
        break;
      }
      case 'goaway':
        // A peer that has answered contradicts itself.
        if (progress !== 'answered') this.unprocessed ??= 'rejected';
        this.endNow({ code: StatusCode.UNAVAILABLE, details: STREAM_REFUSED, metadata });
        break;
      case 'lost':
        this.isDropped = true;
        // Evidence of the loss whatever the text of the status.
        if (this.connection.isPeersFault) this.resetCode = HTTP2_ERROR_CODES.INTERNAL_ERROR;
        this.endNow({ code: StatusCode.UNAVAILABLE, details: this.connection.lossText(details), metadata });
        break;
      case 'too-large':
        this.isClosedHere = true;
        this.hasTooLargeHeaders = protection === 'header-list';
        this.endNow({ code: StatusCode.RESOURCE_EXHAUSTED, details, metadata });
        break;
      case 'protocol':
      case 'unreadable':
        this.isClosedHere = true;
        this.endNow({ code: StatusCode.INTERNAL, details: `Protocol error: ${details}`, metadata });
    }
  }

  drained(): void {
    this.burstBytes = 0;
    const { written } = this;
    this.written = undefined;
    if (written !== undefined) for (const callback of written) this.pass(run, callback);
  }

  /** Ends the call because of something that has happened outside of the caller's call. */
  private endNow(status: StatusObject): void {
    if (this.status !== undefined) return;
    this.close(status);
    this.report();
  }

  /** Ends the call because of the caller, who is told later. */
  private end(status: StatusObject): void {
    this.close(status);
    process.nextTick(reportEnd, this);
  }

  private close(status: StatusObject): void {
    this.status = status;
    if (this.written !== undefined) this.drained();
    if (this.isBackground) this.connection.socket.closeIfUnused();
    else this.connection.socket.callEnded();
  }

  report(): void {
    if (this.status !== undefined) this.pass(receiveStatus, this.status);
    this.context.emitDestroy();
  }

  /** Passes `value` to the caller. What the caller throws must not end the connection, which carries other calls. */
  private pass<V>(receive: (listener: ConnectionCallListener, value: V) => void, value: V): void {
    try {
      this.context.runInAsyncScope(receive, undefined, this.listener, value);
    } catch (error) {
      process.nextTick(rethrow, error);
    }
  }
}

function receiveHeaders(listener: ConnectionCallListener, headers: ReceivedHeaders): void {
  listener.onReceiveHeaders(headers);
}

function receiveMessage(listener: ConnectionCallListener, message: Buffer): void {
  listener.onReceiveMessage(message, false);
}

function receiveCompressed(listener: ConnectionCallListener, message: Buffer): void {
  listener.onReceiveMessage(message, true);
}

function receiveStatus(listener: ConnectionCallListener, status: StatusObject): void {
  listener.onReceiveStatus(status);
}

function run(_listener: ConnectionCallListener, callback: () => void): void {
  callback();
}

function requestOne(response: ResponseStream): void {
  response.request();
}

function reportEnd(call: SocketCall): void {
  call.report();
}

function rethrow(error: unknown): void {
  throw error;
}

const ENCODED = /(?:%[0-9a-f]{2})+/gi;

/** Decodes a `grpc-message` (gRPC over HTTP/2, Status-Message). What is malformed stays as it is, and what is no UTF-8 becomes U+FFFD. */
function decoded(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(ENCODED, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString());
}
