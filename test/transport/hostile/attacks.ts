import { gzipSync } from 'node:zlib';
import {
  FLAG,
  FRAME,
  SETTING,
  fieldBlock,
  frame,
  frameOfLength,
  numbers,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../../unit-support/frames.js';

/** What a hostile client does on each of its connections. */
export interface ServerAttack {
  /** Default: 4. */
  readonly connections?: number;
  readonly settings?: readonly (readonly [id: number, value: number])[];
  /** By how much it raises the window of its connection. Default: 1 GiB. */
  readonly window?: number;
  /** What it sends first, which is not measured: on so many streams, or fewer in a short form. */
  readonly setup?: (streams: number) => Buffer;
  readonly opens?: number;
  /** What it sends again and again, on its next `ids` streams from `id` on. */
  readonly bytes?: (id: number) => Buffer;
  readonly ids?: number;
  /** Share of the streams that were opened first before which `bytes` begins. Default: 1, after them. */
  readonly from?: number;
  /** Milliseconds between two such writes. Default: 10. Without a pause, an attack would measure how two processes share a processor. */
  readonly everyMs?: number;
  /** It sends only what fits the window of the stream `windowOf`. */
  readonly windowOf?: number;
  /** False if it reads nothing. */
  readonly reads?: boolean;
  /** True if it sends no preface. */
  readonly isSilent?: boolean;
  /** True if it does not connect again when the server has closed its connection. */
  readonly isOnce?: boolean;
  /** It stops after so many bytes of all connections, and holds the connections open. */
  readonly maxBytes?: number;
  /** True if it fills memory: it also runs in containers. */
  readonly memory?: true;
  /** It connects by TLS, whose records have at most so many bytes. */
  readonly recordBytes?: number;
  /** It connects by TLS 1.2 and renegotiates. */
  readonly renegotiates?: true;
  /** Options of the server. */
  readonly options?: object;
  /** Most handlers that may run at once. */
  readonly maxRunning?: number;
  /** Number of such writes after which it connects again. */
  readonly writes?: number;
  /** Streams that the honest client has open. */
  readonly streams?: number;
  /** The limit that our server's log names; without one, the server bears the attack. */
  readonly limit?: RegExp;
  /** Milliseconds for which it must run until it meets `limit`. */
  readonly ms?: number;
}

const REQUEST = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':authority', 'x'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
] as const;
const EMPTY = Buffer.alloc(0);
export const times = (count: number, one: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: Math.ceil(count) }, (_, index) => one(index)));
type Pair = readonly [string, string];
const fieldsOf = (method: string, more: readonly Pair[] = []): readonly Pair[] => [
  [':path', `/orders.v1.Orders/${method}`],
  ...REQUEST,
  ...more,
];
const BLOCKS = new Map<string, Buffer>();
const blockOf = (method: string): Buffer => {
  const block = BLOCKS.get(method) ?? fieldBlock(fieldsOf(method));
  BLOCKS.set(method, block);
  return block;
};
const begin = (id: number, method = 'Upload', flags = 0): Buffer =>
  frame(FRAME.headers, FLAG.endHeaders | flags, id, blockOf(method));
export const message = (bytes: Buffer, length = bytes.length, flag = 0): Buffer =>
  Buffer.concat([Buffer.from([flag]), numbers(length), bytes]);
export const data = (id: number, bytes: Buffer, flags = 0): Buffer => frame(FRAME.data, flags, id, bytes);
const call = (id: number, method: string, request = EMPTY): Buffer =>
  Buffer.concat([begin(id, method), data(id, message(request), FLAG.endStream)]);

/** The literal `[name, value]`, which is inserted into the header table. */
export const literal = (pair: Pair): Buffer => Buffer.concat([Buffer.from([0x40]), fieldBlock([pair]).subarray(1)]);
/**
 * HEADERS of `method` in as few bytes as HPACK allows: the first inserts its fields, and later ones have one byte per field. `repeated` is
 * inserted, too, and occurs `times` times.
 */
const compact = (method: string, repeated?: Pair, count = 0): ((id: number) => Buffer) => {
  const pairs = [...fieldsOf(method), ...(repeated ? [repeated] : [])];
  const all = Buffer.concat(pairs.map(literal));
  const indices = Buffer.from([...pairs.keys()].map((at) => 0x80 | (62 + pairs.length - 1 - at)));
  const copies = Buffer.alloc(count, 0x80 | 62);
  return (id) => frame(FRAME.headers, FLAG.endHeaders, id, Buffer.concat(id === 1 ? [all, copies] : [indices, copies]));
};
const COMPACT = new Map(['Get', 'Create', 'Watch', 'Upload', 'Session'].map((method) => [method, compact(method)]));
const open = (id: number, method: string): Buffer => COMPACT.get(method)?.(id) ?? EMPTY;

/** HEADERS, in as many frames as they need. */
const inFrames = (id: number, block: Buffer, flags = FLAG.endStream): Buffer =>
  times(block.length / 16_384, (index) => {
    const part = block.subarray(index * 16_384, (index + 1) * 16_384);
    const last = (index + 1) * 16_384 >= block.length ? FLAG.endHeaders : 0;
    return index === 0 ? frame(FRAME.headers, last | flags, id, part) : frame(FRAME.continuation, last, id, part);
  });

/** A WatchRequest with `from: 20`. */
const WATCH = Buffer.from([8, 20]);
/** The start of a message of 1 MB. */
const PART = message(Buffer.alloc(16_000), 1_000_000);
/** A start of a message: six bytes. */
const START = message(Buffer.alloc(1), 4_000_000);
const LONG_VALUES = Array.from({ length: 8 }, (_, index) => [`x-${index}`, 'v'.repeat(15_000)] as const);
/** A block that inserts an entry of 4,000 bytes, and refers to it 12,000 times. */
const BOMB = Buffer.concat([
  blockOf('Get'),
  Buffer.from([0x40, 1, 0x78, 127, 0x81, 0x1e]),
  Buffer.alloc(4_000, 'v'),
  Buffer.alloc(12_000, 0xbe),
]);
/** CreateOrderRequest with an item of so many bytes. */
const itemOf = (bytes: number): Buffer =>
  Buffer.concat([
    Buffer.from([0x12, (bytes & 127) | 128, ((bytes >> 7) & 127) | 128, ((bytes >> 14) & 127) | 128, bytes >> 21]),
    Buffer.alloc(bytes, 'x'),
  ]);
/** An item of almost 4 MiB, in 4 KB. */
export const GZIPPED_ITEM = gzipSync(itemOf(4_194_304 - 100));
/** 4 KB that claim to inflate to 4 MiB, but do to 4 KB: their size is in the last four bytes, and zlib ignores what begins with 0. */
const LIE = Buffer.concat([gzipSync(itemOf(4_000), { level: 0 }), Buffer.from([0, 0, 0x40, 0])]);
/** 58 KB that claim to be empty, and take milliseconds to inflate to 2 MB. */
const LONG_INFLATION = Buffer.concat([
  gzipSync(times(20_000, (n) => Buffer.from(String(n).padEnd(100, 'abcdefgh')))),
  Buffer.alloc(4),
]);
const gzipBegin = compact('Create', ['grpc-encoding', 'gzip']);
const gzipUpload = compact('Upload', ['grpc-encoding', 'gzip']);
const gzipBomb = (id: number, flags: number): Buffer =>
  Buffer.concat([gzipBegin(id), data(id, message(GZIPPED_ITEM, GZIPPED_ITEM.length, 1), flags)]);
/** 6,200 times an empty `set-cookie`, which is entry 55 of the static table. */
const COOKIES = Buffer.alloc(6_200, 0x80 | 55);
const MANY_FIELDS = compact('Get', ['x-bin', ''], 6_800);
/** Literals without indexing whose name is an entry of 3,900 bytes, with an empty value: three bytes each. */
const longNames = (id: number): Buffer => {
  const name = id === 1 ? literal(['n'.repeat(3_900), 'v']) : EMPTY;
  const block = Buffer.concat([blockOf('Get'), name, times(255, () => Buffer.from([0x0f, 47, 0]))]);
  return frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, id, block);
};
/** A request for an unknown path with 128 literals without indexing that occur in no other request. */
const unknown = (id: number): Buffer => {
  const name = (n: number) => `x-${((128 * id + n) * 7_919).toString(36)}`;
  const fields = Array.from({ length: 128 }, (_, n) => [name(n), '\u00e9'.padEnd(36, 'v')] as const);
  return frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, id, fieldBlock(fieldsOf('None', fields)));
};
/** They fill a cache of 128 fields of at most 48 bytes, wherever it puts each. */
const UNKNOWN = times(4, (n) => unknown(2 * n + 1));
const COMMAS = compact('Upload', ['x-bin', ','.repeat(3_700)]);
const ILLEGAL = '\u00ff'.repeat(3_000);
const DROPPED = compact('Get', ['x-secret', ILLEGAL], 60);
const half = (id: number): Buffer => {
  const request = message(Buffer.from('\u000a\u000aabcdefghij', 'latin1'));
  return Buffer.concat([
    open(id, 'Get'),
    data(id, request.subarray(0, 8)),
    data(id, request.subarray(8), FLAG.endStream),
  ]);
};

const watches = (streams: number): Buffer =>
  times(streams, (n) => Buffer.concat([open(2 * n + 1, 'Watch'), data(2 * n + 1, message(WATCH), FLAG.endStream)]));
/** DATA of a message, in as many frames as it needs. */
const inData = (id: number, bytes: Buffer): Buffer =>
  times(bytes.length / 16_384, (n) => data(id, bytes.subarray(n * 16_384, (n + 1) * 16_384)));

/** Share of 45,000 streams whose messages fit into 1 GiB. */
const BEFORE_BOUND = 0.45;

/** One call of each kind, and those that are cancelled by a reset of an open, a complete, and an incomplete request. */
const mixed = (id: number): Buffer =>
  Buffer.concat([
    call(id, 'Get'),
    call(id + 2, 'Watch', WATCH),
    call(id + 4, 'Upload'),
    Buffer.concat([begin(id + 6, 'Session'), data(id + 6, message(EMPTY)), reset(id + 6, 8)]),
    Buffer.concat([begin(id + 8, 'Upload'), data(id + 8, START), reset(id + 8, 8)]),
    Buffer.concat([call(id + 10, 'Create'), reset(id + 10, 8)]),
  ]);
/** What goes on for an hour: connections that make calls of all kinds for 50 s. */
export const CHURN: ServerAttack = { connections: 1_000, everyMs: 5_000, ids: 6, bytes: mixed, writes: 10 };

/** Attacks of clients on a server. */
export const SERVER_ATTACKS: Readonly<Record<string, ServerAttack>> = {
  'stalled message': {
    connections: 1,
    opens: 7_000,
    setup: (streams) => times(streams, (n) => Buffer.concat([open(2 * n + 1, 'Get'), data(2 * n + 1, START)])),
    ids: 250,
    bytes: (id) => times(250, (n) => half(id + 2 * n)),
    memory: true,
  },
  'repeated set-cookie': {
    ids: 1,
    bytes: (id) => frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, id, Buffer.concat([blockOf('Get'), COOKIES])),
  },
  'headers only': {
    ids: 500,
    bytes: (id) => times(500, (n) => open(id + 2 * n, 'Get')),
    maxBytes: 10_500_000,
    memory: true,
  },
  'dropped metadata': {
    connections: 1,
    ids: 1,
    bytes: (id) => Buffer.concat([DROPPED(id), data(id, message(EMPTY), FLAG.endStream)]),
  },
  'blocked senders': {
    connections: 1,
    settings: [[SETTING.initialWindowSize, 0]],
    opens: 20_000,
    setup: watches,
    bytes: () => times(5, () => ping(Buffer.alloc(8))),
    memory: true,
  },
  'changing windows after many streams': {
    connections: 1,
    opens: 40_000,
    setup: (streams) =>
      Buffer.concat([times(streams, (n) => open(2 * n + 1, 'Upload')), times(streams, (n) => reset(2 * n + 1, 8))]),
    bytes: () => times(8, (n) => settings([SETTING.initialWindowSize, 65_535 + n])),
  },
  'messages above the bound': {
    connections: 1,
    opens: 45_000,
    setup: (streams) =>
      Buffer.concat([
        times(streams, (n) => open(2 * n + 1, 'Upload')),
        times(streams * BEFORE_BOUND, (n) => data(2 * n + 1, START)),
      ]),
    from: BEFORE_BOUND,
    ids: 20,
    bytes: (id) => times(20, (n) => data(id + 2 * n, START)),
  },
  'idle streams beside a proxy': {
    connections: 200,
    opens: 200,
    setup: (streams) => times(streams, (n) => open(2 * n + 1, 'Upload')),
    isOnce: true,
    streams: 300,
    memory: true,
  },
  'gzip bombs that never end': { ids: 1, bytes: (id) => gzipBomb(id, 0), memory: true },
  'gzip bombs': { ids: 1, bytes: (id) => gzipBomb(id, FLAG.endStream), everyMs: 40, memory: true },
  'cancelled inflation': {
    connections: 8,
    ids: 2,
    bytes: (id) =>
      times(2, (n) =>
        Buffer.concat([
          gzipBegin(id + 2 * n),
          inData(id + 2 * n, message(LONG_INFLATION, LONG_INFLATION.length, 1)),
          reset(id + 2 * n, 8),
        ]),
      ),
    memory: true,
    ms: 10_000,
  },
  'gzip that lies about its size': {
    ids: 1,
    bytes: (id) =>
      Buffer.concat([
        gzipUpload(id),
        data(
          id,
          times(2, () => message(LIE, LIE.length, 1)),
          FLAG.endStream,
        ),
      ]),
  },
  // What inflates into memory that a bomb has filled holds all of it.
  'lies after gzip bombs': {
    ids: 4,
    bytes: (id) =>
      Buffer.concat([
        gzipBomb(id, FLAG.endStream),
        times(3, (n) => Buffer.concat([gzipBegin(id + 2 * n + 2), data(id + 2 * n + 2, message(LIE, LIE.length, 1))])),
      ]),
    memory: true,
  },
  'unfinished uploads': {
    connections: 8,
    ids: 1,
    bytes: (id) => Buffer.concat([begin(id), times(4, () => data(id, PART))]),
    memory: true,
  },
  'unread messages': {
    connections: 8,
    ids: 1,
    bytes: (id) => Buffer.concat([begin(id, 'Create'), times(4, () => data(id, message(Buffer.alloc(15_000))))]),
    memory: true,
  },
  'cancelled calls': {
    ids: 50,
    bytes: (id) =>
      Buffer.concat([
        times(50, (n) => call(id + 2 * n, 'Create')),
        // In a later turn, because what is reset in the same one does not start.
        ...(id > 100 ? [times(50, (n) => reset(id + 2 * n - 100, 8))] : []),
      ]),
    options: { channelOptions: { 'grpc.max_concurrent_streams': 100 } },
    // 100 of open streams and 100 of cancelled ones, on each of 4 connections.
    maxRunning: 800,
  },
  'many fields': { ids: 1, bytes: (id) => MANY_FIELDS(id) },
  'commas in binary metadata': {
    connections: 1,
    ids: 1,
    bytes: compact('Upload', ['x-bin', ','.repeat(3_800)], 62),
    everyMs: 100,
    memory: true,
  },
  'binary values of open calls': { ids: 5, bytes: (id) => times(5, (n) => COMMAS(id + 2 * n)), memory: true },
  'remembered header fields': { connections: 9_000, isOnce: true, setup: () => UNKNOWN, memory: true },
  'references to a long name': { ids: 1, bytes: (id) => longNames(id) },
  'idle streams on many connections': {
    connections: 1_500,
    opens: 3_000,
    setup: (streams) => times(streams, (n) => open(2 * n + 1, 'Upload')),
    isOnce: true,
    memory: true,
  },
  'starts of messages': {
    ids: 50,
    bytes: (id) => times(50, (n) => Buffer.concat([open(id + 2 * n, 'Upload'), data(id + 2 * n, START)])),
    memory: true,
  },
  renegotiation: { renegotiates: true },
  'idle TLS connections': {
    recordBytes: 16_384,
    connections: 5_000,
    isOnce: true,
    setup: () => call(1, 'Get'),
    memory: true,
  },
  'tiny TLS records': {
    recordBytes: 1,
    windowOf: 1,
    setup: () => Buffer.concat([begin(1), data(1, START)]),
    bytes: () => data(1, Buffer.alloc(150)),
  },
  'pipelined calls unread': {
    connections: 100,
    reads: false,
    ids: 20,
    bytes: (id) => times(20, (n) => call(id + 2 * n, 'Get')),
  },
  'partial frames': {
    connections: 2_000,
    isOnce: true,
    setup: () => Buffer.concat([open(1, 'Upload'), frameOfLength(16_384, FRAME.data, 0, 1, Buffer.alloc(1))]),
    memory: true,
  },
  'rapid reset': {
    ids: 20,
    bytes: (id) => times(20, (n) => Buffer.concat([begin(id + 2 * n, 'Get'), reset(id + 2 * n, 8)])),
  },
  'resets that the server sends': {
    ids: 20,
    bytes: (id) => times(20, (n) => Buffer.concat([begin(id + 2 * n), windowUpdate(id + 2 * n, 0)])),
    limit: /more than 50000 cancelled or refused calls/,
  },
  'CONTINUATION flood': {
    bytes: (id) =>
      Buffer.concat([frame(FRAME.headers, 0, id, EMPTY), times(1_000, () => frame(FRAME.continuation, 0, id, EMPTY))]),
    limit: /a header block of \d+ bytes in \d+ frames/,
  },
  'SETTINGS flood': {
    bytes: () => times(500, (n) => settings([SETTING.initialWindowSize, 65_535 + n])),
    limit: /\(SETTINGS\)|sends more than it reads/,
  },
  'SETTINGS flood beside many streams': {
    setup: () => times(300, (n) => begin(2 * n + 1)),
    bytes: () => settings(...Array.from({ length: 2_700 }, (_, n) => [SETTING.initialWindowSize, 65_535 + n] as const)),
    limit: /more than 32 settings in a frame/,
  },
  'PING flood without reading': {
    reads: false,
    bytes: () => times(3_000, () => ping(Buffer.alloc(8))),
    limit: /sends more than it reads/,
  },
  'PING flood': { bytes: () => times(300, () => ping(Buffer.alloc(8))) },
  'PRIORITY flood': {
    setup: () => begin(1),
    bytes: () => times(500, () => frame(FRAME.priority, 0, 1, Buffer.alloc(5))),
  },
  'empty DATA flood': {
    setup: () => begin(1),
    bytes: () => times(1_000, () => data(1, EMPTY)),
    limit: /\(DATA\)/,
  },
  'empty messages': { setup: () => begin(1), windowOf: 1, bytes: () => data(1, Buffer.alloc(16_380)) },
  'unknown frames': { bytes: () => times(1_000, () => frame(99, 0, 0, EMPTY)), limit: /\(type 99\)/ },
  'responses without window': {
    settings: [[SETTING.initialWindowSize, 0]],
    ids: 1,
    bytes: (id) => call(id, 'Watch', WATCH),
  },
  'responses beyond the connection': { window: 1, ids: 1, bytes: (id) => call(id, 'Watch', WATCH) },
  'window for all streams': {
    settings: [[SETTING.initialWindowSize, 0]],
    opens: 400,
    setup: watches,
    ids: 1,
    // Each of them gets one byte.
    bytes: (id) => settings([SETTING.initialWindowSize, (id - 1) / 2]),
  },
  'tiny window updates': {
    settings: [[SETTING.initialWindowSize, 0]],
    setup: () => call(1, 'Watch', Buffer.from([8, 100])),
    bytes: () => times(500, () => windowUpdate(1, 1)),
  },
  'responses that nobody reads': { reads: false, ids: 1, bytes: (id) => call(id, 'Watch', WATCH), memory: true },
  'unfinished heads': {
    connections: 200,
    isOnce: true,
    setup: () => frame(FRAME.headers, 0, 1, EMPTY),
    // Without the PING by which others know that the server has read: it would violate the protocol here.
    reads: false,
    limit: /did not complete its frame \d+ within 10000 ms/,
    // The time for the preface has begun with the connection, and the time for the head begins at its end.
    ms: 22_000,
  },
  'half-open connections': {
    connections: 500,
    isOnce: true,
    isSilent: true,
    limit: /did not complete its preface and settings within 10000 ms/,
    ms: 12_000,
  },
  'open streams': { ids: 5, bytes: (id) => times(5, (n) => begin(id + 2 * n)), memory: true },
  'HPACK bomb': {
    bytes: () => frame(FRAME.headers, FLAG.endHeaders, 1, BOMB),
    limit: /a header list of \d+ bytes/,
  },
  'large header lists': {
    connections: 1,
    ids: 1,
    bytes: (id) => inFrames(id, fieldBlock(fieldsOf('Get', LONG_VALUES))),
  },
  'window overflow': {
    bytes: () => Buffer.concat([windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 1)]),
    limit: /WINDOW_UPDATE/,
  },
  'closed and skipped streams': {
    bytes: () => Buffer.concat([begin(5), begin(3)]),
    limit: /HEADERS on a (?:closed|skipped) stream/,
  },
  garbage: {
    isSilent: true,
    bytes: () => Buffer.from('\u0000garbage'.repeat(100)),
    limit: /does not begin with the preface/,
  },
  'HTTP/1': {
    isSilent: true,
    bytes: () => Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
    limit: /the client speaks HTTP\/1/,
  },
  'idle connections': {
    connections: 2_500,
    // What is refused costs the server less than what is accepted, but the attacker could have it refused a hundred times as often.
    isOnce: true,
    options: { connections: { max: 1_000 } },
    limit: /refused: more than 1000 connections/,
    ms: 6_000,
  },
};
