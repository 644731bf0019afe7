import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../../support/bundled.js';
import { certificate } from '../../support/orders-app.js';
import { PYTHON } from '../../support/programs.js';
import { goProgram } from '../../support/go-program.js';
import { reach } from './reach.js';
import type { UpstreamKind } from './scenario.js';

/**
 * Options of an upstream. The server of this library supports only `port`, `delayMs`, `drainMs`, and the connection ages of
 * `serverOptions`. The grpc-go server does not support `perSecond`, and supports only a negative `queueMs`.
 */
export interface UpstreamOptions {
  /** IP address to listen on. @defaultValue '127.0.0.1' */
  readonly host?: string;
  /** @defaultValue 0, which means any unused port */
  readonly port?: number;
  /** Status that the health service reports to each Watch. @defaultValue no health service */
  readonly health?: ServingStatus;
  /** Processing time of a unary request. @defaultValue 0 */
  readonly delayMs?: number;
  /** Capacity in unary requests per second; requests beyond it are queued. @defaultValue unlimited */
  readonly perSecond?: number;
  /**
   * Maximum queueing time of a unary request. A request that would be queued for longer fails with UNAVAILABLE immediately; at
   * -1,000,000,000, all requests fail.
   * @defaultValue unlimited
   */
  readonly queueMs?: number;
  /** Time between two events of a feed. @defaultValue 10 */
  readonly eventsEveryMs?: number;
  /** Maximum time for calls to continue after SIGTERM; then the server ends them. @defaultValue an hour */
  readonly drainMs?: number;
  /**
   * Server options by their gRPC names, such as 'grpc.max_connection_age_ms'. The grpc-go server supports only the connection ages and
   * 'grpc.max_concurrent_streams'.
   */
  readonly serverOptions?: Readonly<Record<string, number>>;
}

export type ServingStatus = 'SERVING' | 'NOT_SERVING';

/**
 * Method of a call of `orders.v1.Orders`; 'ended' for the end of a call; or 'Health' for a Watch of the health service. The grpc-js server
 * logs the end of each call, and logs 'Health' only if it has a health service. The grpcio and grpc-go servers log the end of each
 * cancelled call, and grpcio also logs the end of each Session. The server of this library logs no ends.
 */
export type ArrivedWhat = 'Get' | 'Create' | 'Watch' | 'Session' | 'ended' | 'Health';

/** A line of the log of an upstream. */
export interface Arrival {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly what: ArrivedWhat;
  /** `id` of Get, `requestId` of Create, `from` of Watch, `messageId` of Session; the method if a call ended; '-' for Health. */
  readonly key: string;
  readonly previousAttempts: number;
  /** Address of the client's connection; '-' for Health on grpcio. */
  readonly peer: string;
}

/** Limits for processes that hang. They are long because a server waits for its calls at SIGTERM and a busy machine is slow. */
const [ENDED_WITHIN_MS, STARTED_WITHIN_MS] = [60_000, 60_000];

const SCRIPTS = {
  'grpc-js': 'orders-grpc-js.mjs',
  grpcio: 'orders-grpcio.py',
  'grpc-go': 'orders-grpc-go.go',
  ours: 'orders-nest.mjs',
} as const;

/**
 * Programs that run the scripts of some implementations; Node runs the other scripts. The grpc-go server is built from its script and
 * ignores the script path in its arguments.
 */
const PROGRAMS: Partial<Readonly<Record<UpstreamKind['implementation'], () => string | Promise<string>>>> = {
  grpcio: () => PYTHON,
  'grpc-go': () => goProgram(join(import.meta.dirname, SCRIPTS['grpc-go'])),
};

/**
 * A server of `orders.v1.Orders` in its own process that logs each request before it responds and keeps its port across restarts. A request
 * whose id or requestId is 'any/CODE/2' fails with that code in its first two attempts; with 'any/CODE', it fails in each attempt. With
 * 'any/NEVER', it gets no response; with 'any/NEVER/1', its first attempt gets no response. The `item` of an order is the pid of its
 * server. A feed continues until its server shuts down cleanly. The grpc-go server does not serve Session; the server of this
 * library serves only Get and Create.
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
    upstream.server = await upstream.spawn(options.port ?? 0, false);
    return upstream;
  }

  /** 'host:port' */
  get url(): string {
    return `${this.host}:${String(this.port)}`;
  }

  get host(): string {
    return this.options.host ?? '127.0.0.1';
  }

  get port(): number {
    return this.process.port;
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  /** Settings that a client needs besides the address. */
  get settings(): Pick<GrpcClientSettings, 'tls'> {
    return this.kind.security === 'TLS' ? { tls: { ca: certificate('ca'), serverName: 'localhost' } } : {};
  }

  /** Requests and ends of calls that the processes of this upstream have logged: all by default, or only the kinds in `what`. */
  arrived(...what: readonly ArrivedWhat[]): readonly Arrival[] {
    if (!existsSync(this.log)) return [];
    // Text after the last line break is still being written.
    const lines = readFileSync(this.log, 'utf8').split('\n').slice(0, -1);
    return lines.map(toArrival).filter((arrival) => what.length === 0 || what.includes(arrival.what));
  }

  /** Number of requests of the method `what` that repeat the key of an earlier one. */
  duplicates(what: ArrivedWhat): number {
    const keys = this.arrived(what).map(({ key }) => key);
    return keys.length - new Set(keys).size;
  }

  /**
   * Sends SIGKILL, or SIGTERM (the server sends GOAWAY and exits when all calls have ended). Another process listens on the same port
   * `downMs` later, or when the old process has exited if that is later. Resolves to the time at which the new process starts to listen,
   * in milliseconds since 1970.
   */
  async restartAfter(downMs: number, how: 'kill' | 'terminate' = 'kill'): Promise<number> {
    await this.prepareRestart();
    // The cast is safe because `prepareRestart` has set `this.next`.
    const next = this.next as ChildServer;
    this.next = undefined;
    const listenAt = Date.now() + downMs;
    await (how === 'kill' ? this.process.kill() : this.process.terminate(ENDED_WITHIN_MS));
    this.server = next;
    next.send({ listenAt });
    return reach(() => boundAt(next), { describe: `a new process to listen on port ${next.port}` });
  }

  /** Starts the process for the next `restartAfter`, which then ends the current process without delay. */
  async prepareRestart(): Promise<void> {
    // The process waits with everything loaded, so that the downtime does not include the start of a process.
    this.next ??= await this.spawn(this.process.port, true);
  }

  /** Sends SIGKILL; resolves when the process has ended. */
  async kill(): Promise<void> {
    await this.process.kill();
  }

  /** Sends SIGTERM; resolves when the process has exited. */
  async terminate(): Promise<void> {
    await this.process.terminate(ENDED_WITHIN_MS);
  }

  /** Changes options of the running process. The servers of this library do not support this. */
  change(options: Pick<UpstreamOptions, 'delayMs' | 'queueMs' | 'health'>): void {
    this.process.send(options);
  }

  /** Sends SIGSTOP. */
  freeze(): void {
    this.process.freeze();
  }

  /** Sends SIGCONT. */
  thaw(): void {
    this.process.thaw();
  }

  async close(): Promise<void> {
    await Promise.all([this.process.close(), this.next?.close()]);
    rmSync(this.folder, { recursive: true });
  }

  private get process(): ChildServer {
    if (this.server === undefined) throw new Error('Upstream is not started; call Upstream.start()');
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
      health = null,
    } = this.options;
    const { implementation, security } = this.kind;
    const tls = security === 'TLS' ? { cert: certificate('server'), key: certificate('server-key') } : null;
    const settings = {
      host: this.host,
      port,
      standby,
      log: this.log,
      delayMs,
      perSecond,
      queueMs,
      eventsEveryMs,
      drainMs,
      serverOptions,
      health,
      tls,
    };
    return ChildServer.start({
      script: bundled(new URL(SCRIPTS[implementation], import.meta.url)),
      execPath: await PROGRAMS[implementation]?.(),
      args: () => [JSON.stringify(settings)],
      readyTimeoutMs: STARTED_WITHIN_MS,
    });
  }
}

function boundAt(server: ChildServer): number | undefined {
  // The cast is safe because ChildServer handles the only other message of the scripts, { listening }.
  return (server.messages.at(-1) as { readonly boundAt: number } | undefined)?.boundAt;
}

function toArrival(line: string): Arrival {
  const [at, what, key, previousAttempts, peer] = line.split(' ');
  // The cast is safe because the scripts write this format.
  return { at: Number(at), what, key, previousAttempts: Number(previousAttempts), peer } as Arrival;
}
