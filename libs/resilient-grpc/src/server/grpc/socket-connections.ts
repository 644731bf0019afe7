import type { ListenOptions, Socket } from 'node:net';
import { TLSSocket, type TlsOptions } from 'node:tls';
import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { tcpSocketOf } from '../../channel/quirks/unbound-server.js';
import { jitter, type Random } from '../../time/random.js';
import type { Clock, Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { StreamReceiver } from '../../transport/http2/events.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import type { MemoryProtection, TransportProtection } from '../../transport/protection.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import type { SocketEnd } from '../../transport/socket/http2-socket.js';
import {
  ServerListener,
  type ListenerOptions,
  type ListenerOwner,
  type RefusedConnection,
} from '../../transport/socket/server-listener.js';
import type { ServerSocket, ServerSocketOwner } from '../../transport/socket/server-socket.js';
import { handshakeFailure } from './handshake-failures.js';
import type { CallConnection } from './innermost-call.js';

/** Limits of connections in milliseconds; `undefined` means no limit. */
export interface ConnectionAges {
  readonly maxConnectionAgeMs: number | undefined;
  readonly maxConnectionAgeGraceMs: number | undefined;
  readonly connectionIdleTimeoutMs: number | undefined;
}

interface ConnectionsDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventHub<GrpcServerEvent>;
  /** Ends the calls of a connection with UNAVAILABLE. */
  readonly endCallsOf: (connection: CallConnection) => void;
  /** Returns how many requests of a connection may be read now. */
  readonly wantedOf?: (connection: CallConnection) => number;
}

/** Takes the requests of all connections. */
export type TakeRequest = (
  connection: ServedConnection,
  stream: ServerStream,
  block: HeaderBlock,
  isEnd: boolean,
) => StreamReceiver;

/** Jitter of the connection age, as a share of the age, as in gRFC A9. */
const AGE_JITTER = 0.1;
/** Time in milliseconds in which peers can read the statuses of calls that are ended because of their connection's age. */
const STATUS_FLUSH_MS = 1_000;

/**
 * Time in milliseconds after which a connection that is too old, or idle, refuses requests even if its client has not acknowledged the GOAWAY,
 * as in grpc-go. grpc-js's clients repeat a refused call only once, so requests on a slow line must arrive before.
 */
const PLANNED_END_MS = 60_000;

/** Time in milliseconds after which a client without an answer to a ping is assumed to have sent nothing. */
const PEER_QUIET_MS = 2_000;

/** Times at which it was last told that the memory of the process is used up. */
const toldAt = { refused: -Infinity, ended: -Infinity };

/** Name of a client without an address, such as one on a Unix socket. */
export const UNKNOWN_PEER = 'unknown';

/** All connections of a server on the transport of this library: listens, enforces their lifetime limits, and closes them. */
export class SocketConnections {
  /** Number of connections that a drain closed by force. */
  cutOff = 0;
  private readonly listeners = new Set<ServerListener>();
  isEnding = false;
  private isDestroyed = false;

  constructor(
    private readonly options: Omit<ListenerOptions, 'tls'>,
    readonly ages: ConnectionAges,
    readonly dependencies: ConnectionsDependencies,
  ) {}

  /**
   * Listens at `address`, and passes the requests to `take`.
   *
   * @throws Error of the listening socket, such as EADDRINUSE, or of the TLS options
   */
  async listen(address: ListenOptions, tls: TlsOptions | undefined, take: TakeRequest): Promise<ServerListener> {
    const owner: ListenerOwner = {
      accepted: (connection, socket) => new ServedConnection(connection, socket, this, take),
      refused: this.refused,
      // The connections go on, and the health checks of clients notice that no more are accepted.
      failed: () => undefined,
    };
    const listener = new ServerListener(owner, { ...this.options, tls }, this.dependencies.clock);
    await listener.listen(address);
    this.listeners.add(listener);
    if (this.isEnding) void listener.drain();
    return listener;
  }

  /**
   * Stops listening and sends GOAWAY on all connections, including those still being established; each closes after its last call. Resolves
   * when no socket is open.
   */
  async drain(): Promise<void> {
    this.isEnding = true;
    await Promise.all([...this.listeners].map((listener) => listener.drain()));
  }

  /** Closes all connections immediately. */
  destroyAll(): void {
    if (this.isDestroyed) return;
    this.isDestroyed = true;
    for (const listener of this.listeners) {
      this.cutOff += listener.size;
      listener.destroy();
    }
  }

  private readonly refused = ({ peer, protection, details, handshake }: RefusedConnection): void => {
    const { events } = this.dependencies;
    if (!events.wanted) return;
    if (protection === 'max-connections')
      events.emit({ type: 'connection-end', peer, reason: 'refused', protection, details });
    if (handshake === undefined) return;
    const { socket, error } = handshake;
    // @types/node declares an Error, but the value is the result code of the verification, or null.
    const code = error === undefined ? 'ERR_SSL_NO_APPLICATION_PROTOCOL' : error.code;
    const failure = handshakeFailure(code, socket.authorizationError);
    if (failure !== undefined) events.emit({ type: 'handshake-failed', peer: peerOf(tcpSocketOf(socket)), ...failure });
  };
}

/** One connection, from the end of its handshake to its end: its age, its idle time, and its calls. */
export class ServedConnection implements ServerSocketOwner, CallConnection {
  /** Address of the client, in the format of grpc-js. */
  readonly peer: string;
  readonly info: CallConnection['info'];
  private timer: Timer | undefined;
  private idleTimer: Timer | undefined;
  private idleSince: number;
  private isDraining = false;

  constructor(
    private readonly connection: ServerSocket,
    readonly socket: Socket,
    private readonly owner: SocketConnections,
    private readonly take: TakeRequest,
  ) {
    const { clock, random } = owner.dependencies;
    const { maxConnectionAgeMs, connectionIdleTimeoutMs } = owner.ages;
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    this.info = { localAddress, localPort, remoteAddress, remotePort };
    this.peer = peerOf(socket);
    this.idleSince = clock.now();
    if (maxConnectionAgeMs !== undefined)
      this.timer = clock.setTimer(this.closeForAge, jitter(maxConnectionAgeMs, AGE_JITTER, random));
    if (connectionIdleTimeoutMs !== undefined) this.checkIdle();
  }

  get authContext(): CallConnection['authContext'] {
    const { socket } = this;
    if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
    const certificate = socket.getPeerCertificate();
    const isPresent = (certificate as Partial<typeof certificate>).raw !== undefined;
    return { transportSecurityType: 'ssl', ...(isPresent && { sslPeerCertificate: certificate }) };
  }

  request(stream: ServerStream, block: HeaderBlock, isEnd: boolean): StreamReceiver {
    this.noteUse();
    return this.take(this, stream, block, isEnd);
  }

  memoryUsedUp(protection: MemoryProtection): void {
    const consequence = protection === 'memory-shed' ? 'ended' : 'refused';
    const { clock, events } = this.owner.dependencies;
    const now = clock.now();
    if (now - toldAt[consequence] < 1_000) return;
    toldAt[consequence] = now;
    events.emit({ type: 'memory-limit', consequence, protection });
  }

  wanted(): number {
    return this.owner.dependencies.wantedOf?.(this) ?? Infinity;
  }

  callEnded(): void {
    this.noteUse();
  }

  ended({ isPeersFault, protection, details }: SocketEnd): void {
    this.timer?.clear();
    this.idleTimer?.clear();
    if (protection === 'keepalive') this.report(protection, protection);
    else if (isPeersFault && protection !== undefined) this.report('limit', protection, details);
  }

  private noteUse(): void {
    if (this.owner.ages.connectionIdleTimeoutMs !== undefined) this.idleSince = this.owner.dependencies.clock.now();
  }

  private readonly closeForAge = (): void => {
    if (this.isEnding) return;
    const { clock } = this.owner.dependencies;
    const { maxConnectionAgeMs = 0, maxConnectionAgeGraceMs: graceMs } = this.owner.ages;
    if (!this.connection.http2.hasClientSettings) {
      // Calls may be waiting for the connection, and would fail if it ended before it began.
      this.timer = clock.setTimer(this.closeForAge, maxConnectionAgeMs);
      return;
    }
    this.report('age', 'age');
    this.drain('age');
    if (graceMs === undefined) return;
    this.timer = clock.setTimer(() => {
      this.report('age-grace', 'age-grace');
      this.owner.dependencies.endCallsOf(this);
      this.timer = new PeerTimer(clock, STATUS_FLUSH_MS, () => this.socket.destroy());
    }, graceMs);
  };

  private readonly checkIdle = (): void => {
    this.whenIdle(() => {
      // After a suspend of this process, requests may be waiting. They are read before the client acknowledges a ping.
      const { clock } = this.owner.dependencies;
      this.idleTimer = new PeerTimer(clock, PEER_QUIET_MS, this.closeIfIdle);
      this.connection.http2.ping(() => clock.defer(this.closeIfIdle));
    });
  };

  private readonly closeIfIdle = (): void => {
    if (this.isEnding) return;
    this.idleTimer?.clear();
    this.whenIdle(() => {
      this.report('idle', 'idle');
      this.drain('idle');
    });
  };

  /** Runs `task` if no call was open for the idle time; otherwise, checks again later. */
  private whenIdle(task: () => void): void {
    if (this.isEnding) return;
    const { clock } = this.owner.dependencies;
    const timeoutMs = this.owner.ages.connectionIdleTimeoutMs ?? Infinity;
    const { openStreams, hasClientSettings } = this.connection.http2;
    const isUsed = openStreams > 0 || !hasClientSettings;
    const leftMs = isUsed ? timeoutMs : this.idleSince + timeoutMs - clock.now();
    if (leftMs > 0) this.idleTimer = clock.setTimer(this.checkIdle, leftMs);
    else task();
  }

  /** True if the connection closes after its last call anyway. */
  private get isEnding(): boolean {
    return this.isDraining || this.owner.isEnding;
  }

  private drain(protection: 'age' | 'idle'): void {
    this.isDraining = true;
    this.idleTimer?.clear();
    this.connection.drain(protection, PLANNED_END_MS);
  }

  private report(
    reason: 'age' | 'age-grace' | 'idle' | 'keepalive' | 'limit',
    protection: TransportProtection,
    details?: string,
  ): void {
    const { events } = this.owner.dependencies;
    const { peer } = this;
    if (events.wanted)
      events.emit({ type: 'connection-end', peer, reason, protection, ...(details !== undefined && { details }) });
  }
}

/** Returns the address of a client in the format of grpc-js's `getPeer()`. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress !== undefined && remotePort !== undefined
    ? `${remoteAddress}:${String(remotePort)}`
    : UNKNOWN_PEER;
}
