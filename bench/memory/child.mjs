import { fork } from 'node:child_process';

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
 * @param {string} script
 * @param {readonly string[]} [given]
 * @param {readonly string[]} [flags] Node flags.
 * @returns {Child}
 */
export function startChild(script, given = [], flags = []) {
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
 * Executes the parent's commands in this child process.
 *
 * @param {Readonly<Record<string, Command>>} commands
 */
export function executeCommands(commands) {
  /** @param {object} message */
  const reply = (message) => {
    if (process.connected) process.send?.(message);
  };
  process.on('message', (/** @type {{ id: number, command: string, given: object }} */ { id, command, given }) => {
    answer(commands, command, given).then(
      (value) => {
        reply({ id, value });
      },
      (/** @type {unknown} */ error) => {
        reply({ id, error: error instanceof Error ? String(error.stack) : String(error) });
      },
    );
  });
}

/**
 * @param {Readonly<Record<string, Command>>} commands
 * @param {string} name
 * @param {object} given
 */
async function answer(commands, name, given) {
  const command = commands[name];
  if (command === undefined) throw new Error(`expected one of ${Object.keys(commands).join(', ')}, got ${name}`);
  return command(given);
}
