import { fork } from 'node:child_process';
import type { ChildProcess, Serializable } from 'node:child_process';
import { waitFor } from './wait-for.js';

/** Options of a server in a process of its own. */
export interface ChildServerOptions {
  /** A module that Node can run, or what `execPath` runs. */
  readonly script: string | URL;
  /**
   * Another program than this Node. It may speak over the descriptor in NODE_CHANNEL_FD, in lines of JSON, and has to end itself
   * where that ends.
   */
  readonly execPath?: string | undefined;
  /** Arguments for a port; 0 at the first start. @defaultValue `--port <port>` */
  readonly args?: ((port: number) => readonly string[]) | undefined;
  /** Joined to the environment of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly execArgv?: readonly string[] | undefined;
  /**
   * Finds in a line of output that it listens, and as its first group on which port. A message `{ listening: port }` over IPC
   * says the same. @defaultValue /listening on .*:(\d+)/i
   */
  readonly ready?: RegExp | undefined;
  /** @defaultValue 15 000 */
  readonly readyTimeoutMs?: number | undefined;
}

const KEPT_LINES = 200;

// The end of the IPC channel is the end of this process, however it came: the child must not outlive it.
const EXIT_WITH_PARENT = 'process.on("disconnect", () => process.exit()); process.channel?.unref();';

/** Children to be killed when this process exits: a frozen one would not hear of the end of its channel. */
const children = new Set<ChildProcess>();

function killChildren(): void {
  for (const child of children) child.kill('SIGKILL');
}

/** A server in a child process, which can be killed, frozen and started again on the same port. */
export class ChildServer {
  readonly #options: ChildServerOptions;
  readonly #output: string[] = [];
  readonly #messages: unknown[] = [];
  #child: ChildProcess | undefined;
  #port = 0;

  private constructor(options: ChildServerOptions) {
    this.#options = options;
  }

  /**
   * Starts it, and resolves when it listens.
   * @throws with its output when it exits first, or does not listen in time
   */
  static async start(options: ChildServerOptions): Promise<ChildServer> {
    const server = new ChildServer(options);
    await server.#start();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The last lines it wrote, to either stream, over all its lives. */
  get output(): readonly string[] {
    return this.#output;
  }

  /** What it sent over IPC, over all its lives. */
  get messages(): readonly unknown[] {
    return this.#messages;
  }

  /** Sends it a message over IPC. */
  send(message: Serializable): void {
    this.#child?.send(message);
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL', 10_000);
  }

  /**
   * SIGTERM, for servers that end in order; resolves when the process is gone.
   * @throws when it still runs after `timeoutMs` (10 000)
   */
  async terminate(timeoutMs = 10_000): Promise<void> {
    await this.#end('SIGTERM', timeoutMs);
  }

  /** SIGSTOP: its sockets stay open, and nothing answers. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  /** SIGCONT: ends `freeze`. */
  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Starts it again on the same port, killed first if it still runs. */
  async restart(): Promise<void> {
    await this.kill();
    await this.#start();
  }

  /** Kills it; nothing is left. */
  async close(): Promise<void> {
    await this.kill();
  }

  async #start(): Promise<void> {
    const { script, execPath, args = portArgument, env, execArgv = [], readyTimeoutMs = 15_000 } = this.#options;
    const exitWithParent = ['--import', `data:text/javascript,${encodeURIComponent(EXIT_WITH_PARENT)}`];
    const child = fork(script, [...args(this.#port)], {
      env: { ...process.env, ...env },
      execPath: execPath ?? process.execPath,
      execArgv: execPath === undefined ? [...exitWithParent, ...execArgv] : [...execArgv],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    if (children.size === 0) process.once('exit', killChildren);
    children.add(child);
    child.once('close', () => {
      this.#gone(child);
    });
    let failure: Error | undefined;
    child.once('error', (error) => {
      failure = error;
      this.#gone(child);
    });
    let port = 0;
    const listening = (found: number) => {
      port = found;
    };
    this.#readOutput(child, listening);
    this.#readMessages(child, listening);
    const what = () => `${String(script)} to listen; its output:\n${this.#output.join('\n')}`;
    try {
      await waitFor(() => port !== 0 || this.#child !== child, { timeoutMs: readyTimeoutMs, describe: what });
    } catch (error) {
      await this.kill();
      throw error;
    }
    if (port === 0) throw new Error(`Ended before it listened: waited for ${what()}`, { cause: failure });
    this.#port = port;
  }

  #readOutput(child: ChildProcess, listening: (port: number) => void): void {
    const ready = this.#options.ready ?? /listening on .*:(\d+)/i;
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream?.setEncoding('utf8').on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const port = Number(ready.exec(line)?.[1] ?? 0);
          if (port > 0) listening(port);
        }
        this.#output.push(...lines);
        this.#output.splice(0, this.#output.length - KEPT_LINES);
      });
    }
  }

  #readMessages(child: ChildProcess, listening: (port: number) => void): void {
    child.on('message', (message: unknown) => {
      if (typeof message === 'object' && message !== null && 'listening' in message)
        listening(Number(message.listening));
      else this.#messages.push(message);
    });
  }

  async #end(signal: NodeJS.Signals, timeoutMs: number): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill(signal);
    await waitFor(() => this.#child !== child, {
      timeoutMs,
      describe: () => `process ${child.pid ?? '?'} to end after ${signal}; its output:\n${this.#output.join('\n')}`,
    });
  }

  #gone(child: ChildProcess): void {
    children.delete(child);
    if (children.size === 0) process.off('exit', killChildren);
    if (this.#child === child) this.#child = undefined;
  }
}

function portArgument(port: number): readonly string[] {
  return ['--port', String(port)];
}
