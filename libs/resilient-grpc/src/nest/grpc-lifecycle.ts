import type {
  BeforeApplicationShutdown,
  OnApplicationBootstrap,
  OnApplicationShutdown,
  OnModuleDestroy,
  OnModuleInit,
} from '@nestjs/common';
import type { DrainReport } from '../call/call-event.js';
import { LibraryLogger, type EventFields } from '../telemetry/log/library-logger.js';
import { COMPLETE_STREAMS, callsByPath, counted, drainText, duration } from '../telemetry/log/log-text.js';
import { nextTurn, type Clock, type Timer } from '../time/clock.js';
import { Wait } from '../time/wait.js';
import type { ClientRegistry } from './client-registry.js';
import type { ResolvedDrain } from './module-options.js';

export interface LifecycleDependencies {
  readonly clock: Clock;
  readonly signals: SignalHandling;
  /** State of the application's HTTP server; `undefined` if there is no such server, or if its state is unknown. */
  readonly httpServer: () => Promise<HttpServerState | undefined>;
  readonly closeFailureLogs: () => void;
}

export interface HttpServerState {
  /** True until Nest starts to close the server, after the hooks `onModuleDestroy` and `beforeApplicationShutdown`. */
  readonly isListening: boolean;
  readonly connections: number;
}

export interface ServerDrainHandle {
  readonly draining: boolean;
  /** Starts the drain. Resolves after the server's streams have been notified of their end. */
  streamsNotified(): Promise<void>;
  /** Starts the drain. Resolves when the drain has finished, within its own timeout. */
  run(): Promise<unknown>;
  cutOff(): void;
}

/**
 * Ties the clients to the application's shutdown, which has two steps. Before Nest closes its servers, readiness turns off and streams end
 * according to their `onDrain`, because a request that relays an open stream would keep the server open. Calls of requests that are still
 * being served continue. After Nest has closed its servers, calls finish and channels close. The drain timeout covers both steps. It starts
 * with the first hook that Nest calls, and includes the time that Nest takes to close its servers. With a timeout of 0, the clients close
 * immediately after Nest has closed its servers, as Nest's own clients do.
 */
export class GrpcLifecycle
  implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown, OnApplicationShutdown
{
  private readonly logger = new LibraryLogger('ResilientGrpc');
  private readonly hooksCheck: ShutdownHooksCheck;
  /** Start of the shutdown, in monotonic milliseconds. */
  private endingSince: number | undefined;
  private watchdog: Timer | undefined;
  private readinessDelay: Wait | undefined;
  private ending: Promise<void> | undefined;
  private draining: Promise<void> | undefined;
  private isCutOff = false;
  private stopInterrupts: (() => void) | undefined;
  private readonly servers: ServerDrainHandle[] = [];

  constructor(
    private readonly registry: ClientRegistry,
    private readonly dependencies: LifecycleDependencies,
  ) {
    this.hooksCheck = new ShutdownHooksCheck(dependencies.clock, dependencies.signals, this.logger);
  }

  /**
   * Shuts the clients down after `server`. Clients end their streams after the server's have been notified. A relayed stream therefore
   * ends with the server's status, not as if its source had completed. Clients close after the server has drained, regardless of their own
   * timeout, because its handlers use them until then.
   */
  endAfter(server: ServerDrainHandle): void {
    this.servers.push(server);
  }

  /**
   * Readiness of the process. Also 'draining' if only a server of this process is draining, because that server rejects calls after its
   * readiness delay.
   */
  get phase(): 'starting' | 'ready' | 'draining' {
    if (this.endingSince !== undefined || this.servers.some(({ draining }) => draining)) return 'draining';
    return this.registry.hasStarted ? 'ready' : 'starting';
  }

  /** Runs after the container has created its providers. */
  onModuleInit(): Promise<void> {
    return this.registry.checkInterceptors();
  }

  onApplicationBootstrap(): void {
    this.registry.hasStarted = true;
    if (this.endingSince === undefined) this.hooksCheck.start(() => this.registry.size + this.servers.length > 0);
  }

  /** Turns readiness off, and starts the timeout, because later hooks may hang. The application still serves requests. */
  onModuleDestroy(): void {
    this.begin();
  }

  beforeApplicationShutdown(): Promise<void> {
    this.ending ??= this.endStreams();
    return this.ending;
  }

  onApplicationShutdown(): Promise<void> {
    this.draining ??= this.drain().finally(() => {
      this.stopInterrupts?.();
      this.dependencies.closeFailureLogs();
    });
    return this.draining;
  }

  private begin(): number {
    if (this.endingSince !== undefined) return this.endingSince;
    const { clock } = this.dependencies;
    this.endingSince = clock.now();
    this.registry.beginShutdown();
    this.hooksCheck.stop();
    this.stopInterrupts = onSecondInterrupt(this.dependencies.signals, clock, () => void this.cutOff());
    this.watch(this.registry.drainOptions.timeoutMs);
    const open = this.openCalls();
    if (open !== '') this.logger.write('log', ...shutdownLine(open, this.registry.drainOptions, 'ResilientGrpcModule'));
    return this.endingSince;
  }

  private watch(ms: number): void {
    // A timeout of 0 starts no timer, because requests in progress need the clients until Nest has closed its servers.
    if (this.registry.size === 0 || this.registry.drainOptions.timeoutMs === 0) return;
    this.watchdog ??= this.dependencies.clock.setTimer(() => void this.onTimeout(), ms, true);
  }

  private async endStreams(): Promise<void> {
    const beganAt = this.begin();
    this.registry.refuseNew();
    // If the timeout has fired, the drain ends the streams.
    if (this.registry.size === 0 || this.draining !== undefined) return;
    const { clock } = this.dependencies;
    const { timeoutMs, readinessDelayMs } = this.registry.drainOptions;
    // `begin` starts no timeout if there are no clients; the first client may have been created since then.
    this.watch(Math.max(timeoutMs - (clock.now() - beganAt), 0));
    const notified = this.servers.map((server) => server.streamsNotified());
    // This delay runs in parallel with the readiness delays of the servers, whose drains have already started.
    const delayMs = readinessDelayMs - (clock.now() - beganAt);
    if (delayMs > 0) {
      this.readinessDelay = new Wait(clock, delayMs);
      await this.readinessDelay.over;
    }
    // Errors are ignored, because a drain that failed has ended, too.
    await Promise.allSettled(notified);
    await this.registry.endStreams();
  }

  /**
   * Closes the clients if Nest's own shutdown hangs, for example on a request that does not end, an event stream, or a busy keep-alive
   * connection.
   */
  private async onTimeout(): Promise<void> {
    const { timeoutMs } = this.registry.drainOptions;
    await this.drainServers();
    // Waits one turn of the event loop, because Nest's shutdown continues in this turn if it was waiting only for the servers.
    await nextTurn(this.dependencies.clock);
    if (this.draining !== undefined) return;
    const http = await this.dependencies.httpServer().catch(() => undefined);
    const connections = http?.connections ? counted(http.connections, 'open HTTP connection') : '';
    const open = [connections, this.openCalls()].filter((text) => text !== '').join(', ');
    const { cause, remedy } = this.explainOverdue(http, open);
    const text = `the application did not close within ${duration(timeoutMs)} (${cause}); closing gRPC clients now${remedy}`;
    this.logger.write('warn', text, { event: 'drain-overdue', timeoutMs, open });
    await this.onApplicationShutdown();
  }

  /** Ends what still runs. Nest then finishes its own shutdown. */
  private async cutOff(): Promise<void> {
    this.isCutOff = true;
    for (const server of this.servers) server.cutOff();
    this.readinessDelay?.end();
    void this.onApplicationShutdown();
    await this.drainServers();
    await this.registry.drainAll(0);
  }

  private explainOverdue(http: HttpServerState | undefined, open: string): { cause: string; remedy: string } {
    if (http?.isListening === true || open === '') {
      return {
        cause: `a shutdown hook or a microservice has not ended${open === '' ? '' : `; ${open}`}`,
        remedy: ', so later calls fail; shorten the hook, or raise drain.timeoutMs of ResilientGrpcModule.forRoot()',
      };
    }
    // Relayed streams are mentioned only if there is an HTTP server, because they delay the shutdown only by keeping that server open.
    const relays = http !== undefined && [...this.registry].some(({ registry }) => registry.hasFinishingStream);
    return { cause: open, remedy: relays ? `; for relayed streams, ${COMPLETE_STREAMS}` : '' };
  }

  private openCalls(): string {
    const counts = new Map<string, number>();
    for (const client of this.registry) {
      for (const { path } of client.activeCalls()) counts.set(path, (counts.get(path) ?? 0) + 1);
    }
    return callsByPath(counts);
  }

  private async drain(): Promise<void> {
    const beganAt = this.begin();
    const { clock } = this.dependencies;
    this.watchdog?.clear();
    if (this.registry.size > 0) await this.drainServers();
    this.readinessDelay?.end();
    if (this.registry.size === 0) return;
    // The timeout covers the whole shutdown, including the time that Nest took to close its servers.
    const remainingMs = this.isCutOff ? 0 : this.registry.drainOptions.timeoutMs - (clock.now() - beganAt);
    // Clients from create() are removed from the registry when they close.
    const clients = [...this.registry];
    const reports = await this.registry.drainAll(Math.max(remainingMs, 0));
    const hasCutOffStream = clients.some(({ registry }) => registry.hasCutOffStream);
    this.logReports(reports, hasCutOffStream, clock.now() - beganAt);
  }

  private async drainServers(): Promise<void> {
    await Promise.allSettled(this.servers.map((server) => server.run()));
  }

  private logReports(reports: readonly DrainReport[], hasCutOffStream: boolean, ms: number): void {
    const counts = { finished: 0, failed: 0, completed: 0, ended: 0, cancelled: 0 };
    const cutOffByPath: Record<string, number> = {};
    for (const report of reports) {
      for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += report[key];
      for (const [path, count] of Object.entries(report.cutOffByPath))
        cutOffByPath[path] = (cutOffByPath[path] ?? 0) + count;
    }
    const isCutOff = Object.keys(cutOffByPath).length > 0;
    const { timeoutMs } = this.registry.drainOptions;
    const remedy = isCutOff ? cutOffRemedy(ms, timeoutMs, 'ResilientGrpcModule', hasCutOffStream) : '';
    const drained = drainText({ ...counts, cutOffByPath }, remedy === '' ? '' : 'at the timeout: ');
    const text = `${counted(reports.length, 'client')} drained ${duration(ms)} after the shutdown started: ${drained}${remedy}`;
    const fields = { event: 'drain', clients: reports.length, ...counts, durationMs: Math.round(ms) };
    this.logger.write(isCutOff ? 'warn' : 'log', text, fields);
  }
}

/** Module with the `drain` options of a server or of the clients. */
type DrainedModule = 'ResilientGrpcModule' | 'ResilientGrpcServerModule';

/** @param open description of the running calls, such as '2 calls to /orders.v1.Orders/Get' */
export function shutdownLine(
  open: string,
  { timeoutMs, readinessDelayMs }: ResolvedDrain,
  module: DrainedModule,
): readonly [text: string, fields: EventFields] {
  const delay =
    readinessDelayMs === 0 ? '' : `; new calls are accepted for ${duration(readinessDelayMs)} (readinessDelayMs)`;
  const end =
    timeoutMs === 0 && module === 'ResilientGrpcModule'
      ? 'before Nest has closed its servers'
      : `within ${duration(timeoutMs)}`;
  const limit = `calls that do not end ${end} (drain.timeoutMs of ${module}${timeoutMs === 0 ? ' is 0' : ''}) are cut off`;
  const streams = module === 'ResilientGrpcServerModule' ? "; streams end earlier unless onDrain is 'finish'" : '';
  const text = `shutdown started with ${open} running; ${limit}${streams}${delay}`;
  return [text, { event: 'drain-start', open, timeoutMs, readinessDelayMs }];
}

const STREAM_REMEDIES: Readonly<Record<DrainedModule, string>> = {
  ResilientGrpcModule: COMPLETE_STREAMS,
  ResilientGrpcServerModule: "set onDrain: 'fail' or 'complete'",
};

/**
 * Returns the remedy for calls that were cut off at the timeout; '' if a second SIGINT cut them off earlier.
 *
 * @param durationMs time since the shutdown started
 * @param hasStream true if a response stream with `onDrain: 'finish'` was cut off; more time does not help a stream without an end
 */
export function cutOffRemedy(durationMs: number, timeoutMs: number, module: DrainedModule, hasStream: boolean): string {
  if (durationMs < timeoutMs) return '';
  const streams = hasStream ? `for streams without an end, ${STREAM_REMEDIES[module]}; ` : '';
  const others = hasStream ? 'other calls' : 'calls';
  return `; ${streams}to give ${others} more time, raise drain.timeoutMs (${duration(timeoutMs)}) of ${module}.forRoot()`;
}

// Delay of the check after startup in milliseconds. enableShutdownHooks() may be called after init, because createApplicationContext() runs
// init itself.
const DELAY_MS = 1_000;

/** Time in milliseconds in which further SIGINTs count as the first one: of one Ctrl+C, npm forwards a second signal. */
const SAME_INTERRUPT_MS = 500;

export interface SignalHandling {
  readonly listensForSignals: () => boolean;
  readonly testing: boolean;
  /** Calls `listener` on SIGINT from now on, if the process already listens for it. Returns a function that ends this. */
  readonly onInterrupt: (listener: () => void) => () => void;
}

export function signalHandling(): SignalHandling {
  return {
    listensForSignals: () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') > 0,
    testing: process.env['NODE_ENV'] === 'test',
    onInterrupt: (listener) => {
      // Without another listener, SIGINT ends the process at once, which a listener would prevent.
      if (process.listenerCount('SIGINT') === 0) return () => undefined;
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
  };
}

/** Calls `cutOff` on a second SIGINT, during a shutdown that begins now. Returns a function that ends this. */
export function onSecondInterrupt(signals: SignalHandling, clock: Clock, cutOff: () => void): () => void {
  const beganAt = clock.now();
  return signals.onInterrupt(() => {
    if (clock.now() - beganAt >= SAME_INTERRUPT_MS) cutOff();
  });
}

/** Warns one second after startup, except in tests, if there are gRPC clients or servers, but no listener for SIGTERM or SIGINT. */
export class ShutdownHooksCheck {
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly signals: SignalHandling,
    private readonly logger: Pick<LibraryLogger, 'write'>,
  ) {}

  /** Starts the check. Later calls are ignored. `isNeeded` returns false if the application has no gRPC clients or servers. */
  start(isNeeded: () => boolean): void {
    if (this.signals.testing || this.timer !== undefined) return;
    this.timer = this.clock.setTimer(() => {
      if (this.signals.listensForSignals() || !isNeeded()) return;
      const text =
        'enableShutdownHooks() was not called, so SIGTERM cuts off calls in flight; write app.enableShutdownHooks()';
      this.logger.write('warn', text, { event: 'shutdown-hooks' });
    }, DELAY_MS);
  }

  stop(): void {
    this.timer?.clear();
  }
}
