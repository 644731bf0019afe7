import type { Metadata } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { httpResponseOf } from '../../policy/evidence/grpc-js-texts.js';
import type { SocketSubchannel } from '../subchannel/socket-subchannel.js';
import type { ConnectionBoundCall } from '../subchannel/subchannel-channel.js';

export interface StreamEnd {
  readonly code: number;
  readonly details: string;
  /** Description of the response if it is HTTP but not gRPC, because a proxy or web server sent it. */
  readonly http?: string | undefined;
}

export interface StreamOpening {
  /** Path of the method, such as '/grpc.health.v1.Health/Watch'. */
  readonly path: string;
  readonly metadata: Metadata;
  /** The single request message. */
  readonly request: Buffer;
  onMessage(bytes: Uint8Array): void;
  /** Called once, after the last `onMessage`; not called after `cancel`, or if the connection accepts no more calls. */
  onEnd(end: StreamEnd): void;
}

/**
 * A response stream that is bound to one connection. It is not a call of the channel, so it keeps neither the channel from going idle nor
 * the process from exiting. It ends when its connection accepts no more calls, because a server that is shutting down waits for every
 * stream.
 */
export class ConnectionStream {
  /** True if no callback follows. */
  private isOver = false;
  private readonly call: ConnectionBoundCall;

  /** Opens the stream. */
  constructor(
    private readonly subchannel: SocketSubchannel,
    private readonly opening: StreamOpening,
  ) {
    const call = subchannel.connectionChannel.createCall(opening.path);
    this.call = call;
    subchannel.addConnectivityStateListener(this.cancel);
    let contentType: string | undefined;
    const listener: Parameters<ConnectionBoundCall['start']>[1] = {
      onReceiveMetadata: (metadata: Metadata) => {
        contentType = contentTypeOf(metadata);
      },
      onReceiveMessage: (bytes: Uint8Array) => {
        if (this.isOver) return;
        opening.onMessage(bytes);
        call.startRead();
      },
      onReceiveStatus: ({ code, details, metadata, failure }) => {
        // A trailers-only response has no headers; its content type is in the trailers.
        const httpStatus = failure === 'http' ? call.httpStatus : undefined;
        this.end({ code, details, http: httpResponseOf(httpStatus, contentType ?? contentTypeOf(metadata)) });
      },
    };
    try {
      call.start(opening.metadata.clone(), listener);
    } catch (error) {
      this.end({ code: StatusCode.INTERNAL, details: String(error) });
      return;
    }
    call.sendMessageWithContext({}, opening.request);
    call.startRead();
    call.halfClose();
  }

  readonly cancel = (): void => {
    if (this.markOver()) this.call.cancelWithStatus(StatusCode.CANCELLED, 'Cancelled on client');
  };

  private end(end: StreamEnd): void {
    if (this.markOver()) this.opening.onEnd(end);
  }

  private markOver(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.subchannel.removeConnectivityStateListener(this.cancel);
    return true;
  }
}

function contentTypeOf(metadata: Metadata): string | undefined {
  return metadata.get('content-type')[0]?.toString();
}
