import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { HeaderBlock } from '../hpack/header-block.js';
import type { Http2Stream } from '../http2/http2-stream.js';
import type { StreamFailure, StreamReceiver } from '../http2/events.js';
import { MessageReader, PREFIX_BYTES, type MessageSink } from './message-reader.js';

/** Demand of a reader that takes each message at once. */
const UNLIMITED = Infinity;

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
  private readonly reader: MessageReader;
  private hasHeaders = false;
  /**
   * Headers of a response that does not look like gRPC, such as the HTML page of a proxy. If a message or a gRPC status follows, it is gRPC,
   * as it is for grpc-js. Otherwise, its body is dropped.
   */
  private foreign: HeaderBlock | undefined;
  private isBodyDropped = false;
  private isDone = false;
  private demand = 0;
  /** Messages without demand; those before `heldFrom` are delivered. */
  private held: ({ readonly message: Buffer; readonly isCompressed: boolean } | undefined)[] = [];
  private heldFrom = 0;
  private heldBytes = 0;
  /** The end that follows the held messages. */
  private heldEnd: HeaderBlock | ResponseFailure | undefined;
  private isDelivering = false;
  /** Bytes of each message on the wire that are not in the message. */
  private readonly unkeptBytes: number;

  /**
   * @param maxMessageBytes maximum size of a message
   * @param prefix 5 if messages keep their length prefix, 0 if not
   */
  constructor(
    private readonly handler: ResponseHandler,
    maxMessageBytes: number,
    prefix: 0 | 5 = 0,
  ) {
    this.reader = new MessageReader(this, maxMessageBytes, prefix);
    this.unkeptBytes = PREFIX_BYTES - prefix;
  }

  /** True if a message has arrived for which there was no demand. */
  get hasHeld(): boolean {
    return this.heldFrom < this.held.length;
  }

  /** Requests one more message. */
  request(): void {
    this.demand += 1;
    this.deliver();
    if (!this.isDone) this.credit();
  }

  /** Requests all messages as they arrive. */
  requestAll(): void {
    this.demand = UNLIMITED;
    this.request();
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
    else if (!this.reader.isIdle && !this.isBodyDropped) this.reject('trailers inside a message');
    else if (block.isTooLarge) this.rejectSize('trailers', block);
    else {
      this.accept();
      if (this.held.length > 0) this.heldEnd = block;
      else this.end(block, false);
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
    const status = /^\d{3}$/.test(block.status ?? '') ? Number(block.status) : NaN;
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
      else this.handler.headers(block);
    }
  }

  data(bytes: Buffer, at: number, end: number): void {
    if (this.isBodyDropped || this.isDone || this.heldEnd !== undefined) return;
    if (!this.hasHeaders) {
      this.reject('DATA before HEADERS');
      return;
    }
    const unreadable = this.reader.read(bytes, at, end);
    if (unreadable === undefined) return;
    if (this.foreign !== undefined) {
      this.isBodyDropped = true;
      return;
    }
    this.stream.cancel();
    this.fail(unreadable.problem === 'too-large' ? 'too-large' : 'unreadable', unreadable.details);
  }

  dataEnds(isEnd: boolean): void {
    if (this.isDone || this.heldEnd !== undefined) return;
    if (!isEnd) this.credit();
    else if (this.foreign !== undefined) this.end(this.foreign, true);
    else this.fail('no-trailers', 'the response ended without trailers');
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
    if (this.demand > 0 && this.held.length === 0) {
      this.demand -= 1;
      this.handler.message(message, isCompressed);
      return;
    }
    this.held.push({ message, isCompressed });
    this.heldBytes += message.length + this.unkeptBytes;
  }

  private deliver(): void {
    // A handler may request the next message while it takes one.
    if (this.isDelivering) return;
    this.isDelivering = true;
    while (this.demand > 0 && !this.isDone) {
      const next = this.held[this.heldFrom];
      if (next === undefined) break;
      this.held[this.heldFrom++] = undefined;
      this.heldBytes -= next.message.length + this.unkeptBytes;
      this.demand -= 1;
      this.handler.message(next.message, next.isCompressed);
    }
    if (this.heldFrom === this.held.length) {
      this.held = [];
      this.heldFrom = 0;
    }
    this.isDelivering = false;
    const { heldEnd } = this;
    if (heldEnd === undefined || this.held.length > 0 || this.isDone) return;
    if (heldEnd instanceof HeaderBlock) this.end(heldEnd, false);
    else {
      this.finish();
      this.handler.failed(heldEnd);
    }
  }

  private credit(): void {
    // An incomplete message that is wanted must be able to arrive, even if it is larger than the window.
    this.stream.credit(this.demand > 0 ? 0 : this.heldBytes + this.reader.pendingBytes);
  }

  private end(block: HeaderBlock, isOnly: boolean): void {
    this.finish();
    this.handler.trailers(block, isOnly);
  }

  private reject(details: string): void {
    this.stream.cancel(HTTP2_ERROR_CODES.PROTOCOL_ERROR);
    this.fail('unreadable', details);
  }

  private rejectSize(what: string, { size, maxSize }: HeaderBlock): void {
    this.stream.cancel(HTTP2_ERROR_CODES.ENHANCE_YOUR_CALM);
    this.fail('too-large', `Received ${what} larger than max (${String(size)} vs ${String(maxSize)})`);
  }

  private fail(cause: 'no-trailers' | 'unreadable' | 'too-large', details: string): void {
    // A handler may have cancelled the call when it took a message.
    if (this.isDone) return;
    const failure: ResponseFailure = { cause, code: HTTP2_ERROR_CODES.NO_ERROR, details, progress: 'answered' };
    if (this.held.length > 0) {
      this.heldEnd = failure;
      return;
    }
    this.finish();
    this.handler.failed(failure);
  }

  private finish(): void {
    this.isDone = true;
    this.held = [];
    this.heldBytes = 0;
  }
}
