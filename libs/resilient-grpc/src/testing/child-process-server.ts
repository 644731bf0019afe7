import { fork, type ChildProcess, type Serializable } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from './tcp-listener.js';
import { waitFor } from './wait-for.js';

interface ChildServerOptions {
  /** A module that Node can run, or a script for `execPath`. */
  readonly script: string | URL;
  /**
   * An executable to use instead of the current Node executable. It can exchange IPC messages, one JSON value per line, over the file
   * descriptor in NODE_CHANNEL_FD, and must exit when this descriptor is closed.
   */
  readonly execPath?: string | undefined;
  /**
   * Returns the command-line arguments for a port. At the first start, the port is free. If another process takes it before the server
   * listens, `args` is called again with another free port.
   * @defaultValue `--port <port>`
   */
  readonly args?: ((port: number) => readonly string[]) | undefined;
  /** Environment variables to add to those of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Command-line options for Node or `execPath`, before `script`. @defaultValue none */
  readonly execArgv?: readonly string[] | undefined;
  /**
   * Matches the output line written when the server is listening; the first capture group is the port. An IPC message `{ listening: port }`
   * has the same effect.
   * @defaultValue a pattern that matches the first port after 'listening on'
   */
  readonly ready?: RegExp | undefined;
  /** Maximum time in milliseconds, 0 or more, until the server is listening. @defaultValue 15,000 */
  readonly readyTimeoutMs?: number | undefined;
}

const NOT_REPORTED =
  'if it starts slowly, raise readyTimeoutMs; otherwise, print a line "listening on <host>:<port>", send the IPC message ' +
  '{ listening: port }, or set ready';

const MAX_KEPT_LINES = 200;

const MAX_FIRST_PORTS = 3;

/** Matches the first port after 'listening on', even if the port follows an IPv6 address. */
const LISTENING = /listening on .*?:(\d+)(?![\d\]:.])/i;

/** Matches the output of Node, Go, and other runtimes for a port on which another process is listening. */
const PORT_IN_USE = /EADDRINUSE|address already in use/i;

// Preloaded with `--require`, because `--import` would make Node load the script through the loader for ES modules, which ignores the hooks
// of other `--require` options, such as ts-node's. The relative path is the same from src and dist.
const EXIT_WITH_PARENT = fileURLToPath(new URL('../../assets/exit-with-parent.cjs', import.meta.url));

/** True if a signal can be sent to a process and those that it started. */
const HAS_GROUPS = process.platform !== 'win32';

/** Children to kill when this process exits. A frozen child would not detect that its IPC channel is closed. */
const children = new Set<ChildProcess>();

function killChildren(): void {
  for (const child of children) sendSignal(child, 'SIGKILL');
}

/** Sends a signal to the process and, except SIGTERM, to those that it started, such as the server of a start script. */
function sendSignal(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    // A start script forwards SIGTERM itself, and a second one would cut off the shutdown of its server.
    if (child.pid !== undefined && HAS_GROUPS && signal !== 'SIGTERM') process.kill(-child.pid, signal);
    else child.kill(signal);
  } catch {
    // All processes of the group have ended.
  }
}

/** A server in a child process that can be killed, frozen, and restarted on the same port. */
export class ChildServer {
  private readonly outputLines: string[] = [];
  private readonly receivedMessages: unknown[] = [];
  /** The latest process, until its output ends: a process that exits may have put the server in the background. */
  private child: ChildProcess | undefined;
  /** Exit code, signal, or spawn error of the latest process, such as 'exit code 1'; '' until a process ends. */
  private ending = '';
  private boundPort = 0;
  private isClosed = false;

  private constructor(private readonly options: ChildServerOptions) {}

  /**
   * Starts the server and resolves when it is listening. Starts the server again with another port, at most twice, if another process takes
   * the free port before the server listens on it.
   * @throws Error with the server's output, if the server exits before it is listening, or is not listening in time
   */
  static async start(options: ChildServerOptions): Promise<ChildServer> {
    for (let tried = 1; ; tried += 1) {
      const server = new ChildServer(options);
      try {
        await server.startProcess(await freePort());
        return server;
      } catch (error) {
        if (tried === MAX_FIRST_PORTS || !server.output.some((line) => PORT_IN_USE.test(line))) throw error;
      }
    }
  }

  get port(): number {
    return this.boundPort;
  }

  /** The address of the server, '127.0.0.1:port'. */
  get url(): string {
    return `127.0.0.1:${this.boundPort}`;
  }

  /**
   * False after the process has ended and its output is closed, or has failed. A process that it started may keep the output open.
   * `running` then stays true after exit code 0, as with a script that starts the server in the background.
   */
  get running(): boolean {
    return this.runningChild !== undefined;
  }

  /** The process id; `undefined` while the server is not running. */
  get pid(): number | undefined {
    return this.runningChild?.pid;
  }

  /** The last 200 lines written to stdout and stderr, including those from before restarts. */
  get output(): readonly string[] {
    return this.outputLines;
  }

  /** The messages received over IPC, including those from before restarts. Excludes `{ listening: port }`. */
  get messages(): readonly unknown[] {
    return this.receivedMessages;
  }

  /** Sends a message to the server over IPC. Does nothing if the server is not running, or has closed its IPC channel. */
  send(message: Serializable): void {
    // The callback ignores a failure. Without a callback, Node would emit an 'error' event.
    const child = this.runningChild;
    if (child?.connected === true) child.send(message, () => undefined);
  }

  /**
   * Sends SIGKILL to the process and to those that it started, and resolves when they have ended. On Windows, signals reach only the process.
   * @throws Error if one of these processes is still running after 10 s
   */
  async kill(): Promise<void> {
    await this.end('SIGKILL', 10_000);
  }

  /**
   * Sends SIGTERM to the process, for servers that shut down gracefully, and resolves when it and those that it started have ended.
   * @throws Error if one of these processes is still running after `timeoutMs` (default 10,000)
   */
  async terminate(timeoutMs = 10_000): Promise<void> {
    await this.end('SIGTERM', timeoutMs);
  }

  /**
   * Sends SIGSTOP. The server's sockets stay open, but it no longer responds.
   * @throws Error if the server is not running
   */
  freeze(): void {
    const child = this.runningChild;
    if (child === undefined) throw new Error('ChildServer is not running; write await server.restart() first');
    sendSignal(child, 'SIGSTOP');
  }

  /** Sends SIGCONT, which ends `freeze`. */
  thaw(): void {
    if (this.child !== undefined) sendSignal(this.child, 'SIGCONT');
  }

  /**
   * Starts the server again on the same port, which `args` receives. Kills the server first if it is still running.
   * @throws Error with the server's output, if the running server does not end, if the new server exits before it is listening, or if the
   *   new server is not listening in time
   * @throws Error if the new server listens on another port, or if this ChildServer is closed
   */
  async restart(): Promise<void> {
    this.requireOpen();
    await this.kill();
    // Checks again, because `close()` may have been called while the process was ending.
    this.requireOpen();
    await this.startProcess(this.boundPort);
  }

  /**
   * Kills the server and resolves when the process has ended. It cannot be restarted.
   * @throws Error in the same cases as `kill`
   */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.kill();
  }

  private get runningChild(): ChildProcess | undefined {
    const { child } = this;
    return child === undefined || hasFailed(child) ? undefined : child;
  }

  private requireOpen(): void {
    if (this.isClosed) throw new Error('ChildServer is closed; write await ChildServer.start(options)');
  }

  private async startProcess(requestedPort: number): Promise<void> {
    const { script, execPath, env, execArgv = [], readyTimeoutMs = 15_000 } = this.options;
    const child = fork(script, [...(this.options.args?.(requestedPort) ?? ['--port', String(requestedPort)])], {
      env: { ...process.env, ...env },
      execPath: execPath ?? process.execPath,
      execArgv: execPath === undefined ? ['--require', EXIT_WITH_PARENT, ...execArgv] : [...execArgv],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // In a process group of its own, which receives the signals.
      detached: HAS_GROUPS,
    });
    this.child = child;
    if (children.size === 0) process.once('exit', killChildren);
    children.add(child);
    child.once('exit', (code, signal) => {
      this.ending = signal === null ? `exit code ${String(code)}` : signal;
    });
    child.once('close', () => this.childEnded(child));
    let failure: Error | undefined;
    child.on('error', (error) => {
      // Ignores errors of a process that has started, such as a failed signal, because they do not end the process.
      if (child.pid !== undefined) return;
      failure = error;
      this.ending = error.message;
      this.childEnded(child);
    });
    let port = 0;
    const listening = (found: number) => {
      port = found;
    };
    this.readOutput(child, listening);
    this.readMessages(child, listening);
    try {
      await waitFor(() => port !== 0 || this.runningChild !== child, {
        timeoutMs: readyTimeoutMs,
        describe: () => `${String(script)} to report its port; ${NOT_REPORTED}; ${this.describeOutput()}`,
      });
    } catch (error) {
      await this.kill();
      throw error;
    }
    if (port === 0) {
      // Ends what a failed process has started, and reads the rest of the output.
      await this.kill();
      const how = `ended before it reported its port (${this.ending})`;
      const text = `ChildServer: ${String(script)} ${how}; ${this.describeOutput()}`;
      throw new Error(text, { cause: failure });
    }
    if (this.boundPort !== 0 && port !== this.boundPort) {
      const text =
        `ChildServer: expected ${String(script)} to listen on port ${this.boundPort} again, got ${port}; ` +
        "pass the port to the script with args, for example args: (port) => ['--port', String(port)]";
      await this.kill();
      throw new Error(text);
    }
    this.boundPort = port;
  }

  private readOutput(child: ChildProcess, listening: (port: number) => void): void {
    const { source, flags } = this.options.ready ?? LISTENING;
    // Removes the flags g and y, because they would keep `lastIndex` from one line to the next.
    const ready = new RegExp(source, flags.replace(/[gy]/g, ''));
    for (const input of [child.stdout, child.stderr]) {
      if (input === null) continue;
      createInterface({ input }).on('line', (line) => {
        const port = Number(ready.exec(line)?.[1]);
        if (isPort(port)) listening(port);
        this.outputLines.push(line);
        this.outputLines.splice(0, this.outputLines.length - MAX_KEPT_LINES);
      });
    }
  }

  private readMessages(child: ChildProcess, listening: (port: number) => void): void {
    child.on('message', (message: unknown) => {
      if (typeof message === 'object' && message !== null && 'listening' in message && isPort(message.listening))
        listening(message.listening);
      else this.receivedMessages.push(message);
    });
  }

  private async end(signal: NodeJS.Signals, timeoutMs: number): Promise<void> {
    const { child } = this;
    if (child === undefined) return;
    sendSignal(child, signal);
    await waitFor(() => this.child !== child, {
      timeoutMs,
      describe: () => `process ${child.pid ?? '?'} to end after ${signal}; ${this.describeOutput()}`,
    });
  }

  private describeOutput(): string {
    return this.outputLines.length === 0 ? 'it wrote no output' : `its output:\n${this.outputLines.join('\n')}`;
  }

  private childEnded(child: ChildProcess): void {
    children.delete(child);
    if (children.size === 0) process.off('exit', killChildren);
    if (this.child === child) this.child = undefined;
  }
}

function hasFailed({ exitCode, signalCode }: ChildProcess): boolean {
  return signalCode !== null || (exitCode !== null && exitCode !== 0);
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) <= 65_535;
}
