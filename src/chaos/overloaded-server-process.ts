import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { freePort } from 'nestjs-resilient-grpc/testing';
import { ROOT } from '../paths.js';
import type {
  OverloadedServerCommand,
  OverloadedServerKind,
  OverloadedServerNotice,
} from '../overloaded-server/messages.js';
import { waitForExit, waitForNotice } from './child-process.js';

const PROGRAM = join(ROOT, 'dist', 'overloaded-server', 'main.js');

/** A server with a busy handler, in a separate process. */
export class OverloadedServerProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  /** Starts the server and resolves when it is listening. */
  static async start(server: OverloadedServerKind): Promise<OverloadedServerProcess> {
    const port = await freePort();
    const child = fork(PROGRAM, ['--port', String(port), '--server', server], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await waitForNotice<OverloadedServerNotice, 'listening'>(child, 'listening');
    return new OverloadedServerProcess(child, `127.0.0.1:${port}`);
  }

  /**
   * Resolves to the number of handlers that have run since the last call to this method, and the number of those that started after the
   * deadline of their call.
   */
  async counts(): Promise<{ readonly ran: number; readonly ranExpired: number }> {
    const counted = waitForNotice<OverloadedServerNotice, 'counts'>(this.child, 'counts');
    this.child.send({ type: 'count' } satisfies OverloadedServerCommand);
    return counted;
  }

  /** Kills the process and resolves when it has exited. */
  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await waitForExit(this.child);
  }
}
