import { fork } from 'node:child_process';

/** A child that has not exited this long after its release is killed. A busy machine needs seconds for it. */
const END_MS = 60_000;

/**
 * A command's arguments and its result are JSON; who asks knows what the command takes and gives.
 *
 * @typedef {(given: any) => unknown} Command
 */

/**
 * A process of its own that does what it is asked, started with --expose-gc.
 *
 * @typedef {object} Child
 * @property {(command: string, given?: object) => Promise<any>} ask
 * @property {() => Promise<void>} stop Lets go of it and waits for its end, which it must find by itself: a socket or a timer
 *   that is left would keep it. Rejects when it had to be killed.
 * @property {() => Promise<void>} kill Ends it at once, as a crash would.
 */

/**
 * @param {string} script
 * @param {readonly string[]} [given]
 * @param {readonly string[]} [flags] Of Node.
 * @returns {Child}
 */
export function startChild(script, given = [], flags = []) {
  // Standard output belongs to the report. What the child writes matters only if it fails.
  const child = fork(script, given, { execArgv: ['--expose-gc', ...flags], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (/** @type {string} */ text) => (output += text));
  }
  /** @type {Map<number, { resolve: (value: unknown) => void, reject: (error: Error) => void }>} */
  const asked = new Map();
  let questions = 0;
  child.on('message', (/** @type {{ id: number, value?: unknown, error?: string }} */ { id, value, error }) => {
    if (error === undefined) asked.get(id)?.resolve(value);
    else asked.get(id)?.reject(new Error(error));
    asked.delete(id);
  });
  /** @type {Promise<void>} */
  const ended = new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      for (const { reject } of asked.values())
        reject(new Error(`${script} ended with ${String(code ?? signal)}\n${output}`));
      resolve();
    });
  });
  return {
    ask: (command, more = {}) =>
      new Promise((resolve, reject) => {
        const id = questions++;
        asked.set(id, { resolve, reject });
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
      if (killed) throw new Error(`${script} did not end within ${String(END_MS)} ms: something is left open`);
    },
  };
}

/**
 * In a child: does what its parent asks.
 *
 * @param {Readonly<Record<string, Command>>} commands
 */
export function obey(commands) {
  /** @param {object} message */
  const tell = (message) => {
    if (process.connected) process.send?.(message);
  };
  process.on('message', (/** @type {{ id: number, command: string, given: object }} */ { id, command, given }) => {
    answer(commands[command], given).then(
      (value) => {
        tell({ id, value });
      },
      (/** @type {unknown} */ error) => {
        tell({ id, error: error instanceof Error ? String(error.stack) : String(error) });
      },
    );
  });
}

/**
 * @param {Command | undefined} command
 * @param {object} given
 */
async function answer(command, given) {
  if (command === undefined) throw new Error('no such command');
  return command(given);
}
