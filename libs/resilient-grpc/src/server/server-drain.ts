import type { Server } from '@grpc/grpc-js';
import type { EventHub } from '../call/event-hub.js';
import type { Clock, Timer } from '../time/clock.js';
import type { ServerCalls } from './calls/server-calls.js';
import type { ServerConnections } from './connections/server-connections.js';
import type { GrpcServerEvent, ServerDrainReport } from '../call/server-event.js';

/** What a drain needs of the server. */
export interface ServerDrainSeams {
  readonly clock: Clock;
  readonly events: EventHub<GrpcServerEvent>;
  readonly calls: Pick<
    ServerCalls,
    'size' | 'ended' | 'endedByDrain' | 'completedByDrain' | 'openPaths' | 'tellStreams' | 'endAll' | 'whenOver'
  >;
  readonly connections: Pick<
    ServerConnections,
    'announceEnd' | 'endHalfRequests' | 'destroyAll' | 'closed' | 'cutOff' | 'isAttached'
  >;
  readonly health: { turnNotServing(): void; endWatches(): void };
}

/** What grpc-js has for it. */
export type DrainedServer = Pick<Server, 'tryShutdown' | 'forceShutdown'>;

/** Told of the end of a drain, and of calls that were cut off, how many of each path. */
export type DrainListener = (report: ServerDrainReport, cutOff: ReadonlyMap<string, number>) => void;

/** Before the time is over, what is left is ended by a status, which has to get out: so long, or a part of the whole time. */
const LAST_WORDS_MS = 100;
const LAST_WORDS_PART = 0.1;

const NOTHING: ReadonlyMap<string, number> = new Map();

/**
 * The end of a server, once, whoever asks first and however often: health is NOT_SERVING at once; after the readiness delay, in which
 * everything is served, connections are told to go and streams to end, and calls may finish; what is left at the end of the time is
 * cut off, whatever its client does. The time is that of all of it.
 */
export class ServerDrain {
  private server: DrainedServer | undefined;
  /** The shutdown of the application may come before the server has come to listen. */
  private asked = false;
  /** Monotonic milliseconds. */
  private beganAt: number | undefined;
  private watchdog: Timer | undefined;
  private ready: Promise<void> | undefined;
  private running: Promise<ServerDrainReport> | undefined;
  private telling: Promise<void> | undefined;
  private readonly listeners: DrainListener[] = [];

  constructor(
    private readonly options: { readonly timeoutMs: number; readonly readinessDelayMs: number },
    private readonly seams: ServerDrainSeams,
  ) {}

  /** `server` is what is drained. Without one there is nothing to do yet. */
  serve(server: DrainedServer): void {
    this.server = server;
    if (this.asked) this.begin();
  }

  get draining(): boolean {
    return this.asked;
  }

  /** To be told of its end. */
  onEnd(listener: DrainListener): void {
    this.listeners.push(listener);
  }

  /** Turns health NOT_SERVING; the time begins. */
  begin(): void {
    this.asked = true;
    if (this.beganAt !== undefined || this.server === undefined) return;
    const { clock, events, calls, health } = this.seams;
    this.beganAt = clock.now();
    health.turnNotServing();
    if (events.wanted) events.emit({ type: 'drain', phase: 'begin', running: calls.size });
    this.ready = this.pause(Math.min(this.options.readinessDelayMs, this.cutAfterMs));
    // Hooks of others may hang, and Nest with them.
    this.watchdog = clock.setTimer(this.runUnheard, this.cutAfterMs, true);
  }

  /** When the readiness delay is over: at once where there is none, or nothing has begun. */
  readiness(): Promise<void> {
    return this.ready ?? Promise.resolve();
  }

  /** When the streams that a drain ends have been told so, or there is nothing to drain; begins the drain. */
  async streamsTold(): Promise<void> {
    this.runUnheard();
    await this.readiness();
    await this.telling;
  }

  /** Drains; when it is over, however, nothing is left. */
  run(): Promise<ServerDrainReport> {
    this.begin();
    const { server, beganAt } = this;
    // Not for good: it may be about to listen.
    if (server === undefined || beganAt === undefined) return Promise.resolve(NO_DRAIN);
    this.running ??= this.runOnce(server, beganAt);
    return this.running;
  }

  /** Drains, for who does not wait for it. What it fails with is told to who does, and would else end the process. */
  readonly runUnheard = (): void => {
    this.run().catch(() => undefined);
  };

  private get cutAfterMs(): number {
    const { timeoutMs } = this.options;
    return timeoutMs - Math.min(LAST_WORDS_MS, timeoutMs * LAST_WORDS_PART);
  }

  private async runOnce(server: DrainedServer, beganAt: number): Promise<ServerDrainReport> {
    const { clock, calls, connections } = this.seams;
    const endedBefore = calls.ended;
    await this.readiness();
    let cutOff = NOTHING;
    let ends = { finished: 0, completed: 0, ended: 0, cutOff: 0 };
    try {
      const over = this.drain(server);
      await this.within(over, beganAt + this.cutAfterMs - clock.now());
      if (calls.size > 0) cutOff = calls.openPaths();
      const { endedByDrain: ended, completedByDrain: completed } = calls;
      const finished = calls.ended - endedBefore - ended - completed;
      ends = { finished, completed, ended, cutOff: calls.endAll() };
      await this.within(over, beganAt + this.options.timeoutMs - clock.now());
    } finally {
      // Whatever went wrong, the process must be able to end. Connections first, since grpc-js tells those that are left CANCELLED, as
      // if they had wanted it.
      connections.destroyAll();
      server.forceShutdown();
      if (this.watchdog !== undefined) clock.clearTimer(this.watchdog);
    }
    const report = { ...ends, connectionsCutOff: connections.cutOff, durationMs: clock.now() - beganAt };
    this.tell(report, cutOff);
    return report;
  }

  private async drain(server: DrainedServer): Promise<void> {
    const { calls, connections, health } = this.seams;
    // Clients are to know that they have to go elsewhere before their streams end, or they begin again here.
    connections.announceEnd();
    const shut = new Promise<void>((resolve) => {
      server.tryShutdown(() => {
        resolve();
      });
    });
    health.endWatches();
    this.telling = calls.tellStreams();
    const served = calls.whenOver().then(() => {
      connections.endHalfRequests(() => calls.size === 0);
    });
    // grpc-js never calls back if a session is destroyed now and its socket closes later. So the end of the sockets counts, if it is seen.
    await Promise.all([this.telling, served, connections.isAttached ? undefined : shut]);
    await Promise.all([calls.whenOver(), connections.closed()]);
  }

  private tell(report: ServerDrainReport, cutOff: ReadonlyMap<string, number>): void {
    const { events } = this.seams;
    if (events.wanted) events.emit({ type: 'drain', phase: 'end', ...report });
    for (const listener of this.listeners) {
      try {
        listener(report, cutOff);
      } catch {
        // They write to the application's log. Where that is down, nobody can be told, and the shutdown goes on.
      }
    }
  }

  private pause(ms: number): Promise<void> {
    if (ms <= 0) return Promise.resolve();
    return new Promise((resolve) => void this.seams.clock.setTimer(resolve, ms, true));
  }

  private async within(over: Promise<void>, ms: number): Promise<void> {
    const { clock } = this.seams;
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => {
      // Timers run before sockets are read: what ended while this process stood still has ended in time.
      timer = clock.setTimer(() => clock.defer(resolve), ms, true);
    });
    await Promise.race([over, late]);
    if (timer !== undefined) clock.clearTimer(timer);
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
