// Measures the memory of open streams. Each contender runs in a separate process and opens many streams on one connection. Each stream
// has received one message.
import { withMemoryServer } from '../memory/pair.mjs';
import { median } from '../statistics.mjs';
import { withContenders } from './contender.mjs';

/** Number of streams opened first, so that one-time allocations are not counted. */
const WARM_UP_STREAMS = 100;

/**
 * @typedef {object} OpenStreamsPlan
 * @property {'open-streams'} bench
 * @property {readonly import('../contenders.mjs').Entry[]} entries
 * @property {number} rounds
 * @property {number} streams
 * @property {boolean} json
 */

/**
 * @param {OpenStreamsPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfOpenStreams({ bench, rounds, streams }) {
  return {
    bench,
    question: 'How much memory does an open stream use in the client?',
    how: `medians of ${String(rounds)} rounds of ${String(streams)} server streams on one connection, after a garbage collection`,
    figures: [{ name: 'kibPerStream', title: 'KiB/stream', digits: 1 }],
  };
}

/**
 * @param {OpenStreamsPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[]>}
 */
export async function measureOpenStreamsOfAll({ bench, entries, rounds, streams }) {
  console.error(`${bench}: ${String(streams)} streams per contender`);
  /** @type {Map<string, number[]>} */
  const taken = new Map(entries.map(({ name }) => [name, []]));
  await withMemoryServer(async ({ address }) => {
    for (let round = 0; round < rounds; round++) {
      await withContenders(entries, address, (children) =>
        // Runs the contenders in parallel, which does not affect their memory.
        Promise.all(
          [...children].map(async ([name, child]) => taken.get(name)?.push(await bytesPerStream(child, streams))),
        ),
      );
    }
  });
  return [...taken].map(([contender, bytes]) => ({ contender, kibPerStream: median(bytes) / 1_024 }));
}

/**
 * @param {import('../memory/child.mjs').Child} child
 * @param {number} streams
 * @returns {Promise<number>}
 */
async function bytesPerStream(child, streams) {
  await child.execute('openStreams', { count: WARM_UP_STREAMS });
  const { heap: before } = await child.execute('memory');
  await child.execute('openStreams', { count: streams });
  const { heap: after } = await child.execute('memory');
  return (after - before) / streams;
}
