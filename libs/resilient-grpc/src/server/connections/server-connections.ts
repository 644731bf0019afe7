import type { Server } from '@grpc/grpc-js';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { Server as TcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { SeamReport } from '../../channel/quirks/seam.js';
import { isStopped } from '../quirks/stopped-session.js';
import type { Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import { observeHttp2Servers, type NodeHttp2Server } from '../quirks/http2-servers.js';
import { tcpSocketOf } from '../quirks/tls-socket.js';
import { handshakeFailure } from './handshake-failures.js';
import {
  PEER_QUIET_MS,
  ServerConnection,
  UNKNOWN_PEER,
  peerOf,
  type ConnectionLifetime,
  type ServerConnectionDependencies,
} from './server-connection.js';

/** Interval in milliseconds between searches for connections on which HTTP/2 has stopped. */
const POLL_INTERVAL_MS = 1_000;

/** Maximum number of connections that are checked in one event-loop turn. Thousands would block the event loop for milliseconds. */
const MAX_POLLED = 200;

/** All connections of a server; enforces their lifetime limits and closes them. */
export class ServerConnections {
  /** Number of connections that a drain closed by force. */
  cutOff = 0;
  /** True if the connections of the server can be observed. */
  isAttached = false;
  private readonly http2Servers: NodeHttp2Server[] = [];
  /** All accepted sockets, including those in a TLS handshake. */
  private readonly sockets = new Set<Duplex>();
  private readonly connections = new Map<ServerHttp2Session, ServerConnection>();
  private readonly waiting: (() => void)[] = [];
  private ending = false;
  private strayTimer: PeerTimer | undefined;
  private pollTimer: Timer | undefined;

  constructor(
    private readonly options: ConnectionLifetime,
    private readonly dependencies: ServerConnectionDependencies,
    private readonly seamReport: Pick<SeamReport, 'check'>,
  ) {}

  /**
   * Tracks the connections of `server`. Must be called before the server is bound. If the connections cannot be observed, this object
   * contains none, and grpc-js's own shutdown closes them.
   */
  attach(server: Server): void {
    this.isAttached = observeHttp2Servers(server, (http2Server) => {
      this.follow(http2Server);
    });
  }

  /** Number of open sockets. */
  get size(): number {
    return this.sockets.size;
  }

  /** Stops listening and sends GOAWAY on all connections, including those still being established; each closes after its last call. */
  announceEnd(): void {
    if (this.ending) return;
    this.ending = true;
    for (const http2Server of this.http2Servers) {
      // In Node 24 and later, the server's own `close` would also close its sessions, which must stay open here.
      if (http2Server.listening) TcpServer.prototype.close.call(http2Server);
    }
    for (const connection of this.connections.values()) connection.end();
    if (this.sockets.size > this.connections.size)
      this.strayTimer = new PeerTimer(this.dependencies.clock, PEER_QUIET_MS, this.endStrays);
  }

  /** Closes all connections immediately. */
  destroyAll(): void {
    this.cutOff += this.sockets.size;
    for (const socket of [...this.sockets]) socket.destroy();
  }

  /** Resolves when no socket is open. */
  closed(): Promise<void> {
    if (this.sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private follow(http2Server: NodeHttp2Server): void {
    this.http2Servers.push(http2Server);
    // Node emits 'session' synchronously with the event of the session's socket, so `latest` is that socket.
    let latest: Duplex | undefined;
    http2Server.prependListener('connection', (socket: Duplex) => {
      latest = socket;
      this.add(socket);
    });
    http2Server.prependListener('secureConnection', (socket: Duplex) => {
      latest = socket;
    });
    http2Server.on('tlsClientError', this.reportHandshake);
    http2Server.on('session', (session: ServerHttp2Session) => {
      if (latest !== undefined) this.begin(session, latest);
    });
    if (this.options.connectionIdleTimeoutMs === undefined) return;
    http2Server.on('stream', (stream: ServerHttp2Stream) => {
      if (stream.session !== undefined) this.connections.get(stream.session as ServerHttp2Session)?.noteStream(stream);
    });
  }

  private readonly reportHandshake = (error: NodeJS.ErrnoException, socket: TLSSocket): void => {
    // @types/node declares an Error, but the value is the result code of the verification, or null.
    const failure = handshakeFailure(error.code, socket.authorizationError);
    if (failure === undefined) return;
    this.seamReport.check('rejected TLS socket', socket);
    const { events } = this.dependencies;
    if (events.wanted) events.emit({ type: 'handshake-failed', peer: peerOf(tcpSocketOf(socket)), ...failure });
  };

  private add(socket: Duplex): void {
    this.sockets.add(socket);
    // The address is read now, because Node keeps the address of a closed socket only if the address was read while the socket was open.
    peerOf(socket);
    socket.once('close', () => {
      this.sockets.delete(socket);
      if (this.sockets.size > 0) return;
      this.strayTimer?.clear();
      for (const resolve of this.waiting.splice(0)) resolve();
    });
  }

  private begin(session: ServerHttp2Session, socket: Duplex): void {
    this.seamReport.check('server session', session);
    const connection = new ServerConnection(session, socket, this.options, this.dependencies);
    this.connections.set(session, connection);
    this.pollTimer ??= this.dependencies.clock.setTimer(this.endStopped, POLL_INTERVAL_MS);
    socket.once('close', () => {
      this.connections.delete(session);
      if (this.connections.size > 0) return;
      this.pollTimer?.clear();
      this.pollTimer = undefined;
    });
    if (this.ending) connection.end();
  }

  /** Closes connections whose clients have violated the protocol. Node no longer reads from such a connection. */
  private readonly endStopped = (): void => {
    this.pollTimer = this.dependencies.clock.setTimer(this.endStopped, POLL_INTERVAL_MS);
    this.endStoppedIn(this.connections.entries());
  };

  private endStoppedIn(connections: Iterator<[ServerHttp2Session, ServerConnection], undefined>): void {
    for (let polled = 0; polled < MAX_POLLED; polled++) {
      const { done, value } = connections.next();
      if (done === true) return;
      const [session, connection] = value;
      if (isStopped(session)) connection.destroy();
    }
    this.dependencies.clock.defer(() => {
      this.endStoppedIn(connections);
    });
  }

  /**
   * Closes sockets that have had enough time to start an HTTP/2 session but have none. Only TLS servers have such sockets. The session of a
   * TLS connection does not expose its underlying socket, so sessions and sockets are matched by their peer. All peers on Unix sockets
   * share one name. While any of these peers has a session, their other sockets are closed only if they have received nothing. Node closes
   * the rest at its TLS handshake timeout.
   */
  private readonly endStrays = (): void => {
    const peers = new Set([...this.connections.values()].map(({ peer }) => peer));
    for (const socket of [...this.sockets]) {
      const peer = peerOf(socket);
      if (!peers.has(peer) || (peer === UNKNOWN_PEER && hasReadNothing(socket))) socket.destroy();
    }
  };
}

function hasReadNothing(socket: Duplex): boolean {
  return 'bytesRead' in socket && socket.bytesRead === 0;
}
