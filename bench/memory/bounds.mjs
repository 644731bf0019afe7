// Measures the memory of streams between a client and a server in separate processes: first with a reader that is ten times slower than an
// unthrottled one, then with a server that stops reading.
import { machineLines, tableLines } from '../report.mjs';
import { measureSlowReader, measureStoppedReader } from './measure.mjs';
import { MEMORY_HEAD, memoryCells, ourMachine } from './report.mjs';

/** @typedef {import('./pair.mjs').Stream} Stream */

/** Directions of messages, and kinds of request sources. */
const FLOWS = /** @type {const} */ ([
  { kind: 'watch' },
  { kind: 'upload', source: 'iterable' },
  { kind: 'upload', source: 'async-iterable' },
  { kind: 'talk', source: 'iterable' },
  { kind: 'talk', source: 'async-iterable' },
]);

const QUESTION = 'Is memory bounded for streams of any length and readers of any speed?';

/** Minimum size of a large message. */
const LARGE_BYTES = 65_536;
/** Messages per stream, if they are large. */
const LARGE_MESSAGES = 3_000;

/**
 * @typedef {object} BoundsPlan
 * @property {'memory'} bench
 * @property {readonly number[]} sizes Message sizes in bytes.
 * @property {number} messages Messages per stream, if they are not large.
 * @property {boolean} json
 */

/** @param {BoundsPlan} plan */
export async function measureBounds({ bench, sizes, messages, json }) {
  const streams = FLOWS.flatMap((flow) => sizes.map((size) => ({ ...flow, size })));
  const slow = [];
  for (const stream of streams) {
    const count = stream.size < LARGE_BYTES ? messages : LARGE_MESSAGES;
    console.error(`${nameOf(stream)}: ${String(count)} messages of ${String(stream.size)} bytes`);
    slow.push({ ...stream, messages: count, ...(await measureSlowReader(stream, count)) });
  }
  const stopped = [];
  for (const stream of streams) {
    if (stream.kind === 'watch') continue;
    console.error(`${nameOf(stream)}: messages of ${String(stream.size)} bytes to a server that stops reading`);
    stopped.push({ ...stream, ...(await measureStoppedReader(stream)) });
  }
  const machine = ourMachine();
  if (json) {
    console.log(JSON.stringify({ bench, question: QUESTION, machine, slow, stopped }));
    return;
  }
  const lines = [
    QUESTION,
    ...machineLines(machine),
    '',
    'A reader that is ten times slower than an unthrottled one. Rates: messages per second. Memory: maximum growth with the slow reader, in MiB.',
    ...tableLines(
      ['stream', 'message bytes', 'messages', 'unthrottled/s', 'slow reader/s', ...MEMORY_HEAD],
      slow.map((row) => [
        nameOf(row),
        ...[row.size, row.messages, row.unthrottled, row.slow].map((value) => value.toFixed(0)),
        ...memoryCells(row.growth),
      ]),
    ),
    '',
    'A server that reads one message and then stops. Taken: messages that the client took from the request source. Memory: growth in MiB.',
    ...tableLines(
      ['stream', 'message bytes', 'taken', 'KiB taken', ...MEMORY_HEAD],
      stopped.map((row) => [
        nameOf(row),
        ...[row.size, row.taken, (row.taken * row.size) / 1_024].map((value) => value.toFixed(0)),
        ...memoryCells(row.growth),
      ]),
    ),
  ];
  console.log(lines.join('\n'));
}

/** @param {Stream} stream */
function nameOf({ kind, source }) {
  return source === undefined ? kind : `${kind} from an ${source}`;
}
