import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  FLAG,
  FRAME,
  FrameReader,
  PREFACE,
  SETTING,
  fieldBlock,
  frame,
  goaway,
  headers,
  numbers,
  ping,
  reset,
  settings,
  windowUpdate,
  type ReadFrame,
} from '../../../../../test/unit-support/frames.js';
import { RequestStream } from '../grpc/request-stream.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import { HpackDecoder } from '../hpack/hpack-decoder.js';
import { encodedBound, encodeFields } from '../hpack/hpack-encoder.js';
import type { ConnectionEnd, StreamReceiver } from './events.js';
import { MemoryBudget } from './memory-budget.js';
import { ServerConnection, type ServerOwner } from './server-connection.js';
import type { ServerStream } from './server-stream.js';

const REQUEST = { ':method': 'POST', ':scheme': 'http', ':path': '/a.B/C', ':authority': 'x', te: 'trailers' };
const HEAD = [':status', '200', 'content-type', 'application/grpc'];
const OK = ['grpc-status', '0'];
const MiB = 1_048_576;
const SETTINGS = {
  streamWindow: 65_535,
  connectionWindow: MiB,
  maxHeaderListSize: 16_384,
  headerTableSize: 4_096,
  maxConcurrentStreams: 100,
  minPingIntervalMs: 0,
};
const EMPTY = Buffer.alloc(0);
const REQUEST_BLOCK = fieldBlock(REQUEST);

const times = (count: number, one: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => one(index)));
const message = (size: number, flag = 0): Buffer =>
  Buffer.concat([Buffer.from([flag]), numbers(size), Buffer.alloc(size)]);
const data = (id: number, payload: Buffer, flags = 0): Buffer => frame(FRAME.data, flags, id, payload);
/** DATA frames of at most 16 KiB. */
const body = (id: number, payload: Buffer, isEnd = true): Buffer =>
  times(Math.ceil(payload.length / 16_384), (index) => {
    const end = (index + 1) * 16_384;
    return data(id, payload.subarray(end - 16_384, end), isEnd && end >= payload.length ? FLAG.endStream : 0);
  });
/** HEADERS of a request that has a body. */
const begin = (id: number): Buffer => frame(FRAME.headers, FLAG.endHeaders, id, REQUEST_BLOCK);
const request = (id: number, payload: Buffer = message(3)): Buffer => Buffer.concat([begin(id), body(id, payload)]);

/** A request as its user sees it. It is read at once, answered when it has ended, and released then, unless a test says otherwise. */
class Call {
  readonly events: string[] = [];
  readonly request: RequestStream;

  constructor(
    readonly stream: ServerStream,
    readonly block: HeaderBlock,
    isEnd: boolean,
    private readonly scene: Scene,
  ) {
    const handler = {
      message: ({ length }: Buffer): void => {
        this.events.push(`message ${String(length)}`);
        scene.onMessage(this);
      },
      ended: (): void => {
        this.events.push('ended');
        scene.onEnded(this);
      },
      unreadable: ({ problem }: { problem: string }): void => void this.events.push(problem),
      failed: ({ cause, details }: { cause: string; details: string }): void => {
        this.events.push(`${cause}: ${details}`);
        if (scene.releases) stream.release();
      },
      drained: (): void => void this.events.push('drained'),
    };
    const format = { maxMessageBytes: 4 * MiB, encoding: block.grpcEncoding };
    this.request = new RequestStream(stream, handler, format, isEnd);
    if (scene.reads) this.request.request(Infinity);
  }

  head(): void {
    this.write(HEAD, (bound, write) => this.stream.head(bound, write));
  }

  answer(size = 3): void {
    this.head();
    this.stream.send(Buffer.alloc(size));
    this.trailers();
  }

  trailers(fields = OK): void {
    this.write(fields, (bound, write) => this.stream.trailers(bound, write));
    if (this.scene.releases) this.stream.release();
  }

  private write(fields: string[], pass: (bound: number, write: (target: Buffer, at: number) => number) => void): void {
    pass(encodedBound(fields), (target, at) => encodeFields(target, at, fields));
  }
}

/** A server's connection, and the client at its other end, which writes bytes and reads frames. */
class Scene implements ServerOwner {
  readonly connection: ServerConnection;
  readonly calls: Call[] = [];
  /** Frames that the client has received, as text. */
  frames: string[] = [];
  end: ConnectionEnd | undefined;
  pauses = 0;
  /** What the end of the memory has cost. */
  readonly protections = new Set<string>();
  wanted?: () => number;
  now = 1_000_000;
  /** True if calls read their requests at once, and if they are released when they have ended. */
  reads = true;
  releases = true;
  /** True if the client acknowledges PINGs. */
  pongs = true;
  onMessage: (call: Call) => void = () => undefined;
  onEnded: (call: Call) => void = (call) => call.answer();
  onRequest: (call: Call) => StreamReceiver = (call) => call.request;
  private readonly decoder = new HpackDecoder(0, MiB);
  private readonly reader = new FrameReader(0, (received) => this.read(received));
  private replies: Buffer[] = [];

  constructor(limits: Partial<typeof SETTINGS> = {}, memory = new MemoryBudget(128 * MiB)) {
    this.connection = new ServerConnection(this, { ...SETTINGS, ...limits }, { now: () => this.now }, memory);
  }

  /** A connection whose client has sent its preface, and `pairs` as its settings. */
  static started(
    limits: Partial<typeof SETTINGS> = {},
    pairs: readonly (readonly [number, number])[] = [],
    memory?: MemoryBudget,
  ): Scene {
    const scene = new Scene(limits, memory);
    scene.send(PREFACE, settings(...pairs));
    scene.frames = [];
    return scene;
  }

  /** Passes bytes of the client, and what the server writes, until neither has more to say. */
  send(...bytes: readonly Buffer[]): void {
    const sent = Buffer.concat(bytes);
    this.connection.receive(Buffer.from(sent));
    for (let turn = 0; turn < 100_000; turn++) {
      const mayRead = this.connection.resume();
      this.take();
      const replies = this.replies.splice(0);
      if (replies.length === 0 && mayRead) return;
      this.connection.receive(Buffer.concat(replies));
    }
    throw new Error('the connection does not become quiet');
  }

  /** Reads what the server has written. */
  take(): void {
    const output = Buffer.concat(this.connection.takeOutput());
    this.connection.taken(true, false);
    this.reader.read(output);
  }

  call(index: number): Call {
    const call = this.calls[index];
    if (call === undefined) throw new Error(`no call ${String(index)}`);
    return call;
  }

  private read({ type, flags, stream, payload }: ReadFrame): void {
    const end = (flags & FLAG.endStream) === 0 || type > FRAME.headers ? '' : ' END';
    const isAck = (flags & FLAG.ack) !== 0;
    switch (type) {
      case FRAME.headers: {
        const { status, grpcStatus } = this.decoder.decode(payload, 0, payload.length);
        this.frames.push(`HEADERS ${String(stream)} ${String(status ?? grpcStatus)}${end}`);
        return;
      }
      case FRAME.data:
        this.frames.push(`DATA ${String(stream)} ${String(payload.length)}${end}`);
        return;
      case FRAME.ping:
        if (isAck) this.frames.push('PONG');
        else if (this.pongs) this.replies.push(ping(payload, FLAG.ack));
        return;
      case FRAME.settings:
        this.frames.push(isAck ? 'SETTINGS ACK' : 'SETTINGS');
        return;
      case FRAME.reset:
        this.frames.push(`RST ${String(stream)} ${String(payload.readUInt32BE(0))}`);
        return;
      case FRAME.goaway:
        this.frames.push(`GOAWAY ${String(payload.readUInt32BE(0))} ${String(payload.readUInt32BE(4))}`);
        return;
      case FRAME.windowUpdate:
        this.frames.push(`WINDOW_UPDATE ${String(stream)} ${String(payload.readUInt32BE(0))}`);
    }
  }

  // ── the owner of the connection ──

  wake(): void {}
  settingsReceived(): void {}
  goawayReceived(): void {}
  memoryUsedUp(protection: string): void {
    this.protections.add(protection);
  }
  request(stream: ServerStream, block: HeaderBlock, isEnd: boolean): StreamReceiver {
    const call = new Call(stream, block, isEnd, this);
    this.calls.push(call);
    return this.onRequest(call);
  }
  pause(): void {
    this.pauses += 1;
  }
  ended(end: ConnectionEnd): void {
    this.end = end;
  }
}

describe('a call', () => {
  it('is answered by its head, its message, and its trailers in one write', () => {
    const scene = Scene.started();
    scene.connection.receive(request(1));
    expect(scene.connection.takeOutput()).toHaveLength(1);
    expect(scene.call(0).events).toEqual(['message 3', 'ended']);
    expect([scene.connection.openStreams, scene.connection.heldBytes, scene.end]).toEqual([0, 0, undefined]);
  });

  it('sends its trailers after the messages that wait for the window', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 10]]);
    scene.onEnded = (call) => call.answer(20);
    scene.send(request(1));
    expect(scene.frames).toEqual(['HEADERS 1 200', 'DATA 1 10']);
    scene.send(windowUpdate(1, 100));
    expect(scene.frames.slice(2)).toEqual(['DATA 1 15', 'HEADERS 1 0 END']);
    expect(scene.connection.openStreams).toBe(0);
  });

  it('that is answered before its request has ended tells the client to send no more', () => {
    const scene = Scene.started();
    scene.onMessage = (call) => call.trailers([...HEAD, ...OK]);
    scene.send(begin(1), data(1, message(3)), data(1, message(3)));
    expect(scene.frames).toEqual(['HEADERS 1 200 END', 'RST 1 0']);
    expect([scene.call(0).events, scene.end]).toEqual([['message 3'], undefined]);
  });

  it('may end with trailers of the client', () => {
    const scene = Scene.started();
    scene.send(begin(1), data(1, message(3)), headers(1, { 'x-sum': '1' }, FLAG.endStream));
    expect(scene.call(0).events).toEqual(['message 3', 'ended']);
  });

  it('gets as many messages as it has requested, and its end after the last', () => {
    const scene = Scene.started();
    scene.reads = false;
    scene.send(
      begin(1),
      body(
        1,
        times(5, () => message(3)),
      ),
    );
    const { request: messages, events } = scene.call(0);
    messages.request(2);
    expect(events).toEqual(['message 3', 'message 3']);
    messages.request(1);
    messages.request(2);
    expect(events.slice(2)).toEqual(['message 3', 'message 3', 'message 3', 'ended']);
  });

  it('without a body ends when it is read', () => {
    const scene = Scene.started();
    scene.reads = false;
    scene.send(headers(1, REQUEST, FLAG.endStream));
    expect(scene.call(0).events).toEqual([]);
    scene.call(0).request.request(1);
    expect(scene.call(0).events).toEqual(['ended']);
  });

  it('ends after all messages if each one is requested while the previous one is taken', () => {
    const scene = Scene.started();
    scene.reads = false;
    scene.onMessage = (call) => call.request.request(1);
    scene.send(begin(1), data(1, Buffer.concat([message(1), message(2), message(3)]), FLAG.endStream));
    scene.call(0).request.request(1);
    expect(scene.call(0).events).toEqual(['message 1', 'message 2', 'message 3', 'ended']);
  });

  it('is told when the client cancels it, and that the connection has ended, once', () => {
    const scene = Scene.started();
    scene.send(begin(1), begin(3), reset(1, 8));
    scene.connection.lost('gone', undefined);
    expect(scene.calls.map(({ events }) => events)).toEqual([['reset: reset by the peer with code 8'], ['lost: gone']]);
    expect(scene.connection.heldBytes).toBe(0);
  });

  it('knows the largest header list that the client accepts', () => {
    const scene = Scene.started({}, [[SETTING.maxHeaderListSize, 8_192]]);
    scene.send(begin(1));
    expect(scene.call(0).stream.maxHeaderListSize).toBe(8_192);
  });

  it('ends even if its trailers contain characters that no header has', () => {
    const scene = Scene.started();
    scene.onEnded = (call) => call.trailers([...HEAD, 'grpc-status', '5', 'grpc-message', 'lone \ud800']);
    scene.send(request(1));
    expect([scene.frames, scene.connection.openStreams]).toEqual([['HEADERS 1 200 END'], 0]);
  });

  it.each<[string, (scene: Scene) => void]>([
    ['takes the request', (scene) => (scene.onRequest = fail)],
    ['reads a message', (scene) => (scene.onMessage = fail)],
    ['reads the end', (scene) => (scene.onEnded = fail)],
  ])('whose user throws when it %s costs no other call', async (_when, prepare) => {
    const thrown: unknown[] = [];
    const onError = (error: unknown): void => void thrown.push(error);
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', onError);
    onTestFinished(() => {
      process.off('uncaughtException', onError);
      for (const other of others) process.on('uncaughtException', other);
    });
    const scene = Scene.started();
    scene.send(begin(1));
    prepare(scene);
    scene.send(request(3));
    await new Promise(setImmediate);
    expect(thrown).toEqual([new Error('of the user')]);
    expect(scene.frames).toEqual(['RST 3 2']);
    scene.onMessage = () => undefined;
    scene.onEnded = (call) => call.answer();
    scene.send(body(1, message(5)));
    expect(scene.call(0).events).toEqual(['message 5', 'ended']);
  });

  function fail(): never {
    throw new Error('of the user');
  }
});

describe('a request that violates the protocol', () => {
  const without = (name: string): [string, string][] => Object.entries(REQUEST).filter(([key]) => key !== name);
  const cases: [string, Buffer][] = [
    ['without :method', headers(1, without(':method'))],
    ['without :scheme', headers(1, without(':scheme'))],
    ['without :path', headers(1, without(':path'))],
    ['with an empty :path', headers(1, { ...REQUEST, ':path': '' })],
    ['with :status', headers(1, { ':status': '200', ...REQUEST })],
    ['with an unknown pseudo-header field', headers(1, { ':x': '1', ...REQUEST })],
    ['with a pseudo-header field after others', headers(1, [...without(':path'), [':path', '/']])],
    ['with two paths', headers(1, [[':path', '/'], ...Object.entries(REQUEST)])],
    ['with upper case', headers(1, { ...REQUEST, 'X-Upper': '1' })],
    ['with a field of HTTP/1', headers(1, { ...REQUEST, connection: 'close' })],
    ['with te other than trailers', headers(1, { ...REQUEST, te: 'gzip' })],
    ['with two fields te', headers(1, [...without('te'), ['te', 'gzip'], ['te', 'trailers']])],
    [
      'with two sizes of its body',
      headers(1, [...Object.entries(REQUEST), ['content-length', '5'], ['content-length', '6']]),
    ],
    ['with content-length that is no number', headers(1, { ...REQUEST, 'content-length': '-1' })],
    ['with content-length and no body', headers(1, { ...REQUEST, 'content-length': '1' }, FLAG.endStream)],
    [
      'longer than content-length',
      Buffer.concat([headers(1, { ...REQUEST, 'content-length': '7' }), body(1, message(3))]),
    ],
    [
      'shorter than content-length',
      Buffer.concat([headers(1, { ...REQUEST, 'content-length': '9' }), body(1, message(3))]),
    ],
    ['with trailers that do not end it', Buffer.concat([begin(1), headers(1, { x: '1' })])],
    ['with a pseudo-header field in trailers', Buffer.concat([begin(1), headers(1, { ':path': '/' }, 1)])],
    ['with a window above 2^31-1', Buffer.concat([begin(1), windowUpdate(1, 2 ** 31 - 1)])],
    ['with a window update of 0', Buffer.concat([begin(1), windowUpdate(1, 0)])],
    ['with DATA after its end', Buffer.concat([headers(1, REQUEST, 1), data(1, message(0))])],
    ['with HEADERS after its end', Buffer.concat([headers(1, REQUEST, 1), headers(1, { x: '1' }, 1)])],
  ];

  it.each(cases)('is reset and costs no other call: %s', (_what, bytes) => {
    const scene = Scene.started();
    scene.onEnded = () => undefined;
    scene.send(bytes);
    expect(scene.frames.filter((text) => /^RST 1 [135]$/.test(text))).toHaveLength(1);
    scene.onEnded = (call) => call.answer();
    scene.send(request(3));
    expect(scene.frames.slice(-3)).toEqual(['HEADERS 3 200', 'DATA 3 8', 'HEADERS 3 0 END']);
    expect([scene.end, scene.connection.openStreams, scene.connection.heldBytes]).toEqual([undefined, 0, 0]);
  });

  it('is passed on, marked as too large, if its header list exceeds the limit', () => {
    const scene = Scene.started();
    scene.send(headers(1, { ...REQUEST, 'x-long': 'x'.repeat(16_200) }, FLAG.endStream));
    expect([scene.call(0).block.isTooLarge, scene.end]).toEqual([true, undefined]);
  });
});

describe('the client ends the connection', () => {
  const list = begin(1);
  const inserted = Buffer.concat([
    fieldBlock(REQUEST),
    Buffer.from([0x40, 1, 0x78, 0x7f, 0x81, 0x1e]),
    Buffer.alloc(3_968, 0x79),
  ]);
  const attacks: [string, RegExp, Buffer][] = [
    ['by PUSH_PROMISE', /PUSH_PROMISE, which this side does not allow/, frame(FRAME.pushPromise, 4, 1, numbers(2))],
    ['by a stream of the server', /HEADERS on a stream of the server/, begin(2)],
    ['by a stream that it has skipped', /HEADERS on a skipped stream/, Buffer.concat([begin(5), begin(3)])],
    ['by HEADERS on a closed stream', /HEADERS on a closed stream/, Buffer.concat([request(1), begin(1)])],
    ['by DATA on a closed stream', /DATA on a closed stream/, Buffer.concat([request(1), data(1, message(0))])],
    ['by DATA on an idle stream', /DATA on an idle stream/, data(1, message(0))],
    [
      'by a stream that depends on itself',
      /depends on itself/,
      frame(FRAME.priority, 0, 1, Buffer.concat([numbers(1), Buffer.alloc(1)])),
    ],
    [
      'by a header list that grows when decoded',
      /a header list of \d+ bytes/,
      frame(FRAME.headers, 4, 1, Buffer.concat([inserted, Buffer.alloc(500, 0xbe)])),
    ],
    [
      'by many CONTINUATION frames',
      /a header block of \d+ bytes in \d+ frames/,
      Buffer.concat([frame(FRAME.headers, 0, 1, EMPTY), times(50, () => frame(FRAME.continuation, 0, 1, EMPTY))]),
    ],
    [
      'by empty DATA',
      /too many frames without an effect \(DATA\)/,
      Buffer.concat([list, times(10_100, () => data(1, EMPTY))]),
    ],
    [
      'by PRIORITY',
      /too many frames without an effect \(PRIORITY\)/,
      times(10_100, () => frame(FRAME.priority, 0, 1, Buffer.alloc(5))),
    ],
    ['by unknown frames', /too many frames without an effect \(type 99\)/, times(10_100, () => frame(99, 0, 0, EMPTY))],
    ['by GOAWAY', /too many frames without an effect \(GOAWAY\)/, times(10_100, () => goaway(0, 0))],
    [
      'by PINGs that it does not read the answers of',
      /the peer sends more than it reads/,
      times(1_100, () => ping(Buffer.alloc(8))),
    ],
  ];

  it.each(attacks)('%s, and the end names the limit or the rule', (_how, text, bytes) => {
    const scene = Scene.started();
    scene.onEnded = (call) => call.answer();
    scene.reads = false;
    scene.onRequest = (call) => {
      call.request.request(1);
      return call.request;
    };
    scene.connection.receive(bytes);
    expect(scene.end?.details).toMatch(text);
    expect(scene.end?.isPeersFault).toBe(true);
    scene.take();
    expect(scene.frames.at(-1)).toMatch(/^GOAWAY \d+ ([135]|11)$/);
  });

  it.each([
    [
      'HTTP/1',
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      /HTTP\/1/,
      /^HTTP\/1\.1 505 .*and the client has sent HTTP\/1\.\n$/s,
    ],
    ['TLS', Buffer.from([0x16, 3, 1, 0, 5, 1]), /TLS/, /./s],
    [
      'the PROXY protocol, version 1,',
      Buffer.concat([Buffer.from('PROXY TCP4 10.0.0.1 10.0.0.2 40000 50051\r\n'), PREFACE]),
      /^the load balancer sends the PROXY protocol, /,
      /the PROXY protocol/,
    ],
    [
      'the PROXY protocol, version 2,',
      // A connection that the load balancer itself opens, such as a health check.
      Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n\x20\0\0\0', 'latin1'), PREFACE]),
      /^the load balancer sends the PROXY protocol, /,
      /the PROXY protocol/,
    ],
    ['something else', Buffer.from('hello'), /preface/, /./s],
  ])('by %s instead of the preface', (_what, bytes, details, answer) => {
    const scene = new Scene();
    scene.connection.receive(bytes);
    expect(scene.end?.details).toMatch(details);
    const output = Buffer.concat(scene.connection.takeOutput()).toString('latin1');
    expect(output).toMatch(answer);
    // SETTINGS come before GOAWAY.
    if (!output.startsWith('HTTP')) expect(output.charCodeAt(3)).toBe(FRAME.settings);
  });

  it('by DATA beyond the window of the connection', () => {
    // Above a quarter of the limit, there is no window for what is not read.
    const scene = Scene.started({ connectionWindow: 65_535 }, [], new MemoryBudget(170_000));
    scene.reads = false;
    scene.send(begin(1), body(1, message(40_000), false), begin(3), body(3, message(60_000)));
    expect(scene.end?.details).toBe('DATA beyond the connection window');
  });

  it('by a preface byte by byte, not', () => {
    const scene = new Scene();
    for (const byte of Buffer.concat([PREFACE, settings(), request(1)])) scene.connection.receive(Buffer.from([byte]));
    expect(scene.call(0).events).toEqual(['message 3', 'ended']);
  });

  it('by changes of the window that cost time for many streams', () => {
    const scene = Scene.started({ maxConcurrentStreams: 10_000 });
    scene.onEnded = () => undefined;
    scene.send(times(6_400, (index) => begin(2 * index + 1)));
    const many = settings(...Array.from({ length: 32 }, (_, index) => [SETTING.initialWindowSize, index] as const));
    scene.send(times(50, () => many));
    expect(scene.end).toBeUndefined();
    scene.send(times(60, () => many));
    expect(scene.end?.details).toBe('too many frames without an effect (SETTINGS)');
  });

  it('by changes of the window that the same frame takes back, not: only the last one is made', () => {
    const scene = Scene.started();
    scene.send(begin(1), windowUpdate(1, 1_000));
    scene.send(settings([SETTING.initialWindowSize, 2 ** 31 - 1], [SETTING.initialWindowSize, 65_535]));
    expect(scene.end).toBeUndefined();
  });

  it('by small window updates for a response that waits, not: a client with a small window sends them', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 0]]);
    scene.onEnded = (call) => call.answer(20_000);
    scene.send(request(1));
    scene.send(times(20_005, () => windowUpdate(1, 1)));
    expect([scene.end, scene.frames.at(-1)]).toEqual([undefined, 'HEADERS 1 0 END']);
  });

  it.each([
    [0, 5, undefined],
    [1_000, 3, undefined],
    [1_000, 4, 'too_many_pings'],
  ])('by PINGs below a minimum interval of %d ms: %d', (minPingIntervalMs, count, details) => {
    const scene = Scene.started({ minPingIntervalMs });
    for (let i = 0; i < count; i++) scene.send(ping(Buffer.alloc(8)));
    expect(scene.end?.details).toBe(details);
  });

  it('by PINGs beside responses, not', () => {
    const scene = Scene.started({ minPingIntervalMs: 1_000 });
    for (let i = 0; i < 20; i++) scene.send(request(2 * i + 1), ping(Buffer.alloc(8)));
    expect(scene.end).toBeUndefined();
  });
});

describe('the limit of streams', () => {
  it('refuses 2,000 calls of a client that does not know it yet, and serves the others', () => {
    const scene = Scene.started();
    scene.onEnded = () => undefined;
    scene.send(times(2_000, (index) => request(2 * index + 1)));
    expect(scene.frames.filter((text) => text.endsWith(' 7'))).toHaveLength(1_900);
    expect([scene.calls.length, scene.end]).toEqual([100, undefined]);
    for (const call of scene.calls) call.answer();
    scene.send(request(4_001));
    expect([scene.calls.length, scene.connection.openStreams]).toEqual([101, 1]);
  });

  it('reads of the header block of a refused call only what later ones refer to, and trailers of others as usual', () => {
    const scene = Scene.started({ maxConcurrentStreams: 1 });
    const insertsPath = Buffer.concat([Buffer.from([0x40]), fieldBlock({ ':path': '/inserted' }).subarray(1)]);
    const rest = fieldBlock({ ':method': 'POST', ':scheme': 'http', ':authority': 'x', te: 'trailers' });
    const block = (path: Buffer): Buffer => Buffer.concat([path, rest]);
    scene.send(begin(1), frame(FRAME.headers, FLAG.endHeaders, 3, block(insertsPath)));
    scene.send(headers(1, { ':path': '/' }, FLAG.endStream));
    scene.send(frame(FRAME.headers, FLAG.endHeaders, 5, block(Buffer.from([0x80 | 62]))));
    expect(scene.frames).toEqual(['RST 3 7', 'RST 1 1']);
    expect(scene.call(1).block.path).toBe('/inserted');
  });

  it('hands out no more requests per turn than are wanted, and reads nothing while none is', () => {
    const scene = Scene.started();
    scene.wanted = () => 3;
    scene.connection.receive(Buffer.concat([times(10, (index) => request(2 * index + 1)), ping(Buffer.alloc(8))]));
    expect([scene.calls.length, scene.pauses]).toEqual([3, 1]);
    scene.wanted = () => 0;
    // The client cannot be asked to complete what is not read.
    scene.connection.receive(frame(FRAME.ping, 0, 0, Buffer.alloc(8)).subarray(0, 12));
    expect([scene.connection.resume(), scene.calls.length, scene.connection.awaited]).toEqual([false, 3, undefined]);
    scene.wanted = () => Infinity;
    expect([scene.connection.resume(), scene.calls.length]).toEqual([true, 10]);
    scene.take();
    expect(scene.frames).toContain('PONG');
    expect(scene.connection.awaited).toMatch(/^frame/);
  });

  it('hands out few requests per turn, and reads no more until the next', () => {
    const scene = Scene.started({ maxConcurrentStreams: 2_000 });
    scene.connection.receive(times(1_500, (index) => request(2 * index + 1)));
    expect([scene.calls.length, scene.pauses]).toEqual([128, 1]);
    let turns = 1;
    while (!scene.connection.resume()) turns += 1;
    expect([scene.calls.length, turns]).toEqual([1_500, 11]);
    // The last request of a slice may be incomplete when the slice ends.
    expect(scene.calls.every(({ events }) => events.join() === 'message 3,ended')).toBe(true);
  });
});

describe('cancelled calls', () => {
  const cancelled = (count: number, from = 0): Buffer =>
    times(count, (index) => {
      const id = 2 * (from + index) + 1;
      return Buffer.concat([begin(id), reset(id, 8)]);
    });

  it('cost only themselves, even if 10,000 are cancelled at once', () => {
    const scene = Scene.started({ maxConcurrentStreams: 20_000 });
    scene.send(times(10_000, (index) => begin(2 * index + 1)));
    scene.send(times(10_000, (index) => reset(2 * index + 1, 8)));
    scene.send(request(20_001));
    expect([scene.frames.slice(-1), scene.end]).toEqual([['HEADERS 20001 0 END'], undefined]);
  });

  it('whose users still work make the connection refuse new calls, until they have ended', () => {
    const scene = Scene.started();
    scene.releases = false;
    scene.send(cancelled(101), request(301));
    expect([scene.calls.length, scene.frames.at(-1)]).toEqual([101, 'RST 301 7']);
    scene.call(0).stream.release();
    scene.send(request(303));
    expect([scene.calls.length, scene.end]).toEqual([102, undefined]);
  });

  it('end the connection far beyond what the limit of streams explains', () => {
    const scene = Scene.started();
    scene.send(cancelled(50_000));
    expect(scene.end).toBeUndefined();
    scene.send(cancelled(10, 50_000));
    expect(scene.end).toMatchObject({ code: 11, details: 'more than 50000 cancelled or refused calls' });
  });

  it('leave the connection alone at 14,000 per second', () => {
    const scene = Scene.started();
    for (let tenths = 0; tenths < 100 && scene.end === undefined; tenths++) {
      scene.now += 100;
      scene.send(cancelled(1_400, 1_400 * tenths));
      scene.calls.length = 0;
    }
    scene.send(request(280_001));
    expect([scene.frames.at(-1), scene.end]).toEqual(['HEADERS 280001 0 END', undefined]);
  });

  it('that this side resets because of violations end the connection sooner', () => {
    const scene = Scene.started();
    scene.send(times(501, (index) => Buffer.concat([begin(2 * index + 1), windowUpdate(2 * index + 1, 0)])));
    expect(scene.end?.details).toMatch('more than 50000 cancelled or refused calls');
  });

  it('may still be sent to until the client has acknowledged a PING', () => {
    const scene = Scene.started();
    scene.onMessage = ({ stream }) => stream.cancel(11);
    scene.pongs = false;
    scene.send(begin(1), data(1, message(3)));
    scene.send(data(1, message(3)), windowUpdate(1, 10), headers(1, { x: '1' }, FLAG.endStream));
    expect([scene.frames, scene.end]).toEqual([['RST 1 11'], undefined]);
    // Of the frames above, the client has sent nothing later.
    scene.send(ping(Buffer.concat([numbers(0x67727063), numbers(1)]), FLAG.ack));
    scene.send(data(1, message(3)));
    expect(scene.end?.details).toBe('DATA on a closed stream');
  });

  it('give back the window of what they had not read', () => {
    const scene = Scene.started({ connectionWindow: 65_535 });
    scene.reads = false;
    for (let id = 1; id < 20; id += 2) scene.send(begin(id), body(id, message(40_000), false), reset(id, 8));
    expect(scene.end).toBeUndefined();
  });
});

describe('a drain', () => {
  it('serves what the client has sent before it knew, then names the last stream, and ends with it', () => {
    const scene = Scene.started();
    scene.send(begin(1));
    scene.pongs = false;
    scene.connection.drain('drain');
    scene.send(request(3));
    expect(scene.frames[0]).toBe(`GOAWAY ${String(2 ** 31 - 1)} 0`);
    expect(scene.call(1).events).toEqual(['message 3', 'ended']);
    scene.send(ping(Buffer.concat([numbers(0x67727063), numbers(1)]), FLAG.ack));
    expect(scene.frames.at(-1)).toBe('GOAWAY 3 0');
    // Requests and their bodies may be on their way. What the client gives up later is none of them.
    scene.send(begin(5), data(5, message(3)), reset(5, 8));
    expect([scene.calls.length, scene.end]).toEqual([2, undefined]);
    scene.send(body(1, message(1)));
    expect(scene.end).toMatchObject({ code: 0, isPeersFault: false });
  });

  it('does not tolerate new requests after the client has acknowledged the last GOAWAY', () => {
    const scene = Scene.started();
    scene.send(begin(1));
    scene.connection.drain('drain');
    scene.send(EMPTY);
    expect(scene.frames).toEqual([`GOAWAY ${String(2 ** 31 - 1)} 0`, 'GOAWAY 1 0']);
    scene.send(begin(3));
    expect(scene.end?.details).toMatch('above the last stream id');
  });

  it('ends at once if there is no call, or no client yet', () => {
    const scene = Scene.started();
    scene.connection.drain('drain');
    scene.send(EMPTY);
    expect(scene.end?.code).toBe(0);
    const silent = new Scene();
    silent.connection.drain('drain');
    silent.take();
    expect(silent.frames).toEqual(['SETTINGS', 'WINDOW_UPDATE 0 983041', 'GOAWAY 0 0']);
  });

  it('sends its settings before a PING, even if the client has not begun yet, and only once', () => {
    const silent = new Scene();
    silent.connection.ping(() => silent.frames.push('acknowledged'));
    silent.take();
    silent.send(PREFACE, settings());
    expect(silent.frames).toEqual(['SETTINGS', 'WINDOW_UPDATE 0 983041', 'SETTINGS ACK', 'acknowledged']);
  });
});

describe('memory', () => {
  it('of unread uploads does not hold up other requests, until it is a quarter of the limit', () => {
    const scene = Scene.started({ connectionWindow: 65_535 }, [], new MemoryBudget(16 * MiB));
    scene.reads = false;
    for (let id = 1; id < 64; id += 2) scene.send(begin(id), body(id, message(60_000), false));
    scene.reads = true;
    scene.send(request(99));
    expect(scene.calls.at(-1)?.events).toEqual(['message 3', 'ended']);
    expect(scene.connection.heldBytes).toBeGreaterThan(2 * MiB);
  });

  it.each([
    ['fields', Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`a${String(index)}`, ''])), 200 * 128],
    ['values in a binary field', { 'x-bin': ','.repeat(3_000) }, 3_000 * 200],
  ])('of many small %s is counted', (_, fields, bytes) => {
    const scene = Scene.started();
    scene.onEnded = () => undefined;
    scene.send(headers(1, { ...REQUEST, ...fields }, FLAG.endHeaders));
    expect(scene.connection.heldBytes).toBeGreaterThan(bytes);
  });

  it('of input that arrives while output is blocked is bounded, and the input is read when the output has drained', () => {
    const scene = Scene.started({ maxConcurrentStreams: 1_000 });
    const [large, pauses] = [Buffer.alloc(60_000), scene.pauses];
    scene.onEnded = () => undefined;
    for (let id = 1; id < 12; id += 2) scene.send(request(id));
    scene.connection.taken(false, true);
    for (const { stream } of scene.calls) stream.head(60_100, (target, at) => at + large.copy(target, at));
    scene.connection.takeOutput();
    scene.connection.taken(false, true);
    scene.connection.receive(request(21));
    expect([scene.calls.length, scene.pauses]).toEqual([6, pauses + 1]);
    expect(scene.connection.awaited).toBeUndefined();
    scene.connection.drained();
    scene.connection.resume();
    expect(scene.calls).toHaveLength(7);
  });

  it('of messages that nobody reads is bounded by the windows, however small the messages are', () => {
    const scene = Scene.started({ connectionWindow: 100_000 });
    scene.reads = false;
    scene.send(
      begin(1),
      body(
        1,
        times(13_000, () => message(0)),
        false,
      ),
    );
    scene.send(
      begin(3),
      body(
        3,
        times(6_000, () => message(0)),
        false,
      ),
    );
    expect(scene.frames).toEqual(['WINDOW_UPDATE 0 65000']);
    expect(scene.connection.heldBytes).toBeLessThan(117_000);
    const [first] = scene.calls;
    first?.request.request(Infinity);
    scene.send(EMPTY);
    expect(first?.events).toHaveLength(13_000);
    expect(scene.frames).toEqual(['WINDOW_UPDATE 0 65000', 'WINDOW_UPDATE 1 65000']);
  });

  it('of unfinished messages is bounded, and one of them always gets on', () => {
    const scene = Scene.started({}, [], new MemoryBudget(16 * MiB));
    scene.onEnded = (call) => call.answer();
    const windows = new Map<number, number>();
    const sent = new Map<number, number>();
    const upload = message(1_000_000);
    let largest = 0;
    for (let id = 1; id < 80; id += 2) {
      scene.send(begin(id));
      windows.set(id, 65_535);
      sent.set(id, 0);
    }
    for (let round = 0; round < 10_000 && scene.frames.filter((text) => text.endsWith('0 END')).length < 40; round++) {
      for (const [id, window] of windows) {
        const from = sent.get(id) ?? 0;
        const end = Math.min(from + 16_384, from + window, upload.length);
        if (end === from) continue;
        scene.frames = scene.frames.filter((text) => text.endsWith('0 END'));
        scene.send(data(id, upload.subarray(from, end), end === upload.length ? FLAG.endStream : 0));
        sent.set(id, end);
        windows.set(id, window - (end - from));
        for (const text of scene.frames) {
          const [, stream, more] = /^WINDOW_UPDATE (\d+) (\d+)$/.exec(text) ?? [];
          if (Number(stream) > 0) windows.set(Number(stream), (windows.get(Number(stream)) ?? 0) + Number(more));
        }
        largest = Math.max(largest, scene.connection.heldBytes);
      }
    }
    expect(scene.calls.map(({ events }) => events.join())).toEqual(Array(40).fill('message 1000000,ended'));
    expect(largest).toBeGreaterThan(4 * MiB);
    expect(largest).toBeLessThan(16 * MiB);
    expect([scene.connection.heldBytes, scene.connection.openStreams]).toEqual([0, 0]);
  });

  it('above the limit costs the call that holds most, and as many as bring it to seven eighths', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 0]], new MemoryBudget(MiB));
    scene.onEnded = (call) => call.answer([100_000, 500_000, 100_000, 400_000][(call.stream.id - 1) / 2]);
    scene.send(request(1), request(3), request(5));
    expect(scene.frames.filter((text) => text.startsWith('RST'))).toEqual([]);
    scene.send(request(7));
    expect(scene.frames.filter((text) => text.startsWith('RST'))).toEqual(['RST 3 7']);
    expect(scene.call(1).events.at(-1)).toBe(
      `protocol: the connections of this process hold more than ${String(MiB)} bytes`,
    );
    expect(scene.connection.heldBytes).toBeLessThan(700_000);
  });

  it('of open streams is bounded: further requests are refused, whatever their number, and those before go on', () => {
    const scene = Scene.started({ maxConcurrentStreams: 100_000 }, [], new MemoryBudget(2 * MiB));
    const refused = (): string[] => scene.frames.filter((text) => text.endsWith(' 7'));
    scene.send(times(300, (index) => begin(2 * index + 1)));
    expect(scene.frames.filter((text) => text.startsWith('RST'))).toEqual(refused());
    const begun = scene.calls.length;
    expect(begun).toBeGreaterThan(100);
    expect(begun + refused().length).toBe(300);
    scene.send(times(60_000, (index) => begin(2 * index + 601)));
    expect([scene.calls.length, scene.end]).toEqual([begun, undefined]);
    expect([...scene.protections]).toEqual(['memory-refused']);
    for (const call of scene.calls.slice(0, 60)) scene.send(body(call.stream.id, message(3)));
    scene.send(request(200_001));
    expect(scene.calls.at(-1)?.events).toEqual(['message 3', 'ended']);
  });

  it('that one connection has used up does not keep others from a few further streams', () => {
    const memory = new MemoryBudget(2 * MiB);
    const [proxy, idle] = [Scene.started({}, [], memory), Scene.started({ maxConcurrentStreams: 1_000 }, [], memory)];
    proxy.send(times(60, (index) => begin(2 * index + 1)));
    idle.send(times(300, (index) => begin(2 * index + 1)));
    expect(idle.calls.length).toBeLessThan(140);
    for (let id = 201; id < 1_000; id += 2) proxy.send(request(id));
    expect(proxy.calls.filter(({ events }) => events.includes('ended'))).toHaveLength(400);
    proxy.send(times(40, (index) => begin(2 * index + 1_001)));
    expect(proxy.calls.length).toBeGreaterThan(460 + 10);
    expect(memory.usedBytes).toBeLessThan(2 * MiB);
  });

  it('of the reserve is shared by connections that come one after the other, and stays within the bound', () => {
    const memory = new MemoryBudget(8 * MiB);
    const scenes = Array.from({ length: 60 }, () => {
      const scene = Scene.started({ maxConcurrentStreams: 1_000 }, [], memory);
      scene.send(times(1_000, (index) => begin(2 * index + 1)));
      return scene;
    });
    expect(memory.usedBytes).toBeLessThanOrEqual(8 * MiB);
    const late = Scene.started({}, [], memory);
    for (let id = 1; id < 41; id += 2) late.send(request(id));
    expect(late.calls).toHaveLength(20);
    for (const { connection, calls } of [...scenes, late]) {
      connection.lost('gone', undefined);
      for (const { stream } of calls) stream.release();
    }
    expect(memory.usedBytes).toBe(0);
    expect(memory.takeReserve(late.connection, 2 * MiB)).toBe(true);
  });

  it('of the reserve costs at most one call whose handler goes on, however many requests are refused', () => {
    const memory = new MemoryBudget(2 * MiB);
    const greedy = Scene.started({ maxConcurrentStreams: 1_000 }, [], memory);
    greedy.releases = false;
    greedy.send(times(300, (index) => begin(2 * index + 1)));
    const late = Scene.started({}, [], memory);
    late.send(
      begin(1),
      times(100, (index) => begin(2 * index + 3)),
    );
    greedy.send(EMPTY);
    expect(greedy.calls.filter(({ events }) => events.length > 0).length).toBeLessThan(3);
    expect(memory.usedBytes).toBeLessThanOrEqual(2 * MiB);
  });

  it('of a call that was cancelled counts until its handler has ended, also after its connection', () => {
    const memory = new MemoryBudget(MiB);
    const scene = Scene.started({}, [], memory);
    scene.releases = false;
    scene.send(begin(1), reset(1, 8), begin(3));
    scene.connection.lost('gone', undefined);
    expect(memory.usedBytes).toBeGreaterThan(20_000);
    for (const { stream } of scene.calls) stream.release();
    expect([memory.usedBytes, scene.connection.heldBytes]).toEqual([0, 0]);
  });

  it('costs first the calls with which their clients do not go on', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 0]], new MemoryBudget(MiB));
    scene.onEnded = (call) => call.answer([130_000, 110_000, 400_000, 420_000][(call.stream.id - 1) / 2]);
    scene.send(request(1), request(3), request(5));
    scene.now += 2_000;
    scene.send(windowUpdate(5, 100));
    scene.send(request(7));
    expect(scene.frames.filter((text) => text.startsWith('RST'))).toEqual(['RST 1 7', 'RST 3 7']);
    expect([...scene.protections]).toEqual(['memory-shed']);
  });

  it('costs a call whose application has seen its message another code than one that can be sent again', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 0]], new MemoryBudget(300_000));
    scene.onEnded = (call) => {
      call.stream.isDelivered = true;
      call.answer(400_000);
    };
    scene.send(request(1));
    expect(scene.frames).toContain('RST 1 11');
  });

  it('counts what the user has got and keeps', () => {
    const scene = Scene.started();
    scene.send(begin(1));
    const before = scene.connection.heldBytes;
    scene.call(0).stream.keep(5_000, 300);
    expect(scene.connection.heldBytes).toBe(before + 5_300);
  });

  it('goes to the next message if the one whose turn it is does not go on for ten seconds', () => {
    const scene = Scene.started({ connectionWindow: 4 * MiB }, [], new MemoryBudget(MiB));
    const part = message(200_000).subarray(0, 60_000);
    const granted = (): number =>
      new Set(scene.frames.flatMap((text) => /^WINDOW_UPDATE [1-9]\d*/.exec(text) ?? [])).size;
    for (let id = 1; id < 15; id += 2) scene.send(begin(id), body(id, part, false));
    const before = granted();
    scene.now += 9_000;
    scene.send(ping(Buffer.alloc(8)));
    expect(granted()).toBe(before);
    scene.now += 2_000;
    scene.send(ping(Buffer.alloc(8)));
    expect(granted()).toBe(before + 1);
  });

  it('does not keep calls that end while their messages wait for a message that does not go on', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const scene = Scene.started({ connectionWindow: 4 * MiB }, [], new MemoryBudget(MiB));
    const part = message(200_000).subarray(0, 60_000);
    const ids = [1, 3, 5, 7, 9, 11, 13];
    const isGranted = (id: number): boolean =>
      scene.frames.some((text) => text.startsWith(`WINDOW_UPDATE ${String(id)} `));
    for (const id of ids) scene.send(begin(id), body(id, part, false));
    const waits = ids.findIndex((id) => !isGranted(id));
    const ended = new WeakRef(scene.call(waits).stream);
    scene.send(reset(ids[waits] ?? 0, 8));
    scene.calls.splice(waits, 1);
    await new Promise(setImmediate);
    collect();
    expect(ended.deref()).toBeUndefined();
  });

  it('of trailers that wait for the window counts', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 0]]);
    scene.onEnded = (call) => {
      call.head();
      call.stream.send(Buffer.alloc(10));
      call.trailers([...OK, 'x', 'y'.repeat(10_000)]);
    };
    scene.send(request(1));
    expect(scene.connection.heldBytes).toBeGreaterThan(18_000);
    scene.send(windowUpdate(1, 1_000));
    expect(scene.connection.heldBytes).toBe(0);
  });

  it('above the limit costs a call of the connection that holds most for each call that it has answered', () => {
    const memory = new MemoryBudget(MiB);
    const started = (): Scene => Scene.started({}, [[SETTING.initialWindowSize, 100]], memory);
    const [proxy, greedy] = [started(), started()];
    proxy.send(times(50, (index) => request(2 * index + 1)));
    proxy.frames = [];
    proxy.onEnded = (call) => call.answer(310_000);
    greedy.onEnded = (call) => call.answer(200_000);
    proxy.send(request(101), request(103));
    greedy.send(request(1), request(3));
    proxy.send(EMPTY);
    expect(proxy.frames.filter((text) => text.startsWith('RST'))).toEqual([]);
    expect(greedy.frames.filter((text) => text.startsWith('RST'))).toHaveLength(1);
    expect(memory.usedBytes).toBe(greedy.connection.heldBytes + proxy.connection.heldBytes);
    for (const { connection } of [greedy, proxy]) connection.lost('gone', undefined);
    expect(memory.usedBytes).toBe(0);
  });

  it('of incomplete header blocks counts, and costs connections that have no stream', () => {
    const memory = new MemoryBudget(150_000);
    const scenes = Array.from({ length: 4 }, () => Scene.started({}, [], memory));
    for (const scene of scenes)
      scene.send(
        times(3, (index) => frame(index === 0 ? FRAME.headers : FRAME.continuation, 0, 1, Buffer.alloc(16_000))),
      );
    expect(scenes.flatMap(({ end }) => end ?? [])).toMatchObject(Array(2).fill({ code: 11, isPeersFault: true }));
    expect(memory.usedBytes).toBeLessThan(150_000);
    for (const { connection } of scenes) connection.lost('gone', undefined);
    expect(memory.usedBytes).toBe(0);
  });

  it('of output that the client does not read is bounded, because nothing is read until it does', () => {
    const scene = Scene.started();
    scene.onEnded = (call) => call.trailers([...HEAD, 'grpc-status', '5', 'grpc-message', 'x'.repeat(5_000)]);
    let sentBytes = 0;
    for (let index = 0; index < 200; index++) {
      scene.connection.receive(request(2 * index + 1));
      sentBytes += Buffer.concat(scene.connection.takeOutput()).length;
      scene.connection.taken(false, true);
    }
    expect(sentBytes).toBeLessThan(400_000);
    scene.connection.drained();
    while (!scene.connection.resume()) scene.take();
    expect(scene.calls).toHaveLength(200);
  });

  // Fewer than 32 KiB would cost a frame and a turn for each message. What a client has no window for costs memory and time.
  it.each([
    ['32 KiB', 65_535, 1, 33],
    ['the window of a stream', 8_000, 1, 8],
    ['one message without a window', 0, 1, 1],
    ['a share of 2 MiB among many streams', 65_535, 1_000, 3],
  ])('of unsent messages is bounded per stream: %s', (_, initialWindow, streams, messages) => {
    const limits = { maxConcurrentStreams: 1_000 };
    const scene = Scene.started(limits, [[SETTING.initialWindowSize, initialWindow]], new MemoryBudget(1_024 * MiB));
    scene.onEnded = (call) => call.head();
    for (let index = 0; index < streams; index++) scene.send(request(2 * index + 1));
    const { stream, events } = scene.call(streams - 1);
    if (initialWindow > 0) stream.send(Buffer.alloc(initialWindow - 5));
    scene.take();
    let sent = 1;
    while (stream.send(Buffer.alloc(1_000))) sent += 1;
    expect(sent).toBe(messages);
    scene.send(windowUpdate(2 * streams - 1, 40_000), windowUpdate(0, 40_000));
    expect(events.at(-1)).toBe('drained');
  });

  it('lets senders of a connection that holds much wait with one message each', () => {
    const scene = Scene.started({}, [[SETTING.initialWindowSize, 65_535]], new MemoryBudget(64 * 1_024));
    scene.onEnded = (call) => call.head();
    scene.send(request(1), request(3));
    const [first, second] = scene.calls.map(({ stream }) => stream);
    first!.send(Buffer.alloc(65_530));
    scene.take();
    let sent = 0;
    while (first!.send(Buffer.alloc(1_000))) sent += 1;
    expect([sent > 8, sent < 16, second!.send(Buffer.alloc(1_000))]).toEqual([true, true, false]);
  });

  it('of requests that handlers have got counts until they are released, and admits one of any size', () => {
    const memory = new MemoryBudget(4 * MiB, 2);
    const scene = Scene.started({}, [], memory);
    scene.releases = false;
    scene.onEnded = () => undefined;
    scene.send(request(1), request(3), request(5));
    const [first, second, third] = scene.calls.map(({ stream }) => stream);
    const before = memory.usedBytes;
    expect([first!.deliver(2 * MiB), second!.deliver(4_000), third!.deliver(8_000)]).toEqual([true, true, false]);
    expect(memory.usedBytes - before).toBe(4 * MiB);
    expect([...scene.protections]).toEqual(['request-memory']);
    // Its handler goes on.
    scene.send(reset(1, 8));
    expect(third!.deliver(8_000)).toBe(false);
    first!.release();
    expect(third!.deliver(8_000)).toBe(true);
  });

  it('of windows grows with what the line carries, within the limit', () => {
    const scene = Scene.started({ connectionWindow: 2 * MiB }, [], new MemoryBudget(4 * MiB));
    scene.send(begin(1));
    let granted = 65_535;
    for (let round = 0; round < 300; round++) {
      scene.frames = [];
      scene.now += 1;
      scene.send(body(1, message(60_000), false));
      granted -= 60_005;
      for (const text of scene.frames) granted += Number(/^WINDOW_UPDATE 1 (\d+)$/.exec(text)?.[1] ?? 0);
    }
    expect(granted).toBeGreaterThan(65_535);
    expect(granted).toBeLessThanOrEqual(65_535 + MiB / 2);
  });
});

describe('a message', () => {
  it.each([
    ['compressed, without an encoding', 1, {}, 'compressed-flag'],
    ['compressed, with identity', 1, { 'grpc-encoding': 'identity' }, 'compressed-flag'],
    ['compressed, with gzip', 1, { 'grpc-encoding': 'gzip' }, 'message 3'],
    ['with an unknown flag', 2, { 'grpc-encoding': 'gzip' }, 'compressed-flag'],
  ])('%s, is passed on or refused: %s', (_what, flag, fields, event) => {
    const scene = Scene.started();
    scene.onEnded = () => undefined;
    scene.send(headers(1, { ...REQUEST, ...fields }), body(1, message(3, flag)));
    expect(scene.call(0).events[0]).toBe(event);
    scene.call(0).trailers();
    scene.send(EMPTY);
    expect(scene.connection.openStreams).toBe(0);
  });

  it('larger than the limit, or cut off by the end, is unreadable, and the call can be answered', () => {
    const scene = Scene.started();
    const tooLarge = Buffer.concat([Buffer.from([0]), numbers(5 * MiB)]);
    scene.send(begin(1), data(1, tooLarge), begin(3), data(3, message(9).subarray(0, 8), 1));
    expect(scene.calls.map(({ events }) => events)).toEqual([['too-large'], ['incomplete']]);
    for (const call of scene.calls) call.trailers([...HEAD, 'grpc-status', '8']);
    scene.send(EMPTY);
    expect(scene.frames).toEqual(['HEADERS 1 200 END', 'RST 1 0', 'HEADERS 3 200 END']);
  });
});

it('survives whatever users do inside any event, and ends each call once', () => {
  const actions: ((call: Call, scene: Scene) => void)[] = [
    () => undefined,
    (call) => call.head(),
    (call) => call.answer(),
    (call) => call.stream.send(Buffer.alloc(70_000)),
    (call) => call.trailers(),
    (call) => call.stream.cancel(2),
    (call) => call.stream.release(),
    (call) => call.request.request(1),
    (call) => call.request.stop(),
    (call) => call.stream.end(),
    (_call, scene) => scene.connection.drain('drain'),
    (_call, scene) => scene.connection.end(undefined, 0, 'by the user'),
    (_call, scene) => scene.connection.lost('by the user', undefined),
  ];
  const action = fc.nat({ max: actions.length - 1 });
  const bytes = fc.constantFrom<(id: number) => Buffer>(
    (id) => begin(id),
    (id) => request(id),
    (id) => data(id, message(10)),
    (id) => data(id, message(10), FLAG.endStream),
    (id) => reset(id, 8),
    (id) => windowUpdate(id, 50_000),
    () => windowUpdate(0, 50_000),
    () => settings([SETTING.initialWindowSize, 10]),
    () => goaway(0, 0),
  );
  const step = fc.tuple(bytes, fc.constantFrom(1, 3, 5, 7, 9));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.array(action, { maxLength: 60 }), (steps, chosen) => {
      const scene = Scene.started({ maxConcurrentStreams: 3 }, [], new MemoryBudget(200_000));
      const act = (call: Call): void => actions[chosen.pop() ?? 0]?.(call, scene);
      scene.onMessage = act;
      scene.onEnded = act;
      scene.onRequest = (call) => {
        act(call);
        return call.request;
      };
      for (const [write, id] of steps) scene.send(write(id));
      scene.connection.lost('the end', undefined);
      for (const { stream } of scene.calls) stream.release();
      for (const { events } of scene.calls) {
        const ends = events.filter((event) => /^(reset|lost|protocol)/.test(event));
        if (ends.length > 1 || (ends.length === 1 && events.at(-1) !== ends[0])) throw new Error(events.join());
      }
      return scene.connection.openStreams === 0 && scene.connection.heldBytes === 0;
    }),
    { numRuns: 2_000 },
  );
});
