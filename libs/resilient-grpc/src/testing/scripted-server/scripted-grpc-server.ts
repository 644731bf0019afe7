import { Server, ServerCredentials, type ConnectionInjector, type ServerOptions } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import { checkedSerializer } from '../../messages/checked-serializer.js';
import { filesOf } from '../../messages/file-descriptors.js';
import { requirePem, TcpListener, type ServerTls } from '../tcp-listener.js';
import { CallJournal, type CallCounts, type CallRecord } from './call-journal.js';
import { checkedScript, type CheckedScript } from './checked-script.js';
import type { Reply, Script } from './script.js';
import { ServedCall, type DuplexCall } from './served-call.js';
import { findMethod, loadMethods, type LoadedMethod, type ServiceDefinitionOptions } from './service-methods.js';

interface ScriptedGrpcServerOptions extends ServiceDefinitionOptions {
  /** Port to listen on. @defaultValue 0, a free port, kept across restarts */
  readonly port?: number | undefined;
  /** TLS key and certificate. @defaultValue plaintext */
  readonly tls?: ServerTls | undefined;
  readonly serverOptions?: ServerOptions | undefined;
  readonly scripts?: Readonly<Record<string, Script>> | undefined;
}

/**
 * The way a server stops. 'graceful': sends GOAWAY and lets calls in flight finish. 'force': grpc-js's forceShutdown, which ends calls with
 * CANCELLED. 'kill-connections': destroys the sockets, as if the process were killed.
 */
type StopMode = 'graceful' | 'force' | 'kill-connections';

/**
 * A real grpc-js server on 127.0.0.1 whose methods run scripts, which can be changed at any time. Methods without a script fail with
 * UNIMPLEMENTED. Calls are recorded across restarts. Functions that take a method name throw an Error if the name matches no method or
 * several methods.
 */
export class ScriptedGrpcServer {
  private readonly tcp: TcpListener;
  private readonly methods: readonly LoadedMethod[];
  private readonly journal = new CallJournal();
  private readonly scripts = new Map<string, CheckedScript>();
  private readonly openCalls = new Set<ServedCall>();
  /** The servers started since the last stop that was not graceful. Those that were stopped gracefully may still have calls in flight. */
  private readonly servers: Server[] = [];
  private injector: ConnectionInjector | undefined;
  /** True from a stop that is not graceful until the next start. Until then, calls that end without a status count as disconnected. */
  private cutting = false;
  private isClosed = false;

  private constructor(private readonly options: ScriptedGrpcServerOptions) {
    this.tcp = new TcpListener((socket) => this.accept(socket), { port: options.port });
    this.methods = loadMethods(options);
    const scripts = Object.entries(options.scripts ?? {}) as [string, Script | undefined][];
    for (const [method, script] of scripts) if (script !== undefined) this.script(method, script);
  }

  /**
   * Starts a server and resolves when it is listening.
   * @throws GrpcConfigurationError if a message of a script has a mistake, or the proto cannot be loaded
   * @throws Error if the name of a script matches no method or several methods, the key or certificate is invalid, or the port is in use
   */
  static async start(options: ScriptedGrpcServerOptions): Promise<ScriptedGrpcServer> {
    requirePem(options.tls);
    const server = new ScriptedGrpcServer(options);
    server.serve();
    await server.tcp.listen();
    return server;
  }

  get port(): number {
    return this.tcp.port;
  }

  /** The address of the server, '127.0.0.1:port'. */
  get url(): string {
    return this.tcp.url;
  }

  get running(): boolean {
    return this.tcp.listening;
  }

  /** Number of connections accepted since the start, including those before restarts, and number of open connections. */
  get connections(): { readonly accepted: number; readonly open: number } {
    return { accepted: this.tcp.accepted, open: this.tcp.sockets.size };
  }

  /**
   * Sets the script of `method` ('Get', 'Orders/Get', or a full path) from now on. A list starts at its first reply.
   * @throws GrpcConfigurationError if a message of a reply has an unknown field or a value of the wrong type. If a function returns such a
   *   reply, the call fails with INTERNAL and the same error message.
   * @throws Error if `method` matches no method or several methods
   */
  script<Request = unknown>(method: string, script: Script<Request>): this {
    const found = findMethod(this.methods, method);
    // Safe cast: the proto defines the request type, which the caller passes as `Request`.
    this.scripts.set(found.path, checkedScript(found, script as Script));
    return this;
  }

  /** Returns the call counts of one method or of all methods. */
  counts(method?: string): CallCounts {
    return this.journal.counts(this.path(method));
  }

  /** Returns the records of the latest calls, oldest first. */
  calls(method?: string): readonly CallRecord[] {
    return this.journal.records(this.path(method));
  }

  /** Resets counts, records, and call numbers. Open calls stay in the records and in the counts `open` and `maxOpen`. */
  reset(): void {
    this.journal.reset();
  }

  /** Returns the number of calls held by `hold`. */
  heldCount(method?: string): number {
    return this.held(method).length;
  }

  /** Releases calls held by `hold` and returns their number. */
  release(method?: string): number {
    const held = this.held(method);
    for (const call of held) call.release();
    return held.length;
  }

  /**
   * Sends GOAWAY on every connection and keeps listening. After `graceMs`, grpc-js destroys all connections that are open at that time and
   * the calls on them. This includes connections accepted after the GOAWAY.
   */
  drainConnections(graceMs: number): void {
    this.injector?.drain(graceMs);
  }

  /**
   * Stops listening and ends the connections. With 'graceful', resolves when the last call in flight has finished. Until then, `restart()`
   * can serve new connections in parallel, or `stop('force')` can end the remaining calls.
   */
  async stop(how: StopMode): Promise<void> {
    this.tcp.stop();
    if (how === 'graceful') {
      const current = this.servers.at(-1);
      if (current !== undefined) await new Promise<void>((resolve) => current.tryShutdown(() => resolve()));
      return;
    }
    this.cutting = true;
    if (how === 'kill-connections') await this.tcp.close();
    for (const server of this.servers.splice(0)) server.forceShutdown();
  }

  /**
   * Starts a new server on the same port. Stops the previous server first if it is still listening.
   * @throws Error if the server is closed, or the port is in use
   */
  async restart(how: StopMode = 'kill-connections'): Promise<void> {
    if (this.running) await this.stop(how);
    // Checked after the stop, because `close()` may have been called during it.
    if (this.isClosed) throw new Error('ScriptedGrpcServer is closed; write await ScriptedGrpcServer.start(options)');
    this.serve();
    await this.tcp.listen();
  }

  /** Stops the server, ends all calls, and resolves when all sockets are closed. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.release();
    await this.stop('force');
    await this.tcp.close();
  }

  private path(method: string | undefined): string | undefined {
    return method === undefined ? undefined : findMethod(this.methods, method).path;
  }

  private held(method: string | undefined): readonly ServedCall[] {
    const path = this.path(method);
    return [...this.openCalls].filter((call) => call.isHeld && (path === undefined || call.path === path));
  }

  private isConnected(peer: string): boolean {
    if (this.cutting) return false;
    return [...this.tcp.sockets].some(
      (socket) => !socket.destroyed && `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}` === peer,
    );
  }

  private serve(): void {
    // Channelz stays enabled, because without it, grpc-js's forceShutdown() ends no connections.
    const server = new Server(this.options.serverOptions);
    for (const method of this.methods) {
      // All four method kinds are registered as bidi. They are the same on the wire, and a bidi handler runs as soon as headers arrive.
      const handler = (call: DuplexCall) => {
        void this.answer(method, call);
      };
      server.register(
        method.path,
        handler,
        // Safe cast: every message is checked before it is sent.
        checkedSerializer(
          { path: method.path, files: filesOf(method) },
          method.responseSerialize as (message: unknown) => Buffer,
          'response',
          UNREPORTED,
        ),
        method.requestDeserialize,
        'bidi',
      );
    }
    // Uses its own listener instead of grpc-js's, so that sockets can be counted and destroyed, and the port is kept across restarts.
    this.injector = server.createConnectionInjector(credentialsOf(this.options.tls));
    this.servers.push(server);
    this.cutting = false;
  }

  private async answer(method: LoadedMethod, call: DuplexCall): Promise<void> {
    const served = new ServedCall(method, call, this.journal, (peer) => this.isConnected(peer));
    this.openCalls.add(served);
    await served.serve(this.scripts.get(method.path) ?? (() => unscripted(method)));
    this.openCalls.delete(served);
  }

  private accept(socket: Socket): void {
    // Ignores an error during the handshake. No other listener handles it, so it would otherwise crash the process.
    socket.on('error', () => undefined);
    this.injector?.injectConnection(socket);
  }
}

/** Values that are not sent as given are rejected before. */
const UNREPORTED = { events: { wanted: false, emit: () => undefined }, rejects: false };

function unscripted({ path }: LoadedMethod): Reply {
  const details = `no script is set for ${path}; set a script with script() or the scripts option`;
  return { status: 'UNIMPLEMENTED', details };
}

function credentialsOf(tls: ServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}
