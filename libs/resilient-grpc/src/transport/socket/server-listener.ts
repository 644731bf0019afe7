import { createServer as createTcpServer, type ListenOptions, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  Server as TlsServer,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import type { Clock } from '../../time/clock.js';
import { PeerTimer } from '../../time/peer-timer.js';
import type { TransportProtection } from '../protection.js';
import { peerOf, ServerSocket, type ServerSocketOptions, type ServerSocketOwner } from './server-socket.js';

/** A connection that was closed before it could carry requests. */
export interface RefusedConnection {
  /** Address of the client. */
  readonly peer: string;
  readonly protection: Extract<TransportProtection, 'max-connections' | 'handshake'>;
  readonly details: string;
  /** The socket whose handshake failed, and the error, if there is one. */
  readonly handshake?: { readonly socket: TLSSocket; readonly error?: NodeJS.ErrnoException };
}

/** Receives the events of a listener. */
export interface ListenerOwner {
  /** A client has connected, and its TLS handshake is complete. `socket` tells its addresses and certificate. */
  accepted(connection: ServerSocket, socket: Socket): ServerSocketOwner;
  refused(connection: RefusedConnection): void;
  /** The listening socket has failed. Connections go on. */
  failed(error: Error): void;
}

export interface ListenerOptions extends ServerSocketOptions {
  /** Options of `tls.createServer`; without them, clients connect without TLS. */
  readonly tls?: TlsOptions | undefined;
  /** Milliseconds within which a TLS handshake must be complete. */
  readonly handshakeTimeoutMs: number;
  /** Maximum number of connections; further ones are closed at once. */
  readonly maxConnections: number;
}

/** Memory of a TLS connection outside V8's heap, apart from its calls. */
const TLS_BYTES = 57_344;

/** Accepts connections at one address. */
export class ServerListener {
  private readonly server: Server;
  private readonly connections = new Set<ServerSocket>();
  /** Sockets that have connected and not closed, also those whose TLS handshake is incomplete. */
  private readonly sockets = new Set<Socket>();
  private isStopped = false;
  private hasSecureContext = true;
  /** Resolves when the last socket has closed, during a drain. */
  private drained: Promise<void> | undefined;
  private closed: (() => void) | undefined;

  constructor(
    private readonly owner: ListenerOwner,
    private readonly options: ListenerOptions,
    private readonly clock: Clock,
  ) {
    this.server = options.tls === undefined ? this.createTcp() : this.createTls(options.tls);
    this.server.maxConnections = options.maxConnections;
    const handlers = this.server.rawListeners('connection');
    this.server.removeAllListeners('connection').on('connection', (socket: Socket) => {
      if (this.connected(socket)) for (const handle of handlers) handle.call(this.server, socket);
    });
    this.server.on('drop', (data) => {
      const { remoteAddress, remotePort, remoteFamily } = data ?? {};
      this.refuse(
        peerOf({ remoteAddress, remotePort, remoteFamily }),
        `more than ${String(options.maxConnections)} connections`,
      );
    });
  }

  private refuse(peer: string, details: string): void {
    this.owner.refused({ peer, protection: 'max-connections', details });
  }

  private createTcp(): Server {
    return createTcpServer({ noDelay: true }, (socket) => this.accept(socket));
  }

  private createTls(tls: TlsOptions): Server {
    const { handshakeTimeoutMs } = this.options;
    const server = createTlsServer({
      noDelay: true,
      ...tls,
      ALPNProtocols: ['h2'],
      handshakeTimeout: handshakeTimeoutMs,
    });
    server.on('secureConnection', (socket) => {
      if (socket.alpnProtocol === 'h2') this.accept(socket);
      else this.refuseHandshake(socket, 'the client did not offer HTTP/2 (h2) by ALPN');
    });
    server.on('tlsClientError', (error, socket) => this.refuseHandshake(socket, error.message, error));
    return server;
  }

  private refuseHandshake(socket: TLSSocket, details: string, error?: Error): void {
    const handshake = { socket, ...(error && { error }) };
    this.owner.refused({ peer: peerOf(socket), protection: 'handshake', details, handshake });
    // An error has closed it already.
    if (error === undefined) socket.destroy();
  }

  /**
   * Listens at `address`. Resolves when connections are accepted.
   *
   * @throws Error of the listening socket, such as EADDRINUSE
   */
  async listen(address: ListenOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(address, () => {
        this.server.off('error', reject);
        this.server.on('error', (error) => this.owner.failed(error));
        resolve();
      });
    });
  }

  /** Port at which the listener accepts connections; `undefined` for a Unix socket. */
  get port(): number | undefined {
    const address = this.server.address();
    return typeof address === 'object' ? address?.port : undefined;
  }

  /** Uses other keys and certificates for new connections. Without any, new connections are closed. */
  setSecureContext(context: SecureContextOptions | undefined): void {
    this.hasSecureContext = context !== undefined;
    if (this.server instanceof TlsServer && context !== undefined) this.server.setSecureContext(context);
  }

  /** Accepts no more connections. */
  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    this.server.close();
  }

  /** Number of sockets that have connected and not closed. */
  get size(): number {
    return this.sockets.size;
  }

  /** Accepts no more connections, and resolves when the calls of all connections have ended and their sockets are closed. */
  drain(): Promise<void> {
    this.stop();
    this.drained ??= this.drainOnce();
    return this.drained;
  }

  private drainOnce(): Promise<void> {
    for (const connection of this.connections) connection.drain('drain');
    if (this.sockets.size === 0) return Promise.resolve();
    const timer = new PeerTimer(this.clock, this.options.drainTimeoutMs, this.destroyUnfinished);
    return new Promise((resolve) => {
      this.closed = () => {
        timer.clear();
        resolve();
      };
    });
  }

  /** Closes the sockets whose TLS handshake is not complete. A TLS connection does not tell its TCP socket, but both have the same peer. */
  private readonly destroyUnfinished = (): void => {
    const peers = new Set([...this.connections].map(({ peer }) => peer));
    for (const socket of this.sockets) if (!peers.has(peerOf(socket))) socket.destroy();
  };

  /** Closes all connections at once. */
  destroy(): void {
    this.stop();
    for (const { http2 } of this.connections) http2.lost('the server has closed the connection', 'drain');
    for (const socket of this.sockets) socket.destroy();
  }

  /** Returns false if the socket gets no TLS connection. */
  private connected(socket: Socket): boolean {
    // Read now, because a socket that has closed tells its addresses only if they were read before.
    const peer = peerOf(socket);
    const { tls, memory } = this.options;
    const isTls = tls !== undefined;
    const isAccepted = this.hasSecureContext && (!isTls || memory.connect(TLS_BYTES));
    if (!isAccepted) {
      socket.destroy();
      if (this.hasSecureContext) this.refuse(peer, 'the TLS connections of this process have used up their memory');
    }
    this.sockets.add(socket);
    socket.once('close', () => {
      this.sockets.delete(socket);
      if (isTls && isAccepted) memory.disconnect(TLS_BYTES);
      if (this.sockets.size === 0) this.closed?.();
    });
    return isAccepted;
  }

  private accept(socket: Socket): void {
    const connection = new ServerSocket(socket, this.options, this.clock);
    this.connections.add(connection);
    socket.once('close', () => this.connections.delete(connection));
    connection.start(this.owner.accepted(connection, socket));
    // Its handshake was not complete when the others were told.
    if (this.isStopped) connection.drain('drain');
  }
}
