import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { epochMs } from '../epoch.js';
import { ROOT } from '../paths.js';
import type { GatewayCommand, GatewayNotice, GatewayOptions, GatewayReport } from '../shutdown/messages.js';
import type { LogLine } from '../report/captured-logger.js';
import { waitForExit, waitForNotice } from './child-process.js';

const PROGRAM = join(ROOT, 'dist', 'shutdown', 'main.js');
/** Delay of the second SIGTERM, which an orchestrator or an operator may send. */
const SECOND_SIGNAL_MS = 100;

/** The end of a gateway process. */
export interface GatewayEnd extends GatewayReport {
  /** Time from the first SIGTERM to the exit of the process, in milliseconds. */
  readonly exitMs: number;
  /** True if the process did not exit in time and was killed. */
  readonly killed: boolean;
}

/** A gateway in a separate process. `terminate` sends SIGTERM, as an orchestrator does. */
export class GatewayProcess {
  readonly lines: LogLine[] = [];
  private reported: GatewayReport | undefined;

  private constructor(
    private readonly child: ChildProcess,
    /** URL of its HTTP server. */
    readonly url: string,
  ) {
    child.on('message', (notice: GatewayNotice) => {
      if (notice.type === 'line') this.lines.push(notice.line);
      else if (notice.type === 'report') this.reported = notice;
    });
  }

  /** Starts the gateway and resolves when it is listening. */
  static async start({ contender, url, busy }: GatewayOptions): Promise<GatewayProcess> {
    const child = fork(PROGRAM, ['--contender', contender, '--url', url, ...(busy ? ['--busy'] : [])], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const ready = await waitForNotice<GatewayNotice, 'ready'>(child, 'ready');
    return new GatewayProcess(child, ready.url);
  }

  /**
   * Sends SIGTERM. Sends a second SIGTERM after 100 ms, and SIGKILL after `limitMs`, if the process is still running at that time. Resolves
   * when the process exits.
   */
  async terminate(limitMs: number): Promise<GatewayEnd> {
    const exit = waitForExit(this.child).then(epochMs);
    const signaledAtMs = epochMs();
    this.child.kill('SIGTERM');
    await Promise.race([exit, delay(SECOND_SIGNAL_MS)]);
    if (this.runs) this.child.kill('SIGTERM');
    const overdue = new AbortController();
    await Promise.race([exit, delay(limitMs - SECOND_SIGNAL_MS, undefined, { signal: overdue.signal })]);
    overdue.abort();
    const killed = this.runs;
    if (killed) {
      const reported = waitForNotice<GatewayNotice, 'report'>(this.child, 'report');
      this.child.send({ type: 'report' } satisfies GatewayCommand);
      this.reported = await reported;
      this.child.kill('SIGKILL');
    }
    const exitMs = (await exit) - signaledAtMs;
    if (!this.reported) throw new Error('the gateway exited without a report');
    const { feed, openHandles, clientsClosedMs } = this.reported;
    return { feed, openHandles, clientsClosedMs, exitMs, killed };
  }

  /** Kills the process and resolves when it has exited. */
  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await waitForExit(this.child);
  }

  private get runs(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }
}
