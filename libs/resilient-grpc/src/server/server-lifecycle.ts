import type {
  BeforeApplicationShutdown,
  OnApplicationBootstrap,
  OnApplicationShutdown,
  OnModuleDestroy,
} from '@nestjs/common';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { callsByPath, counted, duration } from '../telemetry/log/log-text.js';
import {
  type GrpcLifecycle,
  cutOffRemedy,
  shutdownLine,
  onSecondInterrupt,
  ShutdownHooksCheck,
  type SignalHandling,
} from '../nest/grpc-lifecycle.js';
import { systemClock, type Clock } from '../time/clock.js';
import type { ServerDrainReport } from '../call/server-event.js';
import type { ResilientGrpcServer } from './resilient-grpc-server.js';

/**
 * Connects the server to the application lifecycle. The drain starts before Nest closes anything, because Nest first closes the HTTP
 * server, which may hang. The `close()` of the strategy waits for the drain.
 */
export class ServerLifecycle
  implements OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown
{
  /** Present if the application has no clients; otherwise, the lifecycle of the clients performs this check, and listens for SIGINT. */
  private readonly hooksCheck: ShutdownHooksCheck | undefined;
  private stopInterrupts: (() => void) | undefined;

  constructor(
    private readonly server: Pick<ResilientGrpcServer, 'drain' | 'markBootstrapped'>,
    clients: Pick<GrpcLifecycle, 'endAfter'> | undefined,
    private readonly signals: SignalHandling,
    private readonly clock: Clock = systemClock,
    private readonly logger: Pick<LibraryLogger, 'write'> = new LibraryLogger('ResilientGrpcServer'),
  ) {
    const { drain } = server;
    if (clients === undefined) this.hooksCheck = new ShutdownHooksCheck(clock, signals, logger);
    else clients.endAfter(drain);
    drain.onBegin(() => {
      const open = drain.openPaths();
      if (open.size > 0)
        logger.write('log', ...shutdownLine(callsByPath(open), drain.options, 'ResilientGrpcServerModule'));
    });
    drain.onEnd((report, cutOff, hasCutOffStream) => {
      this.logDrain(report, cutOff, hasCutOffStream);
    });
  }

  onApplicationBootstrap(): void {
    this.server.markBootstrapped();
    this.hooksCheck?.start(() => true);
  }

  onModuleDestroy(): void {
    const { drain } = this.server;
    drain.begin();
    if (this.hooksCheck === undefined) return;
    this.hooksCheck.stop();
    this.stopInterrupts = onSecondInterrupt(this.signals, this.clock, () => {
      drain.cutOff();
    });
  }

  onApplicationShutdown(): void {
    this.stopInterrupts?.();
  }

  async beforeApplicationShutdown(): Promise<void> {
    const { drain } = this.server;
    await drain.ready;
    drain.runInBackground();
  }

  private logDrain(report: ServerDrainReport, paths: ReadonlyMap<string, number>, hasCutOffStream: boolean): void {
    const { finished, completed, ended, cutOff, connectionsCutOff, durationMs } = report;
    const parts = [
      `${counted(finished, 'call')} finished`,
      ...(completed > 0 ? [`${counted(completed, 'stream')} completed`] : []),
      `${counted(ended, 'stream')} ended`,
      `${String(cutOff)} cut off${cutOff > 0 ? ` (${callsByPath(paths)})` : ''}`,
      ...(connectionsCutOff > 0 ? [`${counted(connectionsCutOff, 'connection')} cut off`] : []),
    ];
    const { timeoutMs } = this.server.drain.options;
    const remedy = cutOff > 0 ? cutOffRemedy(durationMs, timeoutMs, 'ResilientGrpcServerModule', hasCutOffStream) : '';
    const text = `server drained ${duration(durationMs)} after the shutdown started: ${parts.join(', ')}${remedy}`;
    const fields = { ...report, event: 'drain', durationMs: Math.round(durationMs) };
    this.logger.write(cutOff + connectionsCutOff === 0 ? 'log' : 'warn', text, fields);
  }
}
