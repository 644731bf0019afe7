import type { EventHub } from '../call/event-hub.js';
import type { ResolvedDrain } from '../nest/module-options.js';
import type { Clock, Timer } from '../time/clock.js';
import { Wait } from '../time/wait.js';
import type { ServerCalls } from './calls/server-calls.js';
import type { GrpcServerEvent, ServerDrainReport } from '../call/server-event.js';

export interface ServerDrainDependencies {
  readonly clock: Clock;
  readonly events: EventHub<GrpcServerEvent>;
  readonly calls: ServerCalls;
  readonly health: { turnNotServing(): void; endWatches(): void };
}

/** Shutdown API of grpc-js's server. */
export interface DrainedServer {
  /** Sends GOAWAY on all connections, and calls back when the last one is closed. */
  tryShutdown(callback: () => void): void;
  /** Closes all connections immediately. */
  forceShutdown(): void;
  /** Number of connections that `forceShutdown` closed; absent if unknown. */
  readonly connectionsCutOff?: number;
}

/**
 * `cutOff` is the number of forcibly ended calls by method path. `hasCutOffStream` is true if one of these calls was a response stream with
 * `onDrain: 'finish'`.
 */
export type DrainListener = (
  report: ServerDrainReport,
  cutOff: ReadonlyMap<string, number>,
  hasCutOffStream: boolean,
) => void;

/** Time in milliseconds from the end of open calls to the drain timeout, so that their statuses can be sent. */
const STATUS_FLUSH_MS = 100;
const MAX_STATUS_FLUSH_FRACTION = 0.1;

/**
 * Drains a server once, even if requested repeatedly. Health becomes NOT_SERVING immediately. All calls are still served during the
 * readiness delay. Then clients receive GOAWAY, response streams end as `onDrain` specifies, and other calls may finish. Calls that are
 * still open shortly before the timeout are ended by force. The timeout covers all phases.
 */
export class ServerDrain {
  private server: DrainedServer | undefined;
  /** True if a drain was requested, even if the server is not listening yet. */
  draining = false;
  /** Resolves after the readiness delay; immediately if there is none, or if the drain has not started. */
  ready: Promise<void> = Promise.resolve();
  /** Start of the drain in monotonic milliseconds. */
  private beganAt: number | undefined;
  /** Time at which open calls are ended, in monotonic milliseconds. */
  private endsAt = Infinity;
  /** The wait for the readiness delay or for the open calls. */
  private wait: Wait | undefined;
  private watchdog: Timer | undefined;
  private running: Promise<ServerDrainReport> | undefined;
  private notifying: Promise<void> | undefined;
  private readonly beginListeners: (() => void)[] = [];
  private readonly listeners: DrainListener[] = [];

  constructor(
    readonly options: ResolvedDrain,
    private readonly dependencies: ServerDrainDependencies,
  ) {}

  /** Sets the server of this drain, and begins the drain if one was requested earlier. Without a server, there is nothing to drain. */
  setServer(server: DrainedServer): void {
    this.server = server;
    if (this.draining) this.begin();
  }

  onBegin(listener: () => void): void {
    this.beginListeners.push(listener);
  }

  openPaths(): ReadonlyMap<string, number> {
    return this.dependencies.calls.openPaths();
  }

  onEnd(listener: DrainListener): void {
    this.listeners.push(listener);
  }

  /** Sets health to NOT_SERVING and starts the timeout. */
  begin(): void {
    this.draining = true;
    if (this.beganAt !== undefined || this.server === undefined) return;
    const { clock, events, calls, health } = this.dependencies;
    this.beganAt = clock.now();
    health.turnNotServing();
    if (events.wanted) events.emit({ type: 'drain', phase: 'begin', running: calls.size });
    const cutAfterMs = this.options.timeoutMs - this.flushMs;
    this.endsAt = this.beganAt + cutAfterMs;
    const delayMs = Math.min(this.options.readinessDelayMs, cutAfterMs);
    if (delayMs > 0) {
      this.wait = new Wait(clock, delayMs);
      this.ready = this.wait.over;
    }
    // A shutdown hook of the application may hang and block Nest; the watchdog then starts the drain.
    this.watchdog = clock.setTimer(this.runInBackground, cutAfterMs, true);
    notify(this.beginListeners);
  }

  /** Starts the drain. Resolves when the streams that it ends have been notified; immediately if there is nothing to drain. */
  async streamsNotified(): Promise<void> {
    this.runInBackground();
    await this.ready;
    await this.notifying;
  }

  /** Drains the server. When the promise settles, no call or connection is open. */
  run(): Promise<ServerDrainReport> {
    this.begin();
    const { server, beganAt } = this;
    // This result is not stored, because the server may start to listen later, and the next `run()` must then drain it.
    if (server === undefined || beganAt === undefined) return Promise.resolve(NO_DRAIN);
    this.running ??= this.runOnce(server, beganAt);
    return this.running;
  }

  /** Ends all calls now. Does nothing if the drain has not begun. */
  cutOff(): void {
    if (this.beganAt === undefined) return;
    this.endsAt = this.dependencies.clock.now();
    this.wait?.end();
    this.runInBackground();
  }

  /**
   * Starts the drain. Errors are ignored here, because an unhandled rejection would end the process; callers of `run()` receive them.
   */
  readonly runInBackground = (): void => {
    this.run().catch(() => undefined);
  };

  private get flushMs(): number {
    return Math.min(STATUS_FLUSH_MS, this.options.timeoutMs * MAX_STATUS_FLUSH_FRACTION);
  }

  private async runOnce(server: DrainedServer, beganAt: number): Promise<ServerDrainReport> {
    const { clock, events, calls } = this.dependencies;
    const endedBefore = calls.ended;
    await this.ready;
    let cutOff: ReadonlyMap<string, number> = new Map();
    let hasCutOffStream = false;
    let ends = { finished: 0, completed: 0, ended: 0, cutOff: 0 };
    try {
      const over = this.drain(server);
      await this.within(over, this.endsAt);
      if (calls.size > 0) cutOff = calls.openPaths();
      hasCutOffStream = calls.hasFinishingStream;
      const { endedByDrain: ended, completedByDrain: completed } = calls;
      const finished = calls.ended - endedBefore - ended - completed;
      ends = { finished, completed, ended, cutOff: calls.endAll() };
      // From now, because the statuses need this time even if this process was blocked at `endsAt`.
      await this.within(over, clock.now() + this.flushMs);
    } finally {
      // Runs even after a failure, so that the process can exit.
      server.forceShutdown();
      this.watchdog?.clear();
    }
    const report = { ...ends, connectionsCutOff: server.connectionsCutOff ?? 0, durationMs: clock.now() - beganAt };
    if (events.wanted) events.emit({ type: 'drain', phase: 'end', ...report });
    notify(this.listeners, report, cutOff, hasCutOffStream);
    return report;
  }

  private async drain(server: DrainedServer): Promise<void> {
    const { calls, health } = this.dependencies;
    // GOAWAY must reach clients before their streams end. Otherwise, the clients restart the streams on this server.
    const shut = new Promise<void>((resolve) => {
      server.tryShutdown(resolve);
    });
    health.endWatches();
    this.notifying = calls.notifyStreams();
    await Promise.all([this.notifying, shut]);
    await calls.whenOver();
  }

  private async within(over: Promise<void>, at: number): Promise<void> {
    const { clock } = this.dependencies;
    const wait = (this.wait = new Wait(clock, at - clock.now(), true));
    try {
      await Promise.race([over, wait.over]);
    } finally {
      wait.end();
    }
  }
}

function notify<Args extends unknown[]>(listeners: readonly ((...args: Args) => void)[], ...args: Args): void {
  for (const listener of listeners) {
    try {
      listener(...args);
    } catch {
      // Listeners write to the application's log. If that fails, the error cannot be reported, and the shutdown continues.
    }
  }
}

const NO_DRAIN: ServerDrainReport = {
  finished: 0,
  completed: 0,
  ended: 0,
  cutOff: 0,
  connectionsCutOff: 0,
  durationMs: 0,
};
