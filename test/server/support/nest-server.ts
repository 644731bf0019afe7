import type { ResilientGrpcServerOptions } from 'nestjs-resilient-grpc/server';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../../support/bundled.js';

/** Options that can be handed to another process. */
export type PlainServerOptions = Pick<
  ResilientGrpcServerOptions,
  | 'drain'
  | 'onDrain'
  | 'methods'
  | 'keepalive'
  | 'maxConnectionAgeMs'
  | 'maxConnectionAgeGraceMs'
  | 'connectionIdleTimeoutMs'
  | 'maxConcurrentStreams'
  | 'reflection'
>;

/** How it runs: with TLS, beside an HTTP server, or behind it another server, and how the clients of that drain (JSON). */
export type ServerFlag = '--tls' | '--hybrid' | `--upstream=${string}` | `--clients=${string}`;

/** Limit for conditions that a busy machine reaches late; shorter than that of a test. */
const HANG_MS = 25_000;

interface Counts {
  readonly streams: number;
  readonly sockets: number;
}

/** A Nest application that serves `orders.v1.Orders` by the strategy, in a process of its own. */
export class NestServer {
  private constructor(private readonly child: ChildServer) {}

  static async start(options: PlainServerOptions = {}, flags: readonly ServerFlag[] = []): Promise<NestServer> {
    const script = bundled(new URL('./orders-app.mjs', import.meta.url));
    const args = (port: number) => ['--port', String(port), '--options', JSON.stringify(options), ...flags];
    // Nest's own lines tell of ports too.
    const ready = /^listening on .*:(\d+)$/;
    return new NestServer(await ChildServer.start({ script, args, ready, readyTimeoutMs: HANG_MS }));
  }

  get url(): string {
    return this.child.url;
  }

  get port(): number {
    return this.child.port;
  }

  get output(): string {
    return this.child.output.join('\n');
  }

  /** The port of the HTTP server of a hybrid application. */
  get httpPort(): number {
    return this.messages<{ http: number }>('http').at(-1)?.http ?? 0;
  }

  /** Why connections were ended. */
  get connectionEnds(): readonly string[] {
    return this.messages<{ reason: string }>('reason').map(({ reason }) => reason);
  }

  /** Streams of handlers, and sockets of the whole process. */
  async counts(): Promise<Counts> {
    const before = this.messages('streams').length;
    this.child.send('counts');
    return waitFor(() => this.messages<Counts>('streams')[before], { timeoutMs: HANG_MS });
  }

  /** Lets the handlers of orders whose id is 'held' go on; those of later calls are held again. */
  release(): void {
    this.child.send('release');
  }

  /** SIGSTOP: its sockets stay open, and nothing answers. */
  freeze(): void {
    this.child.freeze();
  }

  /** SIGCONT: ends `freeze`. */
  thaw(): void {
    this.child.thaw();
  }

  /** SIGTERM, and no more. */
  signal(): void {
    const { pid } = this.child;
    if (pid !== undefined) process.kill(pid, 'SIGTERM');
  }

  /** SIGTERM, until it has ended; how many milliseconds that took it, as it says itself. */
  async terminate(): Promise<number> {
    await this.child.terminate(HANG_MS);
    return this.endedAfterMs;
  }

  /** Resolves when it has ended, by a signal of before; how many milliseconds that took it, as it says itself. */
  async ended(): Promise<number> {
    await this.gone();
    return this.endedAfterMs;
  }

  /** Resolves when it has ended, by itself or by a signal. */
  async gone(): Promise<void> {
    await waitFor(() => !this.child.running, {
      timeoutMs: HANG_MS,
      describe: () => `its end; its output:\n${this.output}`,
    });
  }

  private get endedAfterMs(): number {
    const found = /ended by itself after (\d+) ms/.exec(this.output)?.[1];
    if (found === undefined) throw new Error(`It did not end by itself; its output:\n${this.output}`);
    return Number(found);
  }

  /** SIGKILL where it still runs. */
  async close(): Promise<void> {
    await this.child.close();
  }

  private messages<T>(key: string): T[] {
    return this.child.messages.filter(
      (message): message is T => typeof message === 'object' && message !== null && key in message,
    );
  }
}
