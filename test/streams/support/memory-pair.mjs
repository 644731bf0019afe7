import { setTimeout as wait } from 'node:timers/promises';
import { startChild } from '../../../bench/child.mjs';

/** @typedef {import('../../../bench/child.mjs').Child} Child */
/** @typedef {import('../../../bench/memory.mjs').Memory} Memory */

/**
 * A stream of messages.
 *
 * @typedef {object} Stream
 * @property {'watch' | 'upload' | 'talk'} kind
 * @property {'iterable' | 'async-iterable'} [source] Kind of the request source of an upload or a talk.
 * @property {number} size Bytes of a message.
 */

/** @typedef {{ readonly client: Memory, readonly server: Memory }} Memories Memory of both processes in bytes. */

const CLIENT = new URL('./memory-client.mjs', import.meta.url);
const SERVER = new URL('./memory-server.mjs', import.meta.url);

/** Polling interval of resident memory. */
const POLL_INTERVAL_MS = 100;
/**
 * Number of polls between two heap measurements; the heap is also measured at the end. It is not measured on every poll, because a
 * measurement forces a garbage collection, and V8's own collections should occur, too.
 */
const COLLECTION_INTERVAL_POLLS = 20;

/**
 * Runs `work` with a client and a server in separate processes. Both must then exit without being killed.
 *
 * @template T
 * @param {(pair: Pair) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withPair(work) {
  /** @type {Child[]} */
  const children = [];
  let result;
  try {
    const server = startChild(SERVER);
    children.push(server);
    const address = `127.0.0.1:${String(await server.execute('port'))}`;
    const client = startChild(CLIENT, [address]);
    children.push(client);
    result = await work(new Pair(client, server));
  } catch (error) {
    await Promise.allSettled(children.map((child) => child.stop()));
    throw error;
  }
  await Promise.all(children.map((child) => child.stop()));
  return result;
}

/** The processes of a client and a server. */
export class Pair {
  /**
   * @param {Child} client
   * @param {Child} server
   */
  constructor(client, server) {
    this.client = client;
    this.server = server;
  }

  /**
   * Runs a stream to its end.
   *
   * @param {Stream} stream
   * @param {number} count Messages.
   * @param {number} [perSecond] Messages read per second; `undefined` for full speed. In an upload or a talk, 0 stops reading after one
   *   message.
   * @returns {Promise<number>} Messages per second.
   */
  async run(stream, count, perSecond) {
    return (count * 1_000) / (await this.client.execute('run', { ...stream, count, perSecond }));
  }

  /** @returns {Promise<Memories>} */
  async memories() {
    const [client, server] = await Promise.all([this.client.execute('memory'), this.server.execute('memory')]);
    return { client, server };
  }

  /**
   * Returns the maximum memory growth of each process from `before` until `work` is done.
   *
   * @param {Memories} before
   * @param {Promise<unknown>} work
   * @returns {Promise<Memories>}
   */
  async growthDuring(before, work) {
    const max = { client: { heap: -Infinity, resident: -Infinity }, server: { heap: -Infinity, resident: -Infinity } };
    let done = false;
    const watched = work.finally(() => {
      done = true;
    });
    // Prevents an unhandled rejection. `await watched` below reports a failure of `work`.
    watched.catch(() => undefined);
    for (let polls = 1; !done; polls++) {
      await Promise.race([watched, wait(POLL_INTERVAL_MS)]);
      const command = polls % COLLECTION_INTERVAL_POLLS === 0 || done ? 'memory' : 'resident';
      const [client, server] = await Promise.all([this.client.execute(command), this.server.execute(command)]);
      for (const [side, now] of /** @type {const} */ ([
        ['client', client],
        ['server', server],
      ])) {
        for (const what of /** @type {const} */ (['heap', 'resident'])) {
          if (now[what] !== undefined) max[side][what] = Math.max(max[side][what], now[what] - before[side][what]);
        }
      }
    }
    await watched;
    return max;
  }
}

/**
 * @param {Memories} after
 * @param {Memories} before
 * @returns {Memories}
 */
export function difference(after, before) {
  /** @param {'client' | 'server'} side */
  const growthOf = (side) => ({
    heap: after[side].heap - before[side].heap,
    resident: after[side].resident - before[side].resident,
  });
  return { client: growthOf('client'), server: growthOf('server') };
}
