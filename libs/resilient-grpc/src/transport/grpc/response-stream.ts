import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { HeaderBlock } from '../hpack/header-block.js';
import type { Http2Stream } from '../http2/http2-stream.js';
import type { TransportProtection } from '../protection.js';
import type { StreamFailure, StreamReceiver } from '../http2/events.js';
import { MessageFlow } from './message-flow.js';
import type { MessageSink, UnreadableMessage } from './message-reader.js';

/** The end of a response without trailers. */
export type ResponseFailure =
  | StreamFailure
  | {
      /**
       * 'no-trailers': the response ended without them, as proxies cause that drop trailers. 'unreadable': its messages or headers violate
       * gRPC's protocol. 'too-large': a message or the headers exceed the limit of this side.
       */
      readonly cause: 'no-trailers' | 'unreadable' | 'too-large';
      readonly code: number;
      readonly details: string;
      readonly progress: 'answered';
      readonly protection: TransportProtection | undefined;
    };

/** Receives a response. The last event is `trailers()` or `failed()`. */
export interface ResponseHandler {
  headers(block: HeaderBlock): void;
  message(message: Buffer, isCompressed: boolean): void;
  /** @param isOnly true if the response consists of these trailers (gRPC over HTTP/2, Trailers-Only) or is not gRPC */
  trailers(block: HeaderBlock, isOnly: boolean): void;
  failed(failure: ResponseFailure): void;
  /** More requests may be sent. */
  drained(): void;
}

/** The response of a gRPC call, read from its stream: messages are delivered on demand, and the peer gets window as they are consumed. */
export class ResponseStream implements StreamReceiver, MessageSink {
  /** Set when the stream is opened, before the first event. */
  stream!: Http2Stream;
  private readonly flow: MessageFlow;
  private hasHeaders = false;
  /**
   * Headers of a response that does not look like gRPC, such as the HTML page of a proxy. If a message or a gRPC status follows, it is gRPC,
   * as it is for grpc-js. Otherwise, its body is dropped.
   */
  private foreign: HeaderBlock | undefined;
  private isBodyDropped = false;
  private isDone = false;
  /** Headers that have a status, which some proxies let an empty DATA frame follow. */
  private statusHead: HeaderBlock | undefined;
  /** The end that follows the messages for which there is no demand. */
  private heldEnd: HeaderBlock | ResponseFailure | undefined;
  /** @param maxMessageBytes maximum size of a message */
  constructor(
    private readonly handler: ResponseHandler,
    maxMessageBytes: number,
  ) {
    this.flow = new MessageFlow(this, maxMessageBytes);
  }

  /** True if a message has arrived for which there was no demand. */
  get hasHeld(): boolean {
    return this.flow.hasMessage;
  }

  /** Requests `count` more messages; `Infinity` for all as they arrive. */
  request(count = 1): void {
    if (this.isDone) return;
    // The caller requests the next message while it takes one. The rest follows when it has taken it.
    const isTaking = this.flow.isReading;
    const unreadable = this.flow.request(count);
    if (isTaking) return;
    if (unreadable !== undefined) this.rejectMessage(unreadable);
    else if (this.heldEnd === undefined) this.credit();
    else this.endIfRead(this.heldEnd);
  }

  /** Ends the call on this side. No event follows. */
  cancel(): void {
    this.finish();
    this.stream.cancel();
  }

  headers(block: HeaderBlock, isEnd: boolean): void {
    if (!this.hasHeaders) this.firstHeaders(block, isEnd);
    else if (!isEnd) this.reject('trailers that do not end the stream');
    else if (block.status !== undefined) this.reject(':status in trailers');
    else if (this.foreign !== undefined && block.grpcStatus === undefined) this.end(this.foreign, true);
    else if (block.isTooLarge) this.rejectSize('trailers', block);
    else {
      this.accept();
      this.endIfRead(block);
    }
  }

  /** The response is gRPC. */
  private accept(): void {
    const { foreign } = this;
    if (foreign === undefined) return;
    this.foreign = undefined;
    this.handler.headers(foreign);
  }

  private firstHeaders(block: HeaderBlock, isEnd: boolean): void {
    const { status: text = '' } = block;
    // Patterns allocate.
    const status = text === '200' || /^\d{3}$/.test(text) ? Number(text) : NaN;
    const isInformational = status >= 100 && status < 200;
    if (block.isTooLarge) this.rejectSize('headers', block);
    else if (Number.isNaN(status) || status === 101 || (isInformational && isEnd)) {
      this.reject(`:status ${String(block.status)}`);
      // Informational headers (RFC 9110, section 15.2) precede the others. Proxies send 000 for what is no HTTP/1 response.
    } else if (!isInformational) {
      this.hasHeaders = true;
      const isForeign =
        status !== 200 || (block.contentType !== undefined && !/^application\/grpc/i.test(block.contentType));
      if (isEnd) this.end(block, true);
      else if (isForeign) this.foreign = block;
      else {
        if (block.grpcStatus !== undefined) this.statusHead = block;
        this.handler.headers(block);
      }
    }
  }

  data(bytes: Buffer, at: number, end: number): void {
    if (this.isBodyDropped || this.isDone || this.heldEnd !== undefined) return;
    if (!this.hasHeaders) {
      this.reject('DATA before HEADERS');
      return;
    }
    this.rejectMessage(this.flow.take(bytes, at, end));
  }

  dataEnds(isEnd: boolean): void {
    if (this.isDone || this.heldEnd !== undefined) return;
    if (!isEnd) this.credit();
    else if (this.foreign !== undefined) this.end(this.foreign, true);
    else if (this.statusHead !== undefined) this.endIfRead(this.statusHead);
    else this.fail('no-trailers', 'the response ended without trailers', undefined);
  }

  failed(failure: StreamFailure): void {
    if (this.isDone) return;
    // What a proxy answered says more than how its stream ended.
    if (this.foreign !== undefined) {
      this.end(this.foreign, true);
      return;
    }
    this.finish();
    this.handler.failed(failure);
  }

  drained(): void {
    this.handler.drained();
  }

  message(message: Buffer, isCompressed: boolean): void {
    if (this.isDone) return;
    this.accept();
    this.handler.message(message, isCompressed);
  }

  /** Ends the call with `end` when all messages before it are delivered. */
  private endIfRead(end: HeaderBlock | ResponseFailure): void {
    // A handler may have cancelled the call when it took a message.
    if (this.isDone) return;
    if (this.flow.unreadBytes > 0) {
      this.heldEnd = end;
      return;
    }
    if (!(end instanceof HeaderBlock)) {
      this.finish();
      this.handler.failed(end);
    } else if (!this.flow.isIdle && !this.isBodyDropped) this.reject('trailers inside a message');
    else this.end(end, false);
  }

  private credit(): void {
    // An incomplete message that is wanted must be able to arrive, even if it is larger than the window.
    this.stream.credit(this.flow.unreadBytes);
  }

  private end(block: HeaderBlock, isOnly: boolean): void {
    this.finish();
    this.handler.trailers(block, isOnly);
  }

  private reject(details: string): void {
    this.stream.cancel(HTTP2_ERROR_CODES.PROTOCOL_ERROR);
    this.fail('unreadable', details, 'protocol-violation');
  }

  private rejectSize(what: string, { excess }: HeaderBlock): void {
    this.stream.cancel(HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM);
    this.fail('too-large', `Received ${what} larger than max (${excess})`, 'header-list');
  }

  private fail(
    cause: 'no-trailers' | 'unreadable' | 'too-large',
    details: string,
    protection: TransportProtection | undefined,
  ): void {
    this.endIfRead({ cause, code: HTTP2_ERROR_CODES.NO_ERROR, details, progress: 'answered', protection });
  }

  private rejectMessage(unreadable: UnreadableMessage | undefined): void {
    if (unreadable === undefined) return;
    if (this.foreign !== undefined) {
      this.isBodyDropped = true;
      this.flow.stop();
      return;
    }
    this.stream.cancel();
    if (unreadable.problem === 'too-large') this.fail('too-large', unreadable.details, 'message-size');
    else this.fail('unreadable', unreadable.details, 'protocol-violation');
  }

  private finish(): void {
    this.isDone = true;
    this.flow.stop();
  }
}
