import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { epochMs } from '../epoch.js';
import { ROOT } from '../paths.js';
import type { GatewayCommand, GatewayNotice, GatewayOptions, GatewayReport } from '../shutdown/messages.js';
import type { LogLine } from '../report/captured-logger.js';
import { exited, noticed } from './child-process.js';

const PROGRAM = join(ROOT, 'dist', 'shutdown', 'main.js');
/** A second signal comes this long after the first, from an orchestrator or a person who is not sure. */
const SECOND_SIGNAL_MS = 100;

/** How a gateway ended. */
export interface GatewayEnd extends GatewayReport {
  /** From the first SIGTERM to the end of the process. */
  readonly exitMs: number;
  /** It had to be killed. */
  readonly killed: boolean;
}

/** A gateway in a process of its own, which is asked to end by SIGTERM as an orchestrator does. */
export class GatewayProcess {
  readonly lines: LogLine[] = [];
  private reported: GatewayReport | undefined;

  private constructor(
    private readonly child: ChildProcess,
    /** Where it serves over HTTP. */
    readonly url: string,
  ) {
    child.on('message', (notice: GatewayNotice) => {
      if (notice.type === 'line') this.lines.push(notice.line);
      else if (notice.type === 'report') this.reported = notice;
    });
  }

  /** Starts it, and resolves when it serves. */
  static async start({ contender, url, busy }: GatewayOptions): Promise<GatewayProcess> {
    const child = fork(PROGRAM, ['--contender', contender, '--url', url, ...(busy ? ['--busy'] : [])], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const ready = await noticed<GatewayNotice, 'ready'>(child, 'ready');
    return new GatewayProcess(child, ready.url);
  }

  /** SIGTERM, and again a moment later; SIGKILL if it still runs after `limitMs`. Resolves when it has ended. */
  async terminate(limitMs: number): Promise<GatewayEnd> {
    const gone = exited(this.child).then(epochMs);
    const askedAtMs = epochMs();
    this.child.kill('SIGTERM');
    await Promise.race([gone, delay(SECOND_SIGNAL_MS)]);
    if (this.runs) this.child.kill('SIGTERM');
    const overdue = new AbortController();
    await Promise.race([gone, delay(limitMs - SECOND_SIGNAL_MS, undefined, { signal: overdue.signal })]);
    overdue.abort();
    const killed = this.runs;
    if (killed) {
      const reported = noticed<GatewayNotice, 'report'>(this.child, 'report');
      this.child.send({ type: 'report' } satisfies GatewayCommand);
      this.reported = await reported;
      this.child.kill('SIGKILL');
    }
    const exitMs = (await gone) - askedAtMs;
    if (!this.reported) throw new Error('the gateway ended without a word');
    const { feed, openHandles, clientsClosedMs } = this.reported;
    return { feed, openHandles, clientsClosedMs, exitMs, killed };
  }

  /** Leaves nothing behind. */
  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await exited(this.child);
  }

  private get runs(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }
}
