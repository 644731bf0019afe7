import {
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import type { DrainReport } from '../client/drain-report.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { LogLine } from '../telemetry/log/log-line.js';
import { counted, duration } from '../telemetry/log/log-text.js';
import type { Clock, Timer } from '../time/clock.js';
import type { ClientRegistry } from './client-registry.js';

// enableShutdownHooks() is usually called between init and listen: ask a moment later.
const HOOKS_CHECK_MS = 1_000;
/** Paths that are named of calls that did not end. */
const NAMED = 5;

/** What the lifecycle needs from outside. */
export interface LifecycleSeams {
  readonly clock: Clock;
  /** Whether somebody listens for the signals by which processes are stopped. */
  readonly listensForSignals: () => boolean;
  /** `NODE_ENV` is 'test'. */
  readonly testing: boolean;
  /** Connections to the application's own HTTP server that are open; undefined where it has none. */
  readonly httpConnections: () => Promise<number | undefined>;
}

/** The drain of a server of this process, whose handlers call through the clients. */
export interface ServerBeside {
  /** It has begun. */
  readonly draining: boolean;
  /** Resolves when its streams have been told of their end; begins it. */
  streamsTold(): Promise<void>;
  /** Resolves when it is over, in a time of its own; begins it. */
  run(): Promise<unknown>;
}

/**
 * Ties the clients to the application's shutdown, which is in two steps. Before Nest closes its servers: readiness down, then
 * streams that are resumed end, since a request that relays one would hold the server open; calls of requests that are still served
 * go on. After: calls finish, then channels close. Both within one length of time from the first hook on that Nest calls, whatever
 * Nest's own closing does.
 */
export class GrpcLifecycle
  implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown
{
  private readonly logger = new LibraryLogger('ResilientGrpc');
  private hooksCheck: Timer | undefined;
  /** Since when the application shuts down, in monotonic milliseconds. */
  private endingSince: number | undefined;
  private watchdog: Timer | undefined;
  private delay: { readonly timer: Timer; readonly over: () => void } | undefined;
  private hasStarted = false;
  private ending: Promise<void> | undefined;
  private draining: Promise<void> | undefined;
  private readonly servers: ServerBeside[] = [];

  constructor(
    private readonly registry: ClientRegistry,
    private readonly seams: LifecycleSeams,
  ) {}

  /**
   * At a shutdown streams end no sooner than the server's have been told, so that what a handler relays ends as the server says, and
   * not as if its source had come to its end; and clients no sooner than it has drained, whatever their own time is: its handlers call
   * through them until then.
   */
  endAfter(server: ServerBeside): void {
    this.servers.push(server);
  }

  /** What the process says to who asks whether to send it requests: a server of its own that drains by itself takes none. */
  get phase(): 'starting' | 'ready' | 'draining' {
    if (this.endingSince !== undefined || this.servers.some(({ draining }) => draining)) return 'draining';
    return this.hasStarted ? 'ready' : 'starting';
  }

  /** By now the container has made what it has. */
  onModuleInit(): Promise<void> {
    return this.registry.checkInterceptors();
  }

  onApplicationBootstrap(): void {
    this.hasStarted = true;
    this.registry.start();
    if (this.seams.testing || this.hooksCheck !== undefined || this.endingSince !== undefined) return;
    this.hooksCheck = this.seams.clock.setTimer(() => {
      if (this.registry.size === 0 || this.seams.listensForSignals()) return;
      this.logger.warn(
        'enableShutdownHooks() was not called: SIGTERM cuts off calls in flight; write app.enableShutdownHooks()',
      );
    }, HOOKS_CHECK_MS);
  }

  /** Readiness goes down, and the time begins: until the next step the application serves. The hooks in between may hang. */
  onModuleDestroy(): void {
    this.begin();
  }

  beforeApplicationShutdown(): Promise<void> {
    this.ending ??= this.endStreams();
    return this.ending;
  }

  onApplicationShutdown(): Promise<void> {
    this.draining ??= this.drain();
    return this.draining;
  }

  private begin(): number {
    if (this.endingSince !== undefined) return this.endingSince;
    const { clock } = this.seams;
    this.endingSince = clock.now();
    this.registry.turnUnready();
    if (this.hooksCheck !== undefined) clock.clearTimer(this.hooksCheck);
    this.watch(this.registry.drainOptions.timeoutMs);
    return this.endingSince;
  }

  private watch(ms: number): void {
    if (this.registry.size === 0) return;
    this.watchdog ??= this.seams.clock.setTimer(() => void this.giveUpOnNest(), ms, true);
  }

  private async endStreams(): Promise<void> {
    const beganAt = this.begin();
    this.registry.refuseNew();
    // Where Nest gets here after our time is over, there is nothing left to end.
    if (this.registry.size === 0 || this.draining !== undefined) return;
    const { clock } = this.seams;
    const { timeoutMs, readinessDelayMs } = this.registry.drainOptions;
    // Clients may have been made since the time began.
    this.watch(Math.max(timeoutMs - (clock.now() - beganAt), 0));
    const told = this.servers.map((server) => server.streamsTold());
    // That of a server has passed side by side with it.
    const delayMs = readinessDelayMs - (clock.now() - beganAt);
    if (delayMs > 0) {
      await new Promise<void>((over) => {
        this.delay = { timer: clock.setTimer(over, delayMs, true), over };
      });
    }
    // A drain that failed has ended too.
    await Promise.allSettled(told);
    await this.registry.endStreams();
  }

  /** Nest's own closing hangs: on a request that does not end, an event stream, a busy connection that is kept alive. */
  private async giveUpOnNest(): Promise<void> {
    const { timeoutMs } = this.registry.drainOptions;
    await this.serversOver();
    // Where Nest waited for them and nothing else, it goes on by itself.
    await new Promise<void>((resolve) => {
      this.seams.clock.defer(resolve);
    });
    if (this.draining !== undefined) return;
    const connections = await this.seams.httpConnections().catch(() => undefined);
    const holders = [
      ...(connections === undefined || connections === 0 ? [] : [counted(connections, 'open HTTP connection')]),
      ...this.openCalls(),
    ];
    const who = holders.length === 0 ? '' : ` (${holders.join(', ')})`;
    const text = `the application has not closed within ${duration(timeoutMs)}${who}; gRPC clients close now`;
    this.logger.warn(new LogLine('warn', text, { event: 'drain-overdue', timeoutMs, open: holders.join(', ') }));
    await this.onApplicationShutdown();
  }

  private openCalls(): string[] {
    const counts = new Map<string, number>();
    for (const client of this.registry) {
      for (const { path } of client.activeCalls()) counts.set(path, (counts.get(path) ?? 0) + 1);
    }
    const named = [...counts].slice(0, NAMED).map(([path, count]) => `${counted(count, 'call')} of ${path}`);
    return counts.size > NAMED ? [...named, `calls of ${String(counts.size - NAMED)} more methods`] : named;
  }

  private async drain(): Promise<void> {
    const beganAt = this.begin();
    const { clock } = this.seams;
    if (this.watchdog !== undefined) clock.clearTimer(this.watchdog);
    if (this.registry.size > 0) await this.serversOver();
    if (this.delay !== undefined) clock.clearTimer(this.delay.timer);
    this.delay?.over();
    if (this.registry.size === 0) return;
    // The time is for the whole shutdown: what Nest needed to close its servers is gone.
    const left = this.registry.drainOptions.timeoutMs - (clock.now() - beganAt);
    this.tell(await this.registry.drainAll(Math.max(left, 0)), clock.now() - beganAt);
  }

  private async serversOver(): Promise<void> {
    await Promise.allSettled(this.servers.map((server) => server.run()));
  }

  private tell(reports: readonly DrainReport[], ms: number): void {
    const sum = (key: 'finished' | 'completed' | 'cancelled') =>
      reports.reduce((total, report) => total + report[key], 0);
    const [finished, completed, cancelled] = [sum('finished'), sum('completed'), sum('cancelled')];
    const durationMs = Math.round(ms);
    const done = `${counted(finished, 'call')} finished, ${counted(completed, 'stream')} completed`;
    const text = `drained ${counted(reports.length, 'client')} in ${String(durationMs)} ms: ${done}, ${String(cancelled)} cut off`;
    const fields = { event: 'drain', clients: reports.length, finished, completed, cancelled, durationMs };
    this.logger.log(new LogLine('log', text, fields));
  }
}
