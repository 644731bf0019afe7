import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { once } from 'node:events';
import { systemRandom } from '../time/random.js';

const HOST = '127.0.0.1';

/** Key and certificate of a server in PEM. If `ca` is set, clients must present a certificate issued by that authority. */
export interface ServerTls {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  readonly ca?: string | Buffer | undefined;
}

interface TcpListenerOptions {
  /** Port to listen on. @defaultValue 0, a free port */
  readonly port?: number | undefined;
  /**
   * True if a connection stays open after its peer has ended its side. Otherwise, it ends automatically, as in servers of node:http2.
   * @defaultValue false
   */
  readonly allowHalfOpen?: boolean | undefined;
}

/** A TCP listener on 127.0.0.1 that can stop, and then listen on the same port again. */
export class TcpListener {
  readonly sockets = new Set<Socket>();
  accepted = 0;
  private server: Server | undefined;
  port: number;

  /** Creates a stopped listener; call `listen` to start it. `onConnection` must handle errors of the sockets that it receives. */
  constructor(
    private readonly onConnection: (socket: Socket) => void,
    private readonly options: TcpListenerOptions,
  ) {
    this.port = options.port ?? 0;
  }

  get url(): string {
    return `${HOST}:${this.port}`;
  }

  get listening(): boolean {
    return this.server !== undefined;
  }

  /**
   * Starts listening. Uses the same port again after a stop. Does nothing if the listener is already listening. Rejects if the listener is
   * stopped while it starts.
   */
  async listen(): Promise<void> {
    if (this.server !== undefined) return;
    if (this.port === 0) this.port = await freePort();
    const { allowHalfOpen = false } = this.options;
    const server = createServer({ allowHalfOpen, noDelay: true }, (socket) => this.accept(socket));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        this.server = undefined;
        reject(error);
      });
      // Rejects on 'close', because a server that is stopped while it starts emits no other event.
      server.once('close', () => {
        reject(new Error(`the listener on ${this.url} was stopped while starting`));
      });
      server.listen(this.port, HOST, resolve);
    });
  }

  /** Refuses new connections from now on (ECONNREFUSED). Open connections stay open. */
  stop(): void {
    this.server?.close();
    this.server = undefined;
  }

  /** Stops listening, destroys every connection, and resolves when all are closed. */
  async close(): Promise<void> {
    this.stop();
    await Promise.all([...this.sockets].map(destroySocket));
  }

  private accept(socket: Socket): void {
    this.accepted += 1;
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
    this.onConnection(socket);
  }
}

export async function destroySocket(socket: Socket): Promise<void> {
  if (socket.closed) return;
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.destroy();
  });
}

/** Resets a connection (RST). Unsent data is dropped, except a pending FIN, which is sent first. */
export function resetSocket(socket: Socket): void {
  // Waits until Node has passed a pending FIN to the kernel, which happens in the next turn. An earlier reset would fail with EINVAL, and
  // Node would leak the socket.
  const isEnding = socket.writableEnded && socket.writableLength === 0 && !socket.writableFinished;
  if (isEnding) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}

/**
 * Parses the address of a proxy's upstream, 'host:port' or '[::1]:port'.
 * @throws TypeError if `address` has neither form
 */
export function parseUpstream(address: string): { readonly host: string; readonly port: number } {
  const [, host, port] = /^([^/:]+|\[[^/]+\]):(\d+)$/.exec(address) ?? [];
  if (host === undefined)
    throw new TypeError(`expected an upstream in the form 'host:port', got ${JSON.stringify(address)}`);
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/**
 * Requires a valid key, certificate, and certificate authority, so that the start of a server fails instead of each connection.
 * @throws Error if one of them is invalid
 */
export function requirePem({ key, cert, ca }: SecureContextOptions = {}): void {
  createSecureContext({ key, cert, ca });
}

// First port of a range below the ephemeral port ranges of Linux, macOS, and Windows. The system assigns ephemeral ports to outgoing
// connections and to servers that listen on port 0.
const FIRST_PORT = 20_000;
const PORT_COUNT = 10_000;

/** Offset of the next port. The first offset is random, because processes that run in parallel should not try the same ports. */
let nextOffset = Math.trunc(systemRandom() * PORT_COUNT);

/**
 * Returns a port of 127.0.0.1 on which no server is listening. The system does not assign this port to outgoing connections or to servers
 * that listen on port 0, so the port stays available while the server that uses it restarts. Another process that calls this function can
 * take the port. Within a process, the function returns a port again only after it has tried all others.
 * @throws Error if servers are listening on all ports from 20,000 to 29,999, or if this process cannot open a socket
 */
export async function freePort(): Promise<number> {
  for (let tried = 0; tried < PORT_COUNT; tried += 1) {
    const port = FIRST_PORT + nextOffset;
    nextOffset = (nextOffset + 1) % PORT_COUNT;
    if (await isFree(port)) return port;
  }
  throw new Error(
    'freePort: expected a free port from 20000 to 29999, got none; stop the servers that are listening on these ports',
  );
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE' || code === 'EACCES') return false;
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}
