import { Server } from '@grpc/grpc-js';
import type { ConnectionInjector } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import { systemClock } from '../../time/clock.js';
import { TcpListener } from '../tcp-listener.js';
import { CallHandler } from './call-handler.js';
import { CallJournal } from './call-journal.js';
import type { Reply, Script } from './reply.js';
import type { DuplexCall } from './request-reader.js';
import type { CallCounts, CallRecord, ScriptedCall } from './scripted-call.js';
import { serverCredentials } from './scripted-server-options.js';
import type { ScriptedGrpcServerOptions } from './scripted-server-options.js';
import { findPath, loadMethods } from './service-methods.js';
import type { LoadedMethod } from './service-methods.js';

/**
 * How a server stops. 'graceful': GOAWAY, then calls in flight finish. 'force': grpc-js's forceShutdown, which ends calls as
 * CANCELLED. 'kill-connections': sockets are destroyed as when the process is killed.
 */
export type StopHow = 'graceful' | 'force' | 'kill-connections';

/**
 * A real grpc-js server on 127.0.0.1 whose methods do what a script says, which may change at any time. Methods without one
 * fail UNIMPLEMENTED. It remembers its calls, also over restarts.
 */
export class ScriptedGrpcServer {
  readonly #options: ScriptedGrpcServerOptions;
  readonly #methods: ReadonlyMap<string, LoadedMethod>;
  readonly #scripts = new Map<string, Script>();
  readonly #journal: CallJournal;
  readonly #handler: CallHandler;
  #listener: TcpListener | undefined;
  #server: Server | undefined;
  #injector: ConnectionInjector | undefined;
  /** Connections are being cut by this side. */
  #cutting = false;

  private constructor(options: ScriptedGrpcServerOptions) {
    this.#options = options;
    this.#methods = loadMethods(options);
    this.#journal = new CallJournal(options.maxRecords ?? 10_000);
    this.#handler = new CallHandler({
      journal: this.#journal,
      clock: options.clock ?? systemClock,
      attemptKey: options.attemptKey ?? callId,
      scriptOf: (path) => this.#scripts.get(path),
      isConnected: (peer) => this.#isConnected(peer),
    });
    for (const [method, script] of Object.entries(options.scripts ?? {})) this.script(method, script);
  }

  /** @throws when the proto cannot be loaded, a script names no method of it, or the port is taken */
  static async start(options: ScriptedGrpcServerOptions): Promise<ScriptedGrpcServer> {
    const server = new ScriptedGrpcServer(options);
    server.#serve();
    const accept = (socket: Socket) => {
      server.#accept(socket);
    };
    server.#listener = await TcpListener.open(accept, { port: options.port });
    return server;
  }

  get port(): number {
    return this.#tcp.port;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return this.#tcp.url;
  }

  get running(): boolean {
    return this.#tcp.listening;
  }

  /** Connections: accepted since the start, and open now. */
  get connections(): { readonly accepted: number; readonly open: number } {
    return { accepted: this.#tcp.accepted, open: this.#tcp.sockets.size };
  }

  /**
   * Says what `method` ('Get', 'Orders/Get' or a full path) does from now on. A list starts at its first reply.
   * @throws when it is no method, or more than one
   */
  script<Request = unknown>(method: string, script: Script<Request>): this {
    // True: the requests are what the proto says, which the caller names by `Request`.
    this.#scripts.set(findPath(this.#methods, method), fromNow(script as Script));
    return this;
  }

  /** Counts of one method, or of all. */
  counts(method?: string): CallCounts {
    return this.#journal.counts(this.#path(method));
  }

  /** Records of the last calls, oldest first. */
  calls(method?: string): readonly CallRecord[] {
    return this.#journal.records(this.#path(method));
  }

  /** How often each key was seen: attempts by call. */
  attempts(method?: string): ReadonlyMap<string, number> {
    return this.#journal.attempts(this.#path(method));
  }

  /** Forgets counts and records; open calls stay counted. */
  reset(): void {
    this.#journal.reset();
  }

  /** Calls that stand in a `hold`. */
  heldCount(method?: string): number {
    return this.#handler.heldCount(this.#path(method));
  }

  /** Lets calls in a `hold` go on; gives their number. */
  release(method?: string): number {
    return this.#handler.release(this.#path(method));
  }

  /** Sends GOAWAY on every connection and goes on listening; calls that still run after `graceMs` are cut. */
  drainConnections(graceMs: number): void {
    this.#injector?.drain(graceMs);
  }

  /**
   * Stops listening and ends connections. Graceful: resolves when the last call in flight has finished; without waiting for
   * that, `restart()` serves new connections beside it, and a further `stop('force')` cuts what is left.
   */
  async stop(how: StopHow): Promise<void> {
    const server = this.#server;
    this.#tcp.stop();
    if (how === 'graceful') {
      await new Promise<void>((resolve) => {
        if (server === undefined) resolve();
        else
          server.tryShutdown(() => {
            resolve();
          });
      });
      return;
    }
    this.#cutting = true;
    if (how === 'kill-connections') await this.#tcp.close();
    server?.forceShutdown();
  }

  /** Listens on the same port again, as a new server; one that still listens is stopped first. */
  async restart(how: StopHow = 'kill-connections'): Promise<void> {
    if (this.running) await this.stop(how);
    this.#serve();
    await this.#tcp.listen();
  }

  /** Ends everything; resolves when no socket is left. */
  async close(): Promise<void> {
    this.release();
    await this.stop('force');
    await this.#tcp.close();
  }

  get #tcp(): TcpListener {
    if (this.#listener === undefined) throw new Error('ScriptedGrpcServer is made by ScriptedGrpcServer.start()');
    return this.#listener;
  }

  #path(method: string | undefined): string | undefined {
    return method === undefined ? undefined : findPath(this.#methods, method);
  }

  #isConnected(peer: string): boolean {
    if (this.#cutting) return false;
    return [...this.#tcp.sockets].some(
      (socket) => !socket.destroyed && `${socket.remoteAddress ?? ''}:${socket.remotePort ?? 0}` === peer,
    );
  }

  #serve(): void {
    // Channelz stays on: without it grpc-js's forceShutdown() forgets every connection.
    const server = new Server(this.#options.serverOptions);
    for (const method of this.#methods.values()) {
      // All four kinds as bidi: on the wire they are the same, and so a call is seen as soon as its headers are.
      const handler = (call: DuplexCall) => {
        void this.#handler.handle(method, call);
      };
      server.register(
        method.path,
        handler,
        // True: what a script gives may be anything; the serializer says so when it does not fit.
        method.responseSerialize as (message: unknown) => Buffer,
        method.requestDeserialize,
        'bidi',
      );
    }
    // Sockets of our own, not grpc-js's port: so they can be counted and destroyed, and the port kept over restarts.
    this.#injector = server.createConnectionInjector(serverCredentials(this.#options.tls));
    this.#server = server;
    this.#cutting = false;
  }

  #accept(socket: Socket): void {
    // A connection lost during its handshake has nobody else to hear of it.
    socket.on('error', () => undefined);
    this.#injector?.injectConnection(socket);
  }
}

/** A list becomes a function that counts from its first call, so that a script set later starts at its first reply. */
function fromNow(script: Script): Script {
  if (!Array.isArray(script)) return script;
  // True: `isArray` loses the readonly list's element type.
  const replies = script as readonly Reply[];
  let next = 0;
  return () => {
    const reply = replies[Math.min(next, replies.length - 1)] ?? {};
    next += 1;
    return reply;
  };
}

function callId(call: ScriptedCall): string | undefined {
  return call.metadata.get('x-call-id')[0]?.toString();
}
