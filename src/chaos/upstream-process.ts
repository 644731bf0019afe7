import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OnApplicationShutdown } from '@nestjs/common';
import { BehaviorSubject, type Observable, Subject } from 'rxjs';
import { epochMs } from '../epoch.js';
import { ROOT } from '../paths.js';
import type { UpstreamCommand, UpstreamNotice } from '../upstream/messages.js';
import { NORMAL_WORK, type Work } from '../upstream/work.js';
import { exited, noticed } from './child-process.js';

const PROGRAM = join(ROOT, 'dist', 'upstream', 'main.js');
/** A graceful restart is away for this long, besides the time its calls need to finish. */
const GRACEFUL_GAP_MS = 300;
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
  readonly #state = new BehaviorSubject<UpstreamState>('away');
  readonly #events = new Subject<UpstreamEvent>();
  #serving: ChildProcess | undefined;
  // The next process, started while the present one still is away or draining, so that it listens when told to.
  #standby: Promise<ChildProcess> | undefined;
  #port = 0;
  #produced = 0;
  #stopped = false;

  private constructor(
    private readonly folder: string,
    private readonly options: UpstreamOptions,
  ) {}

  /** Starts the upstream on a port of the system's choice, over an empty log, and resolves when it listens. */
  static async start(options: UpstreamOptions = {}): Promise<UpstreamProcess> {
    const upstream = new UpstreamProcess(await mkdtemp(join(tmpdir(), 'resilient-grpc-demo-')), options);
    await upstream.listen();
    return upstream;
  }

  /** The log of orders, which every process of this upstream goes on with. */
  get logPath(): string {
    return join(this.folder, 'orders.log');
  }

  get url(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get state(): UpstreamState {
    return this.#state.value;
  }

  /** The present state, then each change. */
  get state$(): Observable<UpstreamState> {
    return this.#state;
  }

  get events$(): Observable<UpstreamEvent> {
    return this.#events;
  }

  /** Listens again after it was killed; thaws it and ends slowness. */
  async listen(): Promise<void> {
    if (this.state === 'frozen') this.#thaw();
    else if (this.state === 'slow') this.#work(NORMAL_WORK, 'listening');
    else if (this.state === 'away') await this.#replace();
  }

  /** SIGKILL: no goodbye, every connection breaks. Resolves when the process has gone. */
  async kill(): Promise<void> {
    const child = this.#serving;
    if (!child || this.state === 'draining') return;
    this.#serving = undefined;
    this.#connectionsLost();
    child.kill('SIGKILL');
    this.#state.next('away');
    this.#standby ??= this.#spawn();
    await exited(child);
  }

  /** SIGSTOP: connections stay, and nothing answers. */
  freeze(): void {
    if (this.state !== 'listening' && this.state !== 'slow') return;
    this.#serving?.kill('SIGSTOP');
    this.#state.next('frozen');
  }

  /** Every request takes many times as long. */
  slowDown(): void {
    if (this.state === 'listening') this.#work(SLOW_WORK, 'slow');
  }

  /** What differs from an upstream that is well, until it is told otherwise or replaced; nothing: it is well again. */
  workAs(work: Partial<Work>): void {
    if (this.state === 'listening') this.#work({ ...NORMAL_WORK, ...work }, 'listening');
  }

  /** Appends so many orders a second to the log by itself, whenever there is a process that can. */
  produce(perSecond: number): void {
    this.#produced = perSecond;
    this.#send({ type: 'produce', perSecond });
  }

  /** Resets every connection; the process goes on. */
  cut(): void {
    if (this.state !== 'listening' && this.state !== 'slow') return;
    this.#connectionsLost();
    this.#send({ type: 'cut' });
    this.#events.next({ type: 'listening', atMs: epochMs() });
  }

  /** What a rolling deploy does: the old process finishes its calls (`tryShutdown`), then the new one takes its place. */
  async restartGracefully(): Promise<void> {
    const child = this.#serving;
    if (!child || (this.state !== 'listening' && this.state !== 'slow')) return;
    this.#state.next('draining');
    this.#standby ??= this.#spawn();
    await this.#standby;
    this.#serving = undefined;
    child.kill('SIGTERM');
    await exited(child);
    await delay(GRACEFUL_GAP_MS);
    await this.#replace();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.stop();
  }

  /** Ends every process it started, and removes the log. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const children = [this.#serving, await this.#standby?.catch(() => undefined)].filter(
      (child) => child !== undefined,
    );
    this.#serving = undefined;
    this.#standby = undefined;
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map(exited));
    await rm(this.folder, { recursive: true, force: true });
    this.#state.complete();
    this.#events.complete();
  }

  async #replace(): Promise<void> {
    const child = await (this.#standby ?? this.#spawn());
    this.#standby = undefined;
    if (this.#stopped) return;
    this.#serving = child;
    const listening = noticed<UpstreamNotice, 'listening'>(child, 'listening');
    this.#send({ type: 'listen', port: this.#port });
    const { port, atMs } = await listening;
    this.#port = port;
    this.produce(this.#produced);
    // It may have been killed while it was starting.
    if (this.#serving !== child) return;
    this.#state.next('listening');
    this.#events.next({ type: 'listening', atMs });
  }

  async #spawn(): Promise<ChildProcess> {
    const { connectionAgeMs } = this.options;
    const age = connectionAgeMs === undefined ? [] : ['--connection-age', String(connectionAgeMs)];
    const child = fork(PROGRAM, ['--log', this.logPath, ...age, '--standby'], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.once('exit', () => {
      // Nobody asked for it: a crash, or somebody else's kill.
      if (this.#serving !== child) return;
      this.#serving = undefined;
      this.#connectionsLost();
      this.#state.next('away');
    });
    await noticed<UpstreamNotice, 'standby'>(child, 'standby');
    return child;
  }

  #thaw(): void {
    this.#serving?.kill('SIGCONT');
    this.#work(NORMAL_WORK, 'listening');
  }

  #work(work: Work, state: UpstreamState): void {
    this.#send({ type: 'work', work });
    this.#state.next(state);
  }

  #send(command: UpstreamCommand): void {
    this.#serving?.send(command);
  }

  #connectionsLost(): void {
    this.#events.next({ type: 'connections-lost', atMs: epochMs() });
  }
}
