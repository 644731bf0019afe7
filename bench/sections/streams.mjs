// Measures the memory of open streams, and how much a client buffers if the receiver of a long stream stops reading: responses that the
// application does not read, and requests that the server does not read. Each contender runs in a separate process. Contenders run in
// parallel, which does not affect their memory.
import { setTimeout as wait } from 'node:timers/promises';
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

const MESSAGE_BYTES = 16_384;
/** The warm-up stream, which absorbs one-time allocations. */
const WARM_UP = { count: 50, size: MESSAGE_BYTES };

/** @type {import('../sections.mjs').BenchSection} */
export const slowReaders = {
  inTable: true,
  defaults: { rounds: 3, messages: 4_096, ...CLIENT_OPTIONS },
  entriesOf: chosenContenders,
  outlineOf: ({ rounds, messages }) => ({
    question: 'How much does a client buffer if responses or requests of a stream are not read?',
    how: `medians of ${String(rounds)} rounds; streams of ${((messages * MESSAGE_BYTES) / 1_048_576).toFixed(0)} MiB, of which only one message is read`,
    varied: { name: 'direction', label: String },
    figures: [{ name: 'heldMib', title: 'MiB held', digits: 1 }],
  }),
  async measure({ entries, rounds, messages }) {
    const stream = { count: messages, size: MESSAGE_BYTES };
    const held = new Map(entries.map(({ name }) => [name, { responses: [], requests: [] }]));
    for (let round = 0; round < rounds; round++) {
      await withServer(({ address, server }) =>
        withContenders(entries, address, async (children) => {
          await ofAll(children, (child) => child.execute('upload', WARM_UP));
          await ofAll(children, async (child, name) => {
            const stall = () =>
              child.execute('stopReading', stream).then(() => standstill(() => server.execute('sent')));
            held.get(name).responses.push(await growth(child, stall));
          });
          await server.execute('stopReading');
          await ofAll(children, async (child, name) => {
            const stall = () =>
              child.execute('beginUpload', stream).then(() => standstill(() => child.execute('taken')));
            held.get(name).requests.push(await growth(child, stall));
          });
        }),
      );
    }
    return [...held].flatMap(([contender, of]) =>
      Object.entries(of).map(([direction, bytes]) => ({ contender, direction, heldMib: median(bytes) / 1_048_576 })),
    );
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

/** Number of polls, 50 ms apart, after which an unchanged value above 0 is considered final. */
const STILL_POLLS = 15;

/** Resolves when the value above 0 has stopped changing. @param {() => Promise<number>} read */
async function standstill(read) {
  for (let last = 0, same = 0; same < STILL_POLLS; await wait(50)) {
    const now = await read();
    same = now === last && now > 0 ? same + 1 : 0;
    last = now;
  }
}
