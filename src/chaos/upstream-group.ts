import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OnApplicationShutdown } from '@nestjs/common';
import { EMPTY, merge, type Observable } from 'rxjs';
import type { LogLine } from '../report/captured-logger.js';
import { type UpstreamEvent, type UpstreamOptions, UpstreamProcess } from './upstream-process.js';

/** Two upstreams that share a log, like replicas that share a database. They can be restarted one after the other. */
export class UpstreamPair implements OnApplicationShutdown {
  /** Empty, because one of the two upstreams is always reachable. */
  readonly events$: Observable<UpstreamEvent> = EMPTY;

  private constructor(
    private readonly folder: string,
    readonly upstreams: readonly UpstreamProcess[],
  ) {}

  /** Starts both and resolves when they listen. */
  static async start(options: Omit<UpstreamOptions, 'logPath'> = {}): Promise<UpstreamPair> {
    const folder = await mkdtemp(join(tmpdir(), 'resilient-grpc-demo-pair-'));
    const upstreams: UpstreamProcess[] = [];
    const pair = new UpstreamPair(folder, upstreams);
    try {
      // Sequentially, because the first one writes the initial orders.
      while (upstreams.length < 2)
        upstreams.push(await UpstreamProcess.start({ ...options, logPath: join(folder, 'orders.log') }));
    } catch (error) {
      await pair.stop();
      throw error;
    }
    return pair;
  }

  get logPath(): string {
    return join(this.folder, 'orders.log');
  }

  get countsPaths(): readonly string[] {
    return this.upstreams.flatMap(({ countsPaths }) => countsPaths);
  }

  /** A gRPC target with both addresses. */
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

  /** Kills both and removes the log. */
  async stop(): Promise<void> {
    await Promise.all(this.upstreams.map((upstream) => upstream.stop()));
    await rm(this.folder, { recursive: true, force: true });
  }
}
