import type { ServerHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import { jitter, type Random } from '../../time/random.js';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { awaitsRequestsOnly } from '../quirks/half-requests.js';
import { peerOf } from './peer.js';

/** How long connections live; all in milliseconds, `undefined` and `Infinity`: without end. */
export interface ConnectionLimits {
  readonly maxConnectionAgeMs: number | undefined;
  readonly maxConnectionAgeGraceMs: number | undefined;
  readonly connectionIdleTimeoutMs: number | undefined;
  /** A ping is sent so often, calls or not. */
  readonly keepaliveTimeMs: number;
  /** A peer that has not answered by then is dead. */
  readonly keepaliveTimeoutMs: number;
}

/** Why a connection was ended by the server. */
export type ConnectionEndReason = 'age' | 'age-grace' | 'idle' | 'keepalive' | 'half-request';

/** What a connection needs of the server. */
export interface ConnectionHost {
  readonly limits: ConnectionLimits;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the calls of a peer, by a status. */
  endCallsOf(peer: string): void;
  tell(peer: string, because: ConnectionEndReason): void;
}

/** What is used of a session. */
export type ConnectionSession = Pick<ServerHttp2Session, 'closed' | 'destroyed' | 'close' | 'ping' | 'settings'>;

/** gRFC A9. */
const AGE_JITTER = 0.1;
/** What the statuses of calls that were ended for their connection's age have to get out. */
const LAST_WORDS_MS = 100;
/** A peer from which nothing comes for so long, after we have sent our end or have asked, has nothing to send. */
export const QUIET_MS = 2_000;
/** A request of which nothing comes for so long is not waited for when nothing else is. */
export const HALF_REQUEST_MS = 500;

type Task = 'age' | 'grace' | 'idle' | 'keepalive' | 'quiet' | 'half-request';

/**
 * One connection, from its session to its socket's end. It is ended by `session.close()`: one GOAWAY with the last stream that was
 * taken. What is on its way is refused by that, and clients send it again elsewhere without a word; they read it before the FIN
 * behind it. An earlier GOAWAY of 2^31−1, as other servers send, would be worse: from then on Node takes no stream either, and
 * without an open one does not even read, so that requests on their way hang until the second GOAWAY refuses them.
 */
export class ServerConnection {
  /** As calls name it. */
  readonly peer: string;
  private readonly timers = new Map<Task, { clear(): void }>();
  private openStreams = 0;
  private idleSince: number;

  constructor(
    private readonly session: ConnectionSession,
    private readonly socket: Duplex,
    private readonly host: ConnectionHost,
  ) {
    const { limits, clock, random } = host;
    this.peer = peerOf(socket);
    this.idleSince = clock.now();
    if (limits.maxConnectionAgeMs !== undefined) {
      this.arm('age', jitter(limits.maxConnectionAgeMs, AGE_JITTER, random), () => {
        this.whenHeardOut('age', this.endOfAge);
      });
    }
    if (limits.connectionIdleTimeoutMs !== undefined) this.arm('idle', limits.connectionIdleTimeoutMs, this.checkIdle);
    this.keepAlive();
    socket.once('finish', this.awaitPeersEnd);
    socket.once('close', () => {
      for (const timer of this.timers.values()) timer.clear();
      this.timers.clear();
    });
  }

  /** Counts a stream; only where connections end when they are idle. */
  noteStream(stream: { once(event: 'close', listener: () => void): unknown }): void {
    this.openStreams += 1;
    stream.once('close', () => {
      this.openStreams -= 1;
      if (this.openStreams > 0) return;
      this.idleSince = this.host.clock.now();
      if (!this.timers.has('idle')) this.checkIdle();
    });
  }

  /** Takes no more calls; when those that are open have ended, it ends. */
  end(): void {
    this.disarm('age');
    this.disarm('idle');
    this.session.close();
  }

  /**
   * Ends it as soon as no stream of it is left but of requests that have not come to their end, and nothing comes any more: no handler
   * runs for them, so that the whole time would be waited for nothing.
   */
  endHalfRequests(noCallIsOpen: () => boolean): void {
    const before = bytesReadOf(this.socket);
    this.awaitPeer('half-request', HALF_REQUEST_MS, () => {
      if (this.session.destroyed) return;
      // A handler that takes many messages waits for the next one, however long that takes.
      if (!noCallIsOpen() || bytesReadOf(this.socket) !== before || !awaitsRequestsOnly(this.session)) {
        this.endHalfRequests(noCallIsOpen);
        return;
      }
      this.host.tell(this.peer, 'half-request');
      this.destroy();
    });
  }

  /** Ends it at once, whatever its peer does. */
  destroy(): void {
    // Not the session's way, which waits until a peer that does not read has read what was sent.
    this.socket.destroy();
  }

  private readonly endOfAge = (): void => {
    const { host, peer } = this;
    const graceMs = host.limits.maxConnectionAgeGraceMs;
    if (this.session.closed) return;
    host.tell(peer, 'age');
    this.end();
    if (graceMs === undefined) return;
    this.arm('grace', graceMs, () => {
      // No call is open: it is about to end.
      if (this.session.destroyed) return;
      host.tell(peer, 'age-grace');
      host.endCallsOf(peer);
      this.arm('grace', LAST_WORDS_MS, () => {
        this.destroy();
      });
    });
  };

  private readonly checkIdle = (): void => {
    this.whenIdle(() => {
      this.whenHeardOut('idle', this.endOfIdle);
    });
  };

  private readonly endOfIdle = (): void => {
    this.whenIdle(() => {
      this.host.tell(this.peer, 'idle');
      this.end();
    });
  };

  /** Runs `task` where its idle time is over; where that is yet to come, it is looked at again then. */
  private whenIdle(task: () => void): void {
    const timeoutMs = this.host.limits.connectionIdleTimeoutMs;
    if (timeoutMs === undefined || this.openStreams > 0 || this.session.closed) return;
    const leftMs = this.idleSince + timeoutMs - this.host.clock.now();
    if (leftMs > 0) this.arm('idle', leftMs, this.checkIdle);
    else task();
  }

  /**
   * When what the peer had sent by now was read, or it is silent: after a standstill of this process requests wait in the socket, and
   * to refuse those is to refuse a call that another connection has refused before, for good.
   */
  private whenHeardOut(name: 'age' | 'idle', task: () => void): void {
    if (this.session.closed || this.session.destroyed) return;
    this.awaitPeer(name, QUIET_MS, task);
    this.session.ping((error) => {
      // Not at once: requests may lie behind the answer, in what was read with it.
      if (error === null && this.timers.has(name)) this.arm(name, 0, task);
    });
  }

  private readonly keepAlive = (): void => {
    const { keepaliveTimeMs } = this.host.limits;
    if (keepaliveTimeMs !== Infinity && !this.socket.destroyed) this.arm('keepalive', keepaliveTimeMs, this.probe);
  };

  /** grpc-js's own keepalive ends a connection with calls that has been told to go: Node pings on none that is closed. */
  private readonly probe = (): void => {
    const { session } = this;
    this.awaitPeer('keepalive', this.host.limits.keepaliveTimeoutMs, () => {
      this.host.tell(this.peer, 'keepalive');
      this.destroy();
    });
    // Nothing can be sent any more: what was sent has to be read by then.
    if (session.destroyed) return;
    // A peer has to acknowledge settings too, at once, and none are changed.
    if (session.closed) session.settings({}, this.keepAlive);
    else session.ping(this.keepAlive);
  };

  private readonly awaitPeersEnd = (): void => {
    const before = bytesReadOf(this.socket);
    this.awaitPeer('quiet', QUIET_MS, () => {
      // It still reads what was sent, and says so.
      if (bytesReadOf(this.socket) === before) this.destroy();
      else this.awaitPeersEnd();
    });
  };

  /** Runs `task` after `ms`. */
  private arm(name: Task, ms: number, task: () => void): void {
    this.disarm(name);
    const { clock } = this.host;
    const timer = clock.setTimer(() => {
      this.timers.delete(name);
      task();
    }, ms);
    this.timers.set(name, {
      clear: () => {
        clock.clearTimer(timer);
      },
    });
  }

  /** Runs `task` when the peer has had `ms` to send something. */
  private awaitPeer(name: Task, ms: number, task: () => void): void {
    this.disarm(name);
    const timer = new PeerTimer(this.host.clock, ms, () => {
      this.timers.delete(name);
      task();
    });
    this.timers.set(name, timer);
  }

  private disarm(name: Task): void {
    this.timers.get(name)?.clear();
    this.timers.delete(name);
  }
}

function bytesReadOf(socket: Duplex): unknown {
  return 'bytesRead' in socket ? socket.bytesRead : 0;
}
