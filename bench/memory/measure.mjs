import { setTimeout as wait } from 'node:timers/promises';
import { difference, withPair } from './pair.mjs';

/** @typedef {import('./pair.mjs').Memories} Memories */
/** @typedef {import('./pair.mjs').Stream} Stream */
/** @typedef {{ readonly open: number, readonly cancelled: number }} ServerCalls */

/** How much slower the slow reader is. */
const SLOWER = 10;
/** Unthrottled, a stream goes in so many parts, and the fastest counts: others may be busy on the machine. */
const PARTS = 5;
/** A number that stays the same this often, looked at every 50 ms, stands still. */
const STILL = 15;
const PATIENCE_MS = 60_000;
const DRAIN_MS = 500;

/** @type {Promise<unknown>} */
let unthrottledRuns = Promise.resolve();

/**
 * @typedef {object} SlowReader
 * @property {number} unthrottled Messages a second that come to a reader who takes them as they do.
 * @property {number} slow Messages a second, where he takes his time.
 * @property {Memories} growth The most that was seen while he did, over what was held before.
 */

/**
 * Whether memory stays bounded with a reader who is ten times slower than the other side could send.
 *
 * @param {Stream} stream
 * @param {number} count Messages.
 * @returns {Promise<SlowReader>}
 */
export function measureSlowReader(stream, count) {
  return withPair({}, async (pair) => {
    // What is compiled once is no growth.
    await pair.run(stream, Math.ceil(count / 50));
    const before = await pair.memories();
    // Two of them at once would slow each other down.
    const unthrottledRun = unthrottledRuns.then(() => fastest(pair, stream, count));
    unthrottledRuns = unthrottledRun.catch(() => undefined);
    const unthrottled = await unthrottledRun;
    const slowRun = pair.run(stream, count, unthrottled / SLOWER);
    const growth = await pair.growthDuring(before, slowRun);
    return { unthrottled, slow: await slowRun, growth };
  });
}

/**
 * @typedef {object} StoppedReader
 * @property {number} taken Messages that were taken from their source, until it was left alone.
 * @property {Memories} growth Then.
 * @property {string} end What the caller was told when he had left.
 * @property {boolean} sourceEnded After that.
 * @property {number} active Calls that the client counts, after that.
 * @property {ServerCalls} server Its calls, after that.
 */

/**
 * How far requests run ahead of a server that reads one and then none for good, and whether leaving it ends all.
 *
 * @param {Stream} stream
 * @param {object} [channelOptions] Of grpc-js.
 * @returns {Promise<StoppedReader>}
 */
export function measureStoppedReader(stream, channelOptions = {}) {
  return withPair(channelOptions, async (pair) => {
    const { client, server } = pair;
    await pair.run(stream, 100);
    const before = await pair.memories();
    const ended = pair.run(stream, 1e9, 0).then(
      () => 'in order',
      (/** @type {Error} */ error) => error.message.split('\n')[0] ?? '',
    );
    const taken = await standstill(async () => (await client.ask('progress')).taken);
    const growth = difference(await pair.memories(), before);
    await client.ask('leave');
    const end = await ended;
    const calls = await whenClosed(() => server.ask('counts'));
    const { sourceEnded, active } = await client.ask('progress');
    return { taken, growth, end, sourceEnded, active, server: calls };
  });
}

/**
 * Who ends the streams: the server; the caller, who leaves; the client, whose drain gives them {@link DRAIN_MS}, or which is
 * closed.
 *
 * @typedef {'end' | 'cancel' | 'drain' | 'close'} Ending
 */

/**
 * @typedef {object} ManyStreams
 * @property {number} openMs Until each had its first message.
 * @property {number} active Calls that the client counts, when all are open.
 * @property {Memories} growth For all of them, when all are open.
 * @property {number} endMs Until neither side counts any.
 * @property {{ received: number, completed: number, failed: number, open: number }} left Messages and ends in all, and calls
 *   that the client still counts.
 * @property {ServerCalls} server Its calls, at the end.
 * @property {Memories} kept Of the growth, at the end.
 * @property {string[]} open What would keep the process alive when the client is closed, by Node's names.
 */

/**
 * What streams cost that are open at once, and whether anything is left of them.
 *
 * @param {number} count
 * @param {Ending} ending
 * @returns {Promise<ManyStreams>}
 */
export function measureManyStreams(count, ending) {
  return withPair({}, async (pair) => {
    const { client, server } = pair;
    await pair.run({ kind: 'watch', size: 100 }, 1_000);
    const before = await pair.memories();
    const openMs = await client.ask('openMany', { count });
    const { open: active } = await client.ask('many');
    const growth = difference(await pair.memories(), before);
    const beganAt = performance.now();
    if (ending === 'end') await server.ask('endAll');
    else await client.ask(ending, { timeoutMs: DRAIN_MS });
    await whenClosed(() => client.ask('many'));
    const calls = await whenClosed(() => server.ask('counts'));
    const endMs = performance.now() - beganAt;
    const left = await client.ask('many');
    const kept = difference(await pair.memories(), before);
    await client.ask('close');
    return { openMs, active, growth, endMs, left, server: calls, kept, open: await client.ask('resources') };
  });
}

/**
 * @param {import('./pair.mjs').Pair} pair
 * @param {Stream} stream
 * @param {number} count
 */
async function fastest(pair, stream, count) {
  let most = 0;
  for (let part = 0; part < PARTS; part++) most = Math.max(most, await pair.run(stream, Math.ceil(count / PARTS)));
  return most;
}

/**
 * @param {() => Promise<number>} read
 * @returns {Promise<number>} What it reads when it no longer changes.
 */
export async function standstill(read) {
  let last = 0;
  let same = 0;
  return poll(50, 'a standstill', async () => {
    const now = await read();
    same = now === last && now > 0 ? same + 1 : 0;
    last = now;
    return same < STILL ? undefined : now;
  });
}

/**
 * @template {{ open: number }} Calls
 * @param {() => Promise<Calls>} read
 * @returns {Promise<Calls>} What it reads when none is open.
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
 * @param {string} what For the text of its failure.
 * @param {() => Promise<T | undefined>} read
 * @returns {Promise<T>} What it reads when that is something.
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
