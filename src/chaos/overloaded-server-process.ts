import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../orders-contract.js';
import type { ContenderName } from '../contenders/contender.js';
import { PATIENCE } from '../patience.js';
import { freePort, waitForExit, waitForNotice } from './child-process.js';

/** CPU time that each call uses, in milliseconds. */
export const WORK_MS = 5;

/** Deadline of each call, and timeout of the tuned server's interceptor. */
export const DEADLINE_MS = 1_000 * PATIENCE;

/** A notice from the server. */
export type OverloadedServerNotice =
  | { readonly type: 'listening' }
  /** `ranExpired`: number of handlers that started after the deadline of their call. */
  | { readonly type: 'counts'; readonly ranExpired: number };

const PROGRAM = join(ROOT, 'dist', 'overloaded-server', 'main.js');

/** A server with a busy handler, in a separate process. */
export class OverloadedServerProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  /** Starts the server and resolves when it is listening. */
  static async start(server: ContenderName): Promise<OverloadedServerProcess> {
    const port = await freePort();
    const child = fork(PROGRAM, ['--port', String(port), '--server', server], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await waitForNotice<OverloadedServerNotice, 'listening'>(child, 'listening');
    return new OverloadedServerProcess(child, `127.0.0.1:${port}`);
  }

  /** Resolves to the number of handlers that started after the deadline of their call since the last call to this method. */
  async ranExpired(): Promise<number> {
    const counted = waitForNotice<OverloadedServerNotice, 'counts'>(this.child, 'counts');
    this.child.send('count');
    return (await counted).ranExpired;
  }

  /** Kills the process and resolves when it has exited. */
  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await waitForExit(this.child);
  }
}
