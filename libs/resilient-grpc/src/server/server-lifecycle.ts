import { type BeforeApplicationShutdown, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { LogLine } from '../telemetry/log/log-line.js';
import { counted } from '../telemetry/log/log-text.js';
import type { ServerBeside } from '../nest/grpc-lifecycle.js';
import type { ServerDrainReport } from '../call/server-event.js';
import type { ServerDrain } from './server-drain.js';

/** Paths that are named of calls that were cut off. */
const NAMED = 5;

/** What is tied to the application's life. */
export interface DrainingServer {
  readonly drain: Pick<
    ServerDrain,
    'begin' | 'draining' | 'readiness' | 'run' | 'runUnheard' | 'streamsTold' | 'onEnd'
  >;
  readonly health: { bootstrapped(): void };
}

/** The part of the clients' lifecycle that waits for the server's. */
export interface ClientsBehind {
  endAfter(server: ServerBeside): void;
}

/**
 * Ties the server to the application's life. Its drain begins before Nest closes anything, since Nest closes the HTTP server first,
 * which may hang, and is waited for by the strategy's `close()`; the clients of this process come after it.
 */
export class ServerLifecycle implements OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown {
  constructor(
    private readonly server: DrainingServer,
    clients: ClientsBehind | undefined,
    private readonly logger: Pick<LibraryLogger, 'log' | 'warn'> = new LibraryLogger('ResilientGrpcServer'),
  ) {
    const { drain } = server;
    clients?.endAfter(drain);
    drain.onEnd((report, cutOff) => {
      this.tell(report, cutOff);
    });
  }

  onApplicationBootstrap(): void {
    this.server.health.bootstrapped();
  }

  onModuleDestroy(): void {
    this.server.drain.begin();
  }

  async beforeApplicationShutdown(): Promise<void> {
    const { drain } = this.server;
    await drain.readiness();
    drain.runUnheard();
  }

  private tell(
    { finished, completed, ended, cutOff, connectionsCutOff, durationMs }: ServerDrainReport,
    paths: ReadonlyMap<string, number>,
  ): void {
    const parts = [
      `${counted(finished, 'call')} finished`,
      ...(completed > 0 ? [`${counted(completed, 'stream')} completed`] : []),
      `${counted(ended, 'stream')} ended`,
      `${String(cutOff)} cut off${cutOff > 0 ? ` (${named(paths)})` : ''}`,
      ...(connectionsCutOff > 0 ? [`${counted(connectionsCutOff, 'connection')} cut off`] : []),
    ];
    const text = `drained in ${String(Math.round(durationMs))} ms: ${parts.join(', ')}`;
    const level = cutOff + connectionsCutOff === 0 ? 'log' : 'warn';
    this.logger[level](
      new LogLine(level, text, {
        event: 'drain',
        finished,
        completed,
        ended,
        cutOff,
        connectionsCutOff,
        durationMs: Math.round(durationMs),
      }),
    );
  }
}

function named(paths: ReadonlyMap<string, number>): string {
  const first = [...paths].slice(0, NAMED).map(([path, count]) => `${counted(count, 'call')} of ${path}`);
  const more = paths.size > NAMED ? [`calls of ${String(paths.size - NAMED)} more methods`] : [];
  return [...first, ...more].join(', ');
}
