// The server of the memory benchmarks: grpc-js's, with handlers that heed flow control. They pull what they send from a
// generator, one message for each that the stream takes, and read what they get at the pace its caller asks for.
import { once } from 'node:events';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadService } from '../load-contract.mjs';
import { obey } from './child.mjs';
import { chunks } from './chunks.mjs';
import { readMemory } from './memory.mjs';
import { pace } from './pace.mjs';

/** @typedef {import('../contract.mjs').Chunk} Chunk */
/** @typedef {import('../contract.mjs').Received} Received */
/** @typedef {import('@grpc/grpc-js').ServerReadableStream<Chunk, Received>} UploadCall */
/** @typedef {import('@grpc/grpc-js').ServerDuplexStream<Chunk, Received>} TalkCall */
/** @typedef {import('@grpc/grpc-js').ServerWritableStream<{ count: number, size: number, stay: boolean }, Chunk>} WatchCall */

/** @type {Set<UploadCall | TalkCall | WatchCall>} */
const open = new Set();
/** @type {Set<WatchCall>} */
const staying = new Set();
let cancelled = 0;
/** Messages, to all. */
let sent = 0;
let paceOfAll = Infinity;

/**
 * @param {UploadCall | TalkCall | WatchCall} call
 * @returns {AbortSignal} Aborted when its caller has gone.
 */
function opened(call) {
  open.add(call);
  const gone = new AbortController();
  call.once('cancelled', () => {
    // grpc-js says so at the end of every call.
    if (!open.delete(call)) return;
    staying.delete(/** @type {WatchCall} */ (call));
    cancelled++;
    gone.abort();
  });
  return gone.signal;
}

/** @param {WatchCall | TalkCall} call */
function end(call) {
  open.delete(call);
  call.end();
}

/**
 * @param {WatchCall} call
 * @param {AbortSignal} gone
 */
async function send(call, gone) {
  const { count, size, stay } = call.request;
  for (const chunk of chunks(size, count)) {
    sent++;
    if (!call.write(chunk)) await once(call, 'drain', { signal: gone });
  }
  if (stay) staying.add(call);
  else end(call);
}

/**
 * Reads at the pace that the metadata name, or at that of all; 0: one message, and then none for good.
 *
 * @param {UploadCall | TalkCall} call
 * @param {(count: number) => Promise<void>} [onChunk]
 * @returns {Promise<number>} How many came.
 */
async function read(call, onChunk) {
  const perSecond = Number(call.metadata.get('pace')[0] ?? paceOfAll);
  if (perSecond === 0) {
    call.once('data', () => call.pause());
    await new Promise(() => undefined);
  }
  const taken = pace(perSecond);
  let count = 0;
  // An iterator of its own would destroy a session with its answers unsent.
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
 * @param {(gone: AbortSignal) => Promise<void>} serve Fails when its caller goes, and then nobody is there to be told.
 */
function serving(call, serve) {
  const gone = opened(call);
  serve(gone).catch((/** @type {Error} */ error) => {
    if (!gone.aborted) call.emit('error', error);
  });
}

const { Watch, Upload, Talk } = loadService();
const server = new Server();
server.addService(
  { Watch, Upload, Talk },
  {
    /** @param {WatchCall} call */
    Watch(call) {
      serving(call, (gone) => send(call, gone));
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
      serving(call, async (gone) => {
        await read(call, async (count) => {
          if (!call.write({ count })) await once(call, 'drain', { signal: gone });
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

obey({
  port: () => port,
  memory: readMemory,
  resident: () => ({ resident: process.memoryUsage.rss() }),
  sent: () => sent,
  stopReading() {
    paceOfAll = 0;
  },
  counts: () => ({ open: open.size, cancelled }),
  endAll() {
    for (const call of staying) end(call);
    staying.clear();
  },
});
process.once('disconnect', () => {
  server.forceShutdown();
});
