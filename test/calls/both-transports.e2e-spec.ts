import { readFile } from 'node:fs/promises';
import { createSecureServer, createServer, constants, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { deflateSync, gzipSync } from 'node:zlib';
import type { AddressInfo, Socket } from 'node:net';
import { credentials, Metadata } from '@grpc/grpc-js';
import { GrpcCallError, type GrpcCallOptions, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Dice } from '../frames/dice.js';
import { certificate } from '../support/orders-app.js';
import { startClient, type ClientSettings, type EchoStub, type EchoService } from './support.js';

const KINDS = ['unsafeUnary', 'clientStream', 'serverStream', 'bidi'] as const;
const RESETS = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'ENHANCE_YOUR_CALM',
  'STREAM_CLOSED',
] as const;
const ENCODINGS = ['identity', 'gzip', 'deflate', 'snappy'] as const;
const MAX_RECEIVE_BYTES = 10_000;
/** Payload size of a message that has exactly the maximum size, which includes one byte for the field and two for its length. */
const MAX_PAYLOAD_BYTES = MAX_RECEIVE_BYTES - 3;
/** Flow-control window of requests, and maximum size of one write of a response, in the pair 'tiny windows'. */
const TINY_BYTES = 1_000;
const PAIRS = ['plain', 'tiny windows', 'TLS'] as const;
const REQUEST_METADATA: readonly (readonly [string, string | Buffer])[] = [
  ['x-key', 'value'],
  ['x-key', 'another, value'],
  ['x-empty', ''],
  ['x-key-bin', Buffer.from([0, 255, 128])],
  ['x-key-bin', Buffer.alloc(0)],
  ['grpc-encoding', 'gzip'],
  ['grpc-accept-encoding', 'snappy'],
  ['grpc-timeout', '1S'],
  ['content-type', 'text/plain'],
  ['te', 'gzip'],
  ['user-agent', 'mine'],
  ['authorization', 'Bearer t'],
];

type Step =
  | {
      readonly do: 'headers';
      readonly status: number;
      readonly type: string;
      readonly encoding: string | undefined;
      readonly extra: boolean;
    }
  | ({ readonly do: 'message' } & Message)
  /** Several messages in one write. */
  | { readonly do: 'messages'; readonly messages: readonly Message[] }
  | { readonly do: 'trailers'; readonly code: number | undefined; readonly text: string }
  | { readonly do: 'trailers only'; readonly status: number; readonly code: number | undefined; readonly text: string }
  | { readonly do: 'reset'; readonly code: number }
  | { readonly do: 'end' }
  | { readonly do: 'goaway'; readonly code: number }
  | { readonly do: 'disconnect' }
  | { readonly do: 'pause' }
  | { readonly do: 'read requests' };

interface Message {
  readonly bytes: number;
  readonly as: (typeof ENCODINGS)[number] | 'truncated' | 'garbage' | 'not protobuf';
}

/** One call: the client's requests and cancellation, and the server's steps. */
interface Script {
  readonly kind: (typeof KINDS)[number];
  readonly requests: readonly number[];
  readonly cancelAfter: number | undefined;
  readonly timeoutMs: number | undefined;
  /** Indexes into `REQUEST_METADATA`. */
  readonly metadata: readonly number[];
  readonly prefetch: number | undefined;
  /** True if the caller pauses after each message. */
  readonly pauses: boolean;
  readonly steps: readonly Step[];
}

function createScript(dice: Dice): Script {
  const kind = dice.pick(KINDS);
  const steps: Step[] = [];
  if (dice.below(2) === 0) steps.push({ do: 'read requests' });
  const encoding = dice.below(3) === 0 ? dice.pick(ENCODINGS) : undefined;
  if (dice.below(8) === 0) {
    steps.push({
      do: 'trailers only',
      status: dice.below(4) === 0 ? dice.pick([404, 503, 429]) : 200,
      code: dice.below(5) === 0 ? undefined : dice.below(17),
      text: 'only',
    });
  } else if (dice.below(12) > 0) {
    const status = dice.below(10) === 0 ? dice.pick([302, 401, 404, 429, 500, 503]) : 200;
    const type = dice.below(12) === 0 ? 'text/html' : 'application/grpc+proto';
    steps.push({
      do: 'headers',
      status,
      type,
      encoding,
      extra: dice.below(2) === 0,
    });
    const message = (): Message => {
      // The library drops the body of a web page, whatever its size.
      const odd = type !== 'text/html' && dice.below(10) === 0;
      const oddBytes = dice.pick([11_000, MAX_PAYLOAD_BYTES + 1]);
      return {
        bytes: dice.pick([0, 1, 100, 5_000, odd ? oddBytes : 9_000, MAX_PAYLOAD_BYTES]),
        as: odd
          ? dice.pick(['truncated', 'garbage', 'not protobuf', ...ENCODINGS] as const)
          : ((encoding === 'snappy' || dice.below(4) === 0 ? 'identity' : encoding) ?? 'identity'),
      };
    };
    const isStream = kind === 'serverStream' || kind === 'bidi';
    for (let left = dice.below(isStream ? 6 : 3); left > 0; left--) {
      if (dice.below(isStream ? 3 : 20) === 0) {
        steps.push({ do: 'messages', messages: Array.from({ length: 1 + dice.below(5) }, message) });
      } else {
        steps.push({ do: 'message', ...message() });
      }
      if (dice.below(8) === 0) steps.push({ do: 'pause' });
    }
  }
  if (dice.below(40) === 0) {
    steps.splice(dice.below(steps.length + 1), 0, { do: 'goaway', code: constants.NGHTTP2_NO_ERROR });
  }
  if (steps.at(-1)?.do !== 'trailers only') {
    const end = dice.below(10);
    if (end < 6)
      steps.push({
        do: 'trailers',
        code: end === 0 ? dice.below(17) : end === 1 ? undefined : 0,
        text: end === 0 ? 'na%C3%AFve' : '',
      });
    else if (end < 8) steps.push({ do: 'reset', code: constants[`NGHTTP2_${dice.pick(RESETS)}`] });
    else if (end < 9) steps.push({ do: dice.pick(['end', 'end', 'end', 'disconnect']) });
  }
  const hangs = !steps.some((step) => ['trailers', 'trailers only', 'reset', 'end', 'disconnect'].includes(step.do));
  const streams = kind === 'clientStream' || kind === 'bidi';
  return {
    kind,
    requests: Array.from({ length: streams ? dice.below(6) : 1 }, () => dice.pick([0, 10, 1_000, 30_000, 100_000])),
    cancelAfter: dice.below(8) === 0 ? dice.below(3) : undefined,
    timeoutMs: hangs ? 30 : dice.below(4) === 0 ? 5_000 : undefined,
    metadata: REQUEST_METADATA.flatMap((_, index) => (dice.below(6) === 0 ? [index] : [])),
    prefetch: dice.below(3) === 0 ? 1 + dice.below(3) : undefined,
    pauses: dice.below(4) === 0,
    steps,
  };
}

function frame(step: Message): Buffer {
  const payload = Buffer.alloc(step.bytes, 7);
  const field = Buffer.from([0x1a, ...varint(payload.length)]);
  const body =
    step.as === 'not protobuf'
      ? Buffer.from([0x1a, 0x7f, 1])
      : step.bytes === 0
        ? Buffer.alloc(0)
        : Buffer.concat([field, payload]);
  const packed =
    step.as === 'gzip'
      ? gzipSync(body)
      : step.as === 'deflate'
        ? deflateSync(body)
        : step.as === 'garbage'
          ? Buffer.from('garbage')
          : body;
  const flag = ['gzip', 'deflate', 'snappy', 'garbage'].includes(step.as) ? 1 : 0;
  const head = Buffer.from([flag, 0, 0, 0, 0]);
  head.writeUInt32BE(step.as === 'truncated' ? packed.length + 3 : packed.length, 1);
  return Buffer.concat([head, packed]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}

interface Seen {
  readonly headers: Record<string, unknown>;
  bytes: number;
  ended: boolean;
  resetCode: number | undefined;
}

class ScriptServer {
  readonly seen = new Map<string, Seen[]>();
  private constructor(
    readonly server: Http2Server,
    private readonly maxWriteBytes: number,
    readonly url: string,
  ) {}

  static async start(pair: (typeof PAIRS)[number]): Promise<ScriptServer> {
    const settings = pair === 'tiny windows' ? { initialWindowSize: TINY_BYTES } : {};
    const [cert, key] = await Promise.all(['server', 'server-key'].map((name) => readFile(certificate(name))));
    const server = pair === 'TLS' ? createSecureServer({ cert: cert!, key: key! }) : createServer({ settings });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const maxWriteBytes = pair === 'tiny windows' ? TINY_BYTES : Infinity;
    const one = new ScriptServer(server, maxWriteBytes, `127.0.0.1:${(server.address() as AddressInfo).port}`);
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => undefined);
    });
    // Also records the sockets, because under TLS, Node may keep the socket of a destroyed session open after a reset.
    server.on('connection', (socket: Socket) => sessions.add(socket));
    server.on('stream', (stream, headers) => void one.serve(stream, headers));
    onTestFinished(async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return one;
  }

  private write(stream: ServerHttp2Stream, bytes: Buffer): void {
    if (this.maxWriteBytes === Infinity) stream.write(bytes);
    else
      for (let at = 0; at < bytes.length; at += this.maxWriteBytes)
        stream.write(bytes.subarray(at, at + this.maxWriteBytes));
  }

  private async serve(stream: ServerHttp2Stream, headers: Record<string, unknown>): Promise<void> {
    stream.on('error', () => undefined);
    const id = String(headers['x-id']);
    const { ':authority': _authority, 'x-script': json, 'x-id': _id, ...others } = headers;
    const rest = Object.fromEntries(Object.entries(others).sort());
    if (typeof rest['grpc-timeout'] === 'string') rest['grpc-timeout'] = 'some';
    const seen: Seen = { headers: rest, bytes: 0, ended: false, resetCode: undefined };
    this.seen.set(id, [...(this.seen.get(id) ?? []), seen]);
    const read = new Promise<void>((resolve) => {
      stream.on('data', (data: Buffer) => (seen.bytes += data.length));
      stream.on('end', () => {
        seen.ended = true;
        resolve();
      });
      stream.on('close', () => {
        seen.resetCode = stream.rstCode;
        resolve();
      });
    });
    let trailers: Record<string, string> | undefined;
    stream.on('wantTrailers', () => stream.sendTrailers(trailers ?? {}));
    for (const step of JSON.parse(String(json)) as Step[]) {
      if (step.do === 'disconnect') {
        // By the next turn, the previous steps have been written to the socket.
        await new Promise((resolve) => setImmediate(resolve));
        stream.session?.destroy();
        return;
      }
      if (stream.destroyed || stream.closed) return;
      switch (step.do) {
        case 'read requests':
          await read;
          break;
        case 'headers':
          stream.respond(
            {
              ':status': step.status,
              'content-type': step.type,
              ...(step.encoding === undefined ? {} : { 'grpc-encoding': step.encoding }),
              ...(step.extra ? { 'x-extra-bin': 'AAEC', 'x-extra': ['a', 'b'], 'grpc-accept-encoding': 'gzip' } : {}),
            },
            { waitForTrailers: true },
          );
          break;
        case 'message':
          if (!stream.headersSent) return;
          this.write(stream, frame(step));
          break;
        case 'messages':
          if (!stream.headersSent) return;
          this.write(stream, Buffer.concat(step.messages.map(frame)));
          break;
        case 'pause':
          await new Promise((resolve) => setTimeout(resolve, 3));
          break;
        case 'goaway':
          stream.session?.goaway(step.code);
          break;
        case 'trailers':
          trailers = {
            ...(step.code === undefined ? {} : { 'grpc-status': String(step.code) }),
            'grpc-message': step.text,
            'x-trailer': 't',
          };
          if (!stream.headersSent)
            stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
          stream.end();
          break;
        case 'trailers only':
          stream.respond(
            {
              ':status': step.status,
              'content-type': 'application/grpc',
              ...(step.code === undefined ? {} : { 'grpc-status': String(step.code), 'grpc-message': step.text }),
            },
            { endStream: true },
          );
          break;
        case 'reset':
          // By the next turn, the previous steps have been written to the socket.
          if (stream.headersSent) await new Promise((resolve) => setImmediate(resolve));
          stream.close(step.code);
          break;
        case 'end':
          if (!stream.headersSent) stream.respond({ ':status': 200 }, { endStream: true });
          else stream.end();
      }
    }
  }
}

async function* generateMessages(sizes: readonly number[]): AsyncGenerator<{ payload: Buffer }> {
  for (const size of sizes) {
    await Promise.resolve();
    yield { payload: Buffer.alloc(size, 1) };
  }
}

/** Runs a script and returns what the caller and the server observed. */
async function run(
  echo: EchoStub,
  server: ScriptServer,
  id: string,
  { kind, requests, cancelAfter, timeoutMs, metadata: indexes, prefetch, pauses, steps }: Script,
): Promise<unknown> {
  const events: string[] = [];
  const metadata = new Metadata();
  metadata.set('x-script', JSON.stringify(steps));
  metadata.set('x-id', id);
  for (const [key, value] of indexes.flatMap((index) => REQUEST_METADATA.slice(index, index + 1)))
    metadata.add(key, value);
  const options: GrpcCallOptions = {
    metadata,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(prefetch === undefined ? {} : { prefetch }),
    onHeaders: (headers: { toJSON(): object }) =>
      void events.push(`headers ${JSON.stringify({ ...headers.toJSON(), date: undefined })}`),
  };
  const call =
    kind === 'clientStream' || kind === 'bidi'
      ? echo[kind](generateMessages(requests), options as never)
      : echo[kind]({ payload: Buffer.alloc(requests[0] ?? 0, 1) }, options as never);
  let received = 0;
  if (pauses && cancelAfter !== 0 && (kind === 'serverStream' || kind === 'bidi')) {
    try {
      for await (const message of call) {
        events.push(`message ${(message.payload as Buffer | undefined)?.length ?? 0}`);
        received += 1;
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (cancelAfter === received) break;
      }
      events.push(cancelAfter === received ? 'cancelled' : 'complete');
    } catch (error) {
      events.push(describeError(error));
    }
  } else
    await new Promise<void>((resolve) => {
      const subscription = call.subscribe({
        next: (message) => {
          events.push(`message ${(message.payload as Buffer | undefined)?.length ?? 0}`);
          received += 1;
          if (cancelAfter === received) stop();
        },
        error: (error: unknown) => {
          events.push(describeError(error));
          resolve();
        },
        complete: () => {
          events.push('complete');
          resolve();
        },
      });
      const stop = (): void => {
        events.push('cancelled');
        subscription.unsubscribe();
        resolve();
      };
      if (cancelAfter === 0) stop();
      setTimeout(() => {
        if (events.some((one) => /^(error|complete|cancelled)/.test(one))) return;
        events.push('hangs');
        subscription.unsubscribe();
        resolve();
      }, 4_000).unref();
    });
  const seen = server.seen.get(id) ?? [];
  if (cancelAfter === 0) return { events };
  // Compares only the last event, because the load of the machine decides how far a call gets before this deadline, and because the library
  // reports the HTTP status of a response that is not gRPC, whatever follows.
  const isHttp = steps.some((step) => step.do === 'headers' && (step.status !== 200 || step.type === 'text/html'));
  if (timeoutMs === 30 || isHttp) return events.at(-1);
  // The server is certain to have received all requests only if its script reads them before it ends the call.
  const isComplete = steps[0]?.do === 'read requests' && !events.includes('cancelled');
  return { events, requests: seen.map(({ headers, bytes }) => (isComplete ? { headers, bytes } : { headers })) };
}

/** Describes an error without the evidence about the server, which only the transport of the library has. */
function describeError(error: unknown): string {
  if (!(error instanceof GrpcCallError)) return String(error);
  const { code, details, metadata } = error;
  if (/header was identity|method not supported/.test(details)) return 'error of an encoding';
  if (/decompress/.test(details)) return 'error of a compressed message';
  if (
    /connection lost|dropped|RST_STREAM|reset|refused by|Bandwidth|Call cancelled|HTTP|Protocol error|without trailers/i.test(
      details,
    )
  )
    return 'error of the connection or a proxy';
  const stableDetails = details.replace(/after [\d.]+s.*/, 'after …').replace(/; raise .+/, '');
  return `error ${code} ${stableDetails} ${JSON.stringify({ ...metadata.toJSON(), date: undefined })}`;
}

async function startPair(pair: (typeof PAIRS)[number]): Promise<{
  readonly server: ScriptServer;
  readonly clients: readonly ResilientGrpcClient[];
  readonly socket: EchoStub;
  readonly grpcJs: EchoStub;
}> {
  const server = await ScriptServer.start(pair);
  const settings: ClientSettings & { readonly url: string } = {
    url: server.url,
    maxReceiveMessageLength: MAX_RECEIVE_BYTES,
    connections: { warm: true },
    ...(pair === 'TLS' ? { credentials: credentials.createSsl(await readFile(certificate('ca'))) } : {}),
    channelOptions: {
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 100,
      ...(pair === 'TLS' ? { 'grpc.ssl_target_name_override': 'localhost' } : {}),
    },
  };
  const clients = [await startClient(settings), await startClient({ ...settings, transport: 'grpc-js' })] as const;
  const [socket, grpcJs] = clients;
  return {
    server,
    clients,
    socket: socket.getService<EchoService>('Echo'),
    grpcJs: grpcJs.getService<EchoService>('Echo'),
  };
}

/**
 * True if an outcome of one client equals an outcome of the other. A reset or an HTTP error discards unread messages, so the number of
 * messages before such an end may differ.
 */
function agree(onSocket: ReadonlySet<string>, onGrpcJs: ReadonlySet<string>): boolean {
  const isSame = (one: string, other: string): boolean => {
    if (one === other) return true;
    const [first, second] = [one, other].map((text) => text.split(/,(?="error )/));
    if (first?.length !== 2 || second?.length !== 2 || first[1] !== second[1]) return false;
    if (!/of the connection|larger than max/.test(first[1]!)) return false;
    return first[0]!.startsWith(second[0]!) || second[0]!.startsWith(first[0]!);
  };
  return [...onSocket].some((one) => [...onGrpcJs].some((other) => isSame(one, other)));
}

describe('calls on the transport of the library and on that of grpc-js', () => {
  it('ends the calls of random scripts with the same outcome on both transports', { timeout: 600_000 }, async () => {
    const pairs = [];
    for (const pair of PAIRS) pairs.push(await startPair(pair));
    const count = Number(process.env['SCRIPTS'] ?? 300);
    const first = Number(process.env['FIRST'] ?? 1);
    const differences: unknown[] = [];
    for (let seed = first; seed < first + count; seed++) {
      const script = createScript(new Dice(seed));
      const { server, clients, socket, grpcJs } = pairs[seed % pairs.length]!;
      const [onSocket, onGrpcJs] = [new Set<string>(), new Set<string>()];
      // The outcome of a script can depend on timing, so both clients run the script up to 8 times, until an outcome of one client
      // equals an outcome of the other.
      for (let turn = 0; turn < 8 && !agree(onSocket, onGrpcJs); turn++) {
        const id = `${seed}-${turn}`;
        // Waits for the end of an outage, because repeated disconnects by the server cause one.
        await waitFor(() => clients.every(({ connectivity }) => connectivity.state === 'READY'), {
          timeoutMs: 30_000,
        });
        const outcomes = await Promise.all([
          run(socket, server, `s${id}`, script),
          run(grpcJs, server, `g${id}`, script),
        ]);
        onSocket.add(JSON.stringify(outcomes[0]));
        const onGrpcJsNow = JSON.stringify(outcomes[1]);
        // After the server has ended the call, grpc-js may still write, and then fail or hang. Such an outcome is not compared.
        onGrpcJs.add(/write after end|"hangs"/.test(onGrpcJsNow) ? JSON.stringify(outcomes[0]) : onGrpcJsNow);
      }
      if (!agree(onSocket, onGrpcJs)) differences.push({ seed, script, socket: [...onSocket], grpcJs: [...onGrpcJs] });
      if (differences.length > 3) break;
    }
    if (process.env['DIFF'] !== undefined)
      (await import('node:fs')).writeFileSync(process.env['DIFF'], JSON.stringify(differences, null, 1));
    expect(differences).toEqual([]);
  });
});
