import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';

/** A server of `orders.v1.Orders` that runs in its own process and can be restarted. Its log contains the requests of all its processes. */
export class OrdersProcess {
  private readonly folder = mkdtempSync(join(tmpdir(), 'orders-'));
  private readonly log = join(this.folder, 'arrived');
  private server: ChildServer | undefined;

  private constructor(private readonly options: { readonly delayMs?: number }) {}

  /** @param options processing time of a request in milliseconds (default 0) */
  static async start(options: { readonly delayMs?: number } = {}): Promise<OrdersProcess> {
    const orders = new OrdersProcess(options);
    orders.server = await orders.spawn([]);
    return orders;
  }

  /** '127.0.0.1:port'. */
  get url(): string {
    return this.process.url;
  }

  /** The received requests, one line each: 'get <id>' or 'create <requestId>'. */
  arrived(): readonly string[] {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8').trimEnd().split('\n') : [];
  }

  /** Kills the server (SIGKILL) or terminates it cleanly (SIGTERM). Resolves when it listens again, at least `downMs` after the signal. */
  async restartAfter(downMs: number, how: 'kill' | 'terminate' = 'kill'): Promise<void> {
    const next = await this.spawn(['--standby']);
    const listenAt = Date.now() + downMs;
    await this.process[how]();
    this.server = next;
    next.send({ listenAt });
    await waitFor(() => boundBy(next), { timeoutMs: downMs + 20_000 });
  }

  /** Sends SIGSTOP: the sockets stay open and the kernel accepts new connections, but the process does not respond. */
  freeze(): void {
    this.process.freeze();
  }

  /** Sends SIGCONT. */
  thaw(): void {
    this.process.thaw();
  }

  /** Sends SIGKILL. */
  async kill(): Promise<void> {
    await this.process.kill();
  }

  async close(): Promise<void> {
    await this.process.close();
    rmSync(this.folder, { recursive: true });
  }

  private get process(): ChildServer {
    if (this.server === undefined) throw new Error('OrdersProcess is not started; call OrdersProcess.start()');
    return this.server;
  }

  private spawn(more: readonly string[]): Promise<ChildServer> {
    const { delayMs = 0 } = this.options;
    const port = this.server === undefined ? 0 : boundBy(this.server);
    const options = ['--port', String(port ?? 0), '--log', this.log, '--delay', String(delayMs)];
    return ChildServer.start({
      script: new URL('./orders-server.mjs', import.meta.url),
      args: () => [...options, ...more],
      ready: /(?:listening on|standby for) .*:(\d+)/,
    });
  }
}

function boundBy(server: ChildServer): number | undefined {
  // The cast is safe because the script sends nothing else.
  return (server.messages.at(-1) as { readonly port: number } | undefined)?.port;
}
