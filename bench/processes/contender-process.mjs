// A contender in a separate process, which executes commands.
//   node --expose-gc contender-process.mjs NAME ADDRESS
import { contenderNamed } from '../contenders.mjs';
import { ORDER_ID } from '../contract.mjs';
import { executeCommands } from '../memory/child.mjs';
import { chunks } from '../memory/chunks.mjs';
import { readMemory } from '../memory/memory.mjs';
import { takeTurn } from '../rounds.mjs';
import { WORKLOADS, rehearse } from '../workloads.mjs';

const [name = '', address = ''] = process.argv.slice(2);
const entry = contenderNamed(name);
if (entry === undefined) throw new Error(`expected a contender, got ${name}`);

const beganAt = performance.now();
const { open } = await entry.load();
const importedAt = performance.now();
const contender = await open(address);
const openedAt = performance.now();

/** @typedef {import('./slow-readers.mjs').Messages} Messages */

/** @returns {Promise<import('./first-call.mjs').FirstCall>} */
function firstCall() {
  return new Promise((resolve, reject) => {
    const calledAt = performance.now();
    contender.get(ORDER_ID, (error, order) => {
      const callMs = performance.now() - calledAt;
      if (order?.id !== ORDER_ID) reject(asError(error));
      // `openedAt` is the time since the start of the process. Adding only `callMs` excludes the wait for the parent's command.
      else resolve({ importMs: importedAt - beganAt, callMs, startMs: openedAt + callMs });
    });
  });
}

/**
 * @param {{ count: number }} given
 * @returns {Promise<void>} Resolves when each stream has received its first message.
 */
function openStreams({ count }) {
  return new Promise((resolve, reject) => {
    let begun = 0;
    for (let stream = 0; stream < count; stream++) {
      contender.watch(
        { count: 1, size: 100, stay: true },
        () => {
          if (++begun === count) resolve();
        },
        (error) => {
          reject(asError(error));
        },
      );
    }
  });
}

/** Functions that resume the paused streams. Without a reference to them, the paused streams would be garbage-collected. */
const paused = new Set();

/**
 * @param {Messages} given
 * @returns {Promise<void>} Resolves when the first message is received. No further messages are read.
 */
function stopReading({ count, size }) {
  return new Promise((resolve, reject) => {
    const pause = () => {
      resolve();
      return /** @type {Promise<void>} */ (new Promise((resume) => paused.add(resume)));
    };
    contender.read({ count, size }, pause).catch(reject);
  });
}

let taken = 0;

/** @param {Messages} given */
function* counted({ count, size }) {
  for (const chunk of chunks(size, count)) {
    taken++;
    yield chunk;
  }
}

/**
 * @param {Messages} given
 * @returns {Promise<void>}
 */
function upload(given) {
  return new Promise((resolve, reject) => {
    contender.upload(counted(given), (error, received) => {
      if (received?.count === given.count) resolve();
      else reject(asError(error));
    });
  });
}

/** @param {unknown} error */
function asError(error) {
  return error instanceof Error ? error : new Error(`the call ended with ${JSON.stringify(error)}`);
}

/**
 * @param {{ kind: keyof typeof WORKLOADS, of: number, seconds: number }} given
 * @returns {Promise<import('../rounds.mjs').Sample>}
 */
function turn({ kind, of, seconds }) {
  return takeTurn(contender, WORKLOADS[kind](of), seconds);
}

/**
 * Verifies this contender, and then loads, opens, and verifies the others, so that all processes use the same amount of memory and garbage
 * collections cost the same.
 *
 * @param {{ names: readonly string[] }} given Names of all contenders, in the order of the report.
 */
async function rehearseBeside({ names }) {
  for (const each of [name, ...names.filter((other) => other !== name)]) {
    const opened = each === name ? contender : await (await contenderNamed(each)?.load())?.open(address);
    if (opened === undefined) throw new Error(`expected a contender, got ${each}`);
    await rehearse(opened).catch((/** @type {unknown} */ error) => {
      throw new Error(`${each} failed the rehearsal`, { cause: error });
    });
  }
}

executeCommands({
  rehearseBeside,
  turn,
  firstCall,
  openStreams,
  stopReading,
  upload,
  /** @param {Messages} given */
  beginUpload(given) {
    // Does not wait for the upload, which lasts until this process exits, and ignores its failure.
    upload(given).catch(() => undefined);
  },
  taken: () => taken,
  memory: readMemory,
});

// Exits immediately, without closing anything.
process.once('disconnect', () => process.exit());
