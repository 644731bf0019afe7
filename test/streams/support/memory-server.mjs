// The server of the memory tests: grpc-js's server, with handlers that respect flow control. They send messages from a generator
// as fast as flow control permits, and read messages at the rate that the caller requests.
import { once } from 'node:events';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { executeCommands } from '../../../bench/child.mjs';
import { loadService } from '../../../bench/load-contract.mjs';
import { readMemory } from '../../../bench/memory.mjs';
import { chunks, pace } from './paced-messages.mjs';

/** @typedef {import('../../../bench/contract.mjs').Chunk} Chunk */
/** @typedef {import('../../../bench/contract.mjs').Received} Received */
/** @typedef {import('@grpc/grpc-js').ServerReadableStream<Chunk, Received>} UploadCall */
/** @typedef {import('@grpc/grpc-js').ServerDuplexStream<Chunk, Received>} TalkCall */
/** @typedef {import('@grpc/grpc-js').ServerWritableStream<{ count: number, size: number, stay: boolean }, Chunk>} WatchCall */

/** @type {Set<UploadCall | TalkCall | WatchCall>} */
const open = new Set();
/** @type {Set<WatchCall>} */
const staying = new Set();
let cancelled = 0;

/**
 * @param {UploadCall | TalkCall | WatchCall} call
 * @returns {AbortSignal} Aborted when the call is cancelled.
 */
function opened(call) {
  open.add(call);
  const controller = new AbortController();
  call.once('cancelled', () => {
    // Ignores calls that have already ended, because grpc-js emits 'cancelled' at the end of every call.
    if (!open.delete(call)) return;
    staying.delete(/** @type {WatchCall} */ (call));
    cancelled++;
    controller.abort();
  });
  return controller.signal;
}

/** @param {WatchCall | TalkCall} call */
function end(call) {
  open.delete(call);
  call.end();
}

/**
 * @param {WatchCall} call
 * @param {AbortSignal} signal
 */
async function send(call, signal) {
  const { count, size, stay } = call.request;
  for (const chunk of chunks(size, count)) {
    if (!call.write(chunk)) await once(call, 'drain', { signal });
  }
  if (stay) staying.add(call);
  else end(call);
}

/**
 * Reads at the rate in the metadata; without one, at full speed. At a rate of 0, reads one message and then stops.
 *
 * @param {UploadCall | TalkCall} call
 * @param {(count: number) => Promise<void>} [onChunk]
 * @returns {Promise<number>} Number of messages.
 */
async function read(call, onChunk) {
  const perSecond = Number(call.metadata.get('pace')[0] ?? Infinity);
  if (perSecond === 0) {
    call.once('data', () => call.pause());
    await new Promise(() => undefined);
  }
  const taken = pace(perSecond);
  let count = 0;
  // Keeps the call open after the loop, because the default iterator would destroy it before its responses are sent.
  for await (const chunk of call.iterator({ destroyOnReturn: false })) {
    count++;
    const { number } = /** @type {Chunk} */ (chunk);
    if (number !== count) throw new Error(`expected message ${String(count)}, got ${String(number)}`);
    await onChunk?.(count);
    await taken();
  }
  return count;
}

/**
 * @param {UploadCall | TalkCall | WatchCall} call
 * @param {(signal: AbortSignal) => Promise<void>} serve A rejection is ignored if the call is cancelled.
 */
function serving(call, serve) {
  const signal = opened(call);
  serve(signal).catch((/** @type {Error} */ error) => {
    if (!signal.aborted) call.emit('error', error);
  });
}

const { Watch, Upload, Talk } = loadService();
const server = new Server();
server.addService(
  { Watch, Upload, Talk },
  {
    /** @param {WatchCall} call */
    Watch(call) {
      serving(call, (signal) => send(call, signal));
    },
    /** @param {UploadCall} call @param {import('@grpc/grpc-js').sendUnaryData<Received>} done */
    Upload(call, done) {
      serving(call, async () => {
        const count = await read(call);
        if (open.delete(call)) done(null, { count });
      });
    },
    /** @param {TalkCall} call */
    Talk(call) {
      serving(call, async (signal) => {
        await read(call, async (count) => {
          if (!call.write({ count })) await once(call, 'drain', { signal });
        });
        if (open.has(call)) end(call);
      });
    },
  },
);

/** @type {Promise<number>} */
const port = new Promise((resolve, reject) => {
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
    if (error) reject(error);
    else resolve(bound);
  });
});

const commands = {
  port: () => port,
  memory: readMemory,
  resident: () => ({ resident: process.memoryUsage.rss() }),
  counts: () => ({ open: open.size, cancelled }),
  endAll() {
    for (const call of staying) end(call);
    staying.clear();
  },
};
executeCommands(commands, () => {
  server.forceShutdown();
});
