import { createServer, type AddressInfo, type Socket } from 'node:net';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { onTestFinished } from 'vitest';
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
  settingsAck,
  windowUpdate,
  type ReadFrame,
} from '../unit-support/frames.js';

/** Raises the window of the connection from its default to the maximum. */
const WINDOW_INCREMENT_BYTES = 2 ** 31 - 1 - 65_535;

/** Metadata key whose value identifies a request. */
export const KEY = 'x-call';

/**
 * Metadata whose `KEY` is `key` in braces. Braces take 15 and 14 bits in Huffman coding, so Node's HPACK encoder does not apply
 * Huffman coding to short values in braces.
 */
export const keyed = (key: string): Readonly<Record<string, string>> => ({ [KEY]: `{${key}}` });

/** A request as received from the wire. */
export class FrameRequest {
  constructor(
    readonly connection: FrameConnection,
    readonly streamId: number,
    /** The value of its metadata `KEY`, without the braces. */
    readonly key: string,
    /** Number of requests with this key so far, including this one. */
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

  /** Ends the stream with an empty DATA frame. */
  end(): Buffer {
    return frame(FRAME.data, FLAG.endStream, this.streamId, Buffer.alloc(0));
  }

  reset(code: number): Buffer {
    return reset(this.streamId, code);
  }

  /** PUSH_PROMISE: the server announces `stream` for the response to a GET that the client did not send. */
  push(stream: number): Buffer {
    const request = { ':method': 'GET', ':scheme': 'http', ':authority': 'x', ':path': '/pushed' };
    const payload = Buffer.concat([numbers(stream), fieldBlock(request)]);
    return frame(FRAME.pushPromise, FLAG.endHeaders, this.streamId, payload);
  }

  success(): Buffer {
    return Buffer.concat([this.headers(), this.message(), this.trailers(0)]);
  }

  private fields(fields: Readonly<Record<string, string>>, endStream: boolean): Buffer {
    return headers(this.streamId, fields, endStream ? FLAG.endStream : 0);
  }
}

/** One connection of a `FrameServer`. */
class FrameConnection {
  /** Requests in the order of their HEADERS frames. */
  readonly requests: FrameRequest[] = [];
  /** RST_STREAM frames of the client. */
  readonly resets: { readonly streamId: number; readonly code: number }[] = [];
  /** The lowest last stream ID of the GOAWAYs sent. The server's application never receives a stream above it. */
  lastStreamId = Infinity;
  private readonly heads = new Map<number, Buffer>();
  private pingsAnswered = 0;
  private pingsSent = 0;
  private readonly reader = new FrameReader(PREFACE.length, (read) => {
    this.onFrame(read);
  });

  constructor(
    readonly socket: Socket,
    private readonly onRequest: (connection: FrameConnection, streamId: number, block: Buffer) => void,
    maxConcurrentStreams: number,
    connectionWindow: number,
    private readonly atEnd: boolean,
  ) {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      this.reader.read(bytes);
    });
    // Without a dynamic table, the client sends the key of each request in full.
    this.write(
      settings([SETTING.headerTableSize, 0], [SETTING.maxConcurrentStreams, maxConcurrentStreams]),
      ...(connectionWindow > 0 ? [windowUpdate(0, connectionWindow)] : []),
    );
  }

  /** Sends `bytes` in one write. */
  write(...bytes: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  goaway(lastStreamId: number, code = 0): void {
    this.lastStreamId = Math.min(this.lastStreamId, lastStreamId);
    this.write(goaway(lastStreamId, code));
  }

  /** Resolves when the client has read everything written so far, or has closed the connection. */
  async waitUntilRead(): Promise<void> {
    this.pingsSent += 1;
    const sent = this.pingsSent;
    this.write(ping(numbers(0, sent)));
    await waitFor(() => this.pingsAnswered >= sent || this.socket.destroyed, { timeoutMs: 30_000, intervalMs: 0 });
  }

  private onFrame({ type, flags, stream, payload }: ReadFrame): void {
    const isAck = (flags & FLAG.ack) !== 0;
    if (type === FRAME.headers) this.heads.set(stream, payload);
    const isDue =
      type === FRAME.data ? this.atEnd && (flags & FLAG.endStream) !== 0 : type === FRAME.headers && !this.atEnd;
    if (isDue) this.onRequest(this, stream, this.heads.get(stream) ?? payload);
    if (type === FRAME.reset) this.resets.push({ streamId: stream, code: payload.readUInt32BE(0) });
    if (type === FRAME.settings && !isAck) this.write(settingsAck());
    if (type === FRAME.ping && !isAck) this.write(ping(payload, FLAG.ack));
    if (type === FRAME.ping && isAck) this.pingsAnswered = payload.readUInt32BE(4);
    // Not supported, because the headers of all test requests fit into one HEADERS frame.
    if (type === FRAME.continuation) throw new Error('unexpected CONTINUATION frame');
  }
}

/**
 * A server that reads and writes HTTP/2 frames without an HTTP/2 library. It counts HEADERS frames at the socket and can send frames
 * that no library sends.
 */
export class FrameServer {
  readonly connections: FrameConnection[] = [];
  /** Number of requests by key. */
  private readonly counts = new Map<string, number>();

  private constructor(readonly url: string) {}

  /**
   * Starts a server that is closed at the end of the test.
   *
   * @param onRequest called for each HEADERS frame
   */
  static async start(
    onRequest: (request: FrameRequest) => void,
    options: {
      readonly maxConcurrentStreams?: number;
      /** Window of the connection in addition to its default; more is never given. */
      readonly connectionWindow?: number;
      /** True if `onRequest` is called when a request has ended. */
      readonly atEnd?: boolean;
    } = {},
  ): Promise<FrameServer> {
    // Without `noDelay`, a second small write waits up to 40 ms for the ACK of the first.
    const listener = createServer({ noDelay: true }, (socket) => {
      const { maxConcurrentStreams = 100, connectionWindow = WINDOW_INCREMENT_BYTES, atEnd = false } = options;
      server.connections.push(new FrameConnection(socket, accept, maxConcurrentStreams, connectionWindow, atEnd));
    });
    const accept = (connection: FrameConnection, streamId: number, block: Buffer): void => {
      const key = /\{(\w+)\}/.exec(block.toString('latin1'))?.[1];
      if (key === undefined) throw new Error(`expected metadata ${KEY} in a request`);
      const number = (server.counts.get(key) ?? 0) + 1;
      server.counts.set(key, number);
      const request = new FrameRequest(connection, streamId, key, number);
      connection.requests.push(request);
      onRequest(request);
    };
    await new Promise<void>((resolve) => {
      listener.listen(0, '127.0.0.1', resolve);
    });
    // The cast is safe because the server listens on TCP.
    const server = new FrameServer(`127.0.0.1:${(listener.address() as AddressInfo).port}`);
    onTestFinished(async () => {
      for (const { socket } of server.connections) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    });
    return server;
  }

  /** Requests with the key `key` on all connections. */
  requests(key: string): readonly FrameRequest[] {
    return this.connections.flatMap(({ requests }) => requests.filter((request) => request.key === key));
  }

  /** Requests with the key `key` that no GOAWAY excluded as unprocessed. An application may have executed them. */
  executable(key: string): readonly FrameRequest[] {
    return this.requests(key).filter(({ connection, streamId }) => streamId <= connection.lastStreamId);
  }
}
