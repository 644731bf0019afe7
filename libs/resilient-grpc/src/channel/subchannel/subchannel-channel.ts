import type { Metadata } from '@grpc/grpc-js';
import { fieldsOf } from './header-fields.js';
import type { ConnectionCallListener, SocketCall } from './socket-call.js';

interface CallingSubchannel {
  getAddress(): string;
  createCall(
    fields: readonly string[],
    authority: string,
    path: string,
    listener: ConnectionCallListener,
    isBackground: true,
  ): SocketCall | undefined;
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

/** A call on one connection, with messages instead of frames. */
export class ConnectionBoundCall {
  private call: SocketCall | undefined;

  constructor(
    private readonly subchannel: CallingSubchannel,
    private readonly path: string,
    private readonly authority: string,
  ) {}

  /** @throws Error if the call cannot be sent */
  start(metadata: Metadata, listener: ConnectionCallListener): void {
    metadata.set('grpc-accept-encoding', 'identity');
    this.call = this.subchannel.createCall(fieldsOf(metadata), this.authority, this.path, listener, true);
    if (this.call === undefined) throw new Error('the connection takes no calls');
  }

  sendMessageWithContext(context: { callback?: () => void }, message: Buffer): void {
    this.call?.send(message, context.callback);
  }

  startRead(): void {
    this.call?.startRead();
  }

  halfClose(): void {
    this.call?.halfClose();
  }

  cancelWithStatus(code: number, details: string): void {
    this.call?.cancelWithStatus(code, details);
  }

  getPeer(): string {
    return this.subchannel.getAddress();
  }
}
