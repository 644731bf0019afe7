import type { ClientHttp2Session } from 'node:http2';
import type { ConnectionEnd } from '../../call/connection-end.js';

const BY_CODE: Readonly<Record<string, ConnectionEnd>> = {
  ECONNRESET: 'connection reset',
  // A write that meets a connection which is gone.
  EPIPE: 'connection reset',
  ETIMEDOUT: 'connection timed out',
  ECONNABORTED: 'connection aborted',
};

/** Names of the codes of HTTP/2, by number (https://www.rfc-editor.org/rfc/rfc9113.html#name-error-codes). */
const HTTP2_CODES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];

/** What is listened to of a session of HTTP/2. */
export type WatchedSession = Pick<ClientHttp2Session, 'prependOnceListener' | 'socket' | 'closed' | 'destroyed'>;

/** Sees why a connection ends. grpc-js tells that it did, and not why. */
export class ConnectionEndWatch {
  private first: ConnectionEnd | undefined;

  constructor(
    private readonly session: WatchedSession,
    /** It is pinged (HTTP/2 keepalive). */
    private readonly isPinged: boolean,
  ) {
    // Before grpc-js, which then lets go of the connection.
    session.prependOnceListener('goaway', (code: number) => {
      this.first ??= `GOAWAY ${HTTP2_CODES[code] ?? String(code)}`;
    });
    session.prependOnceListener('error', (error) => {
      this.first ??= BY_CODE[(error as NodeJS.ErrnoException).code ?? ''] ?? 'socket error';
    });
  }

  /** It has just ended: what was seen first counts. */
  get end(): ConnectionEnd {
    if (this.first !== undefined) return this.first;
    // grpc-js lets go of a connection that is whole when a ping got no answer.
    return this.isPinged && this.isWhole ? 'connection timed out' : 'unknown';
  }

  private get isWhole(): boolean {
    try {
      return !this.session.socket.destroyed && !this.session.socket.readableEnded;
    } catch {
      // It has no socket any more.
      return false;
    }
  }
}
