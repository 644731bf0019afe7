// Measures how much a client buffers if the receiver of a long stream stops reading: responses that the application does not read, and
// requests that the server does not read. Each contender runs in a separate process.
import { awaitStandstill } from '../memory/measure.mjs';
import { withMemoryServer } from '../memory/pair.mjs';
import { median } from '../statistics.mjs';
import { withContenders } from './contender.mjs';

/** @typedef {import('../memory/child.mjs').Child} Child */
/** @typedef {{ readonly count: number, readonly size: number }} Messages */

const MESSAGE_BYTES = 16_384;
/** Number of messages in the warm-up stream, which absorbs one-time allocations. */
const WARM_UP_MESSAGES = 50;

/**
 * @typedef {object} SlowReadersPlan
 * @property {'slow-readers'} bench
 * @property {readonly import('../contenders.mjs').Entry[]} entries
 * @property {number} rounds
 * @property {number} messages Messages per stream.
 * @property {boolean} json
 */

/**
 * @param {SlowReadersPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfSlowReaders({ bench, rounds, messages }) {
  return {
    bench,
    question: 'How much does a client buffer if responses or requests of a stream are not read?',
    how: `medians of ${String(rounds)} rounds; streams of ${((messages * MESSAGE_BYTES) / 1_048_576).toFixed(0)} MiB, of which only one message is read`,
    varied: { name: 'direction', title: 'direction', label: String },
    figures: [{ name: 'heldMib', title: 'MiB held', digits: 1 }],
  };
}

/**
 * @param {SlowReadersPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[]>}
 */
export async function measureSlowReadersOfAll({ bench, entries, rounds, messages }) {
  console.error(`${bench}: ${String(messages)} messages per stream`);
  const stream = { count: messages, size: MESSAGE_BYTES };
  const taken = entries.flatMap(({ name }) =>
    ['responses', 'requests'].map((direction) => ({ name, direction, bytes: /** @type {number[]} */ ([]) })),
  );
  for (let round = 0; round < rounds; round++) {
    await withMemoryServer(({ address, server }) =>
      withContenders(entries, address, async (children) => {
        /** @param {string} direction @param {(child: Child) => Promise<number>} held */
        const measure = (direction, held) =>
          // Runs the contenders in parallel, which does not affect their memory.
          Promise.all(
            taken.map(async ({ name, bytes, direction: measured }) => {
              const child = children.get(name);
              if (measured === direction && child !== undefined) bytes.push(await held(child));
            }),
          );
        await Promise.all(
          [...children.values()].map((child) =>
            child.execute('upload', { count: WARM_UP_MESSAGES, size: MESSAGE_BYTES }),
          ),
        );
        await measure('responses', (child) => heldOf(child, 'stopReading', stream, () => server.execute('sent')));
        await server.execute('stopReading');
        await measure('requests', (child) => heldOf(child, 'beginUpload', stream, () => child.execute('taken')));
      }),
    );
  }
  return taken.map(({ name, direction, bytes }) => ({
    contender: name,
    direction,
    heldMib: median(bytes) / 1_048_576,
  }));
}

/**
 * @param {Child} child
 * @param {'stopReading' | 'beginUpload'} command
 * @param {Messages} stream
 * @param {() => Promise<number>} progress Progress of the sender.
 * @returns {Promise<number>} Memory growth of the child in bytes, measured once the sender has stalled.
 */
async function heldOf(child, command, stream, progress) {
  const { heap: before } = await child.execute('memory');
  await child.execute(command, stream);
  await awaitStandstill(progress);
  const { heap: after } = await child.execute('memory');
  return after - before;
}
