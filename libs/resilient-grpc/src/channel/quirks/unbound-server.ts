import { Socket } from 'node:net';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import {
  Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { isPresent, type Seam } from './seam.js';

// What servers on the transport of this library use of a server of grpc-js that is never bound, and of its credentials. One probe covers all
// of it: if it fails, servers run on grpc-js's transport.

const TRANSPORT = "the library's HTTP/2 transport for servers (transport: 'grpc-js' is used instead)";
const SERVER_SEAM: Seam = { on: 'server', needs: ['handlers', '_runHandlerForCall()'], lostWithout: TRANSPORT };
const CREDENTIALS_SEAM: Seam = {
  on: 'server credentials',
  needs: [
    '_isSecure()',
    '_getConstructorOptions()',
    '_getSecureContextOptions()',
    '_addWatcher()',
    '_removeWatcher()',
    '_getInterceptors()',
  ],
  lostWithout: TRANSPORT,
};

/** Names of grpc-js and Node that servers need. Rendered in docs/internals/private-names.md. */
export const SERVER_SEAMS: readonly Seam[] = [
  SERVER_SEAM,
  CREDENTIALS_SEAM,
  {
    on: 'rejected TLS socket',
    needs: ['_parent'],
    lostWithout: 'addresses of clients whose certificates were rejected, in the log',
  },
];

/** What grpc-js's `Server.register()` keeps of a method. */
export interface Entry {
  readonly path: string;
  readonly type: 'unary' | 'clientStream' | 'serverStream' | 'bidi';
  func: Parameters<Server['register']>[1];
  readonly serialize: (message: unknown) => Buffer;
  readonly deserialize: (bytes: Buffer) => unknown;
}

let canPass: boolean | undefined;

/** True if the installed grpc-js has all that servers on the transport of this library need: it passes a call on to a handler. */
export function hasServerTransport(): boolean {
  canPass ??= passesCalls();
  return canPass && isPresent(CREDENTIALS_SEAM, ServerCredentials.createInsecure());
}

/** Returns what `SERVER_SEAMS` describe. If grpc-js does not pass calls on, `_runHandlerForCall()` counts as missing. */
export function serverSubjects(): Readonly<Record<string, object>> {
  const server = new Server({ 'grpc.enable_channelz': 0 });
  if (!hasServerTransport() && canPass !== true) Object.assign(server, { _runHandlerForCall: undefined });
  return { server, 'server credentials': ServerCredentials.createInsecure() };
}

function passesCalls(): boolean {
  const server = new Server({ 'grpc.enable_channelz': 0 });
  if (!isPresent(SERVER_SEAM, server)) return false;
  let received: unknown;
  const func = (call: unknown): void => {
    received = call;
  };
  const ignore = (): void => undefined;
  const innermost = {
    start: (listener: Parameters<ServerInterceptingCallInterface['start']>[0]) => {
      listener.onReceiveMetadata(new Metadata());
    },
    startRead: ignore,
    sendStatus: ignore,
  };
  try {
    // The casts are safe: the handler of a bidirectional method is called at once, and uses nothing.
    const outer = new ServerInterceptingCall(innermost as unknown as ServerInterceptingCallInterface);
    runHandlerOf(server)(outer, { path: '/', type: 'bidi', func } as unknown as Entry);
    const call: unknown = typeof received === 'object' && received !== null ? Reflect.get(received, 'call') : undefined;
    return call === outer && Reflect.get(outer, 'nextCall') === innermost;
  } catch {
    return false;
  }
}

// The casts below are safe: `hasServerTransport()` has found the names.

type RunHandler = (call: ServerInterceptingCallInterface, entry: Entry) => boolean;

/** Returns the function that makes the call of a handler, and calls the handler. */
export function runHandlerOf(server: Server): RunHandler {
  const run = Reflect.get(server, '_runHandlerForCall') as RunHandler;
  return (call, entry) => run.call(server, call, entry);
}

/** Returns the registered methods by their paths; an empty map if the installed grpc-js keeps them elsewhere. */
export function entriesOf(server: Server): ReadonlyMap<string, Entry> {
  const handlers: unknown = Reflect.get(server, 'handlers');
  return handlers instanceof Map ? (handlers as ReadonlyMap<string, Entry>) : new Map();
}

/** Adds what serves a further path. */
export function setEntry(server: Server, path: string, entry: Entry): void {
  (entriesOf(server) as Map<string, Entry>).set(path, entry);
}

type Watcher = (context: SecureContextOptions | null) => void;

/** Returns the options of the TLS server; `undefined` without TLS. The context is `null` until its certificates are loaded. */
export function tlsOptionsOf(
  credentials: ServerCredentials,
): { readonly options: TlsOptions; readonly context: SecureContextOptions | null } | undefined {
  if (!credentials._isSecure()) return undefined;
  return { options: credentials._getConstructorOptions() ?? {}, context: credentials._getSecureContextOptions() };
}

/** Calls `watcher` with each new context, until the returned function is called. */
export function watchContext(credentials: ServerCredentials, watcher: Watcher): () => void {
  credentials._addWatcher(watcher);
  return () => {
    credentials._removeWatcher(watcher);
  };
}

export function interceptorsOf(credentials: ServerCredentials): readonly ServerInterceptor[] {
  return credentials._getInterceptors();
}

/**
 * Returns the TCP socket of a TLS socket whose handshake has failed. After Node has rejected a client certificate, only this socket still has
 * the address of the client, and only if the address was read before. Returns the TLS socket if the TCP socket is unavailable.
 */
export function tcpSocketOf(socket: Socket): Socket {
  const parent: unknown = Reflect.get(socket, '_parent');
  return parent instanceof Socket ? parent : socket;
}
