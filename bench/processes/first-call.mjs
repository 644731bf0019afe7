// Measures the time from process start to the first response. Each round starts a new process for each contender, one after another.
import { startServer } from '../server.mjs';
import { median } from '../statistics.mjs';
import { withContenders } from './contender.mjs';

/**
 * Times in milliseconds.
 *
 * @typedef {object} FirstCall
 * @property {number} importMs Import of the contender's packages and of the code that reads the contract.
 * @property {number} callMs Connection and call.
 * @property {number} startMs From process start to the response: Node startup, import, creation of the client, connection, and call.
 */

/**
 * @typedef {object} FirstCallPlan
 * @property {'first-call'} bench
 * @property {readonly import('../contenders.mjs').Entry[]} entries
 * @property {number} rounds
 * @property {boolean} json
 */

/**
 * @param {FirstCallPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfFirstCalls({ bench, rounds }) {
  return {
    bench,
    question: 'How long does it take from process start to the first response?',
    how: `medians of ${String(rounds)} new processes per contender, including Node startup`,
    figures: [
      { name: 'importMs', title: 'import ms', digits: 0 },
      { name: 'callMs', title: 'connection and call ms', digits: 0 },
      { name: 'startMs', title: 'start to response ms', digits: 0 },
    ],
  };
}

/**
 * @param {FirstCallPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[]>}
 */
export async function measureFirstCalls({ bench, entries, rounds }) {
  console.error(`${bench}: ${String(rounds)} processes per contender`);
  const taken = entries.map(({ name }) => ({ name, calls: /** @type {FirstCall[]} */ ([]) }));
  const server = await startServer();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const { name, calls } of taken) {
        await withContenders([{ name }], server.address, async (children) => {
          calls.push(await children.get(name)?.execute('firstCall'));
        });
      }
    }
  } finally {
    server.stop();
  }
  return taken.map(({ name: contender, calls }) => ({
    contender,
    importMs: median(calls.map(({ importMs }) => importMs)),
    callMs: median(calls.map(({ callMs }) => callMs)),
    startMs: median(calls.map(({ startMs }) => startMs)),
  }));
}
