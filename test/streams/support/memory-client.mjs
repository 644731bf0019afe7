// The client of the memory tests: this library in a Nest application, which executes commands.
//   node --expose-gc memory-client.mjs ADDRESS
import { getGrpcClientToken, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { openApp } from '../../../bench/contenders/resilient-grpc.mjs';
import { executeCommands } from '../../../bench/child.mjs';
import { readMemory } from '../../../bench/memory.mjs';
import { chunks, pace } from './paced-messages.mjs';

/** @typedef {import('../../../bench/contract.mjs').Chunk} Chunk */
/** @typedef {import('../../../bench/contract.mjs').Received} Received */

/**
 * One stream, run to its end.
 *
 * @typedef {object} Run
 * @property {'watch' | 'upload' | 'talk'} kind
 * @property {'iterable' | 'async-iterable'} source Kind of the request source of an upload or a talk.
 * @property {number} size Message size in bytes.
 * @property {number} count Number of messages.
 * @property {number} [perSecond] Messages read per second, by this process in a watch, otherwise by the server. `undefined` for full
 *   speed. In an upload or a talk, 0 stops reading after the first message.
 */

const app = await openApp(process.argv[2]);
/** @type {import('nestjs-resilient-grpc').ResilientGrpcClient} */
const client = app.get(getGrpcClientToken('bench'));
const bench = app.get(getGrpcServiceToken('bench', 'Bench'));

/** Progress of the current or last run. */
let progress = { taken: 0, received: 0, sourceEnded: false };
let cancellation = new AbortController();

/**
 * @param {Run} run
 * @returns {Promise<number>} Duration in milliseconds.
 */
async function run({ kind, source, size, count, perSecond }) {
  progress = { taken: 0, received: 0, sourceEnded: false };
  cancellation = new AbortController();
  const requests = source === 'iterable' ? countedChunks(size, count) : toAsync(countedChunks(size, count));
  const metadata = perSecond === undefined ? {} : { pace: String(perSecond) };
  const options = { metadata, signal: cancellation.signal };
  const beganAt = performance.now();
  if (kind === 'watch') await watch(bench.watch({ count, size }, options), count, pace(perSecond ?? Infinity));
  else if (kind === 'upload') await read(bench.upload(requests, options), count);
  else await talk(bench.talk(requests, options), count);
  return performance.now() - beganAt;
}

/**
 * @param {AsyncIterable<Chunk>} stream
 * @param {number} count
 * @param {() => Promise<void> | undefined} pause
 */
async function watch(stream, count, pause) {
  for await (const { number } of stream) {
    expect(++progress.received, number);
    const waiting = pause();
    if (waiting !== undefined) await waiting;
  }
  expect(count, progress.received);
}

/**
 * @param {AsyncIterable<Received>} answer
 * @param {number} count
 */
async function read(answer, count) {
  for await (const received of answer) expect(count, received.count);
}

/**
 * @param {AsyncIterable<Received>} session
 * @param {number} count
 */
async function talk(session, count) {
  for await (const received of session) expect(++progress.received, received.count);
  expect(count, progress.received);
}

/**
 * @param {number} expected
 * @param {number | undefined} found
 */
function expect(expected, found) {
  if (found !== expected)
    throw new Error(`message number or count: expected ${String(expected)}, got ${String(found)}`);
}

/**
 * @param {number} size
 * @param {number} count
 */
function* countedChunks(size, count) {
  try {
    for (const chunk of chunks(size, count)) {
      progress.taken++;
      yield chunk;
    }
  } finally {
    progress.sourceEnded = true;
  }
}

/**
 * @template T
 * @param {Iterable<T>} items
 */
async function* toAsync(items) {
  yield* items;
}

/** Numbers of messages received, streams completed, and streams failed since the first `openMany`. */
const many = { received: 0, completed: 0, failed: 0 };
/** @type {import('rxjs').Subscription[]} */
let subscriptions = [];

/**
 * @param {{ count: number }} given
 * @returns {Promise<number>} Milliseconds until all streams have received their first message.
 */
function openMany({ count }) {
  const beganAt = performance.now();
  return new Promise((resolve, reject) => {
    subscriptions = Array.from({ length: count }, () =>
      bench.watch({ count: 1, size: 100, stay: true }).subscribe({
        next() {
          if (++many.received === count) resolve(performance.now() - beganAt);
        },
        error(/** @type {unknown} */ error) {
          many.failed++;
          reject(error);
        },
        complete() {
          many.completed++;
        },
      }),
    );
  });
}

function cancelMany() {
  for (const subscription of subscriptions) subscription.unsubscribe();
  subscriptions = [];
}

await client.waitForReady();
const commands = {
  run,
  progress: () => ({ ...progress, active: client.activeCalls().length }),
  cancelRun() {
    cancellation.abort();
  },
  openMany,
  many: () => ({ ...many, open: client.activeCalls().length }),
  cancel: cancelMany,
  drain: (/** @type {{ timeoutMs: number }} */ { timeoutMs }) => client.drain({ timeoutMs }),
  close: () => client.close(),
  memory: readMemory,
  resident: () => ({ resident: process.memoryUsage.rss() }),
  // Excludes the pipes to the parent, and pending immediates, which run in the next event-loop turn.
  resources: () => process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap' && name !== 'Immediate'),
};
executeCommands(commands, () => {
  void app.close();
});
