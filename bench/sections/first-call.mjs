// Measures the time from process start to the first response. Each round starts a new process for each contender, one after another.
import { withChild } from '../child.mjs';
import { CLIENT_OPTIONS, chosenContenders } from '../contenders.mjs';
import { startContender, withServer } from '../processes.mjs';
import { median } from '../statistics.mjs';

/**
 * Times in milliseconds.
 *
 * @typedef {object} FirstCall
 * @property {number} importMs Import of the contender's packages and of the code that reads the contract.
 * @property {number} callMs Connection and call.
 * @property {number} startMs From process start to the response: Node startup, import, creation of the client, connection, and call.
 */

/** @type {import('../sections.mjs').BenchSection} */
export const firstCall = {
  inTable: true,
  defaults: { rounds: 7, ...CLIENT_OPTIONS },
  entriesOf: chosenContenders,
  outlineOf: ({ rounds }) => ({
    question: 'How long does it take from process start to the first response?',
    how: `medians of ${String(rounds)} new processes per contender, including Node startup`,
    figures: [
      { name: 'importMs', title: 'import ms', digits: 0 },
      { name: 'callMs', title: 'connection and call ms', digits: 0 },
      { name: 'startMs', title: 'start to response ms', digits: 0 },
    ],
  }),
  async measure({ entries, rounds }) {
    const taken = entries.map(({ name }) => ({ name, calls: /** @type {FirstCall[]} */ ([]) }));
    await withServer(async ({ address }) => {
      for (let round = 0; round < rounds; round++) {
        for (const { name, calls } of taken)
          calls.push(await withChild(startContender(name, address), (child) => child.execute('firstCall')));
      }
    });
    return taken.map(({ name: contender, calls }) => ({
      contender,
      importMs: median(calls.map(({ importMs }) => importMs)),
      callMs: median(calls.map(({ callMs }) => callMs)),
      startMs: median(calls.map(({ startMs }) => startMs)),
    }));
  },
};
