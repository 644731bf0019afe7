import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildServer } from 'nestjs-resilient-grpc/testing';

/** A port of an `OrdersProcess`, and since when it listens, in milliseconds since 1970. */
export interface BoundPort {
  readonly port: number;
  readonly at: number;
}

/** A server of `orders.v1.Orders` in a process of its own, which counts what arrives over all its lives. */
export class OrdersProcess {
  readonly #folder = mkdtempSync(join(tmpdir(), 'orders-'));
  readonly #log = join(this.#folder, 'arrived');
  #server: ChildServer | undefined;
  #listenAt = 0;

  private constructor(private readonly options: { readonly ports?: number; readonly delayMs?: number }) {}

  /** @param options how many ports it listens on (1), and how long it takes over a request (0) */
  static async start(options: { readonly ports?: number; readonly delayMs?: number } = {}): Promise<OrdersProcess> {
    const orders = new OrdersProcess(options);
    orders.#server = await ChildServer.start({
      script: new URL('./orders-server.mjs', import.meta.url),
      args: () => orders.#arguments(),
    });
    return orders;
  }

  /** '127.0.0.1:port' of the first port. */
  get url(): string {
    return this.#process.url;
  }

  /** Its ports in its latest life. */
  get bound(): readonly BoundPort[] {
    const last = this.#server?.messages.at(-1) as { readonly bound: readonly BoundPort[] } | undefined;
    return last?.bound ?? [];
  }

  /** What arrived: one line a request, 'get <id>' or 'create <requestId>'. */
  arrived(): readonly string[] {
    return existsSync(this.#log) ? readFileSync(this.#log, 'utf8').trimEnd().split('\n') : [];
  }

  /** SIGKILL, or SIGTERM and an end in order; it listens again `downMs` after this was called. */
  async restartAfter(downMs: number, how: 'kill' | 'terminate' = 'kill'): Promise<void> {
    this.#listenAt = Date.now() + downMs;
    await this.#process[how]();
    await this.#process.restart();
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  async close(): Promise<void> {
    await this.#process.close();
    rmSync(this.#folder, { recursive: true });
  }

  get #process(): ChildServer {
    if (this.#server === undefined) throw new Error('OrdersProcess is made by OrdersProcess.start()');
    return this.#server;
  }

  #arguments(): readonly string[] {
    const { ports = 1, delayMs = 0 } = this.options;
    const known = this.bound.map(({ port }) => port);
    const wanted = known.length > 0 ? known : Array.from({ length: ports }, () => 0);
    return [
      ...['--ports', wanted.join(',')],
      ...['--log', this.#log],
      ...['--delay', String(delayMs)],
      ...['--listen-at', String(this.#listenAt)],
    ];
  }
}
