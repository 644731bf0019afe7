import { Metadata } from '@grpc/grpc-js';
import { ResponseStream, type ResponseFailure, type ResponseHandler } from '../../transport/grpc/response-stream.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import { fieldsOf, ReceivedHeaders, statusOf, type WireStatus } from './header-fields.js';
import { statusOfFailure } from './response-failure.js';
import type { SubchannelConnection } from './subchannel-connection.js';

interface CallingSubchannel {
  getAddress(): string;
  connectionFor(path: string, authority: string, fields: readonly string[]): SubchannelConnection | undefined;
}

/** A channel with one connection, for health Watches, checks of the connection, and load reports. Its calls let the process exit. */
export class SubchannelChannel {
  constructor(
    private readonly subchannel: CallingSubchannel,
    private readonly authority: string,
  ) {}

  createCall(path: string): ConnectionBoundCall {
    return new ConnectionBoundCall(this.subchannel, path, this.authority);
  }

  getTarget(): string {
    return this.authority;
  }

  close(): void {
    // The subchannel owns the connection.
  }
}

/** Listener of grpc-js. */
interface Listener {
  onReceiveMetadata(metadata: Metadata): void;
  onReceiveMessage(message: Buffer): void;
  onReceiveStatus(status: WireStatus): void;
}

/** A call on one connection, with messages instead of frames. Requests and responses are not compressed. */
export class ConnectionBoundCall implements ResponseHandler {
  private connection: SubchannelConnection | undefined;
  private response: ResponseStream | undefined;
  private listener: Listener | undefined;
  /** `:status` of the response. */
  httpStatus = 0;
  private isOver = false;

  constructor(
    private readonly subchannel: CallingSubchannel,
    private readonly path: string,
    private readonly authority: string,
  ) {}

  /** @throws Error if the call cannot be sent */
  start(metadata: Metadata, listener: Listener): void {
    metadata.set('grpc-accept-encoding', 'identity');
    const fields = fieldsOf(metadata);
    const connection = this.subchannel.connectionFor(this.path, this.authority, fields);
    if (connection === undefined) throw new Error('the connection takes no calls');
    this.connection = connection;
    this.listener = listener;
    this.response = new ResponseStream(this, connection.maxMessageBytes);
    this.response.stream = connection.open(this.response, this.path, this.authority, fields);
  }

  sendMessageWithContext(context: { callback?: () => void }, message: Buffer): void {
    this.response?.stream.send(message, 0, false);
    if (context.callback !== undefined) queueMicrotask(context.callback);
  }

  startRead(): void {
    process.nextTick(() => this.response?.request());
  }

  halfClose(): void {
    this.response?.stream.end();
  }

  cancelWithStatus(code: number, details: string): void {
    if (this.isOver) return;
    this.response?.cancel();
    process.nextTick(() => this.end({ code, details, metadata: new Metadata() }));
  }

  getPeer(): string {
    return this.subchannel.getAddress();
  }

  // ── of the response ──

  headers(block: HeaderBlock): void {
    this.httpStatus = Number(block.status);
    this.guard(() => this.listener?.onReceiveMetadata(new ReceivedHeaders(block).metadata));
  }

  message(message: Buffer): void {
    this.guard(() => this.listener?.onReceiveMessage(message));
  }

  trailers(block: HeaderBlock, isOnly: boolean): void {
    if (isOnly) this.httpStatus = Number(block.status);
    this.end(statusOf(block, this.httpStatus));
  }

  failed(failure: ResponseFailure): void {
    const { connection, response } = this;
    if (connection === undefined || response === undefined) return;
    if (failure.cause === 'reset') connection.streamReset(response.stream.id);
    this.end(statusOfFailure(failure, 0, connection));
  }

  drained(): void {
    // The request is one small message.
  }

  private end(status: WireStatus): void {
    if (this.isOver) return;
    this.isOver = true;
    this.connection?.socket.closeIfUnused();
    this.guard(() => this.listener?.onReceiveStatus(status));
  }

  /** What the listener throws must not end the connection, which carries other calls. */
  private guard(report: () => void): void {
    try {
      report();
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }
}
