// Measures the memory of open streams. Each contender runs in a separate process. Contenders run in parallel, which does not affect their
// memory.
import { CLIENT_OPTIONS, chosenContenders } from '../contenders.mjs';
import { withContenders, withServer } from '../processes.mjs';
import { median } from '../statistics.mjs';

/** @typedef {import('../child.mjs').Child} Child */

/** Number of streams opened first, so that one-time allocations are not counted. */
const WARM_UP_STREAMS = 100;

/** @type {import('../sections.mjs').BenchSection} */
export const openStreams = {
  inTable: true,
  defaults: { rounds: 15, streams: 2_000, ...CLIENT_OPTIONS },
  entriesOf: chosenContenders,
  outlineOf: ({ rounds, streams }) => ({
    question: 'How much memory does an open stream use in the client?',
    how: `medians of ${String(rounds)} rounds of ${String(streams)} server streams on one connection, after a garbage collection`,
    figures: [{ name: 'kibPerStream', title: 'KiB/stream', digits: 1 }],
  }),
  async measure({ entries, rounds, streams }) {
    const taken = new Map(entries.map(({ name }) => [name, []]));
    await withServer(async ({ address }) => {
      for (let round = 0; round < rounds; round++) {
        await withContenders(entries, address, (children) =>
          ofAll(children, async (child, name) => {
            await child.execute('openStreams', { count: WARM_UP_STREAMS });
            const grown = await growth(child, () => child.execute('openStreams', { count: streams }));
            taken.get(name).push(grown / streams);
          }),
        );
      }
    });
    return [...taken].map(([contender, bytes]) => ({ contender, kibPerStream: median(bytes) / 1_024 }));
  },
};

/**
 * @param {ReadonlyMap<string, Child>} children
 * @param {(child: Child, name: string) => Promise<unknown>} work
 */
function ofAll(children, work) {
  return Promise.all([...children].map(([name, child]) => work(child, name)));
}

/** Returns the growth of the heap of a contender in bytes. */
async function growth(child, work) {
  const { heap: before } = await child.execute('memory');
  await work();
  const { heap: after } = await child.execute('memory');
  return after - before;
}
