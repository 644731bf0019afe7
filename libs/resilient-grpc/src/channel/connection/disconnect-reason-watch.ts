import type { ClientHttp2Session } from 'node:http2';
import type { ConnectionEnd } from '../../call/call-event.js';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';

const BY_CODE: Readonly<Record<string, ConnectionEnd>> = {
  ECONNRESET: 'connection reset',
  // A write on a connection that the peer has closed.
  EPIPE: 'connection reset',
  ETIMEDOUT: 'connection timed out',
  ECONNABORTED: 'connection aborted',
};

/** Names of the HTTP/2 error codes, by number. */
const HTTP2_CODES = Object.keys(HTTP2_ERROR_CODES);

/** Returns the reason for the end of a connection after a GOAWAY with `code`. */
export function endOfGoaway(code: number): ConnectionEnd {
  return `GOAWAY ${HTTP2_CODES[code] ?? String(code)}`;
}

/** Returns the reason for the end of a connection whose socket reported `error`. */
export function endOfError({ code }: NodeJS.ErrnoException): ConnectionEnd {
  return BY_CODE[code ?? ''] ?? 'socket error';
}

/** The part of an HTTP/2 session that is watched. */
export type WatchedSession = Pick<ClientHttp2Session, 'prependOnceListener' | 'socket' | 'closed' | 'destroyed'>;

/** Records why a connection ends. grpc-js reports the end without the reason. */
export class DisconnectReasonWatch {
  private first: ConnectionEnd | undefined;

  constructor(
    private readonly session: WatchedSession,
    /** True if HTTP/2 keepalive is on. */
    private readonly isPinged: boolean,
  ) {
    // Prepended, because grpc-js releases the connection in its own listener.
    session.prependOnceListener('goaway', (code: number) => {
      this.first ??= endOfGoaway(code);
    });
    session.prependOnceListener('error', (error) => {
      this.first ??= endOfError(error as NodeJS.ErrnoException);
    });
  }

  /** Reason for the end of the connection, from the first observed event. Valid only if read immediately after the end. */
  get end(): ConnectionEnd {
    if (this.first !== undefined) return this.first;
    // When a keepalive ping times out, grpc-js drops the connection although its socket is still open.
    return this.isPinged && this.isOpen ? 'connection timed out' : 'unknown';
  }

  private get isOpen(): boolean {
    try {
      return !this.session.socket.destroyed && !this.session.socket.readableEnded;
    } catch {
      // The session no longer has a socket.
      return false;
    }
  }
}
