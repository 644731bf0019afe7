import { gzipSync } from 'node:zlib';
import {
  FLAG,
  FRAME,
  fieldBlock,
  frame,
  frameOfLength,
  goaway,
  headers,
  numbers,
  ping,
  reset,
  settings,
  settingsAck,
  windowUpdate,
} from '../unit-support/frames.js';
import type { Dice } from './dice.js';

/** One step of a sequence: bytes for the peer, or an action on the connection. */
export interface Step {
  /** Label for reports, such as 'RST_STREAM 8 ×200'. */
  readonly what: string;
  /** Bytes to send, given the ids of the sequence's streams. */
  readonly bytes?: (streams: readonly number[]) => Buffer;
  /** 'turn': lets the peer read all bytes sent so far; 'stall': this side stops reading. */
  readonly act?: 'turn' | 'fin' | 'rst' | 'stall';
  /** True if the peer might not be able to parse later frames. The connection must then end. */
  readonly breaksFraming?: boolean;
}

/** Ordered header fields; names may repeat. */
export type FieldList = readonly (readonly [name: string, value: string])[];
type StreamOf = (streams: readonly number[]) => number;

const KiB = 1_024;
const MAX = 2 ** 31 - 1;
const EMPTY: Buffer = Buffer.alloc(0);
const MAX_FRAME = 16 * KiB;
/** Boundary values of HTTP/2 fields and 32-bit integers. */
const EDGES = [0, 1, 2, 100, 16_383, 16_384, 65_535, 65_536, 2 ** 24 - 1, 2 ** 24, MAX, 2 ** 31, 2 ** 32 - 1];
/** Numbers of frames in floods, below and above the limits of nghttp2. */
const FLOODS = [3, 20, 200, 1_500];
/** A message of 30 MiB, compressed to 30 KiB. */
const BOMB = message(gzipSync(Buffer.alloc(30 * KiB * KiB)), 1);

const write = (what: string, bytes: (streams: readonly number[]) => Buffer, breaksFraming = false): Step => ({
  what,
  bytes,
  breaksFraming,
});

/** A gRPC message: flag, length, bytes. */
export function message(bytes: Buffer, flag = 0, length = bytes.length): Buffer {
  return Buffer.concat([Buffer.from([flag]), numbers(length), bytes]);
}

/** A stream of the sequence, or sometimes a closed or idle stream, a stream of the other side, or stream 0. */
function anyStream(dice: Dice): StreamOf {
  const [isOurs, index, other] = [dice.chance(0.8), dice.below(64), dice.below(8)];
  return (streams) => {
    const last = streams.at(-1) ?? 1;
    if (isOurs && streams.length > 0) return streams[index % streams.length] ?? last;
    return [0, 1, 2, 4, last + 1, last + 2, last + 200, MAX][other] ?? 0;
  };
}

/** A field block in a HEADERS frame and the required number of CONTINUATION frames. */
function inFrames(stream: number, list: FieldList, flags = 0): Buffer {
  const block = fieldBlock(list);
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME) {
    const part = block.subarray(at, at + MAX_FRAME);
    const end = at + MAX_FRAME >= block.length ? FLAG.endHeaders : 0;
    frames.push(
      at === 0 ? frame(FRAME.headers, flags | end, stream, part) : frame(FRAME.continuation, end, stream, part),
    );
  }
  return Buffer.concat(frames);
}

/** Text that often breaks programs: long text, escapes, terminal codes, invalid UTF-8. */
export function nastyText(dice: Dice): string {
  return dice.pick([
    ...['', '%', '%E0%A4%A', '%0A%0D%1B[31mred%00', '\u001b[31mred', '\u00e9\u00ff', '\t tab ', '${x}', '__proto__'],
    ...['x'.repeat(200), 'y'.repeat(9 * KiB), '%F0%9F%98%80'.repeat(300)],
  ]);
}

/** Fields that HTTP/2 forbids or that often break programs. */
function nastyFields(dice: Dice): FieldList {
  const repeated = (count: number, name: (index: number) => string, value: string): FieldList =>
    Array.from({ length: count }, (_, index) => [name(index), value]);
  return dice.pick<FieldList>([
    [['', 'x']],
    [['Upper-Case', 'x']],
    [['connection', 'close']],
    [['transfer-encoding', 'chunked']],
    [['te', 'gzip']],
    [['x-nul', 'a\u0000b']],
    [['x-line', 'a\r\nb: c']],
    [['x-high', '\u00ff\u00fe']],
    [['x-bin', '!!!not base64!!!']],
    [['grpc-status-details-bin', 'AAECAw']],
    [['__proto__', 'x']],
    [['constructor', 'x']],
    [[':path', '/late']],
    [[':unknown', 'x']],
    [['content-length', '-1']],
    [['content-length', '5']],
    [['content-length', '99999999999999999999']],
    [['grpc-encoding', 'gzip']],
    [['grpc-encoding', 'br']],
    [['grpc-encoding', 'identity, gzip']],
    [['grpc-accept-encoding', nastyText(dice)]],
    [['grpc-timeout', dice.pick(['', '0m', '-1S', '99999999H', '1x', '1m', '99999999999999S'])]],
    [['x-text', nastyText(dice)]],
    [['x-long', 'v'.repeat(14 * KiB)]],
    [['n'.repeat(4 * KiB), 'x']],
    repeated(150, (index) => `x-many-${index}`, 'v'),
    repeated(100, () => 'x-same', 'v'),
    repeated(100, () => 'set-cookie', 'a=b'),
    // 60, 72, and 240 KiB: below and above the 64 KiB that Node accepts.
    repeated(dice.pick([5, 6, 20]), (index) => `x-long-${index}`, 'v'.repeat(12 * KiB)),
  ]);
}

/** HEADERS on any stream, mostly malformed; `list` has the fields of well-formed headers. */
function hostileHeaders(dice: Dice, list: FieldList): Step {
  const of = anyStream(dice);
  const flags = dice.chance(0.3) ? FLAG.endStream : 0;
  const ending = flags === 0 ? '' : ', END_STREAM';
  switch (dice.below(9)) {
    case 0: {
      const block = dice.bytes(1 + dice.below(60));
      return write(`HEADERS with random HPACK${ending}`, (streams) =>
        frame(FRAME.headers, FLAG.endHeaders | flags, of(streams), block),
      );
    }
    case 1: {
      const pad = dice.pick([0, 10, 255]);
      return write(`HEADERS with a pad length of ${pad}${ending}`, (streams) => {
        const padding = Buffer.alloc(pad === 255 ? 0 : pad);
        const payload = Buffer.concat([Buffer.from([pad]), fieldBlock(list), padding]);
        return frame(FRAME.headers, FLAG.endHeaders | FLAG.padded | flags, of(streams), payload);
      });
    }
    case 2:
      return write(`HEADERS with a dependency on their own stream${ending}`, (streams) => {
        const payload = Buffer.concat([numbers(of(streams)), Buffer.from([7]), fieldBlock(list)]);
        return frame(FRAME.headers, FLAG.endHeaders | FLAG.priority | flags, of(streams), payload);
      });
    case 3:
      return write(
        `HEADERS without END_HEADERS${ending}`,
        (streams) => frame(FRAME.headers, flags, of(streams), fieldBlock(list)),
        true,
      );
    case 4: {
      const count = dice.pick(FLOODS);
      return write(`HEADERS and ${count} empty CONTINUATION frames${ending}`, (streams) => {
        const stream = of(streams);
        const flood = Array.from({ length: count }, () => frame(FRAME.continuation, 0, stream, EMPTY));
        const end = frame(FRAME.continuation, FLAG.endHeaders, stream, EMPTY);
        return Buffer.concat([frame(FRAME.headers, flags, stream, fieldBlock(list)), ...flood, end]);
      });
    }
    case 5: {
      const without = list.filter(() => dice.chance(0.7));
      return write(`HEADERS without ${list.length - without.length} of their fields${ending}`, (streams) =>
        inFrames(of(streams), without, flags),
      );
    }
    case 6:
      return write(`HEADERS again${ending}`, (streams) => inFrames(of(streams), list, flags));
    default: {
      const nasty = nastyFields(dice);
      const [name, value] = nasty[0] ?? ['', ''];
      const all = dice.chance(0.8) ? [...list, ...nasty] : [...nasty, ...list];
      return write(
        `HEADERS with ${nasty.length} × ${JSON.stringify(`${name.slice(0, 20)}: ${value.slice(0, 20)}`)}${ending}`,
        (streams) => inFrames(of(streams), all, flags),
      );
    }
  }
}

/** DATA with payloads that no correct gRPC peer sends. */
function hostileData(dice: Dice): Step {
  const of = anyStream(dice);
  const flags = dice.chance(0.2) ? FLAG.endStream : 0;
  const data = (what: string, payload: Buffer): Step =>
    write(`DATA: ${what}${flags === 0 ? '' : ', END_STREAM'}`, (streams) =>
      frame(FRAME.data, flags, of(streams), payload),
    );
  switch (dice.below(11)) {
    case 0:
      return data('half a prefix', Buffer.alloc(3));
    case 1:
      return data('a message of 4 GiB', message(EMPTY, 0, 2 ** 32 - 1));
    case 2:
      return data('a message of 1 GiB', message(dice.bytes(100), 0, 2 ** 30));
    case 3:
      return data('a flag of 255', message(EMPTY, 255));
    case 4:
      return data('compressed garbage', message(dice.bytes(50), 1));
    case 5:
      return data('garbage', message(dice.bytes(50)));
    case 6:
      return data('random bytes', dice.bytes(200));
    case 7:
      return write('DATA: a gzip bomb', (streams) =>
        Buffer.concat([
          frame(FRAME.data, 0, of(streams), BOMB.subarray(0, MAX_FRAME)),
          frame(FRAME.data, flags, of(streams), BOMB.subarray(MAX_FRAME)),
        ]),
      );
    case 8: {
      const count = dice.pick(FLOODS);
      return write(`DATA: empty ×${count}`, (streams) =>
        Buffer.concat(Array.from({ length: count }, () => frame(FRAME.data, 0, of(streams), EMPTY))),
      );
    }
    case 9: {
      const count = dice.pick([2, 5, 20]);
      return write(`DATA: ${count} × 16 KiB`, (streams) =>
        Buffer.concat(Array.from({ length: count }, () => frame(FRAME.data, 0, of(streams), Buffer.alloc(MAX_FRAME)))),
      );
    }
    default:
      return write('DATA: more padding than payload', (streams) =>
        frame(FRAME.data, FLAG.padded | flags, of(streams), Buffer.from([200, 1, 2])),
      );
  }
}

function resets(dice: Dice): Step {
  const [of, code] = [anyStream(dice), dice.pick([0, 1, 2, 3, 5, 7, 8, 11, 13, 14, 2 ** 32 - 1])];
  const count = dice.chance(0.3) ? dice.pick(FLOODS) : 1;
  return write(`RST_STREAM ${code} ×${count}`, (streams) =>
    Buffer.concat(Array.from({ length: count }, () => reset(of(streams), code))),
  );
}

function pushes(dice: Dice, list: FieldList): Step {
  const of = anyStream(dice);
  const promised = dice.pick([2, 4, 6, 1_000, 3, 0, MAX - 1]);
  const count = dice.chance(0.2) ? dice.pick(FLOODS) : 1;
  const request = dice.chance(0.8)
    ? { ':method': 'GET', ':scheme': 'http', ':authority': 'x', ':path': '/pushed' }
    : { ':method': 'POST' };
  const then = dice.below(5);
  const after = ['', ', then its HEADERS', ', then its HEADERS and DATA', ', then a reset of it', ', then DATA on it'][
    then
  ];
  return write(`PUSH_PROMISE of ${promised} ×${count}${after ?? ''}`, (streams) => {
    const one = (id: number): Buffer[] => [
      frame(FRAME.pushPromise, FLAG.endHeaders, of(streams), Buffer.concat([numbers(id), fieldBlock(request)])),
      ...(then === 1 || then === 2 ? [headers(id, list)] : []),
      ...(then === 2 || then === 4 ? [frame(FRAME.data, 0, id, message(EMPTY))] : []),
      ...(then === 3 ? [reset(id, 8)] : []),
    ];
    return Buffer.concat(Array.from({ length: count }, (_, index) => one(promised + 2 * index)).flat());
  });
}

function settingsFrames(dice: Dice): Step {
  switch (dice.below(6)) {
    case 0:
      return write('SETTINGS ACK without SETTINGS', settingsAck);
    case 1:
      return write('SETTINGS of 5 bytes', () => frame(FRAME.settings, 0, 0, Buffer.alloc(5)));
    case 2: {
      const of = anyStream(dice);
      return write('SETTINGS on a stream', (streams) => frame(FRAME.settings, 0, of(streams), EMPTY));
    }
    case 3: {
      const count = dice.pick(FLOODS);
      const one = settings([dice.below(8), dice.pick(EDGES)]);
      return write(`SETTINGS ×${count}`, () => Buffer.concat(Array.from({ length: count }, () => one)));
    }
    default: {
      const pairs = Array.from({ length: 1 + dice.below(3) }, () => [dice.below(8), dice.pick(EDGES)] as const);
      return write(`SETTINGS ${pairs.map(([id, value]) => `${id}=${value}`).join(' ')}`, () => settings(...pairs));
    }
  }
}

function pings(dice: Dice): Step {
  const count = dice.pick(FLOODS);
  const kind = dice.below(3);
  if (kind === 0) return write('PING of 7 bytes', () => ping(Buffer.alloc(7)));
  if (kind === 1) return write('PING ACK without PING', () => ping(dice.bytes(8), FLAG.ack));
  return write(`PING ×${count}`, () => Buffer.concat(Array.from({ length: count }, () => ping(Buffer.alloc(8)))));
}

function goaways(dice: Dice): Step {
  const [of, isAll] = [anyStream(dice), dice.chance(0.3)];
  const code = dice.pick([0, 0, 0, 1, 2, 8, 11, 13, 2 ** 32 - 1]);
  const debugData = dice.pick<Buffer>([
    EMPTY,
    EMPTY,
    Buffer.from('too_many_pings'),
    Buffer.from(nastyText(dice)),
    dice.bytes(50),
  ]);
  const count = dice.chance(0.2) ? dice.pick(FLOODS) : 1;
  return write(`GOAWAY ${code} with ${debugData.length} bytes ×${count}`, (streams) =>
    Buffer.concat(Array.from({ length: count }, () => goaway(isAll ? MAX : of(streams), code, debugData))),
  );
}

function windowUpdates(dice: Dice): Step {
  const [of, increment, count] = [anyStream(dice), dice.pick(EDGES), dice.pick([1, 1, ...FLOODS])];
  return write(`WINDOW_UPDATE ${increment} ×${count}`, (streams) =>
    Buffer.concat(Array.from({ length: count }, () => windowUpdate(of(streams), increment))),
  );
}

function extensions(dice: Dice): Step {
  const of = anyStream(dice);
  const origin = Buffer.from('https://elsewhere.example');
  const length = Buffer.from([0, origin.length]);
  const onStream = dice.chance(0.5);
  switch (dice.below(4)) {
    case 0:
      return write('ALTSVC', (streams) => {
        const payload = Buffer.concat([
          onStream ? Buffer.alloc(2) : Buffer.concat([length, origin]),
          Buffer.from('h2=":1"'),
        ]);
        return frame(FRAME.altsvc, 0, onStream ? of(streams) : 0, payload);
      });
    case 1: {
      const count = Math.min(dice.pick(FLOODS), 500);
      const entries = Buffer.concat(Array.from({ length: count }, () => Buffer.concat([length, origin])));
      return write(`ORIGIN with ${count} entries`, (streams) =>
        frame(FRAME.origin, 0, onStream ? of(streams) : 0, entries),
      );
    }
    case 2: {
      const type = dice.pick([FRAME.altsvc, FRAME.origin]);
      return write('truncated ALTSVC or ORIGIN', (streams) =>
        frame(type, 0, onStream ? of(streams) : 0, Buffer.from([0xff])),
      );
    }
    default:
      return write('PRIORITY', (streams) => {
        const stream = of(streams);
        const payload = Buffer.concat([numbers(onStream ? stream : 0), Buffer.alloc(onStream ? 1 : 2)]);
        return frame(FRAME.priority, 0, stream, payload);
      });
  }
}

function malformed(dice: Dice): Step {
  const of = anyStream(dice);
  const [type, flags] = [dice.below(256), dice.below(256)];
  switch (dice.below(6)) {
    case 0: {
      const payload = dice.bytes(dice.below(100));
      return write(
        `frame of type ${type}`,
        (streams) => frame(type, flags, of(streams), payload),
        type === 1 || type === 5,
      );
    }
    case 1: {
      const [known, payload] = [dice.below(13), dice.bytes(dice.below(40))];
      const broken = known === FRAME.headers || known === FRAME.pushPromise;
      return write(`random payload of type ${known}`, (streams) => frame(known, flags, of(streams), payload), broken);
    }
    case 2: {
      const known = dice.pick([FRAME.data, FRAME.headers, 77]);
      return write(`frame of type ${known} above the size limit`, (streams) =>
        frame(known, FLAG.endHeaders, of(streams), Buffer.alloc(MAX_FRAME + 1)),
      );
    }
    case 3: {
      const known = dice.below(13);
      return write(
        `frame of type ${known} that claims 16 MiB`,
        (streams) => frameOfLength(2 ** 24 - 1, known, flags, of(streams), Buffer.alloc(30)),
        true,
      );
    }
    case 4:
      return write('HTTP/1.1', () => Buffer.from('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<html>'), true);
    default: {
      const bytes = dice.bytes(1 + dice.below(100));
      return write(`${bytes.length} random bytes`, () => bytes, true);
    }
  }
}

/** A hostile step of any kind; `list` has the fields of well-formed headers of this side. */
export function hostileStep(dice: Dice, list: FieldList): Step {
  const kind = dice.below(20);
  if (kind < 4) return hostileHeaders(dice, list);
  if (kind < 7) return hostileData(dice);
  if (kind < 9) return resets(dice);
  if (kind < 11) return pushes(dice, list);
  if (kind < 13) return settingsFrames(dice);
  if (kind < 14) return pings(dice);
  if (kind < 15) return goaways(dice);
  if (kind < 16) return windowUpdates(dice);
  if (kind < 17) return extensions(dice);
  if (kind < 18)
    return dice.pick<Step>([
      { what: 'stops reading', act: 'stall' },
      { what: 'FIN', act: 'fin' },
      { what: 'RST', act: 'rst' },
    ]);
  return malformed(dice);
}

const TURN: Step = { what: 'turn', act: 'turn' };

/**
 * Drops some steps of `valid`, mixes in hostile steps, and may repeat a step, move a step, or replace a step with a damaged copy of any
 * step. May insert turns in which the peer reads.
 */
export function mutate(dice: Dice, valid: readonly Step[], list: FieldList): readonly Step[] {
  const steps = valid.filter(() => dice.chance(0.9));
  const place = () => dice.below(steps.length + 1);
  for (let count = 1 + dice.below(5); count > 0; count--) steps.splice(place(), 0, hostileStep(dice, list));
  if (dice.chance(0.2)) steps.splice(place(), 0, dice.pick(steps));
  if (dice.chance(0.2)) steps.splice(place(), 0, ...steps.splice(dice.below(steps.length), 1));
  if (dice.chance(0.15)) steps[dice.below(steps.length)] = damage(dice, dice.pick(steps));
  const share = dice.pick([0, 0.3, 0.8]);
  return steps.flatMap((step) => (dice.chance(share) ? [step, TURN] : [step]));
}

/** Returns a copy of a step, truncated or with one byte changed. */
function damage(dice: Dice, { what, bytes }: Step): Step {
  const [isCut, share, bits] = [dice.chance(0.5), dice.below(1_000) / 1_000, 1 + dice.below(255)];
  return write(
    `${isCut ? 'cut' : 'damaged'} ${what}`,
    (streams) => {
      const whole = Buffer.from(bytes?.(streams) ?? EMPTY);
      const at = Math.trunc(whole.length * share);
      if (isCut) return whole.subarray(0, at);
      if (at < whole.length) whole[at] = (whole[at] ?? 0) ^ bits;
      return whole;
    },
    true,
  );
}
