import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Time after `stop()` until a child that has not exited is killed. On a busy machine, exiting can take seconds. */
const END_MS = 60_000;

/**
 * A command. Its arguments and its result are JSON.
 *
 * @typedef {(given: any) => unknown} Command
 */

/**
 * A child process that executes commands, started with --expose-gc.
 *
 * @typedef {object} Child
 * @property {(command: string, given?: object) => Promise<any>} execute
 * @property {() => Promise<void>} stop Disconnects the child and waits for its exit. Open sockets or timers prevent the exit of a
 *   child that does not call `process.exit()`. Rejects if the child had to be killed.
 * @property {() => Promise<void>} kill Kills the child immediately, as a crash would.
 */

/**
 * @param {URL} url
 * @param {readonly string[]} [given]
 * @param {readonly string[]} [flags] Node flags.
 * @returns {Child}
 */
export function startChild(url, given = [], flags = []) {
  const script = fileURLToPath(url);
  // Reserves this process's standard output for the report. The child's output is shown only if the child exits during a command.
  const child = fork(script, given, { execArgv: ['--expose-gc', ...flags], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (/** @type {string} */ text) => (output += text));
  }
  /** @type {Map<number, { resolve: (value: unknown) => void, reject: (error: Error) => void }>} */
  const pending = new Map();
  let nextId = 0;
  child.on('message', (/** @type {{ id: number, value?: unknown, error?: string }} */ { id, value, error }) => {
    if (error === undefined) pending.get(id)?.resolve(value);
    else pending.get(id)?.reject(new Error(error));
    pending.delete(id);
  });
  /** @type {Promise<void>} */
  const ended = new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      for (const { reject } of pending.values())
        reject(new Error(`${script} exited with ${String(code ?? signal)}\n${output}`));
      resolve();
    });
  });
  return {
    execute: (command, more = {}) =>
      new Promise((resolve, reject) => {
        const id = nextId++;
        pending.set(id, { resolve, reject });
        child.send({ id, command, given: more }, (error) => {
          if (error) reject(error);
        });
      }),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
    async stop() {
      if (child.connected) child.disconnect();
      let killed = false;
      const timer = setTimeout(() => {
        killed = child.kill('SIGKILL');
      }, END_MS);
      await ended;
      clearTimeout(timer);
      if (killed) throw new Error(`${script} did not exit within ${String(END_MS)} ms; a handle is still open`);
    },
  };
}

/**
 * Executes the parent's commands in this child process, until the parent disconnects or exits.
 *
 * @param {Readonly<Record<string, Command>>} commands
 * @param {() => void} [disconnected] By default, exits immediately, without closing anything.
 */
export function executeCommands(commands, disconnected = () => process.exit()) {
  process.once('disconnect', disconnected);
  // Ignores SIGINT, because Ctrl-C reaches the whole process group. The signal ends the benchmark, which disconnects.
  process.on('SIGINT', () => undefined);
  /** @param {object} message */
  const reply = (message) => {
    if (process.connected) process.send?.(message);
  };
  process.on(
    'message',
    async (/** @type {{ id: number, command: string, given: object }} */ { id, command, given }) => {
      try {
        reply({ id, value: await commands[command](given) });
      } catch (error) {
        reply({ id, error: error instanceof Error ? String(error.stack) : String(error) });
      }
    },
  );
}

/**
 * Runs `work` with a child, and then stops the child.
 *
 * @template T
 * @param {Child} child
 * @param {(child: Child) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withChild(child, work) {
  try {
    return await work(child);
  } finally {
    await child.stop();
  }
}
