import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OnApplicationShutdown } from '@nestjs/common';
import { EMPTY, merge, type Observable } from 'rxjs';
import type { LogLine } from '../report/captured-logger.js';
import { type UpstreamEvent, type UpstreamOptions, UpstreamProcess } from './upstream-process.js';

/** Several upstreams that share a log, like replicas that share a database. Each can fail or be restarted independently. */
export class UpstreamGroup implements OnApplicationShutdown {
  /** Never emits an event, because at least one of the upstreams is always reachable. */
  readonly events$: Observable<UpstreamEvent> = EMPTY;

  private constructor(
    private readonly folder: string,
    readonly upstreams: readonly UpstreamProcess[],
  ) {}

  /** Starts `size` upstreams and resolves when they listen. */
  static async start(size: number, options: Omit<UpstreamOptions, 'logPath'> = {}): Promise<UpstreamGroup> {
    const folder = await mkdtemp(join(tmpdir(), 'resilient-grpc-demo-group-'));
    const upstreams: UpstreamProcess[] = [];
    const group = new UpstreamGroup(folder, upstreams);
    try {
      // Starts the upstreams sequentially, because the first upstream writes the initial orders.
      while (upstreams.length < size)
        upstreams.push(await UpstreamProcess.start({ ...options, logPath: join(folder, 'orders.log') }));
    } catch (error) {
      await group.stop();
      throw error;
    }
    return group;
  }

  get logPath(): string {
    return join(this.folder, 'orders.log');
  }

  /** A gRPC target with all addresses. */
  get url(): string {
    return `ipv4:${this.upstreams.map(({ url }) => url).join()}`;
  }

  /** Log lines of our servers. */
  get lines$(): Observable<LogLine> {
    return merge(...this.upstreams.map(({ lines$ }) => lines$));
  }

  async onApplicationShutdown(): Promise<void> {
    await this.stop();
  }

  /** Kills all upstreams and removes the log. */
  async stop(): Promise<void> {
    await Promise.all(this.upstreams.map((upstream) => upstream.stop()));
    await rm(this.folder, { recursive: true, force: true });
  }
}
