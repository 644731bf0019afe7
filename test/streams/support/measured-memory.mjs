import { setTimeout as wait } from 'node:timers/promises';
import { difference, withPair } from './memory-pair.mjs';

/** @typedef {import('./memory-pair.mjs').Memories} Memories */
/** @typedef {import('./memory-pair.mjs').Stream} Stream */
/** @typedef {{ readonly open: number, readonly cancelled: number }} ServerCalls */

/** Factor by which the slow reader is slower than an unthrottled one. */
const SLOWDOWN_FACTOR = 10;
/** Number of streams among which the unthrottled messages are divided. The fastest stream counts, because the machine may be busy. */
const PARTS = 5;
/** Number of polls, 50 ms apart, after which an unchanged value above 0 is considered final. */
const STILL_POLLS = 15;
const PATIENCE_MS = 60_000;
const DRAIN_MS = 500;

/** @type {Promise<unknown>} */
let unthrottledRuns = Promise.resolve();

/**
 * @typedef {object} SlowReader
 * @property {number} unthrottled Messages per second without throttling.
 * @property {number} slow Messages per second with the slow reader.
 * @property {Memories} growth Maximum memory growth with the slow reader.
 */

/**
 * Measures memory with a reader that is ten times slower than an unthrottled one.
 *
 * @param {Stream} stream
 * @param {number} count Messages.
 * @returns {Promise<SlowReader>}
 */
export function measureSlowReader(stream, count) {
  return withPair(async (pair) => {
    // Warms up, so that compiled code does not count as growth.
    await pair.run(stream, Math.ceil(count / 50));
    const before = await pair.memories();
    // Unthrottled runs take turns, because concurrent runs would slow each other down.
    const unthrottledRun = unthrottledRuns.then(() => fastest(pair, stream, count));
    unthrottledRuns = unthrottledRun.catch(() => undefined);
    const unthrottled = await unthrottledRun;
    const slowRun = pair.run(stream, count, unthrottled / SLOWDOWN_FACTOR);
    const growth = await pair.growthDuring(before, slowRun);
    return { unthrottled, slow: await slowRun, growth };
  });
}

/**
 * @typedef {object} StoppedReader
 * @property {number} taken Messages that the client had taken from the source when it stopped taking more.
 * @property {Memories} growth Memory growth at that point.
 * @property {string} end Error that the caller received after cancelling.
 * @property {boolean} sourceEnded True if the source was closed after the cancellation.
 * @property {number} active Open calls of the client after the cancellation.
 * @property {ServerCalls} server Calls of the server after the cancellation.
 */

/**
 * Measures how far requests run ahead of a server that reads one message and then stops, and whether cancelling releases everything.
 *
 * @param {Stream} stream
 * @returns {Promise<StoppedReader>}
 */
export function measureStoppedReader(stream) {
  return withPair(async (pair) => {
    const { client, server } = pair;
    await pair.run(stream, 100);
    const before = await pair.memories();
    const ended = pair.run(stream, 1e9, 0).then(
      () => 'completed',
      (/** @type {Error} */ error) => error.message.split('\n')[0] ?? '',
    );
    const taken = await awaitStandstill(async () => (await client.execute('progress')).taken);
    const growth = difference(await pair.memories(), before);
    await client.execute('cancelRun');
    const end = await ended;
    const calls = await whenClosed(() => server.execute('counts'));
    const { sourceEnded, active } = await client.execute('progress');
    return { taken, growth, end, sourceEnded, active, server: calls };
  });
}

/**
 * The cause of the streams' end: the server ends them, or the client cancels them, drains for {@link DRAIN_MS}, or closes.
 *
 * @typedef {'end' | 'cancel' | 'drain' | 'close'} Ending
 */

/**
 * @typedef {object} ManyStreams
 * @property {number} openMs Time until each stream has received its first message.
 * @property {number} active Open calls of the client when all streams are open.
 * @property {Memories} growth Memory growth when all streams are open.
 * @property {number} endMs Time until neither side has open calls.
 * @property {{ received: number, completed: number, failed: number, open: number }} left Numbers of received messages, and of
 *   completed, failed, and open streams of the client.
 * @property {ServerCalls} server Calls of the server at the end.
 * @property {Memories} kept Remaining memory growth at the end.
 * @property {string[]} open Node's names for the handles that keep the process alive after the client is closed.
 */

/**
 * Measures the cost of concurrent streams, and the resources that remain after their end.
 *
 * @param {number} count
 * @param {Ending} ending
 * @returns {Promise<ManyStreams>}
 */
export function measureManyStreams(count, ending) {
  return withPair(async (pair) => {
    const { client, server } = pair;
    await pair.run({ kind: 'watch', size: 100 }, 1_000);
    const before = await pair.memories();
    const openMs = await client.execute('openMany', { count });
    const { open: active } = await client.execute('many');
    const growth = difference(await pair.memories(), before);
    const beganAt = performance.now();
    if (ending === 'end') await server.execute('endAll');
    else await client.execute(ending, { timeoutMs: DRAIN_MS });
    await whenClosed(() => client.execute('many'));
    const calls = await whenClosed(() => server.execute('counts'));
    const endMs = performance.now() - beganAt;
    const left = await client.execute('many');
    const kept = difference(await pair.memories(), before);
    await client.execute('close');
    return { openMs, active, growth, endMs, left, server: calls, kept, open: await client.execute('resources') };
  });
}

/**
 * @param {import('./memory-pair.mjs').Pair} pair
 * @param {Stream} stream
 * @param {number} count
 */
async function fastest(pair, stream, count) {
  let max = 0;
  for (let part = 0; part < PARTS; part++) max = Math.max(max, await pair.run(stream, Math.ceil(count / PARTS)));
  return max;
}

/**
 * @param {() => Promise<number>} read
 * @returns {Promise<number>} The value, above 0, after it has stopped changing.
 */
async function awaitStandstill(read) {
  let last = 0;
  let same = 0;
  return poll(50, 'a constant value', async () => {
    const now = await read();
    same = now === last && now > 0 ? same + 1 : 0;
    last = now;
    return same < STILL_POLLS ? undefined : now;
  });
}

/**
 * @template {{ open: number }} Calls
 * @param {() => Promise<Calls>} read
 * @returns {Promise<Calls>} The counts when no call is open.
 */
function whenClosed(read) {
  return poll(10, 'the end of all calls', async () => {
    const calls = await read();
    return calls.open === 0 ? calls : undefined;
  });
}

/**
 * @template T
 * @param {number} everyMs
 * @param {string} what Description for the error message.
 * @param {() => Promise<T | undefined>} read
 * @returns {Promise<T>} The first defined value.
 */
async function poll(everyMs, what, read) {
  const endsAt = performance.now() + PATIENCE_MS;
  while (performance.now() < endsAt) {
    const found = await read();
    if (found !== undefined) return found;
    await wait(everyMs);
  }
  throw new Error(`waited ${String(PATIENCE_MS)} ms for ${what}`);
}
