import type { HeaderBlock } from '../hpack/header-block.js';
import type { StreamFailure, StreamReceiver } from '../http2/events.js';
import type { ServerStream } from '../http2/server-stream.js';
import { MessageFlow } from './message-flow.js';
import type { MessageSink, UnreadableMessage } from './message-reader.js';

/** Largest message for which memory is reserved before it arrives: a client can announce much at little cost. */
const TRUSTED_BYTES = 4_096;

/** Receives a request, message by message. The last event is `ended()`, `unreadable()`, or `failed()`; only `failed()` follows the others. */
export interface RequestHandler {
  /** @param message own memory */
  message(message: Buffer, isCompressed: boolean): void;
  /** All messages were delivered, and the client sends no more. */
  ended(): void;
  /** The request violates gRPC's protocol, or a message exceeds the limit. The stream can still be answered. */
  unreadable(problem: UnreadableMessage): void;
  /** The client has cancelled the call, or its connection has ended. The stream can no longer be answered. */
  failed(failure: StreamFailure): void;
  /** More responses may be sent, or the trailers that waited have been written. Follows a `send()` that returned false. */
  drained(): void;
}

/** How to read a request. */
export interface RequestFormat {
  /** Maximum size of a message in bytes. */
  readonly maxMessageBytes: number;
  /** The request's `grpc-encoding`. Without one, or with `identity`, compressed messages are unreadable. */
  readonly encoding: string | undefined;
}

/** The request of a gRPC call, read from its stream: messages are delivered on demand, and the client gets window as they are consumed. */
export class RequestStream implements StreamReceiver, MessageSink {
  private readonly flow: MessageFlow;
  private readonly mayCompress: boolean;
  private isDone = false;

  /** @param isEnded true if the request has no body; `ended()` follows the first `request()` */
  constructor(
    private readonly stream: ServerStream,
    private readonly handler: RequestHandler,
    { maxMessageBytes, encoding }: RequestFormat,
    private isEnded: boolean,
  ) {
    this.flow = new MessageFlow(this, maxMessageBytes, TRUSTED_BYTES);
    this.mayCompress = encoding !== undefined && encoding !== 'identity';
  }

  /** Requests `count` more messages; `Infinity` for all as they arrive. */
  request(count: number): void {
    if (this.isDone) return;
    // The user requests the next message while it takes one. The rest follows when it has taken it.
    const isTaking = this.flow.isReading;
    this.reject(this.flow.request(count));
    if (isTaking) return;
    this.credit();
    this.endIfRead();
  }

  /** Drops the rest of the request. No event follows except `failed()`. */
  stop(): void {
    this.isDone = true;
    this.flow.stop();
    this.credit();
  }

  headers(_trailers: HeaderBlock): void {
    this.isEnded = true;
    this.endIfRead();
  }

  data(bytes: Buffer, at: number, end: number): void {
    if (!this.isDone) this.reject(this.flow.take(bytes, at, end));
  }

  dataEnds(isEnd: boolean): void {
    this.credit();
    if (!isEnd) return;
    this.isEnded = true;
    this.endIfRead();
  }

  failed(failure: StreamFailure): void {
    this.isDone = true;
    this.flow.stop();
    this.handler.failed(failure);
  }

  drained(): void {
    this.handler.drained();
  }

  message(message: Buffer, isCompressed: boolean): void {
    if (this.isDone) return;
    if (isCompressed && !this.mayCompress)
      this.reject({ problem: 'compressed-flag', details: 'a compressed message without grpc-encoding' });
    else this.handler.message(message, isCompressed);
  }

  private credit(): void {
    this.stream.credit(this.flow.unreadBytes, this.flow.assembledBytes);
  }

  private endIfRead(): void {
    if (!this.isEnded || this.isDone || this.flow.unreadBytes > 0) return;
    if (!this.flow.isIdle) this.reject({ problem: 'incomplete', details: 'the request ended inside a message' });
    else {
      this.isDone = true;
      this.handler.ended();
    }
  }

  private reject(problem: UnreadableMessage | undefined): void {
    if (problem === undefined || this.isDone) return;
    this.stop();
    this.handler.unreadable(problem);
  }
}
