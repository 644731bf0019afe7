import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** An HTTP/2 server without gRPC, so that a test controls each stream. It is closed at the end of the test. */
export interface RawHttp2Server {
  readonly url: string;
  /** Paths of the received streams, in arrival order. */
  readonly streams: readonly string[];
  readonly sessions: ReadonlySet<ServerHttp2Session>;
}

export async function startHttp2Server(
  onStream: (stream: ServerHttp2Stream, number: number, headers: IncomingHttpHeaders) => void,
  settings: Settings = {},
): Promise<RawHttp2Server> {
  const streams: string[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer({ settings });
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
    session.once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, headers) => {
    streams.push(headers[':path'] ?? '');
    stream.on('error', () => undefined);
    onStream(stream, streams.length, headers);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  // The cast is safe because the server listens on TCP.
  const { port } = server.address() as AddressInfo;
  return { url: `127.0.0.1:${port}`, streams, sessions };
}

/** Answers a call with one empty message and OK. */
export function succeed(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.alloc(5));
}

/** Sends RST_STREAM with `code` immediately, even if the request has not ended. */
export function reset(stream: ServerHttp2Stream, code: keyof typeof constants & `NGHTTP2_${string}`): void {
  stream.resume();
  stream.close(constants[code]);
}

/** Answers a call with status `code` in a Trailers-Only response. */
export function fail(stream: ServerHttp2Stream, code: number, trailers: OutgoingHttpHeaders = {}): void {
  stream.resume();
  const status = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': String(code), ...trailers };
  stream.respond(status, { endStream: true });
}

/** Answers a call with UNAVAILABLE and an optional retry pushback. */
export function failRetryably(stream: ServerHttp2Stream, pushbackMs?: number): void {
  fail(stream, 14, pushbackMs === undefined ? {} : { 'grpc-retry-pushback-ms': String(pushbackMs) });
}

/** Returns the value of `grpc-timeout` in milliseconds; NaN if the call has no deadline or uses another unit. */
export function timeoutOf({ 'grpc-timeout': timeout }: IncomingHttpHeaders): number {
  // The client writes the timeout in milliseconds if the number has at most 8 digits.
  return Number(/^(\d+)m$/.exec(String(timeout))?.[1] ?? NaN);
}
