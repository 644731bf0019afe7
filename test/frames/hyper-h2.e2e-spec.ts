import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { ClientConnection } from '../../libs/resilient-grpc/dist/transport/http2/client-connection.js';
import type { Goaway } from '../../libs/resilient-grpc/dist/transport/http2/events.js';
import {
  FLAG,
  FRAME,
  fieldBlock,
  frame,
  goaway,
  headers,
  numbers,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../unit-support/frames.js';
import { PYTHON } from '../support/programs.js';
import { Dice } from './dice.js';

const SCRIPT = new URL('hyper_h2.py', import.meta.url).pathname;
const SEED = Number(process.env['FRAME_SEED'] ?? 1);
const SEQUENCES = 3_000;
const STREAMS = [1, 3, 5, 7];
const REQUEST = [':method', 'POST', ':scheme', 'http', ':path', '/a.B/C', ':authority', 'x', 'te', 'trailers'];
const SETTINGS = { streamWindow: 65_535, connectionWindow: 65_535, maxHeaderListSize: 65_535, headerTableSize: 4_096 };
const isMissing = spawnSync(PYTHON, ['-c', 'import h2']).status !== 0;

/** What a side understands of a sequence. */
interface Meaning {
  /** Events of each stream: its header lists, the bytes between them, and its end. */
  readonly streams: [string, ...unknown[]][][];
  /** Last stream, code, and debug data of the latest GOAWAY. */
  goaway: readonly [number, number, string] | null;
  /** True if the server has violated the protocol. */
  broken: boolean;
}

/** Bytes of a server: valid frames of all kinds on four streams, and in a fifth of the sequences a violation at the end. */
function sequenceOf(dice: Dice): Buffer {
  const frames = [settings([4, 1_000 + dice.below(100_000)])];
  const open = new Map(STREAMS.map((stream) => [stream, 'new']));
  for (let left = 3 + dice.below(25); left > 0; left--) {
    const streams = [...open.keys()];
    if (streams.length === 0) break;
    const stream = dice.pick(streams);
    const state = open.get(stream);
    const kind = dice.below(12);
    if (kind === 0) frames.push(ping(dice.bytes(8)));
    else if (kind === 1) frames.push(windowUpdate(dice.pick([0, stream]), 1 + dice.below(1_000)));
    else if (kind === 2)
      frames.push(frame(0x20 + dice.below(100), dice.below(256), dice.pick([0, stream]), dice.bytes(dice.below(20))));
    else if (kind === 3)
      frames.push(frame(FRAME.priority, 0, stream, Buffer.concat([numbers(0), Buffer.from([dice.below(256)])])));
    else if (kind === 4) frames.push(settings([dice.pick([1, 3, 6, 99]), dice.below(10_000)]));
    else if (kind === 5 && dice.chance(0.3)) {
      frames.push(reset(stream, dice.below(14)));
      open.delete(stream);
    } else if (state === 'new') {
      if (dice.chance(0.1)) frames.push(...split(dice, stream, { ':status': '103', link: '</x>' }, 0));
      const ends = dice.chance(0.2);
      frames.push(...split(dice, stream, head(dice), ends ? FLAG.endStream : 0));
      if (ends) open.delete(stream);
      else open.set(stream, 'begun');
    } else if (dice.chance(0.3)) {
      frames.push(
        ...split(
          dice,
          stream,
          { 'grpc-status': String(dice.below(17)), 'x-a': 'b'.repeat(dice.below(50)) },
          FLAG.endStream,
        ),
      );
      open.delete(stream);
    } else {
      const ends = dice.chance(0.15);
      frames.push(data(dice, stream, ends));
      if (ends) open.delete(stream);
    }
  }
  if (dice.chance(0.2))
    frames.push(goaway(dice.pick([7, 9, 2 ** 31 - 1]), 0, Buffer.from('bye'.repeat(dice.below(4)))));
  else if (dice.chance(0.2)) frames.push(violation(dice));
  return Buffer.concat(frames);
}

function head(dice: Dice): Record<string, string> {
  const more = dice.chance(0.5) ? { [`x-${'n'.repeat(1 + dice.below(30))}`]: 'v'.repeat(dice.below(200)) } : {};
  return { ':status': dice.pick(['200', '200', '404', '502']), 'content-type': 'application/grpc', ...more };
}

function data(dice: Dice, stream: number, ends: boolean): Buffer {
  const flags = ends ? FLAG.endStream : 0;
  const bytes = dice.bytes(dice.below(200));
  if (dice.chance(0.7)) return frame(FRAME.data, flags, stream, bytes);
  const padding = dice.below(50);
  const payload = Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)]);
  return frame(FRAME.data, flags | FLAG.padded, stream, payload);
}

/** A header block in one frame, or with padding, or with CONTINUATION frames. */
function split(dice: Dice, stream: number, fields: Record<string, string>, flags: number): readonly Buffer[] {
  const block = fieldBlock(fields);
  if (dice.chance(0.6)) return [headers(stream, fields, flags)];
  if (dice.chance(0.5)) {
    const padding = dice.below(30);
    const payload = Buffer.concat([Buffer.from([padding]), block, Buffer.alloc(padding)]);
    return [frame(FRAME.headers, flags | FLAG.endHeaders | FLAG.padded, stream, payload)];
  }
  const at = dice.below(block.length);
  return [
    frame(FRAME.headers, flags, stream, block.subarray(0, at)),
    frame(FRAME.continuation, FLAG.endHeaders, stream, block.subarray(at)),
  ];
}

function violation(dice: Dice): Buffer {
  return dice.pick([
    frame(FRAME.data, 0, 0, Buffer.from('x')),
    frame(FRAME.headers, FLAG.endHeaders, 0, fieldBlock({ ':status': '200' })),
    frame(FRAME.ping, 0, 0, Buffer.alloc(7)),
    frame(FRAME.settings, 0, 0, Buffer.alloc(5)),
    frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(6)),
    frame(FRAME.windowUpdate, 0, 0, numbers(0)),
    frame(FRAME.windowUpdate, 0, 0, numbers(2 ** 31 - 1)),
    frame(FRAME.continuation, FLAG.endHeaders, 1, Buffer.alloc(0)),
    frame(FRAME.headers, 0, 9, fieldBlock({ ':status': '200' })),
    settings([4, 2 ** 31]),
    settings([5, 100]),
    settings([2, 2]),
    reset(0, 8),
    frame(FRAME.headers, FLAG.endHeaders, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f])),
  ]);
}

/** What this library understands, with the bytes in random pieces. */
function ourMeaning(bytes: Buffer, dice: Dice): Meaning {
  const meaning: Meaning = { streams: STREAMS.map(() => []), goaway: null, broken: false };
  const connection = new ClientConnection(
    {
      wake: () => undefined,
      settingsReceived: () => undefined,
      goawayReceived: ({ lastId, code, debug }: Goaway) => void (meaning.goaway = [lastId, code, debug]),
      idsRunOut: () => undefined,
      ended: ({ isPeersFault }) => void (meaning.broken = isPeersFault),
    },
    SETTINGS,
    { now: () => 0 },
  );
  for (const events of meaning.streams) {
    const stream = connection.open(
      {
        headers: (block, isEnd) => {
          const status = block.status === undefined ? [] : [':status', block.status];
          events.push(['headers', ...status, ...block.fields]);
          if (isEnd) events.push(['end']);
        },
        data: (piece, at, end) => {
          const last = events.at(-1);
          const hex = piece.toString('hex', at, end);
          if (last?.[0] === 'data') last[1] = String(last[1]) + hex;
          else if (hex !== '') events.push(['data', hex]);
        },
        dataEnds: (isEnd) => {
          if (isEnd) events.push(['end']);
          else stream.credit(0);
        },
        failed: ({ cause, code }) => {
          if (cause === 'reset') events.push(['reset', code]);
        },
        drained: () => undefined,
      },
      encodedBound(REQUEST),
      (target, at) => encodeFields(target, at, REQUEST),
    );
  }
  for (let at = 0; at < bytes.length;) {
    const size = 1 + dice.below(dice.pick([3, 40, 2_000]));
    connection.receive(Buffer.from(bytes.subarray(at, at + size)));
    connection.takeOutput();
    connection.taken(true, false);
    at += size;
  }
  return meaning;
}

it('understands the bytes of servers as the library h2 does, in pieces of any size', ({ skip }) => {
  skip(isMissing, 'not run: h2 is not installed');
  const dice = new Dice(SEED);
  const sequences = Array.from({ length: SEQUENCES }, () => sequenceOf(dice));
  const options = {
    input: sequences.map((bytes) => bytes.toString('hex')).join('\n'),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  } as const;
  const { stdout, stderr, status } = spawnSync(PYTHON, [SCRIPT], options);
  expect(status, stderr).toBe(0);
  // Safe: the script writes these lines.
  const theirs = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Meaning);
  expect(theirs).toHaveLength(SEQUENCES);
  expect(theirs.filter(({ broken }) => broken).length).toBeGreaterThan(SEQUENCES / 20);
  for (const [index, bytes] of sequences.entries()) {
    const ours = ourMeaning(bytes, dice);
    const expected = theirs[index]!;
    // h2 reports no events of bytes with a violation.
    if (expected.broken) expect(ours.broken, bytes.toString('hex')).toBe(true);
    else expect(ours, bytes.toString('hex')).toEqual(expected);
  }
});
