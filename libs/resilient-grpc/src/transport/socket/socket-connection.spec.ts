import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { ResponseStream, type ResponseFailure } from '../grpc/response-stream.js';
import { encodedBound, encodeFields } from '../hpack/hpack-encoder.js';
import { FrameWriter } from '../http2/frame-writer.js';
import { PREFACE, Setting } from '../http2/frames.js';
import type { Http2Stream } from '../http2/http2-stream.js';
import type { Keepalive } from './http2-socket.js';
import { SocketConnection, type SocketEnd, type SocketOwner } from './socket-connection.js';

const REQUEST = [':method', 'POST', ':scheme', 'http', ':path', '/a.B/C', ':authority', 'x', 'te', 'trailers'];
const ANSWER = [':status', '200', 'content-type', 'application/grpc', 'grpc-status', '0'];
const SETTINGS = { streamWindow: 65_535, connectionWindow: 65_535, maxHeaderListSize: 16_384, headerTableSize: 0 };
const PING = 6;
const GOAWAY = 7;

/** A connection to a server that reads the types of frames, and writes the frames of a test. */
class Scene implements SocketOwner {
  readonly clock = new VirtualClock();
  readonly connection: SocketConnection;
  readonly frames = new FrameWriter();
  readonly events: string[] = [];
  end: SocketEnd | undefined;
  peer!: Socket;
  socket!: Socket;
  /** Types of the frames that the server has received, and the payloads of the PINGs among them. */
  types: number[] = [];
  pings: Buffer[] = [];
  /** Number of bytes that the server has received. */
  received = 0;

  private constructor(keepalive?: Keepalive) {
    this.connection = new SocketConnection(SETTINGS, this, this.clock, keepalive);
  }

  static async start(keepalive?: Keepalive): Promise<Scene> {
    const scene = new Scene(keepalive);
    const server = createServer({ allowHalfOpen: true }, (peer) => {
      scene.peer = peer;
      scene.read();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    scene.socket = connect({ host: '127.0.0.1', port, onread: scene.connection.onread });
    await once(scene.socket, 'connect');
    onTestFinished(() => {
      server.close();
      scene.socket.destroy();
      scene.peer.destroy();
    });
    scene.connection.start(scene.socket, true);
    scene.frames.settings([]);
    await waitFor(() => (scene.peer as Socket | undefined) !== undefined);
    scene.flush();
    await waitFor(() => scene.events.includes('ready'));
    return scene;
  }

  private read(): void {
    let rest = Buffer.alloc(0);
    let left = PREFACE.length;
    this.peer.on('error', () => undefined);
    this.peer.on('data', (bytes) => {
      this.received += bytes.length;
      rest = Buffer.concat([rest, bytes.subarray(left)]);
      left = Math.max(0, left - bytes.length);
      for (let size = 0; rest.length >= 9; rest = rest.subarray(size)) {
        size = 9 + rest.readUIntBE(0, 3);
        if (rest.length < size) break;
        this.types.push(rest[3]!);
        if (rest[3] === PING) this.pings.push(rest.subarray(9, size));
      }
    });
  }

  /** Sends the server's frames. */
  flush(): void {
    this.peer.write(Buffer.concat(this.frames.take()));
  }

  /** Sends a request, and returns the ends of its call. */
  call(): (string | undefined)[] {
    const { ends, stream } = this.open();
    stream.end();
    return ends;
  }

  /** Opens a call. */
  open(): { readonly ends: (string | undefined)[]; readonly stream: Http2Stream } {
    const ends: (string | undefined)[] = [];
    const end = (what: string | undefined): void => {
      ends.push(what);
      this.connection.callEnded();
    };
    const response = new ResponseStream(
      {
        headers: () => undefined,
        message: () => undefined,
        trailers: ({ grpcStatus }) => end(grpcStatus),
        failed: ({ cause, details }: ResponseFailure) => end(`${cause}: ${details}`),
        drained: () => undefined,
      },
      1_000,
    );
    response.stream = this.connection.http2.open(response, encodedBound(REQUEST), (target, at) =>
      encodeFields(target, at, REQUEST),
    );
    this.connection.callStarted();
    return { ends, stream: response.stream };
  }

  answer(id: number): void {
    this.frames.headers(id, true, encodedBound(ANSWER), (target, at) => encodeFields(target, at, ANSWER));
    this.flush();
  }

  // ── the owner of the connection ──

  ready(): void {
    this.events.push('ready');
  }
  settingsChanged(): void {
    this.events.push('settings');
  }
  goawayReceived(): void {
    this.events.push('goaway');
  }
  idsRunOut(): void {
    this.events.push('ids run out');
  }
  ended(end: SocketEnd): void {
    this.end = end;
  }
}

it('sends the requests of a turn in one write, and passes on their responses', async () => {
  const scene = await Scene.start();
  let writes = 0;
  const { socket } = scene;
  const write: (bytes: Buffer) => boolean = socket.write.bind(socket);
  Object.assign(socket, { write: (bytes: Buffer) => ((writes += 1), write(bytes)) });
  const calls = [1, 2, 3].map(() => scene.call());
  for (const id of [1, 3, 5]) scene.answer(id);
  await waitFor(() => calls.every((ends) => ends.length === 1));
  expect(calls).toEqual([['0'], ['0'], ['0']]);
  expect(writes).toBe(1);
});

describe('end', () => {
  it('closes a drained connection with GOAWAY after its last call', async () => {
    const scene = await Scene.start();
    const ends = scene.call();
    scene.connection.drain();
    expect(scene.end).toBeUndefined();
    scene.answer(1);
    await waitFor(() => scene.types.includes(GOAWAY));
    expect(ends).toEqual(['0']);
    expect(scene.end).toMatchObject({ code: 0, isPeersFault: false, error: undefined });
    scene.peer.end();
    await waitFor(() => scene.socket.destroyed);
  });

  it('destroys the socket of a closed connection if the peer does not close it', async () => {
    const scene = await Scene.start();
    scene.connection.drain();
    await waitFor(() => scene.types.includes(GOAWAY));
    await scene.clock.advanceAsync(1_900);
    expect(scene.socket.destroyed).toBe(false);
    await scene.clock.advanceAsync(200);
    expect(scene.socket.destroyed).toBe(true);
  });

  it('reports an error of the socket', async () => {
    const scene = await Scene.start();
    const ends = scene.call();
    await waitFor(() => scene.types.includes(1));
    scene.peer.resetAndDestroy();
    await waitFor(() => scene.end !== undefined);
    expect(scene.end).toMatchObject({ isPeersFault: false, error: { code: 'ECONNRESET' } });
    expect(ends).toEqual(['lost: read ECONNRESET']);
  });

  it('sends the reason for the end after a violation of the protocol', async () => {
    const scene = await Scene.start();
    scene.peer.write(Buffer.from([0, 0, 1, PING, 0, 0, 0, 0, 0, 0]));
    await waitFor(() => scene.types.includes(GOAWAY));
    expect(scene.end).toMatchObject({ code: 6, isPeersFault: true });
  });

  it('lets calls end after a GOAWAY, but waits only 2 s for them if it reports an error', async () => {
    for (const [code, expected] of [
      [0, []],
      [2, ['lost: the peer did not close the connection']],
    ] as const) {
      const scene = await Scene.start();
      const answered = scene.call();
      const open = scene.call();
      scene.frames.goaway(3, code, '');
      scene.answer(1);
      await waitFor(() => answered.length === 1);
      await scene.clock.advanceAsync(2_100);
      expect([answered, open]).toEqual([['0'], expected]);
    }
  });
});

it('reads the GOAWAY of a peer that has closed the connection before a write can fail', async () => {
  const scene = await Scene.start();
  scene.frames.goaway(1, 11, 'too_many_pings');
  scene.flush();
  scene.peer.destroy();
  // The callbacks of two timers run without a read between them. The kernel answers the first write by RST, so a second one would fail.
  const ends = await new Promise<unknown[]>((resolve) => {
    process.nextTick(() => {
      const first = scene.call();
      process.nextTick(() => process.nextTick(() => resolve([first, scene.call()])));
    });
  });
  await waitFor(() => scene.end !== undefined);
  expect(scene.events).toContain('goaway');
  expect(ends).toEqual([[expect.stringContaining('lost')], [expect.stringContaining('goaway')]]);
});

describe('keepalive', () => {
  const KEEPALIVE = { intervalMs: 10_000, timeoutMs: 5_000, isAlwaysOn: false };

  it('pings while calls are open, and ends the connection if the peer does not answer in time', async () => {
    const scene = await Scene.start(KEEPALIVE);
    const ends = scene.call();
    await scene.clock.advanceAsync(10_000);
    await waitFor(() => scene.pings.length === 1);
    scene.frames.ping(1, scene.pings[0]!.readUInt32BE(0), scene.pings[0]!.readUInt32BE(4));
    scene.flush();
    // The acknowledgement restarts the interval, which began before it.
    await waitFor(async () => {
      await scene.clock.advanceAsync(1_000);
      return scene.pings.length === 2;
    });
    expect(scene.end).toBeUndefined();
    await scene.clock.advanceAsync(5_100);
    expect(scene.end).toMatchObject({ protection: 'keepalive' });
    expect(ends).toEqual(['lost: the peer did not answer a keepalive ping']);
    expect(scene.socket.destroyed).toBe(true);
  });

  it('sends a ping that was due without calls at the next call', async () => {
    const scene = await Scene.start(KEEPALIVE);
    const ends = scene.call();
    scene.answer(1);
    await waitFor(() => ends.length === 1);
    await scene.clock.advanceAsync(60_000);
    expect(scene.pings).toEqual([]);
    scene.call();
    await waitFor(() => scene.pings.length === 1);
  });

  it('takes any bytes for an answer, and ends the connection when no more arrive', async () => {
    const scene = await Scene.start(KEEPALIVE);
    const ends = scene.call();
    await scene.clock.advanceAsync(10_000);
    await waitFor(() => scene.pings.length === 1);
    for (let second = 0; second < 60; second += 4) {
      await scene.clock.advanceAsync(4_000);
      scene.frames.windowUpdate(0, 1);
      scene.flush();
      await waitFor(() => scene.connection.readAt === scene.clock.now());
    }
    expect([scene.end, ends, scene.pings.length]).toEqual([undefined, [], 1]);
    await scene.clock.advanceAsync(10_100);
    expect(scene.end).toMatchObject({ protection: 'keepalive' });
  });

  it('gives a slow line time for what was sent before the ping', async () => {
    const scene = await Scene.start(KEEPALIVE);
    scene.open().stream.send(Buffer.alloc(1_000_000));
    scene.frames.settings([Setting.INITIAL_WINDOW_SIZE, 2_000_000]);
    scene.frames.windowUpdate(0, 2_000_000);
    scene.flush();
    await waitFor(() => scene.received > 1_000_000);
    await scene.clock.advanceAsync(10_000);
    await waitFor(() => scene.pings.length === 1);
    // 50 bytes per millisecond.
    await scene.clock.advanceAsync(5_000 + 20_000);
    expect(scene.end).toBeUndefined();
    await scene.clock.advanceAsync(500);
    expect(scene.end).toMatchObject({ protection: 'keepalive' });
  });

  it('pings without calls if it is always on', async () => {
    const scene = await Scene.start({ ...KEEPALIVE, isAlwaysOn: true });
    await scene.clock.advanceAsync(10_000);
    await waitFor(() => scene.pings.length === 1);
  });
});
