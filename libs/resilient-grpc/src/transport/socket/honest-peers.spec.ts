import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  fieldBlock,
  FLAG,
  FRAME,
  frame,
  goaway,
  half,
  numbers,
  ping,
  PREFACE,
  reset,
  settings,
  settingsAck,
  windowUpdate,
} from '../../../../../test/unit-support/frames.js';
import { turn, VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { EventHub } from '../../call/event-hub.js';
import { SubchannelConnection } from '../../channel/subchannel/subchannel-connection.js';
import { ServedConnection, SocketConnections } from '../../server/grpc/socket-connections.js';
import { transportSettings } from '../../server/grpc/transport-settings.js';
import { inflate } from '../grpc/inflate.js';
import { RequestStream } from '../grpc/request-stream.js';
import { ResponseStream } from '../grpc/response-stream.js';
import { encodedBound, encodeFields } from '../hpack/hpack-encoder.js';
import type { WriteBlock } from '../http2/frame-writer.js';
import type { ServerStream } from '../http2/server-stream.js';
import { ServerSocket } from './server-socket.js';
import { SocketConnection } from './socket-connection.js';

const HEAD_BYTES = 9;
/** Turns of the event loop in which what one tick brings is done. */
const TURNS = 16;

/** Header block of `fields`, as `Http2Connection` takes it. */
function block(...fields: readonly string[]): readonly [bound: number, write: WriteBlock] {
  return [encodedBound(fields), (target, at) => encodeFields(target, at, fields)];
}

const data = (id: number, payload: Buffer, flags = 0): Buffer => frame(FRAME.data, flags, id, payload);
/** A message of `size` bytes with its length prefix. */
const message = (size: number): Buffer => Buffer.concat([Buffer.alloc(1), numbers(size), Buffer.alloc(size)]);

/** The frames of a call, of which each has the id of its stream, or 0. */
class Frames {
  /** Places of the ids. */
  private readonly at: readonly number[];
  private readonly bytes: Buffer;

  constructor(...frames: readonly Buffer[]) {
    this.bytes = Buffer.concat(frames);
    const at = [];
    for (let head = 0; head < this.bytes.length; head += HEAD_BYTES + this.bytes.readUIntBE(head, 3))
      if (this.bytes.readUInt32BE(head + 5) !== 0) at.push(head + 5);
    this.at = at;
  }

  /** The frames of `count` calls from `firstId` on, in memory that the next call of this method overwrites. */
  of(firstId: number, count: number): Buffer {
    const { length } = this.bytes;
    if (this.many.length !== length * count) this.many = Buffer.concat(Array<Buffer>(count).fill(this.bytes));
    for (let call = 0; call < count; call++)
      for (const at of this.at) this.many.writeUInt32BE(firstId + 2 * call, call * length + at);
    return this.many;
  }
  private many = Buffer.alloc(0);
}

/** The honest peer's end of a socket: it acknowledges PING and SETTINGS, and notes what no honest peer deserves. */
class HonestPeer extends EventEmitter {
  writable = true;
  writableLength = 0;
  writableNeedDrain = false;
  bytesWritten = 0;
  bytesRead = 0;
  readonly remoteAddress = '10.0.0.7';
  readonly remotePort = 50_051;
  readonly remoteFamily = 'IPv4';
  /** Ends, refusals, and resets other than those that tell that a call is over. */
  readonly harms: string[] = [];
  /** Number of DATA frames, and of header blocks, that have arrived. */
  received = { data: 0, headers: 0 };
  private replies: Buffer[] = [];
  private rest: Buffer = Buffer.alloc(0);
  private isPausedNow = false;

  /** @param skip bytes before the first frame, such as a preface */
  constructor(private skip: number) {
    super();
  }

  /** Safe: connections use only these members. */
  get socket(): Socket {
    return this as unknown as Socket;
  }

  write(bytes: Buffer): boolean {
    this.bytesWritten += bytes.length;
    let all = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const skipped = Math.min(this.skip, all.length);
    this.skip -= skipped;
    all = all.subarray(skipped);
    let at = 0;
    while (all.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + all.readUIntBE(at, 3);
      if (end > all.length) break;
      this.read(all[at + 3], all[at + 4]!, all, at + HEAD_BYTES, end);
      at = end;
    }
    this.rest = Buffer.from(all.subarray(at));
    return true;
  }

  private read(type: number | undefined, flags: number, bytes: Buffer, at: number, end: number): void {
    if (type === FRAME.data) this.received.data += 1;
    else if (type === FRAME.headers) this.received.headers += 1;
    else if (type === FRAME.settings && (flags & FLAG.ack) === 0) this.replies.push(settingsAck());
    else if (type === FRAME.ping && (flags & FLAG.ack) === 0)
      this.replies.push(ping(Buffer.from(bytes.subarray(at, end)), FLAG.ack));
    else if (type === FRAME.goaway && bytes.readUInt32BE(at + 4) !== 0)
      this.harms.push(`GOAWAY ${bytes.toString('latin1', at + 8, end)}`);
    // CANCEL and NO_ERROR end what the caller, or the answer, has ended.
    else if (type === FRAME.reset && ![0, 8].includes(bytes.readUInt32BE(at)))
      this.harms.push(`RST_STREAM ${String(bytes.readUInt32BE(at))}`);
  }

  /**
   * Sends `late`, which has crossed what has arrived, the acknowledgements that are due, and `now`, and lets the connection do its work until
   * `isDone`.
   */
  async send(clock: VirtualClock, isDone: () => boolean, now: Buffer, late: Buffer = Buffer.alloc(0)): Promise<void> {
    const replies = this.replies.splice(0);
    // Its settings come first.
    const bytes = Buffer.concat(this.bytesRead === 0 ? [now, ...replies] : [late, ...replies, now]);
    this.bytesRead += bytes.length;
    // In two reads, of which the first ends inside a frame.
    const middle = bytes.length >> 1;
    this.emit('data', bytes.subarray(0, middle));
    this.emit('data', bytes.subarray(middle));
    for (let turns = 0; turns < TURNS; turns++) {
      clock.advance(0);
      await turn();
      if (turns > 0 && isDone() && !this.isPausedNow) return;
    }
    this.harms.push(`not done after ${String(TURNS)} turns at ${String(clock.now())} ms`);
  }

  cork(): void {}
  uncork(): void {}
  ref(): void {}
  unref(): void {}
  pause(): void {
    this.isPausedNow = true;
  }
  resume(): void {
    this.isPausedNow = false;
  }
  isPaused(): boolean {
    return this.isPausedNow;
  }
  end(): void {
    this.writable = false;
  }
  destroy(): void {
    this.harms.push('destroyed');
  }
}

/** How many calls a load makes: 10,000 a second for a minute, or 100 a second for an hour. */
type Load = 'minute' | 'hour';

/** Runs `tick` with the number of its calls, and advances the clock, until the load is over or there is harm. */
async function drive(
  load: Load,
  clock: VirtualClock,
  peer: HonestPeer,
  tick: (calls: number) => Promise<void>,
): Promise<void> {
  const [stepMs, calls, steps] = load === 'minute' ? [100, 1_000, 600] : [1_000, 100, 3_600];
  for (let step = 0; step < steps && peer.harms.length === 0; step++) {
    await tick(calls);
    clock.advance(stepMs);
  }
}

// ── a server and its honest client ──

const FIELDS = fieldBlock({
  ':method': 'POST',
  ':scheme': 'http',
  ':path': '/a.B/C',
  ':authority': 'x',
  te: 'trailers',
});
const REQUEST_HEADERS = frame(FRAME.headers, FLAG.endHeaders, 1, FIELDS);
const PRIORITY = frame(FRAME.priority, 0, 1, Buffer.alloc(5));
const HEAD = block(':status', '200', 'content-type', 'application/grpc');
const OK = block('grpc-status', '0');
const EMPTY = Buffer.alloc(0);
const MESSAGE = message(3);
const NO_ERROR = 0;
const CANCEL = 8;
const repeated = (count: number, one: Buffer): Buffer[] => Array<Buffer>(count).fill(one);

/** What an honest client does with each call: what it sends first, what it sends before it knows of the answer, and the messages that it gets. */
interface ClientHabit {
  readonly now: Frames;
  readonly late: Frames;
  readonly responses: number;
}

const CLIENT_HABITS = {
  /** With priorities, a block in two frames, an empty DATA frame, and, after the answer, window and a reset. */
  answered: {
    now: new Frames(
      PRIORITY,
      frame(FRAME.headers, 0, 1, half(FIELDS)),
      frame(FRAME.continuation, FLAG.endHeaders, 1, FIELDS.subarray(half(FIELDS).length)),
      data(1, message(100)),
      data(1, EMPTY),
      data(1, MESSAGE, FLAG.endStream),
    ),
    late: new Frames(windowUpdate(1, 8), PRIORITY, reset(1, NO_ERROR)),
    responses: 1,
  },
  cancelled: {
    now: new Frames(REQUEST_HEADERS, data(1, MESSAGE), reset(1, CANCEL)),
    late: new Frames(PRIORITY),
    responses: 0,
  },
  /** The answer comes before the request has ended. */
  early: {
    now: new Frames(REQUEST_HEADERS, data(1, MESSAGE)),
    late: new Frames(data(1, MESSAGE), data(1, EMPTY), data(1, MESSAGE, FLAG.endStream), windowUpdate(1, 8)),
    responses: 0,
  },
  /** Window for each message, also for those before the end of the response. */
  streamed: {
    now: new Frames(REQUEST_HEADERS, data(1, MESSAGE, FLAG.endStream)),
    late: new Frames(...repeated(10, windowUpdate(1, 8))),
    responses: 10,
  },
} satisfies Record<string, ClientHabit>;

/** The real connection of a server, and its honest client. */
class ServerScene {
  readonly clock = new VirtualClock();
  readonly peer = new HonestPeer(0);
  readonly connection: ServerSocket;
  /** Number of calls that are over. */
  done = 0;
  nextId = 1;
  /** Streams whose handlers go on until the next tick, and those that wait for `answerAll()`. */
  private readonly working: ServerStream[] = [];
  private readonly open: ServerStream[] = [];

  constructor(private readonly habit: keyof typeof CLIENT_HABITS | 'open') {
    const { harms, socket } = this.peer;
    this.connection = new ServerSocket(socket, transportSettings({}, 10_000), this.clock);
    this.connection.start({
      request: (stream, _block, isEnd) => this.request(stream, isEnd),
      memoryUsedUp: (protection) => harms.push(protection),
      ended: ({ protection, details }) => {
        if (protection !== undefined && protection !== 'drain') harms.push(`${protection}: ${details}`);
      },
    });
  }

  private request(stream: ServerStream, isEnd: boolean): RequestStream {
    const handler = {
      message: () => undefined,
      ended: () => {
        if (this.habit === 'open') this.open.push(stream);
        else this.answer(stream);
      },
      unreadable: ({ details }: { details: string }) => this.peer.harms.push(details),
      failed: ({ protection, details }: { protection?: string | undefined; details: string }) => {
        if (protection !== undefined) this.peer.harms.push(`${protection}: ${details}`);
        this.done += 1;
        this.working.push(stream);
      },
      drained: () => undefined,
    };
    const request = new RequestStream(stream, handler, { maxMessageBytes: 4_194_304, encoding: undefined }, isEnd);
    request.request(Infinity);
    if (this.habit === 'early') this.answer(stream);
    return request;
  }

  private answer(stream: ServerStream): void {
    if (!stream.deliver(8_000)) this.peer.harms.push('request-memory');
    const { responses } = this.habit === 'open' ? CLIENT_HABITS.answered : CLIENT_HABITS[this.habit];
    stream.head(...HEAD);
    for (let i = 0; i < responses; i++) stream.send(Buffer.alloc(3));
    stream.trailers(...OK);
    this.done += 1;
    this.working.push(stream);
  }

  answerAll(): void {
    for (const stream of this.open.splice(0)) this.answer(stream);
  }

  /** Begins `calls` calls, and sends what has crossed the answers to those before. */
  async tick(calls: number): Promise<void> {
    const { peer, clock, habit, nextId } = this;
    for (const stream of this.working.splice(0)) stream.release();
    const { now, late, responses } = CLIENT_HABITS[habit === 'open' ? 'answered' : habit];
    const isFirst = nextId === 1;
    const begin = isFirst
      ? [PREFACE, settings()]
      : [ping(Buffer.alloc(8)), windowUpdate(0, calls * (8 * responses || 1))];
    const expected = this.done + calls;
    this.nextId += 2 * calls;
    await peer.send(
      clock,
      () => this.done === expected,
      Buffer.concat([...begin, now.of(nextId, calls)]),
      isFirst ? EMPTY : late.of(nextId - 2 * calls, calls),
    );
  }
}

// ── a client and its honest server ──

const REQUEST = block(':method', 'POST', ':scheme', 'http', ':path', '/a.B/C', ':authority', 'x', 'te', 'trailers');
const headers = (fields: Record<string, string>, flags = 0): Buffer =>
  frame(FRAME.headers, FLAG.endHeaders | flags, 1, fieldBlock(fields));
const HEAD_FIELDS = { ':status': '200', 'content-type': 'application/grpc' };
const TRAILERS = headers({ 'grpc-status': '0' }, FLAG.endStream);
const MESSAGE_FRAME = data(1, MESSAGE);

/** What an honest server does with each call: its answer, and what it sends before it knows that the call is over. */
const SERVER_HABITS = {
  /** With informational headers, an empty DATA frame, and a reset after the answer, as nginx sends it. */
  answered: {
    now: new Frames(headers({ ':status': '103' }), headers(HEAD_FIELDS), MESSAGE_FRAME, data(1, EMPTY), TRAILERS),
    late: new Frames(windowUpdate(1, 8), windowUpdate(1, 8), reset(1, 0)),
    requests: 1,
  },
  /** The caller cancels while the answer is under way. */
  cancelled: { now: new Frames(), late: new Frames(headers(HEAD_FIELDS), MESSAGE_FRAME, TRAILERS), requests: 1 },
  /** Window for each message of an upload that was answered before its end. */
  early: {
    now: new Frames(headers({ ...HEAD_FIELDS, 'grpc-status': '0' }, FLAG.endStream)),
    late: new Frames(...repeated(10, windowUpdate(1, 8)), reset(1, 0)),
    requests: 10,
  },
  streamed: {
    now: new Frames(headers(HEAD_FIELDS), ...repeated(10, MESSAGE_FRAME), TRAILERS),
    late: new Frames(),
    requests: 1,
  },
};

/** The real connection of a client, and its honest server. */
class ClientScene {
  readonly clock = new VirtualClock();
  readonly peer = new HonestPeer(PREFACE.length);
  readonly connection: SocketConnection;
  done = 0;
  private nextId = 1;

  constructor(private readonly habit: keyof typeof SERVER_HABITS) {
    const ignore = (): void => undefined;
    const { harms, socket } = this.peer;
    this.connection = new SocketConnection(
      { streamWindow: 262_144, connectionWindow: 33_554_432, maxHeaderListSize: 262_144, headerTableSize: 0 },
      {
        ready: ignore,
        settingsChanged: ignore,
        goawayReceived: ignore,
        idsRunOut: ignore,
        ended: ({ protection, details }) => {
          if (protection !== undefined) harms.push(`${protection}: ${details}`);
        },
      },
      this.clock,
      { intervalMs: 10_000, timeoutMs: 5_000, isAlwaysOn: false },
    );
    this.connection.start(socket, false);
  }

  begin(): void {
    const over = (): void => {
      this.done += 1;
      this.connection.callEnded();
    };
    const response = new ResponseStream(
      {
        headers: () => undefined,
        message: () => undefined,
        trailers: over,
        failed: ({ details }) => {
          this.peer.harms.push(details);
          over();
        },
        drained: () => undefined,
      },
      4_194_304,
    );
    const stream = this.connection.http2.open(response, ...REQUEST);
    response.stream = stream;
    this.connection.callStarted();
    response.request(Infinity);
    const { requests } = SERVER_HABITS[this.habit];
    for (let i = 0; i < requests; i++) stream.send(Buffer.alloc(3));
    if (requests === 1) stream.end();
    if (this.habit !== 'cancelled') return;
    response.cancel();
    over();
  }

  async tick(calls: number): Promise<void> {
    const { peer, clock, nextId } = this;
    const { now, late, requests } = SERVER_HABITS[this.habit];
    const isFirst = nextId === 1;
    const expected = this.done + calls;
    for (let call = 0; call < calls; call++) this.begin();
    this.nextId += 2 * calls;
    const begin = isFirst ? settings() : Buffer.concat([ping(Buffer.alloc(8)), windowUpdate(0, 8 * calls * requests)]);
    const crossing = isFirst ? EMPTY : late.of(nextId - 2 * calls, calls);
    await peer.send(clock, () => this.done === expected, Buffer.concat([begin, crossing, now.of(nextId, calls)]));
  }
}

// ── the loads ──

const LOADS: readonly Load[] = ['minute', 'hour'];
const cases = <H extends string>(habits: Record<H, unknown>) =>
  (Object.keys(habits) as H[]).flatMap((habit) => LOADS.map((load) => ({ habit, load })));

/** Streams have ten messages, and there are as many messages as calls in other loads. */
const callsOf = (habit: string, calls: number): number => (habit === 'streamed' ? calls / 10 : calls);

describe('honest peers', { timeout: 600_000 }, () => {
  it.each(cases(CLIENT_HABITS))('clients are left alone by a server: calls $habit, $load', async ({ habit, load }) => {
    const scene = new ServerScene(habit);
    await drive(load, scene.clock, scene.peer, (calls) => scene.tick(callsOf(habit, calls)));
    expect(scene.peer.harms).toEqual([]);
    scene.connection.http2.lost('the test is over', undefined);
  });

  it.each(cases(SERVER_HABITS))('servers are left alone by a client: calls $habit, $load', async ({ habit, load }) => {
    const scene = new ClientScene(habit);
    await drive(load, scene.clock, scene.peer, (calls) => scene.tick(callsOf(habit, calls)));
    expect(scene.peer.harms).toEqual([]);
  });

  it('clients whose requests cross a GOAWAY are served in 100 drains', async () => {
    for (let restart = 0; restart < 100; restart++) {
      const scene = new ServerScene('open');
      const { peer, clock, connection } = scene;
      const begin = (id: number, calls: number): Buffer => CLIENT_HABITS.streamed.now.of(id, calls);
      const isOver = (): boolean => true;
      await peer.send(clock, isOver, Buffer.concat([PREFACE, settings(), begin(1, 2)]));
      connection.drain('drain');
      await peer.send(clock, isOver, EMPTY);
      // They were sent before the client has read the GOAWAY and its PING.
      await peer.send(clock, isOver, EMPTY, begin(5, 3));
      clock.advance(1_000);
      scene.answerAll();
      await peer.send(clock, () => connection.http2.isEnded, EMPTY);
      expect([scene.done, ...peer.harms]).toEqual([5]);
    }
  });

  it('servers that restart complete their calls, 100 times', async () => {
    for (let restart = 0; restart < 100; restart++) {
      const scene = new ClientScene('answered');
      const { peer, clock } = scene;
      for (let call = 0; call < 3; call++) scene.begin();
      await peer.send(clock, () => true, Buffer.concat([settings(), goaway(5, 0)]));
      for (let second = 0; second < 30; second++) {
        clock.advance(1_000);
        await peer.send(clock, () => true, EMPTY);
      }
      await peer.send(clock, () => scene.connection.http2.isEnded, SERVER_HABITS.answered.now.of(1, 3));
      expect([scene.done, ...peer.harms]).toEqual([3]);
    }
  });

  it('clients that call once a second have a connection until its age, and are not idle', () => {
    const clock = new VirtualClock();
    const ends: string[] = [];
    const http2 = { openStreams: 0, hasClientSettings: true, ping: (answered: () => void) => answered() };
    const owner = new SocketConnections(
      transportSettings({}, 1),
      { maxConnectionAgeMs: 600_000, maxConnectionAgeGraceMs: 1_000, connectionIdleTimeoutMs: 1_000 },
      {
        clock,
        random: () => 0.5,
        events: new EventHub({}, () => 0),
        endCallsOf: () => void ends.push('the end of its calls'),
      },
    );
    for (let connections = 0; connections < 6; connections++) {
      const startedAt = clock.now();
      const drain = (protection: string): void => void ends.push(`${protection} ${String(clock.now() - startedAt)}`);
      // Safe: no other member is used.
      const served = new ServedConnection({ http2, drain } as never, {} as Socket, owner, () => undefined as never);
      while (ends.length === connections) {
        served.request({} as never, {} as never, true);
        http2.openStreams = 1;
        clock.advance(100);
        http2.openStreams = 0;
        served.callEnded();
        clock.advance(900);
      }
      served.ended({ code: 0, details: '', isPeersFault: false, protection: undefined, error: undefined });
    }
    expect(ends).toEqual(Array(6).fill('age 600000'));
  });

  it('compressed messages that arrive at once are all inflated', async () => {
    const messages = Array.from({ length: 2_000 }, (_, size) => gzipSync(Buffer.alloc(size)));
    const results = await Promise.all(messages.map((one) => inflate('gzip', one, 4_194_304).result));
    expect(results.map(({ length }) => length)).toEqual(messages.map((_, size) => size));
  });

  it.each<[string, Buffer]>([
    ['after its answer', headers(HEAD_FIELDS)],
    ['with a GOAWAY', goaway(1, 0)],
    ['suddenly', EMPTY],
  ])('servers that restart %s are sent large headers again, 100 times', async (_when, last) => {
    const limits: number[] = [];
    const user = {
      connected: () => undefined,
      closing: () => undefined,
      failed: () => undefined,
      stalled: () => undefined,
      maxRequestHeaders: Infinity,
      limitRequestHeaders: (bytes: number) => void limits.push(bytes),
    };
    for (let restart = 0; restart < 100; restart++) {
      const clock = new VirtualClock();
      const peer = new HonestPeer(PREFACE.length);
      const connection = new SubchannelConnection('a:1', 'a:1', {}, -1, user, clock);
      connection.start(peer.socket, { socket: peer.socket, secure: false }, false);
      await peer.send(clock, () => true, settings());
      const ignore = (): void => undefined;
      const receiver = { headers: ignore, data: ignore, dataEnds: ignore, failed: ignore, drained: ignore };
      connection.open(receiver, '/a.B/C', 'a', ['x-large', 'x'.repeat(70_000)]);
      await peer.send(clock, () => true, last);
      peer.emit('end');
    }
    expect(limits).toEqual([]);
  });

  it('servers that read slowly keep their connection, however many calls give up', async () => {
    const stalls: number[] = [];
    const ignore = (): void => undefined;
    const user = {
      connected: ignore,
      closing: ignore,
      failed: ignore,
      stalled: () => void stalls.push(clock.now()),
      maxRequestHeaders: Infinity,
      limitRequestHeaders: ignore,
    };
    const clock = new VirtualClock();
    const peer = new HonestPeer(PREFACE.length);
    const connection = new SubchannelConnection('a:1', 'a:1', {}, -1, user, clock);
    connection.start(peer.socket, { socket: peer.socket, secure: false }, false);
    await peer.send(clock, () => true, settings());
    const receiver = { headers: ignore, data: ignore, dataEnds: ignore, failed: ignore, drained: ignore };
    // A line of 16 KB/s: the window of 64 KB lasts for four seconds.
    for (let second = 0; second < 3_600; second++) {
      const stream = connection.open(receiver, '/a.B/C', 'a', []);
      stream.send(Buffer.alloc(20_000));
      if (second % 4 === 3) await peer.send(clock, () => true, windowUpdate(0, 65_535));
      else await peer.send(clock, () => true, ping(Buffer.alloc(8)));
      clock.advance(1_000);
      if (stream.obstacle === 'connection-window') connection.retireIfStalled();
      stream.cancel();
    }
    expect(stalls).toEqual([]);
  });
});
