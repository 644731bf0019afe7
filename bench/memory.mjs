import { setImmediate as turn } from 'node:timers/promises';

/**
 * Memory of a process in bytes.
 *
 * @typedef {object} Memory
 * @property {number} heap V8's heap and external memory, after a garbage collection.
 * @property {number} resident Resident memory before the collection, including garbage.
 */

/**
 * Measures this process, which must run with --expose-gc.
 *
 * @returns {Promise<Memory>}
 */
export async function readMemory() {
  const resident = process.memoryUsage.rss();
  // The first collection releases buffers, whose memory is freed in the background. The second waits until it is freed.
  collect();
  await turn();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return { heap: heapUsed + external, resident };
}

function collect() {
  if (globalThis.gc === undefined) throw new Error('cannot measure memory; run with --expose-gc');
  void globalThis.gc();
}
