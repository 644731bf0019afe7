import { type BeforeApplicationShutdown, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { LogLine } from '../telemetry/log/log-line.js';
import { counted, listed } from '../telemetry/log/log-text.js';
import type { GrpcLifecycle } from '../nest/grpc-lifecycle.js';
import type { ServerDrainReport } from '../call/server-event.js';
import type { ServerDrain } from './server-drain.js';

/** Maximum number of methods listed for calls that a drain ended by force. */
const MAX_LISTED_METHODS = 5;

/** The parts of a server that follow the application lifecycle. */
export interface DrainingServer {
  readonly drain: Pick<
    ServerDrain,
    'begin' | 'draining' | 'ready' | 'run' | 'runInBackground' | 'streamsNotified' | 'onEnd'
  >;
  markBootstrapped(): void;
}

/**
 * Connects the server to the application lifecycle. The drain starts before Nest closes anything, because Nest first closes the HTTP
 * server, which may hang. The `close()` of the strategy waits for the drain. The clients of this process shut down after the server.
 */
export class ServerLifecycle implements OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown {
  constructor(
    private readonly server: DrainingServer,
    clients: Pick<GrpcLifecycle, 'endAfter'> | undefined,
    private readonly logger: Pick<LibraryLogger, 'log' | 'warn'> = new LibraryLogger('ResilientGrpcServer'),
  ) {
    const { drain } = server;
    clients?.endAfter(drain);
    drain.onEnd((report, cutOff) => {
      this.logDrain(report, cutOff);
    });
  }

  onApplicationBootstrap(): void {
    this.server.markBootstrapped();
  }

  onModuleDestroy(): void {
    this.server.drain.begin();
  }

  async beforeApplicationShutdown(): Promise<void> {
    const { drain } = this.server;
    await drain.ready;
    drain.runInBackground();
  }

  private logDrain(
    { finished, completed, ended, cutOff, connectionsCutOff, durationMs }: ServerDrainReport,
    paths: ReadonlyMap<string, number>,
  ): void {
    const cutOffPaths = listed(
      [...paths].map(([path, count]) => `${counted(count, 'call')} to ${path}`),
      MAX_LISTED_METHODS,
      (count) => `calls to ${counted(count, 'more method')}`,
    );
    const parts = [
      `${counted(finished, 'call')} finished`,
      ...(completed > 0 ? [`${counted(completed, 'stream')} completed`] : []),
      `${counted(ended, 'stream')} ended`,
      `${String(cutOff)} cut off${cutOff > 0 ? ` (${cutOffPaths})` : ''}`,
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
