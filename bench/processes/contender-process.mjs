// A contender in a process of its own, which does what it is asked.
//   node --expose-gc contender-process.mjs NAME ADDRESS
import { contenderNamed } from '../contenders.mjs';
import { ORDER_ID } from '../contract.mjs';
import { obey } from '../memory/child.mjs';
import { chunks } from '../memory/chunks.mjs';
import { readMemory } from '../memory/memory.mjs';
import { takeTurn } from '../rounds.mjs';
import { WORKLOADS, rehearse } from '../workloads.mjs';

const [name = '', address = ''] = process.argv.slice(2);
const entry = contenderNamed(name);
if (entry === undefined) throw new Error(`no such contender: ${name}`);

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
      // The process began at 0; what its parent took to ask is not counted.
      else resolve({ importMs: importedAt - beganAt, callMs, startMs: openedAt + callMs });
    });
  });
}

/**
 * @param {{ count: number }} given
 * @returns {Promise<void>} When each had its first message.
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

/** Whoever holds the end of a pause keeps its stream: one that nobody can go on with would be collected. */
const paused = new Set();

/**
 * @param {Messages} given
 * @returns {Promise<void>} When the first message came; nothing more is read.
 */
function stopReading({ count, size }) {
  return new Promise((resolve, reject) => {
    const pause = () => {
      resolve();
      return /** @type {Promise<void>} */ (new Promise((goOn) => paused.add(goOn)));
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
 * Loads and opens the others too: a garbage collection costs what a process holds, so each of them must hold the same.
 *
 * @param {{ names: readonly string[] }} given Of all that take part, in their order.
 */
async function rehearseBeside({ names }) {
  for (const each of [name, ...names.filter((other) => other !== name)]) {
    const taking = each === name ? contender : await (await contenderNamed(each)?.load())?.open(address);
    if (taking === undefined) throw new Error(`no such contender: ${each}`);
    await rehearse(taking).catch((/** @type {unknown} */ error) => {
      throw new Error(`${each} does not do what it should`, { cause: error });
    });
  }
}

obey({
  rehearseBeside,
  turn,
  firstCall,
  openStreams,
  stopReading,
  upload,
  /** @param {Messages} given */
  beginUpload(given) {
    // It ends with this process.
    upload(given).catch(() => undefined);
  },
  taken: () => taken,
  memory: readMemory,
});

// It leaves as a process does that is killed: what is open here is not looked at.
process.once('disconnect', () => process.exit());
