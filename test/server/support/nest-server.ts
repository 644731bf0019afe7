import type { ResilientGrpcServerOptions } from 'nestjs-resilient-grpc/server';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../../support/bundled.js';

/** Server options that can be serialized for another process. */
export type PlainServerOptions = Pick<
  ResilientGrpcServerOptions,
  'drain' | 'onDrain' | 'methods' | 'keepalive' | 'connections' | 'reflection' | 'overloadProtection' | 'maxCallMs'
>;

/**
 * Flags of the process. They enable TLS or an HTTP server, or set the time in milliseconds for which each call blocks the server, the URL of an upstream
 * server, or the drain options of the upstream clients (JSON).
 */
export type ServerFlag = '--tls' | '--hybrid' | `--busy=${number}` | `--upstream=${string}` | `--clients=${string}`;

/** Timeout for conditions that may take a long time on a busy machine; shorter than the timeout of a test. */
const HANG_MS = 25_000;

interface Counts {
  readonly streams: number;
  readonly sockets: number;
  /** Number of Get calls whose handlers ran, plus the calls that were refused because of an overload. */
  readonly attempts: number;
}

/** A Nest application with ResilientGrpcServer that serves `orders.v1.Orders` in its own process. */
export class NestServer {
  private constructor(private readonly child: ChildServer) {}

  static async start(options: PlainServerOptions = {}, flags: readonly ServerFlag[] = []): Promise<NestServer> {
    const script = bundled(new URL('./orders-app.mjs', import.meta.url));
    const args = (port: number) => ['--port', String(port), '--options', JSON.stringify(options), ...flags];
    // Matches the whole line, because Nest's own log lines also mention ports.
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

  /** The port of the HTTP server of a hybrid application; 0 for other applications. */
  get httpPort(): number {
    return this.messages<{ http: number }>('http').at(-1)?.http ?? 0;
  }

  /** The reason for the end of each closed connection. */
  get connectionEnds(): readonly string[] {
    return this.messages<{ reason: string }>('reason').map(({ reason }) => reason);
  }

  /** Attempts and open streams of the server, and sockets of the whole process. */
  async counts(): Promise<Counts> {
    const before = this.messages('streams').length;
    this.child.send('counts');
    return waitFor(() => this.messages<Counts>('streams')[before], { timeoutMs: HANG_MS });
  }

  /** Ends the open Get calls with the id 'held'; later calls with this id are held again. */
  release(): void {
    this.child.send('release');
  }

  /** Sends SIGSTOP: the sockets stay open, but the process does not respond. */
  freeze(): void {
    this.child.freeze();
  }

  /** Sends SIGCONT, which ends `freeze`. */
  thaw(): void {
    this.child.thaw();
  }

  /** Sends a signal without waiting. */
  signal(name: 'SIGTERM' | 'SIGINT' = 'SIGTERM'): void {
    const { pid } = this.child;
    if (pid !== undefined) process.kill(pid, name);
  }

  /**
   * Sends SIGTERM and waits until the process exits. Resolves to the duration of the shutdown that the process reports, in milliseconds.
   */
  async terminate(): Promise<number> {
    await this.child.terminate(HANG_MS);
    return this.endedAfterMs;
  }

  /** Like `terminate`, for a SIGTERM that was sent earlier. */
  async ended(): Promise<number> {
    await this.exited();
    return this.endedAfterMs;
  }

  /** Resolves when the process has exited for any reason. */
  async exited(): Promise<void> {
    await waitFor(() => !this.child.running, {
      timeoutMs: HANG_MS,
      describe: () => `the process to exit; its output:\n${this.output}`,
    });
  }

  private get endedAfterMs(): number {
    const found = /exited after (\d+) ms/.exec(this.output)?.[1];
    if (found === undefined) throw new Error(`The process did not report its exit; its output:\n${this.output}`);
    return Number(found);
  }

  /** Sends SIGKILL if the process is still running. */
  async close(): Promise<void> {
    await this.child.close();
  }

  private messages<T>(key: string): T[] {
    return this.child.messages.filter(
      (message): message is T => typeof message === 'object' && message !== null && key in message,
    );
  }
}
