import { createServer, type AddressInfo, type Socket } from 'node:net';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { onTestFinished } from 'vitest';

/** Types of HTTP/2 frames (RFC 9113, section 6). */
const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
};
const [END_STREAM, ACK, END_HEADERS] = [1, 1, 4];
const HEADER_TABLE_SIZE = 1;
const MAX_CONCURRENT_STREAMS = 3;
const FRAME_HEADER_BYTES = 9;
const PREFACE_BYTES = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'.length;
const MAX_WINDOW = 2 ** 31 - 1 - 65_535;

/** Metadata key of a request's key. */
export const KEY = 'x-call';

/** Value of the metadata `KEY`. In Huffman coding a brace takes 15 bits, so that HPACK sends a short value in braces as plain text. */
export const keyed = (key: string): Readonly<Record<string, string>> => ({ [KEY]: `{${key}}` });

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}

function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4);
  return bytes;
}

function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return frame(FRAME.settings, 0, 0, payload);
}

/** HPACK: each field literal, without indexing and without Huffman coding. */
function fieldBlock(fields: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(fields).flatMap(([name, value]) => [
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
  return Buffer.concat(parts);
}

export const goaway = (lastStreamId: number, code: number): Buffer =>
  frame(FRAME.goaway, 0, 0, numbers(lastStreamId, code));

/** The first half of `bytes`. */
export const half = (bytes: Buffer): Buffer => bytes.subarray(0, bytes.length / 2);

/** A request as it came over the wire. */
export class FrameRequest {
  constructor(
    readonly connection: FrameConnection,
    readonly streamId: number,
    /** The value of its metadata `KEY`. */
    readonly key: string,
    /** Number of requests with its key, this one included. */
    readonly number: number,
  ) {}

  headers(fields: Readonly<Record<string, string>> = {}): Buffer {
    return this.fields({ ':status': '200', 'content-type': 'application/grpc', ...fields }, false);
  }

  /** A message without fields. */
  message(): Buffer {
    return frame(FRAME.data, 0, this.streamId, Buffer.alloc(5));
  }

  trailers(code: number, text = ''): Buffer {
    return this.fields({ 'grpc-status': String(code), 'grpc-message': encodeURIComponent(text) }, true);
  }

  /** Trailers-Only: one HEADERS frame that ends the stream. */
  status(fields: Readonly<Record<string, string>>): Buffer {
    return this.fields({ ':status': '200', ...fields }, true);
  }

  /** Ends the stream by an empty DATA frame. */
  end(): Buffer {
    return frame(FRAME.data, END_STREAM, this.streamId, Buffer.alloc(0));
  }

  reset(code: number): Buffer {
    return frame(FRAME.reset, 0, this.streamId, numbers(code));
  }

  /** PUSH_PROMISE: the server announces `stream`, the response of a GET that the client did not send. */
  push(stream: number): Buffer {
    const request = { ':method': 'GET', ':scheme': 'http', ':authority': 'x', ':path': '/pushed' };
    const payload = Buffer.concat([numbers(stream), fieldBlock(request)]);
    return frame(FRAME.pushPromise, END_HEADERS, this.streamId, payload);
  }

  success(): Buffer {
    return Buffer.concat([this.headers(), this.message(), this.trailers(0)]);
  }

  private fields(fields: Readonly<Record<string, string>>, endStream: boolean): Buffer {
    return frame(FRAME.headers, END_HEADERS | (endStream ? END_STREAM : 0), this.streamId, fieldBlock(fields));
  }
}

/** One connection of a `FrameServer`. */
class FrameConnection {
  /** Requests in the order of their HEADERS frames. */
  readonly requests: FrameRequest[] = [];
  /** RST_STREAM frames of the client. */
  readonly resets: { readonly streamId: number; readonly code: number }[] = [];
  /** The lowest last stream id of the GOAWAYs sent: the server promises that its application never sees a stream above it. */
  lastStreamId = Infinity;
  #pingsAnswered = 0;
  #pingsSent = 0;
  #unread: Buffer = Buffer.alloc(0);
  #prefaceLeft = PREFACE_BYTES;

  constructor(
    readonly socket: Socket,
    private readonly onRequest: (connection: FrameConnection, streamId: number, block: Buffer) => void,
    maxConcurrentStreams: number,
  ) {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => this.#read(bytes));
    // Without a table each field is sent in full, also the second time.
    this.write(
      settings([HEADER_TABLE_SIZE, 0], [MAX_CONCURRENT_STREAMS, maxConcurrentStreams]),
      frame(FRAME.windowUpdate, 0, 0, numbers(MAX_WINDOW)),
    );
  }

  /** Sends `bytes` in one write. */
  write(...bytes: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** Sends GOAWAY. */
  goaway(lastStreamId: number, code = 0): void {
    this.lastStreamId = Math.min(this.lastStreamId, lastStreamId);
    this.write(goaway(lastStreamId, code));
  }

  /** Resolves when the client has read everything written so far, or has closed the connection. */
  async read(): Promise<void> {
    this.#pingsSent += 1;
    const ping = this.#pingsSent;
    this.write(frame(FRAME.ping, 0, 0, numbers(0, ping)));
    await waitFor(() => this.#pingsAnswered >= ping || this.socket.destroyed, { timeoutMs: 30_000, intervalMs: 0 });
  }

  #read(bytes: Buffer): void {
    const skipped = Math.min(bytes.length, this.#prefaceLeft);
    this.#prefaceLeft -= skipped;
    this.#unread = Buffer.concat([this.#unread, bytes.subarray(skipped)]);
    while (this.#unread.length >= FRAME_HEADER_BYTES) {
      const end = FRAME_HEADER_BYTES + this.#unread.readUIntBE(0, 3);
      if (this.#unread.length < end) return;
      const [type, flags] = [this.#unread[3], this.#unread[4] ?? 0];
      const [streamId, payload] = [this.#unread.readUInt32BE(5), this.#unread.subarray(FRAME_HEADER_BYTES, end)];
      this.#unread = this.#unread.subarray(end);
      if (type === FRAME.headers) this.onRequest(this, streamId, payload);
      if (type === FRAME.reset) this.resets.push({ streamId, code: payload.readUInt32BE(0) });
      if (type === FRAME.settings && (flags & ACK) === 0) this.write(frame(FRAME.settings, ACK, 0, Buffer.alloc(0)));
      if (type === FRAME.ping && (flags & ACK) === 0) this.write(frame(FRAME.ping, ACK, 0, payload));
      if (type === FRAME.ping && (flags & ACK) !== 0) this.#pingsAnswered = payload.readUInt32BE(4);
      // Its requests have short headers.
      if (type === FRAME.continuation) throw new Error('unexpected CONTINUATION frame');
    }
  }
}

/**
 * A server that reads and writes HTTP/2 frames without an HTTP/2 library: it counts HEADERS frames at the socket and sends whatever a
 * test wants, also what no library sends.
 */
export class FrameServer {
  readonly connections: FrameConnection[] = [];

  private constructor(readonly url: string) {}

  /**
   * Starts a server that is closed at the end of the test.
   *
   * @param onRequest runs at each HEADERS frame
   */
  static async start(
    onRequest: (request: FrameRequest) => void,
    options: { readonly maxConcurrentStreams?: number } = {},
  ): Promise<FrameServer> {
    // Without it, a second small write waits up to 40 ms for the ACK of the first.
    const listener = createServer({ noDelay: true }, (socket) => {
      server.connections.push(new FrameConnection(socket, accept, options.maxConcurrentStreams ?? 100));
    });
    const accept = (connection: FrameConnection, streamId: number, block: Buffer): void => {
      const key = /\{(\w+)\}/.exec(block.toString('latin1'))?.[1];
      if (key === undefined) throw new Error(`a request without the metadata ${KEY}`);
      const request = new FrameRequest(connection, streamId, key, server.requests(key).length + 1);
      connection.requests.push(request);
      onRequest(request);
    };
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve);
    });
    // True: it listens on TCP.
    const server = new FrameServer(`127.0.0.1:${(listener.address() as AddressInfo).port}`);
    onTestFinished(async () => {
      for (const { socket } of server.connections) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    });
    return server;
  }

  /** Requests of `key` on the wire, over all connections. */
  requests(key: string): readonly FrameRequest[] {
    return this.connections.flatMap(({ requests }) => requests.filter((request) => request.key === key));
  }

  /** Requests of `key` that no GOAWAY disowned: an application may have executed them. */
  executable(key: string): readonly FrameRequest[] {
    return this.requests(key).filter(({ connection, streamId }) => streamId <= connection.lastStreamId);
  }
}
