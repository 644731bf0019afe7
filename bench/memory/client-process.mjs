// The client of the memory benchmarks: ours, in a Nest application, told what to call and how fast to read.
//   node --expose-gc client-process.mjs ADDRESS [CHANNEL OPTIONS AS JSON]
import { getGrpcClientToken, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { openApp } from '../contenders/resilient-grpc.mjs';
import { obey } from './child.mjs';
import { chunks } from './chunks.mjs';
import { readMemory } from './memory.mjs';
import { pace } from './pace.mjs';

/** @typedef {import('../contract.mjs').Chunk} Chunk */
/** @typedef {import('../contract.mjs').Received} Received */

/**
 * One stream, run to its end.
 *
 * @typedef {object} Run
 * @property {'watch' | 'upload' | 'talk'} kind
 * @property {'iterable' | 'async-iterable'} source Of the requests of an upload and a talk.
 * @property {number} size Bytes of a message.
 * @property {number} count Messages.
 * @property {number} [perSecond] How fast they are read: by this process in a watch, else by the server; undefined: as fast as
 *   can be; 0: the first, and then none for good.
 */

const [address = '', channelOptions = '{}'] = process.argv.slice(2);
const app = await openApp(address, { channelOptions: JSON.parse(channelOptions) });
/** @type {import('nestjs-resilient-grpc').ResilientGrpcClient} */
const client = app.get(getGrpcClientToken('bench'));
const bench = app.get(getGrpcServiceToken('bench', 'Bench'));

/** Of the run that is on, or was last. */
let progress = { taken: 0, received: 0, sourceEnded: false };
let leaving = new AbortController();

/**
 * @param {Run} run
 * @returns {Promise<number>} Milliseconds it took.
 */
async function run({ kind, source, size, count, perSecond }) {
  progress = { taken: 0, received: 0, sourceEnded: false };
  leaving = new AbortController();
  const requests = source === 'iterable' ? taken(size, count) : asynchronous(taken(size, count));
  const metadata = perSecond === undefined ? {} : { pace: String(perSecond) };
  const options = { metadata, signal: leaving.signal };
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
  if (found !== expected) throw new Error(`expected message ${String(expected)}, got ${String(found)}`);
}

/**
 * @param {number} size
 * @param {number} count
 */
function* taken(size, count) {
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
async function* asynchronous(items) {
  yield* items;
}

/** Streams that stay open. */
const many = { received: 0, completed: 0, failed: 0 };
/** @type {import('rxjs').Subscription[]} */
let subscriptions = [];

/**
 * @param {{ count: number }} given
 * @returns {Promise<number>} Milliseconds until each had its first message.
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

function leaveMany() {
  for (const subscription of subscriptions) subscription.unsubscribe();
  subscriptions = [];
}

await client.waitForReady();
obey({
  run,
  progress: () => ({ ...progress, active: client.activeCalls().length }),
  leave() {
    leaving.abort();
  },
  openMany,
  many: () => ({ ...many, open: client.activeCalls().length }),
  cancel: leaveMany,
  drain: (/** @type {{ timeoutMs: number }} */ { timeoutMs }) => client.drain({ timeoutMs }),
  close: () => client.close(),
  memory: readMemory,
  resident: () => ({ resident: process.memoryUsage.rss() }),
  // Not the pipe to the parent, nor what is over with this turn.
  resources: () => process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap' && name !== 'Immediate'),
});
process.once('disconnect', () => {
  void app.close();
});
