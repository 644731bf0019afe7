import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

const HOST = '127.0.0.1';

/** Options of a listener. */
export interface TcpListenerOptions {
  /** @defaultValue 0, a free one */
  readonly port?: number | undefined;
  /** false: a connection whose peer has ended is ended by itself, as servers of node:http2 have it. @defaultValue false */
  readonly allowHalfOpen?: boolean | undefined;
}

/** A TCP port of this machine that can go away and come back under the same number. */
export class TcpListener {
  readonly host = HOST;
  readonly sockets = new Set<Socket>();
  /** Connections accepted since it was opened. */
  accepted = 0;
  #server: Server | undefined;
  #port = 0;
  readonly #onConnection: (socket: Socket) => void;
  readonly #allowHalfOpen: boolean;

  private constructor(onConnection: (socket: Socket) => void, options: TcpListenerOptions) {
    this.#onConnection = onConnection;
    this.#port = options.port ?? 0;
    this.#allowHalfOpen = options.allowHalfOpen ?? false;
  }

  /** Listens on 127.0.0.1; `onConnection` owns the sockets it is given. */
  static async open(onConnection: (socket: Socket) => void, options: TcpListenerOptions = {}): Promise<TcpListener> {
    const listener = new TcpListener(onConnection, options);
    await listener.listen();
    return listener;
  }

  get port(): number {
    return this.#port;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return `${HOST}:${this.#port}`;
  }

  get listening(): boolean {
    return this.#server !== undefined;
  }

  /** Listens again, on the port it had; nothing when it does already. */
  async listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: this.#allowHalfOpen, noDelay: true }, (socket) => {
      this.#accept(socket);
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        this.#server = undefined;
        reject(error);
      });
      server.listen(this.#port, HOST, resolve);
    });
    const address = server.address();
    if (address !== null && typeof address === 'object') this.#port = address.port;
  }

  /** From now on connects are refused (ECONNREFUSED). Connections that are open stay. */
  stop(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /** Stops, destroys every connection, and resolves when all of it is gone. */
  async close(): Promise<void> {
    this.stop();
    await Promise.all([...this.sockets].map(destroySocket));
  }

  #accept(socket: Socket): void {
    this.accepted += 1;
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
    this.#onConnection(socket);
  }
}

/** Destroys a socket; resolves when it is closed. */
export async function destroySocket(socket: Socket): Promise<void> {
  if (socket.closed) return;
  await new Promise<void>((resolve) => {
    socket.once('close', () => {
      resolve();
    });
    socket.destroy();
  });
}

/** Tears a connection (RST). What it has still to send is dropped, but for an end that is on its way: that goes first. */
export function resetSocket(socket: Socket): void {
  // The kernel gets an end in the next turn. Until then a reset fails with EINVAL, and Node loses the socket, which stays for good.
  const isEnding = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  if (isEnding) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}
