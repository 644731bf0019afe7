import type { ServerHttp2Session } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { jitter, type Random } from '../../time/random.js';
import type { Clock, Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';

/** Lifetime limits of connections in milliseconds; `undefined` means no limit. */
export interface ConnectionLifetime {
  readonly maxConnectionAgeMs: number | undefined;
  readonly maxConnectionAgeGraceMs: number | undefined;
  readonly connectionIdleTimeoutMs: number | undefined;
  /** Interval between pings, with or without open calls; `Infinity` disables pings. */
  readonly keepaliveTimeMs: number;
  /** Time within which the peer must acknowledge a ping; otherwise, its connection is closed. */
  readonly keepaliveTimeoutMs: number;
}

/** Dependencies of the connections of a server. */
export interface ServerConnectionDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventHub<GrpcServerEvent>;
  /** Ends the calls of a peer with UNAVAILABLE. */
  readonly endCallsOf: (peer: string) => void;
}

/** The part of an HTTP/2 session that this class uses. */
export type ConnectionSession = Pick<ServerHttp2Session, 'closed' | 'destroyed' | 'close' | 'ping' | 'settings'>;

/** Jitter of the connection age, as a share of the age, as in gRFC A9. */
const AGE_JITTER = 0.1;
/** Time in milliseconds in which peers can read the statuses of calls that are ended because of their connection's age. */
const STATUS_FLUSH_MS = 1_000;
/**
 * Time in milliseconds after which a peer is assumed to have nothing more to send: it has sent no data since the server closed its side, or
 * has not acknowledged a ping. Also the time that a shutdown allows for unfinished TLS handshakes.
 */
export const PEER_QUIET_MS = 2_000;

/** Name of a peer without an address, such as one on a Unix socket. */
export const UNKNOWN_PEER = 'unknown';

type Task = 'age' | 'grace' | 'idle' | 'keepalive' | 'quiet';

/**
 * One connection, from the start of its session to the end of its socket. `session.close()` sends one GOAWAY with the last accepted stream
 * ID, and closes the connection after its last stream. This GOAWAY rejects requests in transit. Clients read it before the FIN that
 * follows, so they retry these requests transparently on another connection. Other servers first send a GOAWAY with the stream ID 2^31−1.
 * After such a GOAWAY, Node accepts no streams, and it reads nothing while no stream is open. Requests in transit would therefore hang
 * until the second GOAWAY rejects them.
 */
export class ServerConnection {
  /** Address of the peer, in the format that calls use. */
  readonly peer: string;
  private readonly timers = new Map<Task, Timer>();
  private openStreams = 0;
  private idleSince: number;

  constructor(
    private readonly session: ConnectionSession,
    private readonly socket: Duplex,
    private readonly limits: ConnectionLifetime,
    private readonly dependencies: ServerConnectionDependencies,
  ) {
    const { clock, random } = dependencies;
    this.peer = peerOf(socket);
    this.idleSince = clock.now();
    if (limits.maxConnectionAgeMs !== undefined) {
      this.arm('age', jitter(limits.maxConnectionAgeMs, AGE_JITTER, random), () => {
        this.whenRead('age', this.closeForAge);
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

  /** Counts a stream. Called only if connections have an idle timeout. */
  noteStream(stream: { once(event: 'close', listener: () => void): unknown }): void {
    this.openStreams += 1;
    stream.once('close', () => {
      this.openStreams -= 1;
      if (this.openStreams > 0) return;
      this.idleSince = this.dependencies.clock.now();
      if (!this.timers.has('idle')) this.checkIdle();
    });
  }

  /** Rejects new calls, and closes the connection after its last open call. */
  end(): void {
    this.disarm('age');
    this.disarm('idle');
    this.session.close();
  }

  /** Closes the connection immediately. */
  destroy(): void {
    // `session.destroy()` would wait until the peer has read all sent data, which might never happen.
    this.socket.destroy();
  }

  private readonly closeForAge = (): void => {
    const { peer } = this;
    const graceMs = this.limits.maxConnectionAgeGraceMs;
    if (this.session.closed) return;
    this.reportEnd('age');
    this.end();
    if (graceMs === undefined) return;
    this.arm('grace', graceMs, () => {
      // No call is open, and the connection is closing.
      if (this.session.destroyed) return;
      this.reportEnd('age-grace');
      // All calls over Unix sockets share the peer name UNKNOWN_PEER, so ending calls by this name would also end calls of other
      // connections.
      if (peer !== UNKNOWN_PEER) this.dependencies.endCallsOf(peer);
      const flushed = (): void => {
        this.destroy();
      };
      this.arm('grace', STATUS_FLUSH_MS, flushed, true);
    });
  };

  private readonly checkIdle = (): void => {
    this.whenIdle(() => {
      this.whenRead('idle', this.closeForIdleness);
    });
  };

  private readonly closeForIdleness = (): void => {
    this.whenIdle(() => {
      this.reportEnd('idle');
      this.end();
    });
  };

  /** Runs `task` if the idle timeout has passed, or schedules another check. Does nothing if a stream is open or the session is closed. */
  private whenIdle(task: () => void): void {
    const timeoutMs = this.limits.connectionIdleTimeoutMs;
    if (timeoutMs === undefined || this.openStreams > 0 || this.session.closed) return;
    const leftMs = this.idleSince + timeoutMs - this.dependencies.clock.now();
    if (leftMs > 0) this.arm('idle', leftMs, this.checkIdle);
    else task();
  }

  /**
   * Runs `task` when the data that the peer has sent so far has been read, or if the peer does not acknowledge a ping in time. After a
   * suspend of this process, requests may be waiting in the socket. The call of such a request fails if two connections reject it, because
   * clients retry a call transparently only once.
   */
  private whenRead(name: 'age' | 'idle', task: () => void): void {
    if (this.session.closed || this.session.destroyed) return;
    this.arm(name, PEER_QUIET_MS, task, true);
    this.session.ping((error) => {
      // Deferred, because requests may follow the PING acknowledgment in the same read.
      if (error === null && this.timers.has(name)) this.arm(name, 0, task);
    });
  }

  private readonly keepAlive = (): void => {
    const { keepaliveTimeMs } = this.limits;
    if (keepaliveTimeMs !== Infinity && !this.socket.destroyed) this.arm('keepalive', keepaliveTimeMs, this.probe);
  };

  /**
   * Checks whether the peer responds. Replaces grpc-js's keepalive, which would drop a connection that still has calls after GOAWAY,
   * because Node then sends no PING.
   */
  private readonly probe = (): void => {
    const { session } = this;
    const unanswered = (): void => {
      this.reportEnd('keepalive');
      this.destroy();
    };
    this.arm('keepalive', this.limits.keepaliveTimeoutMs, unanswered, true);
    // A destroyed session cannot send PING, so the peer must read all sent data within the timeout.
    if (session.destroyed) return;
    // A closed session cannot send PING. Peers must also acknowledge SETTINGS immediately, and an empty SETTINGS frame changes no setting.
    if (session.closed) session.settings({}, this.keepAlive);
    else session.ping(this.keepAlive);
  };

  private readonly awaitPeersEnd = (): void => {
    const before = bytesReadOf(this.socket);
    const check = (): void => {
      // A peer that is still reading responses sends WINDOW_UPDATE frames.
      if (bytesReadOf(this.socket) === before) this.destroy();
      else this.awaitPeersEnd();
    };
    this.arm('quiet', PEER_QUIET_MS, check, true);
  };

  private reportEnd(reason: 'age' | 'age-grace' | 'idle' | 'keepalive'): void {
    const { events } = this.dependencies;
    if (events.wanted) events.emit({ type: 'connection-end', peer: this.peer, reason });
  }

  /** Runs `task` after `ms`. If `forPeer` is true, time during which this process was suspended or blocked does not count. */
  private arm(name: Task, ms: number, task: () => void, forPeer = false): void {
    this.disarm(name);
    const { clock } = this.dependencies;
    const run = (): void => {
      this.timers.delete(name);
      task();
    };
    this.timers.set(name, forPeer ? new PeerTimer(clock, ms, run) : clock.setTimer(run, ms));
  }

  private disarm(name: Task): void {
    this.timers.get(name)?.clear();
    this.timers.delete(name);
  }
}

function bytesReadOf(socket: Duplex): unknown {
  return 'bytesRead' in socket ? socket.bytesRead : 0;
}

/** Returns the peer of a socket in the format of grpc-js's `getPeer()`. */
export function peerOf(socket: Duplex): string {
  const address: unknown = Reflect.get(socket, 'remoteAddress');
  const port: unknown = Reflect.get(socket, 'remotePort');
  return typeof address === 'string' && typeof port === 'number' ? `${address}:${String(port)}` : UNKNOWN_PEER;
}
