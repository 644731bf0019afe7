import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../..', 'dist', 'main.js');

/** The program that `npm start` runs, on a free port. */
export class DemoGateway {
  private constructor(
    readonly process: ChildProcess,
    readonly url: string,
    /** What it has printed. */
    readonly printed: () => string,
  ) {}

  static async start(env: NodeJS.ProcessEnv = {}): Promise<DemoGateway> {
    const child = spawn(process.execPath, [MAIN], {
      env: { ...process.env, ...env, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    return new Promise((resolve, reject) => {
      child.stdout.on('data', (chunk) => {
        output += String(chunk);
        const address = /The demo: (\S+)/.exec(output)?.[1];
        if (address) resolve(new DemoGateway(child, address, () => output));
      });
      child.once('exit', () => {
        reject(new Error(`the gateway exited before it listened: ${output}`));
      });
    });
  }

  async json(path: string): Promise<any> {
    return (await fetch(this.url + path)).json();
  }

  async post(path: string): Promise<number> {
    return (await fetch(this.url + path, { method: 'POST' })).status;
  }

  /** Sends SIGTERM, because a gateway that shuts down cleanly removes the log of its upstream. */
  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill('SIGTERM');
    await once(this.process, 'exit');
  }
}
