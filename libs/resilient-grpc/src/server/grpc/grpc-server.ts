import type { ListenOptions } from 'node:net';
import {
  Server,
  type experimental as GrpcJs,
  type deserialize,
  type serialize,
  type ServerCredentials,
  type ServerInterceptor,
  type ServerOptions,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import { targetUri } from '../../channel/quirks/secure-connector.js';
import { experimental } from '../../channel/quirks/experimental.js';
import { errorMessage } from '../../errors/error-message.js';
import { StatusCode } from '../../status/status-code.js';
import { registerTraced } from '../../telemetry/agents/traced-handlers.js';
import type { ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import type { StreamReceiver } from '../../transport/http2/events.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';
import type { ServerStream } from '../../transport/http2/server-stream.js';
import type { ServerListener } from '../../transport/socket/server-listener.js';
import type { StatusLike } from '../calls/wire-call.js';
import {
  entriesOf,
  type Entry,
  interceptorsOf,
  runHandlerOf,
  tlsOptionsOf,
} from '../../channel/quirks/unbound-server.js';
import { InnermostCall, innermostCallOf, type CallConnection, type CallSettings } from './innermost-call.js';
import { RejectedRequest, type Rejection } from './rejected-request.js';
import type { SocketConnections } from './socket-connections.js';
import { watchCertificates } from './watched-certificates.js';

export interface GrpcServerDependencies extends CallSettings {
  readonly telemetry: ServerTelemetry | undefined;
  /** True if a monitoring agent wraps the handlers that are registered from now on. */
  readonly isTraced: boolean;
  /** Returns the status with which to refuse a request before it is read; `undefined` if it is served. */
  readonly refuse: (block: HeaderBlock, peer: string) => StatusLike | undefined;
}

/** Number of characters of an unknown path that a status quotes. */
const MAX_QUOTED_PATH = 200;
/** Methods whose requests browsers and proxies make, cache, and repeat on their own. grpc-js serves any; gRPC's C core once used PUT. */
const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD']);
/** A gRPC content type, in any case (RFC 9110, section 8.3.1); `application/grpc-web` is another protocol. */
const GRPC_CONTENT = /^application\/grpc(?:\+|[ \t]*;|$)/i;

/**
 * A server of grpc-js that serves on the transport of this library. grpc-js keeps the handlers, where agents and packages look for them, and
 * makes the calls that they get.
 */
export class GrpcServer extends Server {
  private readonly entries: ReadonlyMap<string, Entry>;
  private readonly run: ReturnType<typeof runHandlerOf>;
  /** Functions that stop the watches of credentials. */
  private readonly watches: (() => void)[] = [];

  /** @param given channel options and interceptors, as for grpc-js's server */
  constructor(
    private readonly given: ServerOptions,
    private readonly connections: SocketConnections,
    private readonly dependencies: GrpcServerDependencies,
  ) {
    super(given);
    this.run = runHandlerOf(this);
    this.entries = entriesOf(this);
  }

  override register<Q, R>(
    path: string,
    handler: UntypedHandleCall,
    write: serialize<R>,
    read: deserialize<Q>,
    type: string,
  ): boolean {
    const add = (added: UntypedHandleCall): boolean => super.register(path, added, write, read, type);
    if (!this.dependencies.isTraced) return add(handler);
    return registerTraced(this.entries, path, handler, add, (call) => innermostCallOf(call)?.telemetry);
  }

  // ── binding ──

  override bindAsync(
    target: string,
    credentials: ServerCredentials,
    callback: (error: Error | null, port: number) => void,
  ): void {
    this.listen(target, credentials).then(
      (port) => {
        callback(null, port);
      },
      (error: unknown) => {
        callback(error instanceof Error ? error : new Error(String(error)), 0);
      },
    );
  }

  /** Listens at all addresses of `target`, at the same port. Returns the port; 1 for a Unix socket, as in grpc-js. */
  private async listen(target: string, credentials: ServerCredentials): Promise<number> {
    const addresses = await bindAddresses(target);
    const listeners: ServerListener[] = [];
    const errors: string[] = [];
    let port: number | undefined;
    for (const address of addresses) {
      const at: ListenOptions = address.port === 0 && port !== undefined ? { ...address, port } : address;
      try {
        const listener = await this.listenAt(at, credentials);
        listeners.push(listener);
        port ??= listener.port ?? 1;
      } catch (error) {
        // A problem of the credentials concerns all addresses.
        if (!isSystemError(error)) throw error;
        errors.push(errorMessage(error));
      }
    }
    // The text of grpc-js.
    if (port === undefined)
      throw new Error(
        `No address added out of total ${String(addresses.length)} resolved errors: [${errors.join(',')}]`,
      );
    const { events, clock } = this.connections.dependencies;
    const tls = tlsOptionsOf(credentials);
    if (tls !== undefined) this.watches.push(watchCertificates(credentials, listeners, events, clock, tls.context));
    return port;
  }

  private async listenAt(address: ListenOptions, credentials: ServerCredentials): Promise<ServerListener> {
    const { connections } = this;
    const take = this.taker(interceptorsOf(credentials));
    const tls = tlsOptionsOf(credentials);
    if (tls === undefined) return connections.listen(address, undefined, take);
    const enableTrace = this.given['grpc-node.tls_enable_trace'] === 1;
    const { options, context } = tls;
    const listener = await connections.listen(address, { ...options, ...context, enableTrace }, take);
    if (context === null) listener.setSecureContext(undefined);
    return listener;
  }

  override start(): void {
    // A bound server serves already, as in grpc-js, whose own method requires one of its listening sockets.
  }

  override tryShutdown(callback: (error?: Error) => void): void {
    this.stopWatches();
    void this.connections.drain().then(() => {
      callback();
    });
  }

  override forceShutdown(): void {
    this.stopWatches();
    this.connections.destroyAll();
    super.forceShutdown();
  }

  /** Number of connections that `forceShutdown` closed. */
  get connectionsCutOff(): number {
    return this.connections.cutOff;
  }

  private stopWatches(): void {
    for (const stop of this.watches.splice(0)) stop();
  }

  // ── requests ──

  private taker(extra: readonly ServerInterceptor[]) {
    const interceptors = [...extra, ...(this.given.interceptors ?? [])];
    return (connection: CallConnection, stream: ServerStream, block: HeaderBlock, isEnd: boolean): StreamReceiver => {
      const { dependencies } = this;
      const found = this.find(block, connection.peer);
      if ('kind' in found) return new RejectedRequest(stream, found, isEnd, dependencies.clock);
      const call = new InnermostCall(stream, block, isEnd, found, connection, dependencies);
      return call.begin(interceptors, this.run, dependencies.telemetry);
    };
  }

  /** Returns what serves a request, or how to answer it without. */
  private find(block: HeaderBlock, peer: string): Entry | Rejection {
    const { telemetry, refuse } = this.dependencies;
    const isGrpc = GRPC_CONTENT.test(block.contentType ?? '');
    // The content type may be among the fields that were not read.
    if (block.isTooLarge) return isGrpc || block.contentType === undefined ? TOO_LARGE : TOO_LARGE_HTTP;
    if (!isGrpc) return NOT_GRPC;
    if (REPEATABLE.has(block.method ?? '')) return NOT_POST;
    const entry = this.entries.get(block.path ?? '');
    if (entry === undefined) {
      telemetry?.refused(StatusCode.UNIMPLEMENTED);
      const details = `The server does not implement the method ${String(block.path).slice(0, MAX_QUOTED_PATH)}`;
      return { kind: 'grpc', status: { code: StatusCode.UNIMPLEMENTED, details } };
    }
    const status = refuse(block, peer);
    return status === undefined ? entry : { kind: 'grpc', status };
  }
}

const TOO_LARGE: Rejection = {
  kind: 'grpc',
  status: { code: StatusCode.RESOURCE_EXHAUSTED, details: 'The metadata of the call exceed the limit of the server' },
};
const TOO_LARGE_HTTP: Rejection = { kind: 'http', code: 431, text: 'The header fields exceed the limit of the server' };
const NOT_GRPC: Rejection = {
  kind: 'http',
  code: 415,
  text: 'This port serves gRPC: the content-type must be application/grpc',
};

const NOT_POST: Rejection = { kind: 'http', code: 405, text: 'This port serves gRPC: the method must be POST' };

function isSystemError(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error;
}

const RESOLVER_OPTIONS = { 'grpc.service_config_disable_resolution': 1 };

/**
 * Returns the addresses of `target`, a host with a port, or a target of grpc-js such as 'unix:/run/orders.sock'.
 *
 * @throws Error if the target cannot be resolved
 */
async function bindAddresses(target: string): Promise<readonly ListenOptions[]> {
  const { createResolver } = experimental;
  if (createResolver === undefined) return [unresolved(target)];
  let resolver: GrpcJs.Resolver | undefined;
  try {
    return await new Promise((resolve, reject) => {
      resolver = resolverOf(createResolver, target, (endpoints) => {
        if (endpoints.ok) resolve(endpoints.value.flatMap(({ addresses }) => addresses));
        else reject(new Error(endpoints.error.details));
        return true;
      });
      resolver.updateResolution();
    });
  } finally {
    resolver?.destroy();
  }
}

/** Returns the address of `target` for a grpc-js that exports no `createResolver`. Node looks its host up. */
function unresolved(target: string): ListenOptions {
  const [, path, host = '', port] =
    /^(?:unix:(?:\/\/)?(.+)|(?:dns:\/*|ipv[46]:)?\[?(.*?)\]?:(\d+))$/.exec(target) ?? [];
  return path === undefined ? { host, port: Number(port) } : { path };
}

function resolverOf(
  createResolver: NonNullable<typeof experimental.createResolver>,
  target: string,
  listener: GrpcJs.ResolverListener,
): GrpcJs.Resolver {
  const uri = targetUri(target);
  if (uri.scheme !== undefined) {
    try {
      return createResolver(uri, listener, RESOLVER_OPTIONS);
    } catch {
      // What looks like a scheme is the name of a host.
    }
  }
  return createResolver({ scheme: 'dns', path: target }, listener, RESOLVER_OPTIONS);
}
