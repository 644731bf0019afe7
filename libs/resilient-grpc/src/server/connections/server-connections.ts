import type { Server } from '@grpc/grpc-js';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { Server as TcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { EventHub } from '../../call/event-hub.js';
import type { SeamReport } from '../../channel/quirks/seam-report.js';
import { isStopped } from '../../channel/quirks/stopped-session.js';
import type { Clock, Timer } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { Random } from '../../time/random.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { hearHttp2Servers, listenWith, type NodeHttp2Server } from '../quirks/http2-servers.js';
import { UNKNOWN_PEER, peerOf } from './peer.js';
import { QUIET_MS, ServerConnection, type ConnectionHost, type ConnectionLimits } from './server-connection.js';

/** Options of the connections of a server. */
export interface ServerConnectionOptions extends ConnectionLimits {
  /** Connections that the system holds until they are accepted. */
  readonly backlog: number;
}

/** What they need from outside. */
export interface ServerConnectionSeams {
  readonly clock: Clock;
  readonly random: Random;
  readonly events: EventHub<GrpcServerEvent>;
  readonly seamReport: Pick<SeamReport, 'check'>;
  /** Ends the calls of a peer, UNAVAILABLE. */
  readonly endCallsOf: (peer: string) => void;
}

/** Connections on which HTTP/2 has ended are looked for at this interval. */
const LOOK_MS = 1_000;

/** All connections of a server: how long they live, and how they end. */
export class ServerConnections {
  /** Connections that a drain has cut. */
  cutOff = 0;
  /** True if the connections of the server are seen. */
  isAttached = false;
  private readonly http2Servers: NodeHttp2Server[] = [];
  /** Every socket that was accepted, those that still shake hands too. */
  private readonly sockets = new Set<Duplex>();
  private readonly connections = new Map<ServerHttp2Session, ServerConnection>();
  private readonly host: ConnectionHost;
  private readonly waiting: (() => void)[] = [];
  private ending = false;
  private strayTimer: PeerTimer | undefined;
  private lookTimer: Timer | undefined;

  constructor(
    private readonly options: ServerConnectionOptions,
    private readonly seams: ServerConnectionSeams,
  ) {
    const { clock, random, events, endCallsOf } = seams;
    this.host = {
      limits: options,
      clock,
      random,
      endCallsOf: (peer) => {
        // The calls of all who come by a Unix socket would bear that name.
        if (peer !== UNKNOWN_PEER) endCallsOf(peer);
      },
      tell: (peer, because) => {
        if (because === 'half-request') this.cutOff += 1;
        if (events.wanted) events.emit({ type: 'connection-end', peer, because });
      },
    };
  }

  /**
   * Follows the connections of `server`; to be called before it is bound. False: it does not let see them. Then it has none as far as
   * can be told here, and its own shutdown has to do.
   */
  attach(server: Server): boolean {
    this.isAttached = hearHttp2Servers(server, (http2Server) => {
      this.follow(http2Server);
    });
    return this.isAttached;
  }

  /** Sockets that are open. */
  get size(): number {
    return this.sockets.size;
  }

  /** Listens no more, and tells all connections to end when their calls have ended, also those that come yet. */
  announceEnd(): void {
    if (this.ending) return;
    this.ending = true;
    for (const http2Server of this.http2Servers) {
      // Its own `close` would, from Node 24 on, close sessions that are not our business yet.
      if (http2Server.listening) TcpServer.prototype.close.call(http2Server);
    }
    for (const connection of this.connections.values()) connection.end();
    if (this.sockets.size > this.connections.size)
      this.strayTimer = new PeerTimer(this.seams.clock, QUIET_MS, this.endStrays);
  }

  /** Ends connections that are left with nothing but requests which do not come to their end. */
  endHalfRequests(noCallIsOpen: () => boolean): void {
    for (const connection of this.connections.values()) connection.endHalfRequests(noCallIsOpen);
  }

  /** Ends all at once, whatever their peers do. */
  destroyAll(): void {
    this.cutOff += this.sockets.size;
    for (const socket of [...this.sockets]) socket.destroy();
  }

  /** When no socket is open. */
  closed(): Promise<void> {
    if (this.sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private follow(http2Server: NodeHttp2Server): void {
    this.http2Servers.push(http2Server);
    listenWith(http2Server, this.options.backlog);
    // A session is made, and told of, while its socket is: so the latest one is its own.
    let latest: Duplex | undefined;
    http2Server.prependListener('connection', (socket: Duplex) => {
      latest = socket;
      this.add(socket);
    });
    http2Server.prependListener('secureConnection', (socket: Duplex) => {
      latest = socket;
    });
    http2Server.on('session', (session: ServerHttp2Session) => {
      if (latest !== undefined) this.begin(session, latest);
    });
    if (this.options.connectionIdleTimeoutMs === undefined) return;
    http2Server.on('stream', (stream: ServerHttp2Stream) => {
      if (stream.session !== undefined) this.connections.get(stream.session as ServerHttp2Session)?.noteStream(stream);
    });
  }

  private add(socket: Duplex): void {
    this.sockets.add(socket);
    socket.once('close', () => {
      this.sockets.delete(socket);
      if (this.sockets.size > 0) return;
      this.strayTimer?.clear();
      for (const resolve of this.waiting.splice(0)) resolve();
    });
  }

  private begin(session: ServerHttp2Session, socket: Duplex): void {
    this.seams.seamReport.check('server session', session);
    const connection = new ServerConnection(session, socket, this.host);
    this.connections.set(session, connection);
    this.lookTimer ??= this.seams.clock.setTimer(this.endStopped, LOOK_MS);
    socket.once('close', () => {
      this.connections.delete(session);
      if (this.connections.size > 0 || this.lookTimer === undefined) return;
      this.seams.clock.clearTimer(this.lookTimer);
      this.lookTimer = undefined;
    });
    if (this.ending) connection.end();
  }

  /** Ends connections whose clients have broken the protocol: Node reads neither requests nor an end from them. */
  private readonly endStopped = (): void => {
    this.lookTimer = this.seams.clock.setTimer(this.endStopped, LOOK_MS);
    for (const [session, connection] of this.connections) if (isStopped(session)) connection.destroy();
  };

  /** What has not come to speak HTTP/2 by now does not want to. */
  private readonly endStrays = (): void => {
    const peers = new Set([...this.connections.values()].map(({ peer }) => peer));
    for (const socket of [...this.sockets]) if (!peers.has(peerOf(socket))) socket.destroy();
  };
}
