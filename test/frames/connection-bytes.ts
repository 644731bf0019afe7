import { ResponseStream } from '../../libs/resilient-grpc/dist/transport/grpc/response-stream.js';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { ClientConnection } from '../../libs/resilient-grpc/dist/transport/http2/client-connection.js';
import {
  FLAG,
  FRAME,
  fieldBlock,
  frame,
  goaway,
  headers,
  ping,
  reset,
  settings,
  windowUpdate,
} from '../unit-support/frames.js';
import type { Dice } from './dice.js';
import { message, type Step } from './hostile-frames.js';
import { serverSequence } from './server-frames.js';

const REQUEST = [':method', 'POST', ':scheme', 'http', ':path', '/a.B/C', ':authority', 'x', 'te', 'trailers'];
const OK = { ':status': '200', 'content-type': 'application/grpc' };
const SETTINGS = { streamWindow: 65_535, connectionWindow: 1_048_576, maxHeaderListSize: 16_384, headerTableSize: 0 };
const STREAMS = [1, 3, 5, 7];
/** A request message that needs two frames. Together, those of four streams exceed the window of the connection. */
const MESSAGE = Buffer.alloc(17_000);
/** Bound of what the connection holds for a peer that reads nothing: acknowledgements, resets, window updates. */
const MAX_OUTPUT_BYTES = 300_000;

/** One side of the transport, which receives bytes of its peer. */
export interface Endpoint {
  /** What each call reported. */
  readonly events: string[][];
  /** @param isRead true if the peer reads what this side sends */
  receive(bytes: Buffer, isRead: boolean): void;
  /** Ends the connection, and returns what is wrong: a call without exactly one end, or too much memory. */
  finish(): string | undefined;
}

/** A side of the transport, and what its peers send. */
export interface EndpointKind {
  /** Bytes of peers that follow the protocol, and the number of calls that end because of each. */
  readonly recordings: readonly Buffer[];
  readonly ends: number;
  /** @param load amount of data that this side sends: 0, 1, or 2 */
  start(load: number): Endpoint;
  /** Frames of a hostile peer, and the streams that they are about. */
  sequence(seed: number): { readonly streams: readonly number[]; readonly steps: readonly Step[] };
}

/** A connection of the client's transport with four calls, without a socket. */
class Calls implements Endpoint {
  readonly events: string[][] = [];
  private readonly connection: ClientConnection;
  private now = 0;

  constructor(requests: number) {
    const owner = {
      wake: () => undefined,
      settingsReceived: () => undefined,
      goawayReceived: () => undefined,
      idsRunOut: () => undefined,
      ended: () => undefined,
    };
    this.connection = new ClientConnection(owner, SETTINGS, { now: () => this.now });
    for (const _ of STREAMS) this.open(requests);
    this.flush();
  }

  private open(requests: number): void {
    const events: string[] = [];
    this.events.push(events);
    const response = new ResponseStream(
      {
        headers: () => void events.push('headers'),
        message: ({ length }) => void events.push(`message ${String(length)}`),
        trailers: ({ grpcStatus, status }) => void events.push(`end ${String(grpcStatus ?? status)}`),
        failed: ({ cause, code, progress }) => void events.push(`end ${cause} ${String(code)} ${progress}`),
        drained: () => undefined,
      },
      1_000_000,
    );
    response.stream = this.connection.open(response, encodedBound(REQUEST), (target, at) =>
      encodeFields(target, at, REQUEST),
    );
    response.request(Infinity);
    for (let i = 0; i < requests; i++) response.stream.send(MESSAGE);
  }

  /** Passes the output to a peer that reads it. */
  flush(): void {
    this.connection.takeOutput();
    this.connection.taken(true, false);
  }

  receive(bytes: Buffer, isRead: boolean): void {
    // The socket uses its buffer again for the next bytes.
    const reused = Buffer.from(bytes);
    this.connection.receive(reused);
    reused.fill(0xff);
    this.now += 1;
    if (isRead) this.flush();
  }

  finish(): string | undefined {
    let held = 0;
    for (const chunk of this.connection.takeOutput()) held += chunk.length;
    this.connection.lost('the end', undefined);
    for (const events of this.events) {
      const ends = events.filter((event) => event.startsWith('end'));
      if (ends.length !== 1 || events.at(-1) !== ends[0]) return `events: ${events.join(', ')}`;
    }
    if (this.connection.openStreams > 0) return 'open streams';
    return held > MAX_OUTPUT_BYTES ? `${String(held)} bytes of output` : undefined;
  }
}

/** A header block that inserts fields into the table of the client and refers to them. */
const inserting = Buffer.concat([
  Buffer.from([0x88, 0x5f, 0x8b, 0x1d, 0x75, 0xd0, 0x62, 0x0d, 0x26, 0x3d, 0x4c, 0x4d, 0x65, 0x64]),
  Buffer.from([0x40, 3, ...Buffer.from('x-a'), 1, 0x62, 0xbe, 0xbf]),
]);

/** Bytes of servers that follow the protocol: all kinds of frames and ends, padding, CONTINUATION, and a header table. */
const RECORDINGS: readonly Buffer[] = [
  [
    settings([3, 100], [4, 1_000]),
    headers(1, OK),
    headers(3, OK),
    frame(FRAME.data, 0, 1, message(Buffer.alloc(300))),
    ping(Buffer.alloc(8)),
    frame(FRAME.data, 0, 3, message(Buffer.alloc(100))),
    headers(1, { 'grpc-status': '0' }, FLAG.endStream),
    reset(5, 7),
    windowUpdate(0, 1_000),
    windowUpdate(3, 10),
    goaway(5, 0, Buffer.from('bye')),
    headers(3, { 'grpc-status': '13', 'grpc-message': 'no' }, FLAG.endStream),
  ],
  [
    settings([1, 0], [5, 16_384], [6, 8_192]),
    frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)),
    frame(FRAME.headers, FLAG.endHeaders, 1, inserting),
    frame(FRAME.data, FLAG.padded, 1, Buffer.concat([Buffer.from([3]), message(Buffer.alloc(20)), Buffer.alloc(3)])),
    frame(FRAME.headers, FLAG.padded, 3, Buffer.concat([Buffer.from([2]), inserting.subarray(0, 9), Buffer.alloc(2)])),
    frame(FRAME.continuation, 0, 3, inserting.subarray(9, 12)),
    frame(FRAME.continuation, FLAG.endHeaders, 3, inserting.subarray(12)),
    frame(
      FRAME.headers,
      FLAG.endHeaders | FLAG.endStream | FLAG.priority,
      1,
      Buffer.concat([Buffer.alloc(5), fieldBlock({ 'grpc-status': '5' })]),
    ),
    frame(FRAME.data, FLAG.endStream, 3, message(Buffer.alloc(0))),
    headers(5, { ':status': '103', link: 'x' }),
    headers(5, { ':status': '502', 'content-type': 'text/html' }),
    frame(FRAME.data, FLAG.endStream, 5, Buffer.from('<html>')),
    frame(FRAME.altsvc, 0, 0, Buffer.alloc(10)),
    goaway(2 ** 31 - 1, 0),
    settings([4, 0], [3, 1]),
    goaway(7, 2, Buffer.from('twice')),
    headers(7, { ...OK, 'grpc-status': '0' }, FLAG.endStream),
  ],
].map((frames) => Buffer.concat(frames));

/** Cuts `bytes` at up to `count` random places. */
function pieces(dice: Dice, bytes: Buffer, count: number): readonly Buffer[] {
  const places = Array.from({ length: count }, () => dice.below(bytes.length + 1)).sort((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}

/** The client's side of the transport, which receives the bytes of servers. */
export const CALLS: EndpointKind = {
  recordings: RECORDINGS,
  ends: 4,
  start: (load) => new Calls(load),
  sequence: (seed) => {
    const { isGreeting, steps } = serverSequence(seed);
    const greeting: Step = { what: 'SETTINGS', bytes: () => settings([3, 100]) };
    return { streams: STREAMS, steps: isGreeting ? steps : [greeting, ...steps] };
  },
};

/** Returns the events of the calls of a side that receives `bytes` in up to `cuts` + 1 pieces. */
export function eventsOf(kind: EndpointKind, dice: Dice, bytes: Buffer, cuts: number): readonly string[][] {
  const endpoint = kind.start(0);
  for (const piece of pieces(dice, bytes, cuts)) endpoint.receive(piece, dice.chance(0.5));
  return endpoint.events;
}

/** Changes some bytes of a recording, or their number, and returns what is wrong afterward; `undefined` if nothing is. */
export function runMutation(kind: EndpointKind, dice: Dice): string | undefined {
  const bytes = Buffer.from(dice.pick(kind.recordings));
  for (let change = dice.below(8); change >= 0; change--) bytes[dice.below(bytes.length)] = dice.below(256);
  if (dice.chance(0.2)) bytes.copyWithin(dice.below(bytes.length), dice.below(bytes.length));
  const endpoint = kind.start(dice.below(2));
  for (const piece of pieces(dice, bytes, dice.below(3))) endpoint.receive(piece, dice.chance(0.5));
  return endpoint.finish();
}

/** Passes the frames of a hostile peer to a side, and returns what is wrong afterward; `undefined` if nothing is. */
export function runSequence(kind: EndpointKind, dice: Dice, seed: number): string | undefined {
  const { streams, steps } = kind.sequence(seed);
  const endpoint = kind.start(dice.below(3));
  for (const { bytes } of steps) {
    if (bytes === undefined) continue;
    for (const piece of pieces(dice, bytes(streams), dice.below(3))) endpoint.receive(piece, dice.chance(0.5));
  }
  return endpoint.finish();
}
