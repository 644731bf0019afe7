import { connect, constants, type ClientHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { CHECK } from '../health/health-service.js';
import { systemClock } from '../time/clock.js';
import { within } from './time-budget.js';

/** The closure of a connection by its peer. */
export interface PeerEnd {
  /** `goaway`: HTTP/2 GOAWAY; `fin` and `rst`: only TCP was closed or reset. */
  readonly how: 'goaway' | 'fin' | 'rst';
  /** Debug data of the GOAWAY, or its error code. */
  readonly details?: string;
  /** Milliseconds since the connection first became idle. */
  readonly afterMs: number;
}

/** Result of a ping or a call on a connection. */
export type Answer = 'answered' | 'silent' | 'ended';

const REQUEST = { ':method': 'POST', ':path': CHECK.path, 'content-type': 'application/grpc', te: 'trailers' };
/** The 5-byte prefix of an empty message: { service: '' }. */
const EMPTY_MESSAGE = Buffer.alloc(5);

/** An HTTP/2 connection that sends nothing on its own. */
export class IdleSession {
  /** Resolves when the peer has closed the connection, or after `close()`. */
  readonly ended: Promise<void>;
  /** The closure by the peer; `undefined` if the peer has not closed the connection. */
  end: PeerEnd | undefined;
  private readonly session: ClientHttp2Session;
  private restedAt = systemClock.now();
  private wasUsed = false;
  private isClosed = false;

  /** @param authority `:authority` of the calls, such as 'orders:50051' */
  constructor(
    private readonly socket: Socket,
    scheme: 'http' | 'https',
    private readonly authority: string,
  ) {
    this.session = connect(`${scheme}://${authority}`, { createConnection: () => socket });
    this.ended = new Promise((resolve) => {
      let errorCode: string | undefined;
      const over = (how: PeerEnd['how'], details?: string): void => {
        if (!this.isClosed) this.end ??= { how, ...(details !== undefined && { details }), afterMs: this.idleMs };
        resolve();
      };
      this.session.on('error', (error: NodeJS.ErrnoException) => (errorCode = error.code));
      this.session.on('goaway', (code: number, _last: number, data?: Buffer) => {
        const text = data?.toString('latin1').replace(/[^\x20-\x7e]/g, '.');
        over('goaway', text || (code === constants.NGHTTP2_NO_ERROR ? undefined : `code ${String(code)}`));
      });
      this.session.on('close', () => {
        over(errorCode === 'ECONNRESET' ? 'rst' : 'fin');
      });
    });
  }

  /** Milliseconds since `rest()`. */
  get idleMs(): number {
    return systemClock.now() - this.restedAt;
  }

  /** True if nothing has been sent since `rest()`. */
  get isUnused(): boolean {
    return !this.wasUsed;
  }

  /** True if the connection is open and nothing has been sent since `rest()`. */
  get isIdle(): boolean {
    return this.isUnused && !this.isClosed && this.end === undefined;
  }

  /** Starts the idle time. */
  rest(): void {
    this.restedAt = systemClock.now();
    this.wasUsed = false;
  }

  /** Sends an HTTP/2 PING. */
  ping(timeoutMs: number): Promise<Answer> {
    return this.answer(timeoutMs, (answered) => {
      this.session.ping((error) => {
        if (error === null) answered();
      });
    });
  }

  /** Runs a health check. Any response counts as an answer. */
  call(timeoutMs: number): Promise<Answer> {
    return this.answer(timeoutMs, (answered) => {
      const stream = this.session.request({ ...REQUEST, ':authority': this.authority });
      stream.on('error', () => undefined);
      stream.on('response', answered).resume().end(EMPTY_MESSAGE);
    });
  }

  close(): void {
    this.isClosed = true;
    this.session.destroy();
    this.socket.destroy();
  }

  private async answer(timeoutMs: number, send: (answered: () => void) => void): Promise<Answer> {
    if (this.end !== undefined || this.session.closed || this.session.destroyed) return 'ended';
    this.wasUsed = true;
    const answered = new Promise<Answer>((resolve) => {
      send(() => {
        resolve('answered');
      });
    });
    return within<Answer>(timeoutMs, Promise.race([answered, this.ended.then(() => 'ended' as const)]), 'silent');
  }
}
