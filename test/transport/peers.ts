import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { goProgram } from '../support/go-program.js';
import { PYTHON, isInstalled } from '../support/programs.js';

/**
 * A program that a client connects to over a Unix socket: a server of testing.v1.Echo, or a proxy in front of grpc-js's. The methods return
 * their messages; `ClientStream` returns the number of its requests, and `ServerStream` as many messages as its request says.
 * Metadata of a request change the response: `x-status` makes it NOT_FOUND without headers, `x-wait` delays it forever, and `x-echo` appears
 * in its headers.
 */
export interface PeerKind {
  readonly name: string;
  /** Returns why the program cannot run; `undefined` if it can. */
  readonly missing: () => string | undefined;
  /** Returns the command. `socket` is the path to listen on; a proxy forwards to `upstream`. */
  readonly command: (paths: { folder: string; socket: string; upstream: string }) => Promise<readonly string[]>;
  readonly isProxy?: true;
  /** Command of the server behind a proxy that is not grpc-js's. */
  readonly server?: (socket: string) => Promise<readonly string[]>;
}

const inFolder = (file: string): string => new URL(`servers/${file}`, import.meta.url).pathname;
const GRPC_JS = [process.execPath, inFolder('echo-grpc-js.mjs')] as const;

/** The server's side of the library's own engine. */
export const ENGINE: PeerKind = {
  name: 'engine',
  missing: () => undefined,
  command: async ({ socket }) => [process.execPath, inFolder('echo-engine.mjs'), socket],
};

/** A program in the PATH, found by running it with `args`. */
export function program(name: string, args: readonly string[]): () => string | undefined {
  return () => (spawnSync(name, args).error === undefined ? undefined : `${name} is not installed`);
}

function proxy(
  name: string,
  version: string,
  args: (config: string, folder: string) => readonly string[],
  config: (paths: { folder: string; socket: string; upstream: string }) => string,
): PeerKind {
  return {
    name,
    isProxy: true,
    missing: program(name, [version]),
    command: async (paths) => {
      const file = join(paths.folder, 'config');
      writeFileSync(file, config(paths));
      return [name, ...args(file, paths.folder)];
    },
  };
}

const python = (file: string, module: string): Pick<PeerKind, 'missing' | 'command'> => ({
  missing: () =>
    spawnSync(PYTHON, ['-c', `import ${module}`]).status === 0 ? undefined : `${module} is not installed`,
  command: async ({ socket }) => [PYTHON, inFolder(file), socket],
});

const grpcGo = async (socket: string): Promise<readonly string[]> => [
  await goProgram(inFolder('echo-grpc-go.go')),
  socket,
];

/** grpc-go behind a line on which bytes travel for `delayMs` in each direction. */
export function grpcGoFarAway(delayMs: number): PeerKind {
  return {
    name: 'grpc-go, far away',
    isProxy: true,
    missing: () => (isInstalled('grpc-go') ? undefined : 'grpc-go is not installed'),
    server: grpcGo,
    command: async ({ socket, upstream }) => [
      process.execPath,
      inFolder('long-line.mjs'),
      socket,
      upstream,
      String(delayMs),
    ],
  };
}

export const PEERS: readonly PeerKind[] = [
  { name: 'grpc-js', missing: () => undefined, command: async ({ socket }) => [...GRPC_JS, socket] },
  ENGINE,
  {
    name: 'grpc-go',
    missing: () => (isInstalled('grpc-go') ? undefined : 'grpc-go is not installed'),
    command: async ({ socket }) => grpcGo(socket),
  },
  { name: 'grpcio', ...python('echo_grpcio.py', 'grpc') },
  { name: 'hyper-h2', ...python('echo_hyper_h2.py', 'h2') },
  proxy(
    'nginx',
    '-v',
    (file, folder) => ['-p', folder, '-c', file, '-e', 'stderr', '-g', 'daemon off;'],
    ({ folder, socket, upstream }) => `
user root;
pid ${folder}/pid;
worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  large_client_header_buffers 4 32k;
  grpc_buffer_size 32k;
  server {
    listen unix:${socket} http2;
    client_max_body_size 0;
    location / { grpc_pass grpc://unix:${upstream}; }
  }
}`,
  ),
  proxy(
    'haproxy',
    '-v',
    (file) => ['-W', '-db', '-f', file],
    ({ socket, upstream }) => `
global
  tune.bufsize 65536
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen echo
  bind unix@${socket} proto h2
  server echo unix@${upstream} proto h2
`,
  ),
  {
    name: 'nghttpx',
    isProxy: true,
    missing: program('nghttpx', ['--version']),
    command: async ({ socket, upstream }) => [
      'nghttpx',
      ...[`--frontend=unix:${socket};no-tls`, `--backend=unix:${upstream};;proto=h2`],
      ...['--workers=1', '--errorlog-file=/dev/stderr', '--accesslog-file=/dev/null', '--conf=/dev/null'],
      ...['--no-via', '--request-header-field-buffer=65536', '--response-header-field-buffer=65536'],
    ],
  },
  proxy(
    'caddy',
    'version',
    (file) => ['run', '--adapter', 'caddyfile', '--config', file],
    ({ socket, upstream }) => `
{
  admin off
  auto_https off
  servers {
    protocols h1 h2 h2c
  }
}
http:// {
  bind unix/${socket}
  reverse_proxy unix/${upstream} {
    transport http {
      versions h2c
    }
  }
}
`,
  ),
];

/** A running program of a kind, in a folder of its own. */
export class Peer {
  private readonly folder = mkdtempSync(join(tmpdir(), 'peer-'));
  private readonly socket = join(this.folder, 'socket');
  private readonly upstream = join(this.folder, 'upstream');
  private server: Child | undefined;
  private child: Child | undefined;

  private constructor(private readonly kind: PeerKind) {}

  /** @param serve starts the server behind a proxy at a socket, in place of the kind's server */
  static async start(kind: PeerKind, serve?: (socket: string) => Promise<unknown>): Promise<Peer> {
    const peer = new Peer(kind);
    const { upstream } = peer;
    if (serve !== undefined) await serve(upstream);
    else if (kind.isProxy)
      peer.server = await Child.start((await kind.server?.(upstream)) ?? [...GRPC_JS, upstream], upstream);
    await peer.startProgram();
    return peer;
  }

  /** Target for clients. */
  get url(): string {
    return `unix:${this.socket}`;
  }

  /** Ends the program as an orchestrator does, and starts it again. */
  async restart(): Promise<void> {
    await this.child?.end();
    rmSync(this.socket, { force: true });
    await this.startProgram();
  }

  async close(): Promise<void> {
    await this.child?.end();
    await this.server?.end();
    rmSync(this.folder, { recursive: true });
  }

  private async startProgram(): Promise<void> {
    const { folder, socket, upstream, kind } = this;
    this.child = await Child.start(await kind.command({ folder, socket, upstream }), socket);
  }
}

/** A process that listens on a Unix socket. */
class Child {
  private output = '';
  private hasEnded = false;

  private constructor(private readonly process: ChildProcess) {
    for (const stream of [process.stdout, process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    process.once('close', () => (this.hasEnded = true));
  }

  static async start([command = '', ...args]: readonly string[], socket: string): Promise<Child> {
    const child = new Child(spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
    await waitFor(() => existsSync(socket) || child.hasEnded, { timeoutMs: 30_000, describe: () => child.output });
    if (child.hasEnded) throw new Error(`${command} ended:\n${child.output}`);
    return child;
  }

  async end(): Promise<void> {
    this.process.kill('SIGTERM');
    // Some programs wait for open connections.
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 5_000);
    await waitFor(() => this.hasEnded, { timeoutMs: 20_000, describe: () => this.output });
    clearTimeout(timer);
  }
}
