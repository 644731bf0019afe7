import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OnApplicationShutdown } from '@nestjs/common';
import { BehaviorSubject, type Observable, Subject } from 'rxjs';
import { epochMs } from '../epoch.js';
import { ROOT } from '../paths.js';
import { PATIENCE } from '../patience.js';
import type { LogLine } from '../report/captured-logger.js';
import type { UpstreamCommand, UpstreamNotice } from '../upstream/messages.js';
import type { ServerKind } from '../upstream/server-kind.js';
import { NORMAL_WORK, type Work } from '../upstream/work.js';
import { exited, noticed } from './child-process.js';
import { freePort } from './free-port.js';

const PROGRAM = join(ROOT, 'dist', 'upstream', 'main.js');
/** A graceful restart is away for this long, besides the time its calls need to finish. */
const GRACEFUL_GAP_MS = 300;
/** A process that was asked to end is killed after so long, as an orchestrator does. */
const GRACE_MS = 3_500 * PATIENCE;
const SLOW_FACTOR = 20;
const SLOW_WORK: Work = {
  ...NORMAL_WORK,
  readMs: NORMAL_WORK.readMs * SLOW_FACTOR,
  writeMs: NORMAL_WORK.writeMs * SLOW_FACTOR,
};

/** `away`: no process listens. `draining`: a graceful restart is under way. */
export type UpstreamState = 'away' | 'listening' | 'slow' | 'frozen' | 'draining';

/** How an upstream is, from its start to its end. */
export interface UpstreamOptions {
  /** Connections older than this, give or take a tenth, are told to go, and ended soon after. @defaultValue they live on */
  readonly connectionAgeMs?: number | undefined;
  /** What serves. @defaultValue 'resilient' */
  readonly server?: ServerKind | undefined;
  /** A log that it shares with others, who remove it. @defaultValue one of its own */
  readonly logPath?: string | undefined;
}

/** Something that happened to the upstream, and when, by {@link epochMs}. */
export interface UpstreamEvent {
  /** `connections-lost`: every connection broke. `listening`: new connections are accepted again. */
  readonly type: 'connections-lost' | 'listening';
  readonly atMs: number;
}

/**
 * The upstream as a process that can be killed, frozen and restarted, always on the same port and over the same log. A command
 * that makes no sense in the present state does nothing.
 */
export class UpstreamProcess implements OnApplicationShutdown {
  private readonly currentState = new BehaviorSubject<UpstreamState>('away');
  private readonly events = new Subject<UpstreamEvent>();
  private readonly lines = new Subject<LogLine>();
  private serving: ChildProcess | undefined;
  // The next process, started while the present one still is away or draining, so that it listens when told to.
  private standby: Promise<ChildProcess> | undefined;
  private serverProcess: ServerKind;
  private produced = 0;
  private stopped = false;

  private constructor(
    private readonly folder: string,
    private readonly port: number,
    private readonly options: UpstreamOptions,
  ) {
    this.serverProcess = options.server ?? 'resilient';
  }

  /** Starts the upstream on a port of the system's choice, over an empty log, and resolves when it listens. */
  static async start(options: UpstreamOptions = {}): Promise<UpstreamProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'resilient-grpc-demo-'));
    const upstream = new UpstreamProcess(folder, await freePort(), options);
    await upstream.listen();
    return upstream;
  }

  /** The log of orders, which every process of this upstream goes on with. */
  get logPath(): string {
    return this.options.logPath ?? join(this.folder, 'orders.log');
  }

  /** Where its requests and connections are counted, each with an ending of its own. */
  get countsPaths(): readonly string[] {
    return [join(this.folder, 'orders')];
  }

  /** What serves. */
  get server(): ServerKind {
    return this.serverProcess;
  }

  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  get state(): UpstreamState {
    return this.currentState.value;
  }

  /** The present state, then each change. */
  get state$(): Observable<UpstreamState> {
    return this.currentState;
  }

  get events$(): Observable<UpstreamEvent> {
    return this.events;
  }

  /** What our server logs. */
  get lines$(): Observable<LogLine> {
    return this.lines;
  }

  /** Listens again after it was killed; thaws it and ends slowness. */
  async listen(): Promise<void> {
    if (this.state === 'frozen') this.thaw();
    else if (this.state === 'slow') this.work(NORMAL_WORK, 'listening');
    else if (this.state === 'away') await this.replace();
  }

  /** Starts the process that comes next, so that one that is killed is away for as long as it is meant to be, and not for a start. */
  async prepareNext(): Promise<void> {
    this.standby ??= this.spawn();
    await this.standby;
  }

  /** SIGKILL: no goodbye, every connection breaks. Resolves when the process has gone. */
  async kill(): Promise<void> {
    const child = this.serving;
    if (!child || this.state === 'draining') return;
    this.serving = undefined;
    this.connectionsLost();
    child.kill('SIGKILL');
    this.currentState.next('away');
    this.standby ??= this.spawn();
    await exited(child);
  }

  /** SIGSTOP: connections stay, and nothing answers. */
  freeze(): void {
    if (this.state !== 'listening' && this.state !== 'slow') return;
    this.serving?.kill('SIGSTOP');
    this.currentState.next('frozen');
  }

  /** Every request takes many times as long. */
  slowDown(): void {
    if (this.state === 'listening') this.work(SLOW_WORK, 'slow');
  }

  /**
   * What differs from an upstream that is well, until it is told otherwise or replaced; nothing: it is well again. Resolves when the
   * next request is worked on so: what is told and what is requested come by different ways, and either may come first.
   */
  async workAs(work: Partial<Work>): Promise<void> {
    const child = this.serving;
    if (!child || this.state !== 'listening') return;
    const working = noticed<UpstreamNotice, 'working'>(child, 'working');
    this.work({ ...NORMAL_WORK, ...work }, 'listening');
    await working;
  }

  /** Appends so many orders a second to the log by itself, whenever there is a process that can. */
  produce(perSecond: number): void {
    this.produced = perSecond;
    this.send({ type: 'produce', perSecond });
  }

  /** Resets every connection; the process goes on. */
  cut(): void {
    if (this.state !== 'listening' && this.state !== 'slow') return;
    this.connectionsLost();
    this.send({ type: 'cut' });
    this.events.next({ type: 'listening', atMs: epochMs() });
  }

  /**
   * What a rolling deploy does: SIGTERM, so that the old process finishes its calls; when it has ended, or was killed at the end of its
   * grace, the new one takes its place after `gapMs`. Gives how long the old one took to end, in milliseconds; undefined in a state
   * in which that makes no sense.
   */
  async restartGracefully(gapMs = GRACEFUL_GAP_MS): Promise<number | undefined> {
    const child = this.serving;
    if (!child || (this.state !== 'listening' && this.state !== 'slow')) return undefined;
    this.currentState.next('draining');
    await this.prepareNext();
    this.serving = undefined;
    const exitMs = await this.terminate(child);
    await delay(gapMs);
    await this.replace();
    return exitMs;
  }

  /** Has the next process served by something else, and restarts for it. */
  async serveBy(server: ServerKind): Promise<void> {
    if (server === this.serverProcess || (this.state !== 'listening' && this.state !== 'slow')) return;
    this.serverProcess = server;
    await this.restartGracefully();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.stop();
  }

  /** Ends every process it started, and removes the log. */
  async stop(): Promise<void> {
    this.stopped = true;
    const children = [this.serving, await this.standby?.catch(() => undefined)].filter((child) => child !== undefined);
    this.serving = undefined;
    this.standby = undefined;
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map(exited));
    await rm(this.folder, { recursive: true, force: true });
    this.currentState.complete();
    this.events.complete();
    this.lines.complete();
  }

  private async terminate(child: ChildProcess): Promise<number> {
    const askedAtMs = epochMs();
    child.kill('SIGTERM');
    const overdue = setTimeout(() => {
      this.connectionsLost();
      child.kill('SIGKILL');
    }, GRACE_MS);
    await exited(child);
    clearTimeout(overdue);
    return epochMs() - askedAtMs;
  }

  private async replace(): Promise<void> {
    const child = await (this.standby ?? this.spawn());
    this.standby = undefined;
    if (this.stopped) return;
    this.serving = child;
    const listening = noticed<UpstreamNotice, 'listening'>(child, 'listening');
    this.send({ type: 'listen' });
    const { atMs } = await listening;
    this.produce(this.produced);
    // It may have been killed while it was starting.
    if (this.serving !== child) return;
    this.currentState.next('listening');
    this.events.next({ type: 'listening', atMs });
  }

  private async spawn(): Promise<ChildProcess> {
    const { connectionAgeMs } = this.options;
    const age = connectionAgeMs === undefined ? [] : ['--connection-age', String(connectionAgeMs)];
    const counts = this.countsPaths.flatMap((path) => ['--counts', path]);
    const place = ['--port', String(this.port), '--log', this.logPath, ...counts];
    const child = fork(PROGRAM, [...place, '--server', this.server, ...age, '--standby'], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('message', (notice: UpstreamNotice) => {
      if (notice.type === 'line') this.lines.next(notice.line);
    });
    child.once('exit', () => {
      // Nobody asked for it: a crash, or somebody else's kill.
      if (this.serving !== child) return;
      this.serving = undefined;
      this.connectionsLost();
      this.currentState.next('away');
    });
    await noticed<UpstreamNotice, 'standby'>(child, 'standby');
    return child;
  }

  private thaw(): void {
    this.serving?.kill('SIGCONT');
    this.work(NORMAL_WORK, 'listening');
  }

  private work(work: Work, state: UpstreamState): void {
    this.send({ type: 'work', work });
    this.currentState.next(state);
  }

  private send(command: UpstreamCommand): void {
    this.serving?.send(command);
  }

  private connectionsLost(): void {
    this.events.next({ type: 'connections-lost', atMs: epochMs() });
  }
}
