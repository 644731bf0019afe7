import { spawn, type ChildProcess } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-resilient-grpc/testing';

/** Databases refuse to run as root: their processes then run as the user 'nobody'. */
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
export const UNPRIVILEGED = isRoot ? { uid: NOBODY, gid: NOBODY } : {};

/** Returns a new folder of the user that runs databases. */
export function dataFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`));
  if (isRoot) chownSync(folder, NOBODY, NOBODY);
  return folder;
}

/** A server program in its own process, on a socket in its own folder. */
export class Daemon {
  private child: ChildProcess | undefined;
  private output = '';

  constructor(
    private readonly command: string,
    private readonly args: readonly string[],
    readonly folder: string,
    private readonly responds: () => Promise<unknown>,
  ) {}

  /** Starts the program; resolves when it responds. */
  async start(): Promise<void> {
    const child = spawn(this.command, this.args, {
      cwd: this.folder,
      ...UNPRIVILEGED,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    const ended = () => {
      process.off('exit', kill);
      if (this.child === child) this.child = undefined;
    };
    child.once('close', ended).once('error', ended);
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => (this.output += data.toString()));
    const isReady = () =>
      this.responds().then(
        () => true,
        () => false,
      );
    await waitFor(async () => this.child === undefined || (await isReady()), {
      timeoutMs: 60_000,
      describe: () => `${this.command} to respond:\n${this.output}`,
    });
    if (this.child === undefined) throw new Error(`${this.command} has ended:\n${this.output}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.signal(signal);
    await waitFor(() => this.child === undefined, {
      timeoutMs: 60_000,
      describe: () => `${this.command} to end:\n${this.output}`,
    });
  }

  /** Ends the program, and removes its folder. */
  async close(): Promise<void> {
    await this.end('SIGKILL');
    rmSync(this.folder, { recursive: true });
  }
}
