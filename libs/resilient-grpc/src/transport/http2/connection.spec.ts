import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import { ResponseStream, type ResponseFailure } from '../grpc/response-stream.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import { HpackDecoder } from '../hpack/hpack-decoder.js';
import { encodedBound, encodeFields } from '../hpack/hpack-encoder.js';
import { ClientConnection } from './client-connection.js';
import type { ClientOwner, ConnectionEnd, Goaway } from './events.js';
import { FrameReader, type FrameHandler } from './frame-reader.js';
import { FrameWriter } from './frame-writer.js';
import { PREFACE, Setting } from './frames.js';
import type { StreamKind } from './http2-stream.js';

const REQUEST = [':method', 'POST', ':scheme', 'http', ':path', '/a.B/C', ':authority', 'x', 'te', 'trailers'];
const HEADERS = [':status', '200', 'content-type', 'application/grpc'];
const TRAILERS = ['grpc-status', '0'];
const SETTINGS = { streamWindow: 65_535, connectionWindow: 65_535, maxHeaderListSize: 16_384, headerTableSize: 0 };

/** What a call reports, as text. */
class Call {
  readonly events: string[] = [];
  readonly messages: Buffer[] = [];
  failure: ResponseFailure | undefined;
  drains = 0;
  /** Called when a message was passed on. */
  taken: () => void = () => undefined;
  readonly response: ResponseStream;

  constructor(connection: ClientConnection, isUnlimited = true, maxMessageBytes = 1_000_000, kind?: StreamKind) {
    this.response = new ResponseStream(
      {
        headers: () => void this.events.push('headers'),
        message: (message) => {
          this.events.push(`message ${String(message.length)}`);
          this.messages.push(message);
          this.taken();
        },
        trailers: ({ grpcStatus, status }, isOnly) =>
          void this.events.push(`trailers ${String(grpcStatus ?? status)}${isOnly ? ' only' : ''}`),
        failed: (failure) => {
          this.failure = failure;
          this.events.push(`${failure.cause} ${failure.progress}`);
        },
        drained: () => void (this.drains += 1),
      },
      maxMessageBytes,
    );
    this.response.stream = connection.open(
      this.response,
      encodedBound(REQUEST),
      (target, at) => encodeFields(target, at, REQUEST),
      kind,
    );
    if (isUnlimited) this.response.request(Infinity);
  }
}

/** A client's connection, and the server at its other end, which reads and writes frames. */
class Scene implements ClientOwner, FrameHandler {
  readonly connection: ClientConnection;
  /** Frames that the server has received, as text. */
  readonly frames: string[] = [];
  readonly owner: string[] = [];
  goaway: Goaway | undefined;
  end: ConnectionEnd | undefined;
  /** Payload that the server has received, by stream. */
  readonly payload = new Map<number, Buffer[]>();
  readonly server = new FrameWriter();
  now = 1_000_000;
  /** Number of streams that a test has opened. */
  opened = 0;
  private readonly reader: FrameReader;
  private hasPreface = false;
  private dataId = 0;

  constructor(settings = SETTINGS, firstId = 1) {
    this.reader = new FrameReader(this, new HpackDecoder(0, 1_000_000), 262_144);
    this.connection = new ClientConnection(this, settings, { now: () => this.now }, firstId);
  }

  /** A connection on which both sides have exchanged their settings. */
  static started(settings = SETTINGS, firstId = 1): Scene {
    const scene = new Scene(settings, firstId);
    scene.server.settings([]);
    scene.exchange();
    scene.frames.length = 0;
    return scene;
  }

  /** Passes all output in both directions. */
  exchange(): void {
    for (let isDone = false; !isDone;) {
      const sent = Buffer.concat(this.connection.takeOutput());
      this.connection.taken(false, false);
      let at = 0;
      if (!this.hasPreface && sent.length > 0) {
        expect(sent.subarray(0, PREFACE.length)).toEqual(PREFACE);
        at = PREFACE.length;
        this.hasPreface = true;
      }
      this.reader.read(sent, at, sent.length);
      const received = Buffer.concat(this.server.take());
      this.connection.receive(received);
      isDone = sent.length === 0 && received.length === 0;
    }
  }

  block(id: number, fields: readonly string[], isEnd = false): void {
    this.server.headers(id, isEnd, encodedBound(fields), (target, at) => encodeFields(target, at, fields));
  }

  message(id: number, size: number): void {
    const bytes = Buffer.alloc(size, id);
    for (let offset = -5; offset < size;) {
      const part = Math.min(size - offset, 16_384);
      this.server.data(id, bytes, 0, offset, part, false);
      offset += part;
    }
  }

  // ── the owner of the connection ──

  wake(): void {
    this.owner.push('wake');
  }
  settingsReceived(isFirst: boolean): void {
    this.owner.push(isFirst ? 'first settings' : 'settings');
  }
  goawayReceived(goaway: Goaway | number, code?: number): void {
    // The client's owner receives an object; the server's frame handler receives numbers.
    if (typeof goaway === 'number') this.frames.push(`GOAWAY ${String(code)}`);
    else this.goaway = goaway;
  }
  idsRunOut(): void {
    this.owner.push('ids run out');
  }
  ended(end: ConnectionEnd): void {
    this.end = end;
  }

  // ── the server's frames ──

  dataBegins(id: number, length: number): void {
    this.dataId = id;
    this.frames.push(`DATA ${String(id)} ${String(length)}`);
  }
  data(bytes: Buffer, at: number, end: number): void {
    const parts = this.payload.get(this.dataId) ?? [];
    this.payload.set(this.dataId, [...parts, Buffer.from(bytes.subarray(at, end))]);
  }
  dataEnds(isEnd: boolean): void {
    if (isEnd) this.frames.push(`END ${String(this.dataId)}`);
  }
  readsHeaders(): boolean {
    return true;
  }
  headers(id: number, isEnd: boolean, { path }: HeaderBlock): void {
    this.frames.push(`HEADERS ${String(id)} ${String(path)}${isEnd ? ' END' : ''}`);
  }
  reset(id: number, code: number): void {
    this.frames.push(`RST ${String(id)} ${String(code)}`);
  }
  settings(): void {
    this.server.settingsAcknowledgement();
  }
  settingsAcknowledged(): void {
    this.frames.push('SETTINGS ACK');
  }
  pingReceived(high: number, low: number): void {
    this.frames.push('PING');
    this.server.ping(1, high, low);
  }
  pingAcknowledged(): void {
    this.frames.push('PING ACK');
  }
  windowUpdate(id: number, bytes: number): void {
    this.frames.push(`WINDOW_UPDATE ${String(id)} ${String(bytes)}`);
  }
  useless(): void {}
}

describe('calls', () => {
  it('sends a request and receives its response', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    call.response.stream.send(Buffer.from('abc'));
    call.response.stream.end();
    scene.exchange();
    expect(scene.frames).toEqual(['HEADERS 1 /a.B/C', 'DATA 1 8', 'END 1']);
    expect(Buffer.concat(scene.payload.get(1)!)).toEqual(Buffer.from('\0\0\0\0\x03abc'));
    scene.block(1, HEADERS);
    scene.message(1, 0);
    scene.message(1, 40_000);
    scene.block(1, TRAILERS, true);
    scene.exchange();
    expect(call.events).toEqual(['headers', 'message 0', 'message 40000', 'trailers 0']);
    expect([scene.connection.openStreams, scene.end]).toEqual([0, undefined]);
  });

  it('puts messages of one stream that follow each other into one DATA frame', () => {
    const scene = Scene.started();
    const { stream } = new Call(scene.connection).response;
    for (let i = 0; i < 100; i++) stream.send(Buffer.alloc(20));
    stream.end();
    scene.exchange();
    expect(scene.frames).toEqual(['HEADERS 1 /a.B/C', 'DATA 1 2500', 'END 1']);
  });

  it('ends the requests of a call whose response has ended, with RST_STREAM and NO_ERROR', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect([call.events, scene.frames.at(-1)]).toEqual([['trailers 0 only'], 'RST 1 0']);
  });

  it('reports nothing after cancel(), and resets the stream', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    call.response.cancel();
    scene.exchange();
    scene.block(1, HEADERS);
    scene.message(1, 10);
    scene.block(1, TRAILERS, true);
    scene.exchange();
    expect([call.events, scene.frames.at(-1), scene.end]).toEqual([[], 'RST 1 8', undefined]);
  });

  it.each([
    ['a response that is no gRPC', [':status', '502', 'content-type', 'text/html'], false, ['trailers 502 only']],
    ['a gRPC status without messages', [...HEADERS, 'grpc-status', '5'], true, ['trailers 5 only']],
    ['an impossible :status', [':status', '99'], false, ['unreadable answered']],
    ['the :status of a proxy that understands no response', [':status', '000'], false, ['trailers 000 only']],
    ['headers without :status', ['a', 'b'], false, ['unreadable answered']],
    ['the :status 101', [':status', '101'], false, ['unreadable answered']],
    ['malformed headers', [...HEADERS, 'connection', 'close'], false, ['protocol answered']],
    ['headers of a request', [':path', '/', ...HEADERS], false, ['protocol answered']],
    ['headers above the limit', [...HEADERS, 'x', 'y'.repeat(20_000)], false, ['too-large answered']],
  ])('reports %s', (_what, fields, isEnd, expected) => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    scene.block(1, fields, isEnd);
    scene.exchange();
    if (!isEnd && call.events.length === 0) scene.server.endData(1);
    scene.exchange();
    expect([call.events, scene.connection.openStreams]).toEqual([expected, 0]);
  });

  it('reads a response without content-type as gRPC, as grpc-js does', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    scene.block(1, [':status', '200']);
    scene.message(1, 10);
    scene.block(1, TRAILERS, true);
    scene.exchange();
    expect(call.events).toEqual(['headers', 'message 10', 'trailers 0']);
  });

  it('tells the size and the limit of trailers that are too large, and leaves the connection alone', () => {
    const scene = Scene.started();
    const calls = [1, 2].map(() => new Call(scene.connection));
    scene.exchange();
    scene.block(1, HEADERS);
    scene.block(1, [...TRAILERS, 'x', 'y'.repeat(20_000)], true);
    scene.block(3, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    const details = 'Received trailers larger than max (20077 vs 16384)';
    expect(calls.map(({ failure }) => failure)).toMatchObject([{ cause: 'too-large', details }, undefined]);
    expect([calls[1]!.events, scene.end]).toEqual([['trailers 0 only'], undefined]);
  });

  it('skips informational headers', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    scene.block(1, [':status', '103', 'link', 'x']);
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(call.events).toEqual(['trailers 0 only']);
  });

  it('passes on all messages before the trailers if each one is requested while the previous one is taken', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection, false);
    scene.exchange();
    scene.block(1, HEADERS);
    for (const size of [1, 2, 3]) scene.message(1, size);
    scene.block(1, TRAILERS, true);
    scene.exchange();
    call.taken = () => {
      call.response.request();
    };
    call.response.request();
    expect(call.events).toEqual(['headers', 'message 1', 'message 2', 'message 3', 'trailers 0']);
  });

  it('reports a response without trailers, a message above the limit, and trailers inside a message', () => {
    const scene = Scene.started();
    const calls = [1, 2, 3].map(() => new Call(scene.connection, true, 100));
    scene.exchange();
    for (const id of [1, 3, 5]) scene.block(id, HEADERS);
    scene.server.endData(1);
    scene.message(3, 101);
    scene.server.data(5, Buffer.alloc(10), 0, -5, 9, false);
    scene.block(5, TRAILERS, true);
    scene.exchange();
    expect(calls.map(({ events }) => events.at(-1))).toEqual([
      'no-trailers answered',
      'too-large answered',
      'unreadable answered',
    ]);
  });
});

describe('evidence', () => {
  it('tells how far a request got', () => {
    const scene = Scene.started();
    const { stream } = new Call(scene.connection).response;
    expect(stream.progress).toBe('never-sent');
    const [output] = scene.connection.takeOutput();
    expect(stream.progress).toBe('written');
    scene.connection.taken(false, false);
    expect(output).toBeDefined();
    scene.connection.ping(() => undefined);
    const { stream: later } = new Call(scene.connection).response;
    const sent = scene.connection.takeOutput();
    expect(sent.length).toBeGreaterThan(0);
    scene.server.ping(1, 0x67727063, 2);
    scene.connection.receive(Buffer.concat(scene.server.take()));
    expect([stream.progress, later.progress]).toEqual(['written', 'written']);
    scene.server.ping(1, 0x67727063, 1);
    scene.connection.receive(Buffer.concat(scene.server.take()));
    expect([stream.progress, later.progress]).toEqual(['acknowledged', 'written']);
    scene.block(3, HEADERS);
    scene.connection.receive(Buffer.concat(scene.server.take()));
    expect(later.progress).toBe('answered');
  });

  it('fails exactly the streams above the id of a GOAWAY, and completes the others', () => {
    const scene = Scene.started();
    const calls = [1, 2, 3].map(() => new Call(scene.connection));
    scene.exchange();
    const unsent = new Call(scene.connection);
    scene.server.goaway(3, 0, 'max_age');
    scene.connection.receive(Buffer.concat(scene.server.take()));
    expect(scene.goaway).toEqual({ lastId: 3, code: 0, debug: 'max_age' });
    expect([scene.connection.isUsable, scene.connection.canOpen]).toEqual([false, false]);
    for (const id of [1, 3]) scene.block(id, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    const ends = [...calls, unsent].map(({ events }) => events.at(-1));
    expect(ends).toEqual(['trailers 0 only', 'trailers 0 only', 'goaway written', 'goaway never-sent']);
    expect(unsent.failure).toMatchObject({ code: 0, details: 'GOAWAY with code 0 (max_age)' });
  });

  it('reports a reset with its code, and the streams of a lost connection', () => {
    const scene = Scene.started();
    const calls = [1, 2].map(() => new Call(scene.connection));
    scene.exchange();
    scene.server.reset(1, HTTP2_ERROR_CODES.REFUSED_STREAM);
    scene.exchange();
    const unsent = new Call(scene.connection);
    scene.connection.lost('ECONNRESET', undefined);
    expect(calls[0]!.failure).toMatchObject({ cause: 'reset', code: 7 });
    expect(calls[1]!.failure).toMatchObject({ cause: 'lost', details: 'ECONNRESET', progress: 'written' });
    expect(unsent.failure).toMatchObject({ cause: 'lost', progress: 'never-sent' });
    expect(scene.end).toEqual({ code: 0, details: 'ECONNRESET', isPeersFault: false });
  });

  it('sends nothing of a stream that fails as never sent when this side ends the connection', () => {
    const scene = Scene.started();
    const sent = new Call(scene.connection);
    scene.exchange();
    scene.frames.length = 0;
    const unsent = new Call(scene.connection);
    unsent.response.stream.send(Buffer.from('order'));
    scene.connection.end(undefined);
    scene.exchange();
    expect([sent.failure?.progress, unsent.failure?.progress]).toEqual(['written', 'never-sent']);
    expect(scene.frames).toEqual(['GOAWAY 0']);
  });

  it('opens no stream after the last id', () => {
    const scene = Scene.started(SETTINGS, 0x7fff_fffd);
    expect(scene.owner).not.toContain('ids run out');
    expect(scene.connection.canOpen).toBe(true);
    new Call(scene.connection);
    expect(scene.connection.canOpen).toBe(true);
    const last = new Call(scene.connection);
    expect([scene.connection.canOpen, scene.connection.isUsable]).toEqual([false, false]);
    scene.exchange();
    expect(scene.owner.filter((event) => event === 'ids run out')).toHaveLength(1);
    scene.block(0x7fff_ffff, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(last.events).toEqual(['trailers 0 only']);
  });
});

describe('flow control', () => {
  it('sends a message above the windows in parts, and tells the sender when it may go on', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    const { stream } = call.response;
    expect(stream.send(Buffer.alloc(200_000, 7))).toBe(false);
    stream.end();
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(65_535);
    scene.server.windowUpdate(1, 1_000_000);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(65_535);
    scene.server.windowUpdate(0, 1_000_000);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(200_005);
    expect([scene.frames.at(-1), call.drains]).toEqual(['END 1', 1]);
  });

  it.each([0, 1, 3, 5, 100])(
    'sends a message as it was when it was passed, if %i bytes of window were left for it',
    (left) => {
      const scene = Scene.started();
      const { stream } = new Call(scene.connection).response;
      stream.send(Buffer.alloc(65_535 - 5 - left));
      const message = Buffer.alloc(3_000, 'a');
      stream.send(message);
      message.fill('b');
      scene.exchange();
      scene.server.windowUpdate(1, 10_000);
      scene.server.windowUpdate(0, 10_000);
      scene.exchange();
      const sent = Buffer.concat(scene.payload.get(1)!).subarray(65_535 - left);
      expect([sent.readUInt32BE(1), sent.subarray(5).equals(Buffer.alloc(3_000, 'a'))]).toEqual([3_000, true]);
    },
  );

  it('sends a message that nobody changes from where it is', () => {
    const scene = Scene.started();
    const { stream } = new Call(scene.connection).response;
    const message = Buffer.alloc(70_000, 'a');
    stream.send(message, 0, true);
    message.fill('b', 69_000);
    scene.server.windowUpdate(1, 10_000);
    scene.server.windowUpdate(0, 10_000);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!).subarray(5).equals(message)).toBe(true);
  });

  it('takes turns between streams', () => {
    const scene = Scene.started();
    const streams = [1, 2].map(() => new Call(scene.connection).response.stream);
    scene.server.windowUpdate(0, 1_000_000);
    scene.server.settings([Setting.INITIAL_WINDOW_SIZE, 10]);
    scene.exchange();
    for (const stream of streams) stream.send(Buffer.alloc(30_000));
    scene.exchange();
    scene.frames.length = 0;
    scene.server.settings([Setting.INITIAL_WINDOW_SIZE, 100_000]);
    scene.exchange();
    const data = scene.frames.filter((frame) => frame.startsWith('DATA'));
    expect([data.slice(0, 2).sort(), data.slice(2).sort()]).toEqual([
      ['DATA 1 16384', 'DATA 3 16384'],
      ['DATA 1 13611', 'DATA 3 13611'],
    ]);
  });

  it('sends one frame per stream in window that arrives in many small parts', () => {
    const scene = Scene.started();
    const streams = [1, 2].map(() => new Call(scene.connection).response.stream);
    for (const stream of streams) stream.send(Buffer.alloc(70_000));
    scene.server.windowUpdate(0, 65_535);
    scene.exchange();
    scene.frames.length = 0;
    scene.server.windowUpdate(0, 1_000);
    for (let part = 0; part < 500; part++) scene.server.windowUpdate(part % 2 === 0 ? 1 : 3, 1);
    scene.exchange();
    expect(scene.frames).toEqual(['DATA 1 250', 'DATA 3 250']);
  });

  it('sends nothing in a window that the peer has made negative, until it is positive again', () => {
    const scene = Scene.started();
    const { stream } = new Call(scene.connection).response;
    stream.send(Buffer.alloc(60_000));
    scene.exchange();
    scene.server.settings([Setting.INITIAL_WINDOW_SIZE, 1_000]);
    scene.exchange();
    stream.send(Buffer.alloc(95));
    scene.server.windowUpdate(1, 59_005);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(60_005);
    scene.server.windowUpdate(1, 1);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(60_006);
    scene.server.windowUpdate(1, 1_000);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(60_105);
  });

  it('keeps messages in their streams while the socket takes nothing, and passes control frames on', () => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    scene.connection.taken(false, true);
    expect(call.response.stream.send(Buffer.alloc(10))).toBe(false);
    scene.server.ping(0, 1, 2);
    scene.connection.receive(Buffer.concat(scene.server.take()));
    expect(Buffer.concat(scene.connection.takeOutput())).toHaveLength(17);
    scene.connection.drained();
    expect(call.drains).toBe(1);
    scene.exchange();
    expect(Buffer.concat(scene.payload.get(1)!)).toHaveLength(15);
  });

  it('gives no window for messages that the reader has not taken, but lets an incomplete one arrive', () => {
    const scene = Scene.started({ ...SETTINGS, connectionWindow: 10_000_000 });
    const call = new Call(scene.connection, false);
    scene.exchange();
    scene.block(1, HEADERS);
    scene.message(1, 30_000);
    scene.message(1, 30_000);
    scene.exchange();
    expect([call.events, scene.frames.filter((frame) => frame.startsWith('WINDOW_UPDATE 1'))]).toEqual([
      ['headers'],
      [],
    ]);
    call.response.request();
    call.response.request();
    scene.exchange();
    expect(scene.frames.slice(-2)).toEqual(['WINDOW_UPDATE 1 60010', 'PING']);
    call.response.request();
    for (let sent = 0; sent < 200_000; sent += 10_000) {
      const size = Math.min(10_000, 200_005 - sent);
      scene.server.data(1, Buffer.alloc(200_000), 0, sent - 5, size, false);
      scene.exchange();
    }
    scene.server.data(1, Buffer.alloc(200_000), 0, 199_995, 5, false);
    scene.exchange();
    expect(call.events).toEqual(['headers', 'message 30000', 'message 30000', 'message 200000']);
    expect(scene.end).toBeUndefined();
  });
});

describe('windows measured by bandwidth and delay', () => {
  /** Sends full windows on `id` for some round trips of 100 ms, and returns the last window updates of the stream. */
  function transfer(scene: Scene, id: number, rounds: number): number {
    let window = 65_535;
    let last = 0;
    const message = Buffer.alloc(4_091);
    for (let round = 0; round < rounds; round++) {
      scene.frames.length = 0;
      for (; window >= 4_096; window -= 4_096) scene.server.data(id, message, 0, -5, 4_096, false);
      scene.connection.receive(Buffer.concat(scene.server.take()));
      scene.now += 100;
      scene.exchange();
      for (const frame of scene.frames) {
        const [what, stream, bytes] = frame.split(' ');
        if (what !== 'WINDOW_UPDATE' || Number(stream) !== id) continue;
        last = Number(bytes);
        window += last;
      }
    }
    return last;
  }
  const settings = { ...SETTINGS, connectionWindow: 1_000_000_000 };

  it('grow while the window is what limits a stream, and start at the initial size for the next stream', () => {
    const scene = Scene.started(settings);
    const call = new Call(scene.connection);
    scene.exchange();
    scene.block(1, HEADERS);
    expect(transfer(scene, 1, 12)).toBeGreaterThan(2_000_000);
    scene.block(1, TRAILERS, true);
    new Call(scene.connection, false);
    scene.exchange();
    scene.block(3, HEADERS);
    transfer(scene, 3, 1);
    expect(scene.frames.filter((frame) => frame.startsWith('WINDOW_UPDATE 3'))).toEqual([]);
    expect([call.events.at(-1), scene.end]).toEqual(['trailers 0', undefined]);
  });

  it('are that large from the start for one call, after each large response of its method', () => {
    const scene = Scene.started(settings);
    const kind = { window: 0 };
    const open = () => new Call(scene.connection, true, undefined, kind).response.stream.window;
    open();
    scene.exchange();
    scene.block(1, HEADERS);
    transfer(scene, 1, 12);
    expect(open()).toBe(65_535);
    scene.block(1, TRAILERS, true);
    scene.frames.length = 0;
    scene.exchange();
    const large = open();
    expect([large > 2_000_000, open(), open()]).toEqual([true, 65_535, 65_535]);
    scene.exchange();
    expect(scene.frames).toContain(`WINDOW_UPDATE 5 ${String(large - 65_535)}`);
    scene.block(5, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect([open(), scene.end]).toEqual([65_535, undefined]);
  });

  it('hold no more than 16 MiB above the initial windows of all streams, until a stream ends', () => {
    const scene = Scene.started(settings);
    const calls = [1, 2, 3].map(() => new Call(scene.connection));
    scene.exchange();
    for (const id of [1, 3, 5]) scene.block(id, HEADERS);
    const extras = () => calls.map(({ response }) => response.stream.window - 65_535);
    for (const id of [1, 3, 5]) transfer(scene, id, 14);
    const [first = 0, second = 0, third] = extras();
    expect([first + second, third]).toEqual([16_777_216, 0]);
    calls[0]!.response.cancel();
    transfer(scene, 5, 2);
    expect(extras()[2]).toBe(first);
  });
});

describe('peers that violate the protocol', () => {
  const frame = (type: number, flags: number, id: number, payload = '') => {
    const bytes = Buffer.from(payload, 'hex');
    return Buffer.concat([Buffer.from([0, bytes.length >> 8, bytes.length, type, flags, 0, 0, 0, id]), bytes]);
  };
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM } =
    HTTP2_ERROR_CODES;

  it.each<[string, Buffer, number]>([
    ['DATA on stream 0', frame(0, 0, 0), PROTOCOL_ERROR],
    ['DATA on an idle stream', frame(0, 0, 9), PROTOCOL_ERROR],
    ['DATA on a stream of the server', frame(0, 0, 2), PROTOCOL_ERROR],
    ['padded DATA without a pad length', frame(0, 8, 1), FRAME_SIZE_ERROR],
    ['padding beyond the frame', frame(0, 8, 1, '0200'), PROTOCOL_ERROR],
    ['HEADERS on stream 0', frame(1, 4, 0, '88'), PROTOCOL_ERROR],
    ['HEADERS on an idle stream', frame(1, 4, 9, '88'), PROTOCOL_ERROR],
    ['an invalid header block', frame(1, 4, 1, '80'), COMPRESSION_ERROR],
    ['PRIORITY of four bytes', frame(2, 0, 1, '00000000'), FRAME_SIZE_ERROR],
    ['RST_STREAM on an idle stream', frame(3, 0, 9, '00000000'), PROTOCOL_ERROR],
    ['SETTINGS on a stream', frame(4, 0, 1), PROTOCOL_ERROR],
    ['SETTINGS of five bytes', frame(4, 0, 0, '0000000000'), FRAME_SIZE_ERROR],
    ['a SETTINGS acknowledgement with a payload', frame(4, 1, 0, '000000000000'), FRAME_SIZE_ERROR],
    ['an initial window of 2^31', frame(4, 0, 0, '000480000000'), FLOW_CONTROL_ERROR],
    ['a maximum frame size of 100', frame(4, 0, 0, '000500000064'), PROTOCOL_ERROR],
    ['a server that enables push', frame(4, 0, 0, '000200000001'), PROTOCOL_ERROR],
    ['PUSH_PROMISE', frame(5, 4, 1, '0000000288'), PROTOCOL_ERROR],
    ['PING of seven bytes', frame(6, 0, 0, '00000000000000'), FRAME_SIZE_ERROR],
    ['PING on a stream', frame(6, 0, 1, '0000000000000000'), PROTOCOL_ERROR],
    ['GOAWAY on a stream', frame(7, 0, 1, '0000000000000000'), PROTOCOL_ERROR],
    ['WINDOW_UPDATE of 0 for the connection', frame(8, 0, 0, '00000000'), PROTOCOL_ERROR],
    ['a connection window above 2^31-1', frame(8, 0, 0, '7fffffff'), FLOW_CONTROL_ERROR],
    ['CONTINUATION without HEADERS', frame(9, 4, 1, '88'), PROTOCOL_ERROR],
    [
      'another frame inside a header block',
      Buffer.concat([frame(1, 0, 1, '88'), frame(6, 0, 0, '0000000000000000')]),
      PROTOCOL_ERROR,
    ],
    [
      'many empty CONTINUATION frames',
      Buffer.concat([frame(1, 0, 1, '88'), ...Array<Buffer>(20).fill(frame(9, 0, 1))]),
      ENHANCE_YOUR_CALM,
    ],
    ['a frame above the maximum size', Buffer.from([0, 0x40, 1, 0, 0, 0, 0, 0, 1]), FRAME_SIZE_ERROR],
    [
      'many PINGs while it reads nothing',
      Buffer.concat(Array<Buffer>(1_100).fill(frame(6, 0, 0, '0000000000000000'))),
      ENHANCE_YOUR_CALM,
    ],
  ])('end the connection after %s', (_what, bytes, code) => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    scene.exchange();
    scene.connection.receive(bytes);
    expect(scene.end).toMatchObject({ code, isPeersFault: true });
    expect(call.failure).toMatchObject({ cause: 'lost', code });
    scene.exchange();
    expect(scene.frames.at(-1)).toBe(`GOAWAY ${String(code)}`);
  });

  it.each<[string, Buffer]>([
    ['DATA', frame(0, 0, 1)],
    ['DATA', frame(0, 8, 1, '00')],
    ['DATA', frame(0, 0, 3)],
    ['informational HEADERS', frame(1, 4, 1, '4803313033')],
    ['HEADERS', frame(1, 4, 3, '88')],
    ['PRIORITY', frame(2, 0, 1, '0000000000')],
    ['RST_STREAM', frame(3, 0, 3, '00000000')],
    ['SETTINGS', frame(4, 0, 0)],
    ['SETTINGS', frame(4, 0, 0, '000400000001'.repeat(32))],
    ['SETTINGS acknowledgement', frame(4, 1, 0)],
    ['PING acknowledgement', frame(6, 1, 0, '0000000000000000')],
    ['GOAWAY', frame(7, 0, 0, '0000000100000000')],
    ['WINDOW_UPDATE', frame(8, 0, 3, '00000001')],
    ['type 200', frame(200, 0, 0)],
  ])('end the connection after a flood of %s, but not after as many in a long time', (what, bytes) => {
    for (const secondsPerHundred of [0.2, 0]) {
      const scene = Scene.started();
      const open = new Call(scene.connection);
      new Call(scene.connection).response.cancel();
      scene.exchange();
      for (let sent = 0; sent < 11_000 && scene.end === undefined; sent += 100) {
        scene.now += secondsPerHundred * 1_000;
        scene.connection.receive(Buffer.concat(Array<Buffer>(100).fill(bytes)));
        scene.exchange();
      }
      if (secondsPerHundred > 0) expect(scene.end).toBeUndefined();
      else {
        expect(scene.end?.details).toBe(`too many frames without an effect (${what})`);
        expect(open.failure).toMatchObject({ cause: 'lost', code: ENHANCE_YOUR_CALM });
      }
    }
  });

  it.each([
    [32, undefined],
    [33, 'more than 32 settings in a frame'],
  ])('of %i settings end the connection if they are more than peers on Node take', (count, details) => {
    const scene = Scene.started();
    scene.connection.receive(frame(4, 0, 0, 'fff000000001'.repeat(count)));
    expect(scene.end?.details).toBe(details);
    if (details !== undefined) expect(scene.end).toMatchObject({ protection: 'frames-without-effect' });
  });

  it('leave a connection alone whose calls were cancelled while their responses were on the way', () => {
    const scene = Scene.started({ ...SETTINGS, connectionWindow: 1_000_000 });
    const calls = Array.from({ length: 6_001 }, () => new Call(scene.connection));
    scene.exchange();
    for (const { response } of calls.slice(1)) response.cancel();
    for (let id = 3; id <= 12_001; id += 2) {
      scene.block(id, HEADERS);
      for (let i = 0; i < 3; i++) scene.message(id, 5);
      scene.block(id, TRAILERS, true);
    }
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect([scene.end, calls[0]!.events]).toEqual([undefined, ['trailers 0 only']]);
  });

  it('of cancelled calls keep the header table in step', () => {
    const scene = Scene.started();
    const [cancelled, other] = [new Call(scene.connection), new Call(scene.connection)];
    scene.exchange();
    cancelled.response.cancel();
    // The first one inserts `grpc-status: 13`, to which the second one refers.
    scene.server.raw(frame(1, 4, 1, '88400b677270632d737461747573023133'));
    scene.server.raw(frame(1, 5, 3, '88be'));
    scene.exchange();
    expect(other.events).toEqual(['trailers 13 only']);
  });

  it.each<[what: string, honest: (scene: Scene, call: Call) => void]>([
    [
      'a few for each stream',
      (scene) => {
        const firstId = 2 * scene.opened + 1;
        for (let index = 0; index < 250; index++, scene.opened++) new Call(scene.connection);
        scene.exchange();
        for (let id = firstId; id < firstId + 500; id += 2) {
          scene.block(id, [...HEADERS, ...TRAILERS], true);
          // RST_STREAM(NO_ERROR) after the answer, as nginx sends it, and what was under way.
          scene.server.reset(id, 0);
          for (let late = 0; late < 3; late++) scene.server.windowUpdate(id, 1);
        }
      },
    ],
    [
      'one for each message',
      (scene, call) => {
        for (let index = 0; index < 1_000; index++) {
          scene.message(1, 0);
          scene.server.windowUpdate(3, 1);
        }
        call.messages.length = call.events.length = 0;
      },
    ],
  ])('leave a connection alone with 10,000 frames per second without an effect: %s', (_what, honest) => {
    const scene = Scene.started();
    const call = new Call(scene.connection);
    new Call(scene.connection).response.cancel();
    scene.exchange();
    scene.opened = 2;
    scene.block(1, HEADERS);
    for (let tenths = 0; tenths < 600 && scene.end === undefined; tenths++) {
      scene.now += 100;
      honest(scene, call);
      scene.exchange();
      scene.frames.length = scene.owner.length = 0;
    }
    scene.block(1, TRAILERS, true);
    scene.exchange();
    expect([scene.end, call.events.at(-1)]).toEqual([undefined, 'trailers 0']);
  });

  it.each([
    ['HTTP/1.1 400 Bad Request\r\n\r\n', 'the peer answered with HTTP/1'],
    ['\0\0\0\x06\0\0\0\0\0', 'the first frame is not SETTINGS'],
    ['\x16\x03\x01\x02\0\x01\0\x01\xfc', /bytes/],
  ])('end the connection if the first bytes are %j', (text, details) => {
    const scene = new Scene();
    scene.connection.receive(Buffer.from(text, 'latin1'));
    expect(scene.end?.details).toMatch(details);
  });

  it('reset only the stream whose window they exceed', () => {
    const scene = Scene.started({ ...SETTINGS, connectionWindow: 1_000_000 });
    const calls = [1, 2].map(() => new Call(scene.connection, false));
    scene.exchange();
    scene.block(1, HEADERS);
    scene.message(1, 70_000);
    scene.block(3, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(calls.map(({ events }) => events.at(-1))).toEqual(['protocol answered', 'trailers 0 only']);
    expect(scene.end).toBeUndefined();
  });
});

describe('any bytes', () => {
  /** Bytes of a server that answers four calls, of which one fails, one is reset, and one is refused. */
  const recorded = (() => {
    const scene = new Scene();
    scene.server.settings([Setting.MAX_CONCURRENT_STREAMS, 100]);
    for (const id of [1, 3]) scene.block(id, HEADERS);
    scene.message(1, 300);
    scene.server.ping(0, 1, 2);
    scene.message(3, 20_000);
    scene.block(1, TRAILERS, true);
    scene.server.reset(5, 7);
    scene.server.windowUpdate(0, 1_000);
    scene.server.goaway(5, 0, 'bye');
    scene.block(3, ['grpc-status', '13', 'grpc-message', 'no'], true);
    return Buffer.concat(scene.server.take());
  })();

  function play(pieces: readonly Buffer[]): { readonly events: readonly string[][]; readonly scene: Scene } {
    const scene = new Scene();
    const calls = [1, 2, 3, 4].map(() => new Call(scene.connection));
    scene.connection.takeOutput();
    scene.connection.taken(true, false);
    for (const piece of pieces) {
      // The socket uses its buffer again for the next bytes.
      const reused = Buffer.from(piece);
      scene.connection.receive(reused);
      reused.fill(0xff);
    }
    return { events: calls.map(({ events }) => events), scene };
  }

  const WHOLE = [
    ['headers', 'message 300', 'trailers 0'],
    ['headers', 'message 20000', 'trailers 13'],
    ['reset answered'],
    ['goaway written'],
  ];

  it('mean the same however they are cut', () => {
    expect(play([recorded]).events).toEqual(WHOLE);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: recorded.length - 1 }), { maxLength: 30 }), (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), recorded.length];
        const pieces = places.slice(1).map((end, i) => recorded.subarray(places[i], end));
        expect(play(pieces).events).toEqual(WHOLE);
      }),
      { numRuns: 300 },
    );
  });
});

describe('limit of streams', () => {
  const limited = (limit: number): Scene => {
    const scene = new Scene();
    scene.server.settings([Setting.MAX_CONCURRENT_STREAMS, limit]);
    scene.exchange();
    scene.frames.length = 0;
    return scene;
  };

  it('starts waiting streams in their order when others end, with the messages that were sent meanwhile', () => {
    const scene = limited(1);
    const calls = [1, 2, 3].map(() => new Call(scene.connection));
    calls[1]!.response.stream.send(Buffer.from('second'));
    calls[1]!.response.stream.end();
    calls[2]!.response.stream.end();
    scene.exchange();
    expect(scene.frames).toEqual(['HEADERS 1 /a.B/C']);
    expect(calls.map(({ response }) => response.stream.progress)).toEqual(['written', 'never-sent', 'never-sent']);
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(scene.frames.slice(1)).toEqual(['RST 1 0', 'HEADERS 3 /a.B/C', 'DATA 3 11', 'END 3']);
    scene.block(3, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(scene.frames.slice(-3)).toEqual(['HEADERS 5 /a.B/C', 'DATA 5 0', 'END 5']);
    scene.block(5, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(calls.map(({ events }) => events)).toEqual(Array(3).fill(['trailers 0 only']));
  });

  it('sends nothing for a waiting stream that is cancelled', () => {
    const scene = limited(1);
    const first = new Call(scene.connection);
    const second = new Call(scene.connection);
    second.response.cancel();
    const third = new Call(scene.connection);
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(first.events).toEqual(['trailers 0 only']);
    expect(second.events).toEqual([]);
    expect(scene.frames.filter((frame) => frame.startsWith('HEADERS'))).toHaveLength(2);
    expect(third.response.stream.id).toBe(3);
  });

  it('does not retain waiting streams that are cancelled', () => {
    const scene = limited(1);
    const retained = scene.connection as unknown as { readonly pending: readonly unknown[] };
    const first = new Call(scene.connection);
    const second = new Call(scene.connection);
    for (let i = 0; i < 1_000; i++) new Call(scene.connection).response.cancel();
    expect(retained.pending.length).toBeLessThan(10);
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect([first.events, second.response.stream.id]).toEqual([['trailers 0 only'], 3]);
  });

  it('starts waiting streams when the peer raises its limit, and fails them as never sent after a GOAWAY', () => {
    const scene = limited(0);
    const first = new Call(scene.connection);
    const second = new Call(scene.connection);
    scene.server.settings([Setting.MAX_CONCURRENT_STREAMS, 1]);
    scene.exchange();
    expect([first.response.stream.id, second.response.stream.id]).toEqual([1, 0]);
    scene.server.goaway(1, 0, '');
    scene.exchange();
    expect(second.failure).toMatchObject({ cause: 'goaway', progress: 'never-sent' });
    scene.block(1, [...HEADERS, ...TRAILERS], true);
    scene.exchange();
    expect(first.events).toEqual(['trailers 0 only']);
    expect(scene.frames.filter((frame) => frame.startsWith('HEADERS'))).toHaveLength(1);
  });

  it('fails waiting streams as never sent when the stream ids run out', () => {
    const scene = new Scene(SETTINGS, 0x7fff_ffff);
    scene.server.settings([Setting.MAX_CONCURRENT_STREAMS, 0]);
    scene.exchange();
    const calls = [1, 2].map(() => new Call(scene.connection));
    scene.server.settings([Setting.MAX_CONCURRENT_STREAMS, 10]);
    scene.exchange();
    expect(calls.map(({ failure }) => failure?.progress)).toEqual([undefined, 'never-sent']);
  });
});

it('reserves no more for an incomplete frame than what has arrived justifies', () => {
  const scene = new Scene();
  // The head of SETTINGS of 16,380 bytes, and the first of them.
  const begun = Buffer.from([0x00, 0x3f, 0xfc, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]);
  const readers = Array.from({ length: 1_000 }, () => new FrameReader(scene, new HpackDecoder(0, 1_000), 262_144));
  const before = process.memoryUsage().arrayBuffers;
  for (const reader of readers) reader.read(begun, 0, begun.length);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  expect(readers.every((reader) => reader.incompleteFrame === 1)).toBe(true);
});

it('reads the header blocks of several connections, however their pieces arrive in turn', () => {
  const size = fc.oneof(fc.integer({ min: 1, max: 20_000 }), fc.integer({ min: 20_000, max: 250_000 }));
  const peers = fc.array(fc.array(size, { maxLength: 4 }), { minLength: 2, maxLength: 4 });
  const steps = fc.array(fc.record({ peer: fc.nat(3), bytes: fc.integer({ min: 1, max: 70_000 }) }), { maxLength: 60 });
  fc.assert(
    fc.property(peers, steps, (sizes, schedule) => {
      const connections = sizes.map((lengths, peer) => {
        const texts = lengths.map((length, at) => String.fromCharCode(0x61 + 4 * peer + at).repeat(length));
        const writer = new FrameWriter();
        writer.settings([]);
        for (const [at, text] of texts.entries()) {
          const fields = [':status', '200', 'x', text];
          writer.headers(2 * at + 1, true, encodedBound(fields), (target, from) => encodeFields(target, from, fields));
        }
        const got: (string | undefined)[] = [];
        const handler = Object.assign(new Scene(), {
          headers: (_id: number, _isEnd: boolean, { fields }: HeaderBlock) => void got.push(fields[1]),
        });
        const reader = new FrameReader(handler, new HpackDecoder(0, 1_000_000), 262_144);
        return { texts, got, reader, bytes: Buffer.concat(writer.take()), at: 0 };
      });
      const rest = connections.map((_, peer) => ({ peer, bytes: Infinity }));
      for (const { peer, bytes } of [...schedule, ...rest]) {
        const connection = connections[peer % connections.length]!;
        // The memory of what arrives is used again.
        const piece = Buffer.from(connection.bytes.subarray(connection.at, connection.at + bytes));
        connection.at += piece.length;
        connection.reader.read(piece, 0, piece.length);
        piece.fill(0);
      }
      // Compared as they are: a difference would be printed in full.
      const areRead = connections.map(
        ({ texts, got }) => texts.length === got.length && texts.every((text, at) => text === got[at]),
      );
      expect(areRead).toEqual(connections.map(() => true));
    }),
  );
});
