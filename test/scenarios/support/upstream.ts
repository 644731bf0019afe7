import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../../support/bundled.js';
import { certificate } from '../../support/orders-app.js';
import { PYTHON } from '../../support/programs.js';
import { grpcGoServer } from './grpc-go-server.js';
import { reach } from './reach.js';
import type { UpstreamKind } from './situation.js';

export interface UpstreamOptions {
  /** How long it takes over a unary request. @defaultValue 0 */
  readonly delayMs?: number;
  /** Unary requests that it can bear; more of them queue up. @defaultValue any */
  readonly perSecond?: number;
  /** Unary requests that would be queued longer than this are answered UNAVAILABLE at once. @defaultValue any */
  readonly queueMs?: number;
  /** Between two events of a feed. @defaultValue 10 */
  readonly eventsEveryMs?: number;
  /** How long calls may run on after SIGTERM; then the server ends them. @defaultValue an hour */
  readonly drainMs?: number;
  /** Options of the server by gRPC's names, 'grpc.max_connection_age_ms' and the like. Ours has only those of the age. */
  readonly serverOptions?: Readonly<Record<string, number>>;
}

/** What a call of `orders.v1.Orders` was to the server; 'ended' when its caller has gone or its stream is over. */
export type ArrivedWhat = 'Get' | 'Create' | 'Watch' | 'Session' | 'Upload' | 'ended';

/** Something that arrived at an upstream. */
export interface Arrival {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly what: ArrivedWhat;
  /** Of Get the id, of Create the requestId, of Watch `from`, of Session the messageId; of what ended its method. */
  readonly key: string;
  readonly previousAttempts: number;
  /** Its connection. */
  readonly peer: string;
}

/** A server waits for its calls at SIGTERM, and a busy machine is slow to start a process: limits for those that hang. */
const [ENDED_WITHIN_MS, STARTED_WITHIN_MS] = [60_000, 60_000];

const SCRIPTS = {
  'grpc-js': 'orders-grpc-js.mjs',
  grpcio: 'orders-grpcio.py',
  'grpc-go': 'orders-grpc-go.go',
  ours: 'orders-nest.mjs',
} as const;

/** The programs that run a script; Node runs the others. The server of grpc-go is built from its script, and ignores the argument. */
const PROGRAMS: Partial<Readonly<Record<UpstreamKind['implementation'], () => string | Promise<string>>>> = {
  grpcio: () => PYTHON,
  'grpc-go': grpcGoServer,
};

/**
 * A server of `orders.v1.Orders` in a process of its own, on one port over all its lives, which writes down what arrives before it
 * answers. An id or requestId 'any/CODE/2' fails with that code in the first two attempts, 'any/CODE' in each;
 * 'any/NEVER' is not answered, 'any/NEVER/1' not in its first attempt. An order says in `item` the pid of its server. A feed goes on until its server
 * ends in order.
 */
export class Upstream {
  private readonly folder = mkdtempSync(join(tmpdir(), 'upstream-'));
  private readonly log = join(this.folder, 'arrived');
  private server: ChildServer | undefined;
  private next: ChildServer | undefined;

  private constructor(
    readonly kind: UpstreamKind,
    private readonly options: UpstreamOptions,
  ) {}

  static async start(kind: UpstreamKind, options: UpstreamOptions = {}): Promise<Upstream> {
    const upstream = new Upstream(kind, options);
    upstream.server = await upstream.spawn(0, false);
    return upstream;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return this.process.url;
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  /** What a client of it has to be told, besides the address. */
  get settings(): Pick<GrpcClientSettings, 'tls'> {
    return this.kind.security === 'TLS' ? { tls: { ca: certificate('ca'), serverName: 'localhost' } } : {};
  }

  /** All that arrived, in all its lives. */
  arrived(...what: readonly ArrivedWhat[]): readonly Arrival[] {
    if (!existsSync(this.log)) return [];
    // What follows the last line break is still being written.
    const lines = readFileSync(this.log, 'utf8').split('\n').slice(0, -1);
    return lines.map(toArrival).filter((arrival) => what.length === 0 || what.includes(arrival.what));
  }

  /** How many of `what` arrived more than once. */
  duplicates(what: ArrivedWhat): number {
    const keys = this.arrived(what).map(({ key }) => key);
    return keys.length - new Set(keys).size;
  }

  /**
   * SIGKILL, or SIGTERM (GOAWAY, and an end when all calls have ended); another process listens on the same port `downMs` after
   * that, or as soon as the port is free. Gives the time since which it listens, in milliseconds since 1970.
   */
  async restartAfter(downMs: number, how: 'kill' | 'terminate' = 'kill'): Promise<number> {
    await this.prepareRestart();
    // True: it was just prepared.
    const next = this.next as ChildServer;
    this.next = undefined;
    const listenAt = Date.now() + downMs;
    await (how === 'kill' ? this.process.kill() : this.process.terminate(ENDED_WITHIN_MS));
    this.server = next;
    next.send({ listenAt });
    return reach(() => boundAt(next), { describe: `a new process to listen on port ${next.port}` });
  }

  /** Starts the process that the next `restartAfter` needs, so that this one is killed at once there. */
  async prepareRestart(): Promise<void> {
    // Waits for its turn with everything loaded: away for the time asked for, and not for the time a process takes to start.
    this.next ??= await this.spawn(this.process.port, true);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.process.kill();
  }

  /** SIGTERM; resolves when the process is gone. */
  async terminate(): Promise<void> {
    await this.process.terminate(ENDED_WITHIN_MS);
  }

  /** SIGSTOP. */
  freeze(): void {
    this.process.freeze();
  }

  /** SIGCONT. */
  thaw(): void {
    this.process.thaw();
  }

  async close(): Promise<void> {
    await Promise.all([this.process.close(), this.next?.close()]);
    rmSync(this.folder, { recursive: true });
  }

  private get process(): ChildServer {
    if (this.server === undefined) throw new Error('Upstream is made by Upstream.start()');
    return this.server;
  }

  private async spawn(port: number, standby: boolean): Promise<ChildServer> {
    const {
      delayMs = 0,
      perSecond = 1_000_000,
      queueMs = 1_000_000_000,
      eventsEveryMs = 10,
      drainMs = 3_600_000,
      serverOptions = {},
    } = this.options;
    const { implementation, security } = this.kind;
    const tls = security === 'TLS' ? { cert: certificate('server'), key: certificate('server-key') } : null;
    const told = {
      port,
      standby,
      log: this.log,
      delayMs,
      perSecond,
      queueMs,
      eventsEveryMs,
      drainMs,
      serverOptions,
      tls,
    };
    return ChildServer.start({
      script: bundled(new URL(SCRIPTS[implementation], import.meta.url)),
      execPath: await PROGRAMS[implementation]?.(),
      args: () => [JSON.stringify(told)],
      readyTimeoutMs: STARTED_WITHIN_MS,
    });
  }
}

function boundAt(server: ChildServer): number | undefined {
  // True: the scripts send nothing else.
  return (server.messages.at(-1) as { readonly boundAt: number } | undefined)?.boundAt;
}

function toArrival(line: string): Arrival {
  const [at, what, key, previousAttempts, peer] = line.split(' ');
  // True: as the scripts write it.
  return { at: Number(at), what, key, previousAttempts: Number(previousAttempts), peer } as Arrival;
}
