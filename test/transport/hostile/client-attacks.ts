import {
  FLAG,
  FRAME,
  SETTING,
  fieldBlock,
  frame,
  goaway,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../../unit-support/frames.js';
import { GZIPPED_ITEM, data, literal, message, times } from './attacks.js';

/** What a hostile server does on each of its connections. */
export interface ClientAttack {
  readonly settings?: readonly (readonly [id: number, value: number])[];
  /** False if it sends no settings. */
  readonly greets?: false;
  /** What it answers each request. */
  readonly answer?: (id: number) => Buffer;
  /** True if it closes the connection after its answer; 'at once' if it does so after its settings. */
  readonly closes?: true | 'at once';
  /** What it sends every 10 ms, for the id of the latest request. */
  readonly bytes?: (id: number) => Buffer;
  /** False if it reads nothing after the first request. */
  readonly reads?: false;
}

const HEAD = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
] as const;
const EMPTY = Buffer.alloc(0);
const head = (id: number, more: Buffer = EMPTY, flags = 0): Buffer => {
  const block = Buffer.concat([fieldBlock(HEAD), more]);
  return frame(FRAME.headers, FLAG.endHeaders | flags, id, block);
};
const TRAILERS = fieldBlock([['grpc-status', '0']]);
const trailers = (id: number): Buffer => frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, id, TRAILERS);
/** A response with further fields in its head. */
const answer =
  (more: Buffer, bytes: Buffer = message(EMPTY)) =>
  (id: number): Buffer =>
    Buffer.concat([head(id, more), data(id, bytes), trailers(id)]);
/** Inserts a field, and repeats it. */
const repeated = (name: string, value: string, count: number): Buffer =>
  Buffer.concat([literal([name, value]), Buffer.alloc(count, 0x80 | 62)]);

/** An honest answer. */
export const HONEST = answer(EMPTY);

/** Attacks of servers on a client. */
export const CLIENT_ATTACKS: Readonly<Record<string, ClientAttack>> = {
  'repeated set-cookie in a response': { answer: answer(Buffer.alloc(1_480, 0x80 | 55)) },
  'dropped metadata in a response': { answer: answer(repeated('x-secret', '\u00ff'.repeat(3_000), 18)) },
  'many fields in a response': { answer: answer(repeated('x-bin', '', 1_700)) },
  'changing windows of a client': {
    answer: (id) => head(id),
    bytes: () => times(8, (n) => settings([SETTING.initialWindowSize, 65_535 + n])),
  },
  'gzip bombs of a server': {
    answer: answer(literal(['grpc-encoding', 'gzip']), message(GZIPPED_ITEM, GZIPPED_ITEM.length, 1)),
  },
  'starts of large messages': {
    answer: (id) => Buffer.concat([head(id), data(id, message(Buffer.alloc(1), 4_000_000))]),
  },
  'empty messages of a server': { answer: answer(EMPTY, Buffer.alloc(16_380)) },
  'tiny DATA': {
    answer: (id) => Buffer.concat([head(id), times(1_000, () => data(id, Buffer.alloc(1))), trailers(id)]),
  },
  'informational responses': {
    answer: (id) =>
      Buffer.concat([
        times(200, () => frame(FRAME.headers, FLAG.endHeaders, id, fieldBlock([[':status', '103']]))),
        HONEST(id),
      ]),
  },
  'refused streams': { answer: (id) => reset(id, 7) },
  'streams reset as cancelled': { answer: (id) => reset(id, 8) },
  'GOAWAY after each request': { answer: () => goaway(0, 0), closes: true },
  'close after each request': { closes: true },
  'close after the settings': { closes: 'at once' },
  'no settings': { greets: false },
  'garbage of a server': { greets: false, bytes: () => Buffer.from('\u0000garbage'.repeat(100)) },
  'PING flood of a server': { answer: HONEST, bytes: () => times(300, () => ping(Buffer.alloc(8))) },
  'PING flood of a server that reads nothing': { bytes: () => times(3_000, () => ping(Buffer.alloc(8))), reads: false },
  'SETTINGS flood of a server': { bytes: () => times(500, (n) => settings([SETTING.initialWindowSize, 65_535 + n])) },
  'empty DATA flood of a server': {
    answer: (id) => head(id),
    bytes: (id) => times(1_000, () => data(id, EMPTY)),
  },
  'unknown frames of a server': { bytes: () => times(1_000, () => frame(99, 0, 0, EMPTY)) },
  'GOAWAY flood': { answer: HONEST, bytes: () => times(500, () => goaway(2 ** 31 - 1, 0)) },
  'CONTINUATION flood of a server': {
    answer: (id) =>
      Buffer.concat([
        frame(FRAME.headers, 0, id, fieldBlock(HEAD)),
        times(1_000, () => frame(FRAME.continuation, 0, id, EMPTY)),
      ]),
  },
  'HPACK bomb of a server': { answer: answer(repeated('x', 'v'.repeat(4_000), 8_000)) },
  'window updates of a server': { answer: (id) => head(id), bytes: (id) => times(500, () => windowUpdate(id, 1)) },
  'window overflow of a server': { bytes: () => times(2, () => windowUpdate(0, 2 ** 31 - 1)) },
  'requests without window': { settings: [[SETTING.initialWindowSize, 0]] },
};
