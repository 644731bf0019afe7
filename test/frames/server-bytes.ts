import { RequestStream } from '../../libs/resilient-grpc/dist/transport/grpc/request-stream.js';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { MemoryBudget } from '../../libs/resilient-grpc/dist/transport/http2/memory-budget.js';
import { ServerConnection } from '../../libs/resilient-grpc/dist/transport/http2/server-connection.js';
import type { ServerStream } from '../../libs/resilient-grpc/dist/transport/http2/server-stream.js';
import {
  FLAG,
  FRAME,
  PREFACE,
  fieldBlock,
  frame,
  goaway,
  headers,
  ping,
  reset,
  settings,
  settingsAck,
  windowUpdate,
} from '../unit-support/frames.js';
import { clientSequence } from './client-frames.js';
import type { Endpoint, EndpointKind } from './connection-bytes.js';
import { message } from './hostile-frames.js';

const MiB = 1_048_576;
const MAX_HELD_BYTES = 4 * MiB;
const SETTINGS = {
  streamWindow: 65_535,
  connectionWindow: MiB,
  maxHeaderListSize: 16_384,
  headerTableSize: 4_096,
  maxConcurrentStreams: 100,
  minPingIntervalMs: 0,
};
const HEAD = [':status', '200', 'content-type', 'application/grpc'];
const TRAILERS = ['grpc-status', '0'];
const EMPTY = Buffer.alloc(0);
/** Size of a read of a socket. */
const READ_BYTES = 65_536;
const ANSWERS = [Buffer.alloc(3), Buffer.alloc(40_000), Buffer.alloc(200_000)];
/** Bound of what the connection holds for a client that reads nothing, besides the responses within its windows. */
const MAX_OUTPUT_BYTES = 2 * MiB;

/** A server's connection without a socket, whose calls answer each message with `answer`. */
class Served implements Endpoint {
  readonly events: string[][] = [];
  private readonly connection: ServerConnection;
  private readonly memory = new MemoryBudget(MAX_HELD_BYTES);
  private now = 0;
  private heldBytes = 0;
  private released = 0;

  constructor(private readonly answer: Buffer) {
    const owner = {
      wake: () => undefined,
      settingsReceived: () => undefined,
      goawayReceived: () => undefined,
      pause: () => undefined,
      ended: () => undefined,
      request: (stream: ServerStream, { path = '' }: { path?: string | undefined }, isEnd: boolean) =>
        this.serve(stream, path, isEnd),
    };
    this.connection = new ServerConnection(owner, SETTINGS, { now: () => this.now }, this.memory);
  }

  private serve(stream: ServerStream, path: string, isEnd: boolean): RequestStream {
    const events = [`request ${path.slice(0, 20)}`];
    this.events.push(events);
    let hasHead = false;
    const release = (event: string): void => {
      events.push(event);
      stream.release();
      this.released += 1;
    };
    const finish = (event: string): void => {
      const fields = hasHead ? TRAILERS : [...HEAD, ...TRAILERS];
      stream.trailers(encodedBound(fields), (target, at) => encodeFields(target, at, fields));
      release(event);
    };
    const request = new RequestStream(
      stream,
      {
        message: ({ length }) => {
          events.push(`message ${String(length)}`);
          if (!hasHead) stream.head(encodedBound(HEAD), (target, at) => encodeFields(target, at, HEAD));
          hasHead = true;
          // As the server does: it takes the next message when the answer has left.
          if (stream.send(this.answer)) request.request(1);
        },
        ended: () => finish('end'),
        unreadable: ({ problem }) => finish(`end ${problem}`),
        failed: ({ cause, code }) => {
          // The answer may have waited for a window.
          if (events.at(-1)?.startsWith('end') === true) return;
          release(`end ${cause} ${String(code)}`);
        },
        drained: () => request.request(1),
      },
      { maxMessageBytes: MiB, encoding: undefined },
      isEnd,
    );
    request.request(1);
    return request;
  }

  receive(bytes: Buffer, isRead: boolean): void {
    for (let at = 0; at < bytes.length; at += READ_BYTES) {
      // As a socket that is paused, it reads nothing while bytes wait.
      if (at > 0) while (!this.connection.resume());
      const reused = Buffer.from(bytes.subarray(at, at + READ_BYTES));
      this.connection.receive(reused);
      reused.fill(0xff);
    }
    this.now += 1;
    if (!isRead) return;
    do this.flush();
    while (!this.connection.resume());
  }

  private flush(): void {
    this.connection.takeOutput();
    this.connection.taken(true, false);
  }

  finish(): string | undefined {
    for (const chunk of this.connection.takeOutput()) this.heldBytes += chunk.length;
    const { isEnded, heldBytes } = this.connection;
    if (!isEnded && heldBytes > MAX_HELD_BYTES) return `${String(heldBytes)} bytes held`;
    this.connection.lost('the end', undefined);
    for (const events of this.events) {
      const ends = events.filter((event) => event.startsWith('end'));
      if (ends.length !== 1 || events.at(-1) !== ends[0]) return `events: ${events.join(', ')}`;
    }
    if (this.connection.openStreams > 0 || this.released !== this.events.length) return 'open streams';
    if (this.memory.usedBytes !== 0) return `${String(this.memory.usedBytes)} bytes leaked`;
    return this.heldBytes > MAX_OUTPUT_BYTES ? `${String(this.heldBytes)} bytes of output` : undefined;
  }
}

const request = (path: string): Record<string, string> => ({
  ':method': 'POST',
  ':scheme': 'http',
  ':path': path,
  ':authority': 'x',
  te: 'trailers',
});

/** A header block that inserts a field into the table of the server, and refers to it. */
const inserting = Buffer.concat([
  fieldBlock(request('/a.B/C')),
  Buffer.from([0x40, 3, ...Buffer.from('x-a'), 1, 0x62, 0xbe]),
]);

/** Bytes of clients that follow the protocol: all kinds of frames and ends, padding, CONTINUATION, and a header table. */
const RECORDINGS: readonly Buffer[] = [
  [
    PREFACE,
    settings([3, 100], [4, 1_000]),
    windowUpdate(0, 1_000_000),
    headers(1, request('/a.B/One')),
    headers(3, request('/a.B/Two')),
    frame(FRAME.data, 0, 1, message(Buffer.alloc(300))),
    ping(Buffer.alloc(8)),
    frame(FRAME.data, 0, 3, message(Buffer.alloc(100))),
    settingsAck(),
    frame(FRAME.data, FLAG.endStream, 1, message(Buffer.alloc(10))),
    headers(5, request('/a.B/Three'), FLAG.endStream),
    reset(3, 8),
    windowUpdate(1, 10),
    headers(7, request('/a.B/Four')),
    frame(FRAME.data, 0, 7, message(Buffer.alloc(70))),
    headers(7, { 'x-sum': '1' }, FLAG.endStream),
    goaway(0, 0, Buffer.from('bye')),
  ],
  [
    PREFACE,
    settings([1, 0], [5, 16_384], [6, 8_192]),
    frame(FRAME.headers, FLAG.endHeaders, 1, inserting),
    frame(FRAME.data, FLAG.padded, 1, Buffer.concat([Buffer.from([3]), message(Buffer.alloc(20)), Buffer.alloc(3)])),
    frame(FRAME.headers, FLAG.padded, 3, Buffer.concat([Buffer.from([2]), inserting.subarray(0, 9), Buffer.alloc(2)])),
    frame(FRAME.continuation, 0, 3, inserting.subarray(9, 12)),
    frame(FRAME.continuation, FLAG.endHeaders, 3, inserting.subarray(12)),
    frame(FRAME.data, FLAG.endStream, 3, Buffer.alloc(0)),
    frame(FRAME.priority, 0, 9, Buffer.alloc(5)),
    frame(
      FRAME.headers,
      FLAG.endHeaders | FLAG.priority,
      5,
      Buffer.concat([Buffer.alloc(5), fieldBlock(request('/x'))]),
    ),
    frame(FRAME.data, FLAG.endStream, 1, message(Buffer.alloc(0))),
    frame(FRAME.altsvc, 0, 0, Buffer.alloc(10)),
    settings([4, 0]),
    frame(FRAME.data, 0, 5, message(Buffer.alloc(0)).subarray(0, 3)),
    frame(FRAME.data, FLAG.endStream, 5, message(Buffer.alloc(0)).subarray(3)),
    headers(11, { ...request('/refused'), 'content-length': '5' }),
    frame(FRAME.data, FLAG.endStream, 11, message(Buffer.alloc(0))),
  ],
].map((frames) => Buffer.concat(frames));

/** The server's side of the transport, which receives the bytes of clients. */
export const SERVED: EndpointKind = {
  recordings: RECORDINGS,
  ends: 4,
  start: (load) => new Served(ANSWERS[load] ?? EMPTY),
  sequence: (seed) => {
    const { streams, steps } = clientSequence(seed);
    return { streams, steps };
  },
};
