import { setImmediate as turn } from 'node:timers/promises';

/**
 * What a process holds, in bytes.
 *
 * @typedef {object} Memory
 * @property {number} heap V8's heap and what hangs on it outside, after a garbage collection.
 * @property {number} resident With the garbage: looked at before the collection.
 */

/**
 * Of this process, which was started with --expose-gc.
 *
 * @returns {Promise<Memory>}
 */
export async function readMemory() {
  const resident = process.memoryUsage.rss();
  // The first lets go of buffers, whose memory is then given back in the background; the second waits for that.
  collect();
  await turn();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return { heap: heapUsed + external, resident };
}

function collect() {
  if (globalThis.gc === undefined) throw new Error('memory can be measured under --expose-gc only');
  void globalThis.gc();
}
