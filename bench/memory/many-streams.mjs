// Measures many streams on one connection between a client and a server in separate processes. Each stream receives one message. Then all
// streams end, in a different way in each run.
import { machineLines, tableLines } from '../report.mjs';
import { measureManyStreams } from './measure.mjs';
import { MEMORY_HEAD, memoryCells, ourMachine } from './report.mjs';

/** @typedef {import('./measure.mjs').Ending} Ending */

const QUESTION = 'What do concurrent streams cost, and what remains after their end?';

const ENDINGS = /** @type {const} */ (['end', 'cancel', 'drain', 'close']);

/**
 * @typedef {object} ManyStreamsPlan
 * @property {'many-streams'} bench
 * @property {number} streams
 * @property {boolean} json
 */

/** @param {ManyStreamsPlan} plan */
export async function measureAllEndings({ bench, streams, json }) {
  const results = [];
  for (const ending of ENDINGS) {
    console.error(`${String(streams)} streams, then ${ending}`);
    results.push({ ending, ...(await measureManyStreams(streams, ending)) });
  }
  const machine = ourMachine();
  if (json) {
    console.log(JSON.stringify({ bench, question: QUESTION, machine, streams, results }));
    return;
  }
  const lines = [
    QUESTION,
    ...machineLines(machine),
    '',
    `${String(streams)} streams. Ended by: the server (end) or the client (cancel, drain, close). Open ms: time until each stream has received its first message. End ms: time until neither side has open calls. Memory: growth while all streams are open, in MiB.`,
    ...tableLines(
      ['ended by', 'open ms', 'end ms', 'client heap KiB/stream', ...MEMORY_HEAD],
      results.map((row) => [
        row.ending,
        row.openMs.toFixed(0),
        row.endMs.toFixed(0),
        (row.growth.client.heap / streams / 1_024).toFixed(1),
        ...memoryCells(row.growth),
      ]),
    ),
    '',
    'After the end of the streams. Active: open calls of the client. Cancelled: calls that were cancelled on the server. Memory: remaining growth in MiB. Left open: handles that keep the client process alive after the client is closed.',
    ...tableLines(
      ['ended by', 'active', 'completed', 'failed', 'cancelled', ...MEMORY_HEAD, 'left open'],
      results.map((row) => [
        row.ending,
        ...[row.left.open, row.left.completed, row.left.failed, row.server.cancelled].map(String),
        ...memoryCells(row.kept),
        row.open.join(' ') || 'nothing',
      ]),
    ),
  ];
  console.log(lines.join('\n'));
}
