import {
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import { counted } from '../telemetry/log-text.js';
import type { Clock, Timer } from '../time/clock.js';
import type { ClientRegistry } from './client-registry.js';

// enableShutdownHooks() is usually called between init and listen: ask a moment later.
const HOOKS_CHECK_MS = 1_000;

/** What the lifecycle needs from outside. */
export interface LifecycleSeams {
  readonly clock: Clock;
  /** Whether somebody listens for the signals by which processes are stopped. */
  readonly listensForSignals: () => boolean;
  /** `NODE_ENV` is 'test'. */
  readonly testing: boolean;
}

/** Ties the clients to the application: readiness down first, then calls finish, then channels close. */
export class GrpcLifecycle
  implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  private readonly logger = new Logger('ResilientGrpc');
  private hooksCheck: Timer | undefined;
  private startedAt: number | undefined;
  private draining: Promise<void> | undefined;

  constructor(
    private readonly registry: ClientRegistry,
    private readonly seams: LifecycleSeams,
  ) {}

  /** By now the container has made what it has. */
  onModuleInit(): Promise<void> {
    return this.registry.checkInterceptors();
  }

  onApplicationBootstrap(): void {
    this.registry.start();
    if (this.seams.testing || this.hooksCheck !== undefined || this.startedAt !== undefined) return;
    this.hooksCheck = this.seams.clock.setTimer(() => {
      if (this.registry.size === 0 || this.seams.listensForSignals()) return;
      this.logger.warn(
        'enableShutdownHooks() was not called: SIGTERM cuts off calls in flight; write app.enableShutdownHooks()',
      );
    }, HOOKS_CHECK_MS);
  }

  async beforeApplicationShutdown(): Promise<void> {
    if (this.startedAt !== undefined) return;
    this.begin();
    this.registry.refuseNew();
    const { readinessDelayMs } = this.registry.drainOptions;
    if (readinessDelayMs === 0 || this.registry.size === 0) return;
    await new Promise<void>((resolve) => {
      this.seams.clock.setTimer(resolve, readinessDelayMs, true);
    });
  }

  onApplicationShutdown(): Promise<void> {
    this.begin();
    this.draining ??= this.drain();
    return this.draining;
  }

  private begin(): void {
    this.startedAt ??= this.seams.clock.now();
    if (this.hooksCheck !== undefined) this.seams.clock.clearTimer(this.hooksCheck);
  }

  private async drain(): Promise<void> {
    if (this.registry.size === 0) return;
    const begunAt = this.seams.clock.now();
    // The time is for the whole shutdown: what Nest needed to close its servers is gone.
    const left = this.registry.drainOptions.timeoutMs - (begunAt - (this.startedAt ?? begunAt));
    const reports = await this.registry.drainAll(Math.max(left, 0));
    const sum = (key: 'finished' | 'completed' | 'cancelled') =>
      reports.reduce((total, report) => total + report[key], 0);
    const done = `${counted(sum('finished'), 'call')} finished, ${counted(sum('completed'), 'stream')} completed`;
    const ms = Math.round(this.seams.clock.now() - begunAt);
    this.logger.log(
      `drained ${counted(reports.length, 'client')} in ${String(ms)} ms: ${done}, ${String(sum('cancelled'))} cut off`,
    );
  }
}
