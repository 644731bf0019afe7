import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OnApplicationShutdown } from '@nestjs/common';
import { BehaviorSubject, type Observable, Subject } from 'rxjs';
import { epochMs } from '../epoch.js';
import { ROOT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';
import type { LogLine } from '../report/captured-logger.js';
import { NORMAL_WORK, type UpstreamCommand, type UpstreamNotice, type Work } from '../upstream/messages.js';
import { freePort, waitForExit, waitForNotice } from './child-process.js';

const PROGRAM = join(ROOT, 'dist', 'upstream', 'main.js');
/** Downtime of a graceful restart, after the old process has exited. */
const GRACEFUL_GAP_MS = 300;
/** Time between SIGTERM and SIGKILL, like the grace period of an orchestrator. */
const GRACE_MS = 3_500 * PATIENCE;

/** `down` means that no process listens; `draining` means that a graceful restart is in progress. */
export type UpstreamState = 'down' | 'listening' | 'frozen' | 'draining';

/** Options of an upstream. */
export interface UpstreamOptions {
  /**
   * Maximum connection age in milliseconds, ±10%. Older connections receive GOAWAY and are closed shortly after.
   * @defaultValue unlimited
   */
  readonly connectionAgeMs?: number | undefined;
  /** Path of a shared log, which the caller removes. @defaultValue a private log */
  readonly logPath?: string | undefined;
}

/** An event of the upstream. `atMs` is its time in {@link epochMs} milliseconds. */
export interface UpstreamEvent {
  /** `connections-lost`: all connections were lost. `listening`: new connections are accepted again. */
  readonly type: 'connections-lost' | 'listening';
  readonly atMs: number;
}

/**
 * The upstream as a process that can be killed, frozen, and restarted, always with the same port and log. A command that does not apply to
 * the current state is ignored.
 */
export class UpstreamProcess implements OnApplicationShutdown {
  private readonly currentState = new BehaviorSubject<UpstreamState>('down');
  private readonly events = new Subject<UpstreamEvent>();
  private readonly lines = new Subject<LogLine>();
  private serving: ChildProcess | undefined;
  // The next process, started in advance so that it can listen immediately.
  private standby: Promise<ChildProcess> | undefined;
  private ordersPerSecond = 0;
  private stopped = false;

  private constructor(
    private readonly folder: string,
    private readonly port: number,
    private readonly options: UpstreamOptions,
  ) {}

  /** Starts the upstream on a free port, and resolves when it is listening. A private log then contains only the initial orders. */
  static async start(options: UpstreamOptions = {}): Promise<UpstreamProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'resilient-grpc-demo-'));
    const upstream = new UpstreamProcess(folder, await freePort(), options);
    await upstream.listen();
    return upstream;
  }

  /** Path of the order log. All processes of this upstream append to the same file. */
  get logPath(): string {
    return this.options.logPath ?? join(this.folder, 'orders.log');
  }

  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  get state(): UpstreamState {
    return this.currentState.value;
  }

  get events$(): Observable<UpstreamEvent> {
    return this.events;
  }

  /** Log lines of our server. */
  get lines$(): Observable<LogLine> {
    return this.lines;
  }

  /** Returns to normal operation: restarts a killed process, or resumes a frozen one. */
  async listen(): Promise<void> {
    if (this.state === 'frozen') this.thaw();
    else if (this.state === 'down') await this.replace();
  }

  /** Starts the next process in advance, so that the startup time does not add to the downtime after a kill. */
  async prepareNext(): Promise<void> {
    this.standby ??= this.spawn();
    await this.standby;
  }

  /** Sends SIGKILL, which breaks all connections. Resolves when the process has exited. */
  async kill(): Promise<void> {
    const child = this.serving;
    if (!child || this.state === 'draining') return;
    this.serving = undefined;
    this.connectionsLost();
    child.kill('SIGKILL');
    this.currentState.next('down');
    this.standby ??= this.spawn();
    await waitForExit(child);
  }

  /** Sends SIGSTOP. Connections stay open, but the process does not respond. */
  freeze(): void {
    if (this.state !== 'listening') return;
    this.serving?.kill('SIGSTOP');
    this.currentState.next('frozen');
  }

  /**
   * Overrides the normal work until the next `workAs`, the end of a freeze, or a replacement of the process. `workAs({})`
   * restores normal work. Does nothing if the process is not in normal operation. Resolves when the override is in effect. Without this
   * wait, a later request could overtake the command, because the command is sent over IPC.
   */
  async workAs(work: Partial<Work>): Promise<void> {
    const child = this.serving;
    if (!child || this.state !== 'listening') return;
    const working = waitForNotice<UpstreamNotice, 'working'>(child, 'working');
    this.work({ ...NORMAL_WORK, ...work });
    await working;
  }

  /** Makes the process append this many orders per second to the log. Also applies to later processes. */
  produce(perSecond: number): void {
    this.ordersPerSecond = perSecond;
    this.send({ type: 'produce', perSecond });
  }

  /**
   * Restarts as in a rolling deploy. Sends SIGTERM, so that the old process finishes its calls. The new process listens `gapMs` after the
   * old one exits or is killed at the end of its grace period. Resolves to the milliseconds from SIGTERM to the exit of the old process, or
   * to `undefined` if the current state allows no restart.
   */
  async restartGracefully(gapMs = GRACEFUL_GAP_MS): Promise<number | undefined> {
    const child = this.serving;
    if (!child || this.state !== 'listening') return undefined;
    this.currentState.next('draining');
    await this.prepareNext();
    this.serving = undefined;
    const exitMs = await this.terminate(child);
    await delay(gapMs);
    await this.replace();
    return exitMs;
  }

  async onApplicationShutdown(): Promise<void> {
    await this.stop();
  }

  /** Kills all processes and removes the private files. A shared log stays. */
  async stop(): Promise<void> {
    this.stopped = true;
    const children = [this.serving, await this.standby?.catch(() => undefined)].filter((child) => child !== undefined);
    this.serving = undefined;
    this.standby = undefined;
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map(waitForExit));
    await rm(this.folder, { recursive: true, force: true });
    this.currentState.complete();
    this.events.complete();
    this.lines.complete();
  }

  private async terminate(child: ChildProcess): Promise<number> {
    const signaledAtMs = epochMs();
    child.kill('SIGTERM');
    const overdue = setTimeout(() => {
      this.connectionsLost();
      child.kill('SIGKILL');
    }, GRACE_MS);
    await waitForExit(child);
    clearTimeout(overdue);
    return epochMs() - signaledAtMs;
  }

  private async replace(): Promise<void> {
    const child = await (this.standby ?? this.spawn());
    this.standby = undefined;
    if (this.stopped) {
      child.kill('SIGKILL');
      return;
    }
    this.serving = child;
    const listening = waitForNotice<UpstreamNotice, 'listening'>(child, 'listening');
    this.send({ type: 'listen' });
    const { atMs } = await listening;
    this.produce(this.ordersPerSecond);
    // Does not report the state 'listening' if the process has been killed in the meantime.
    if (this.serving !== child) return;
    this.currentState.next('listening');
    this.events.next({ type: 'listening', atMs });
  }

  private async spawn(): Promise<ChildProcess> {
    const { connectionAgeMs } = this.options;
    const age = connectionAgeMs === undefined ? [] : ['--connection-age', String(connectionAgeMs)];
    const child = fork(PROGRAM, ['--port', String(this.port), '--log', this.logPath, ...age], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('message', (notice: UpstreamNotice) => {
      if (notice.type === 'line') this.lines.next(notice.line);
    });
    child.once('exit', () => {
      // While the child is serving, its exit is unexpected: a crash, or a kill from outside.
      if (this.serving !== child) return;
      this.serving = undefined;
      this.connectionsLost();
      this.currentState.next('down');
    });
    await waitForNotice<UpstreamNotice, 'standby'>(child, 'standby');
    return child;
  }

  private thaw(): void {
    this.serving?.kill('SIGCONT');
    this.work(NORMAL_WORK);
  }

  private work(work: Work): void {
    this.send({ type: 'work', work });
    this.currentState.next('listening');
  }

  private send(command: UpstreamCommand): void {
    this.serving?.send(command);
  }

  private connectionsLost(): void {
    this.events.next({ type: 'connections-lost', atMs: epochMs() });
  }
}
