import { createServer, constants, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { deflateSync, gzipSync } from 'node:zlib';
import type { AddressInfo } from 'node:net';
import { GrpcCallError } from 'nestjs-resilient-grpc';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Dice } from '../frames/dice.js';
import { startClient, type EchoStub, type EchoService } from './support.js';

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

type Step =
  | {
      readonly do: 'headers';
      readonly status: number;
      readonly type: string;
      readonly encoding: string | undefined;
      readonly extra: boolean;
    }
  | {
      readonly do: 'message';
      readonly bytes: number;
      readonly as: (typeof ENCODINGS)[number] | 'truncated' | 'flag 7' | 'garbage' | 'not protobuf';
    }
  | { readonly do: 'trailers'; readonly code: number | undefined; readonly text: string }
  | { readonly do: 'trailers only'; readonly status: number; readonly code: number | undefined; readonly text: string }
  | { readonly do: 'reset'; readonly code: number }
  | { readonly do: 'end' }
  | { readonly do: 'read requests' };

/** One call: what the client sends and when it cancels, and what the server does. */
interface Script {
  readonly kind: (typeof KINDS)[number];
  readonly requests: readonly number[];
  readonly cancelAfter: number | undefined;
  readonly timeoutMs: number | undefined;
  readonly steps: readonly Step[];
}

function script(dice: Dice): Script {
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
    steps.push({
      do: 'headers',
      status,
      type: dice.below(12) === 0 ? 'text/html' : 'application/grpc+proto',
      encoding,
      extra: dice.below(2) === 0,
    });
    for (let left = dice.below(kind === 'serverStream' || kind === 'bidi' ? 6 : 3); left > 0; left--) {
      const odd = dice.below(10) === 0;
      steps.push({
        do: 'message',
        bytes: dice.pick([0, 1, 100, 5_000, odd ? 11_000 : 9_000, 9_990]),
        as: odd
          ? dice.pick(['truncated', 'flag 7', 'garbage', 'not protobuf', ...ENCODINGS] as const)
          : ((encoding === 'snappy' ? 'identity' : encoding) ?? 'identity'),
      });
    }
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
    else if (end < 9) steps.push({ do: 'end' });
  }
  const hangs = !steps.some((step) => ['trailers', 'trailers only', 'reset', 'end'].includes(step.do));
  const streams = kind === 'clientStream' || kind === 'bidi';
  return {
    kind,
    requests: Array.from({ length: streams ? dice.below(6) : 1 }, () => dice.pick([0, 10, 1_000, 30_000])),
    cancelAfter: dice.below(8) === 0 ? dice.below(3) : undefined,
    timeoutMs: hangs ? 30 : dice.below(4) === 0 ? 5_000 : undefined,
    steps,
  };
}

function framed(step: Extract<Step, { do: 'message' }>): Buffer {
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
  const flag = step.as === 'flag 7' ? 7 : ['gzip', 'deflate', 'snappy', 'garbage'].includes(step.as) ? 1 : 0;
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
    readonly url: string,
  ) {}

  static async start(): Promise<ScriptServer> {
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const one = new ScriptServer(server, `127.0.0.1:${(server.address() as AddressInfo).port}`);
    const sessions = new Set<{ destroy(): void }>();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => undefined);
    });
    server.on('stream', (stream, headers) => void one.play(stream, headers));
    onTestFinished(async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return one;
  }

  private async play(stream: ServerHttp2Stream, headers: Record<string, unknown>): Promise<void> {
    stream.on('error', () => undefined);
    const id = String(headers['x-id']);
    const { ':authority': _authority, 'x-script': json, 'x-id': _id, ...rest } = headers;
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
            } as never,
            { waitForTrailers: true },
          );
          break;
        case 'message':
          if (!stream.headersSent) return;
          stream.write(framed(step));
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
          // Everything before has been written to the socket.
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

async function* messages(sizes: readonly number[]): AsyncGenerator<{ payload: Buffer }> {
  for (const size of sizes) {
    await Promise.resolve();
    yield { payload: Buffer.alloc(size, 1) };
  }
}

/** The outcome of a script, as its caller and its server saw it. */
async function run(
  echo: EchoStub,
  server: ScriptServer,
  id: string,
  { kind, requests, cancelAfter, timeoutMs, steps }: Script,
): Promise<unknown> {
  const events: string[] = [];
  const options = {
    metadata: { 'x-script': JSON.stringify(steps), 'x-id': id },
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    onHeaders: (headers: { toJSON(): object }) =>
      void events.push(`headers ${JSON.stringify({ ...headers.toJSON(), date: undefined })}`),
  };
  const call =
    kind === 'clientStream' || kind === 'bidi'
      ? echo[kind](messages(requests), options as never)
      : echo[kind]({ payload: Buffer.alloc(requests[0] ?? 0, 1) }, options as never);
  let received = 0;
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
  // What arrives before a deadline depends on the load of the machine.
  if (timeoutMs === 30) return events.at(-1)?.replace(/(yes|maybe) deadline/, '… deadline');
  // The server has received everything only if it waited for it.
  const isComplete = steps[0]?.do === 'read requests' && !events.includes('cancelled') && timeoutMs !== 30;
  return { events, requests: seen.map(({ headers, bytes }) => (isComplete ? { headers, bytes } : { headers })) };
}

function describeError(error: unknown): string {
  if (!(error instanceof GrpcCallError)) return String(error);
  // grpc-js ends a call without a code if it cannot inflate a message.
  if (/undefined, which is not|header was identity|method not supported/.test(error.details))
    return 'error of an encoding';
  if (/decompress/.test(error.details)) return 'error of a compressed message';
  const { code, details, reachedServer, reason, metadata } = error;
  const said = details.replace(/after [\d.]+s.*/, 'after …').replace(/\d+ ms/g, '… ms');
  return `error ${code} ${said} ${reachedServer} ${reason} ${JSON.stringify({ ...metadata.toJSON(), date: undefined })}`;
}

describe('calls on a connection and on grpc-js’s channel', () => {
  it('have the same outcome for each random script', { timeout: 600_000 }, async () => {
    const server = await ScriptServer.start();
    const settings = { url: server.url, maxReceiveMessageLength: MAX_RECEIVE_BYTES };
    const direct = (await startClient(settings)).getService<EchoService>('Echo');
    process.env['NESTJS_RESILIENT_GRPC_DIRECT_CALLS'] = 'off';
    const channel = (await startClient(settings)).getService<EchoService>('Echo');
    delete process.env['NESTJS_RESILIENT_GRPC_DIRECT_CALLS'];
    const count = Number(process.env['SCRIPTS'] ?? 300);
    const first = Number(process.env['FIRST'] ?? 1);
    const differences: unknown[] = [];
    for (let seed = first; seed < first + count; seed++) {
      const played = script(new Dice(seed));
      const [onConnection, onChannel] = [new Set<string>(), new Set<string>()];
      // Some scripts are races between the client and the server: each client plays them until the outcomes meet.
      for (let turn = 0; turn < 8 && [...onConnection].every((one) => !onChannel.has(one)); turn++) {
        const id = `${seed}-${turn}`;
        const outcomes = await Promise.all([
          run(direct, server, `d${id}`, played),
          run(channel, server, `c${id}`, played),
        ]);
        onConnection.add(JSON.stringify(outcomes[0]));
        const onChannelNow = JSON.stringify(outcomes[1]);
        // grpc-js's channel may write a request after the server has ended the call, and then reports an error or nothing.
        onChannel.add(/write after end|"hangs"/.test(onChannelNow) ? JSON.stringify(outcomes[0]) : onChannelNow);
      }
      if ([...onConnection].every((one) => !onChannel.has(one)))
        differences.push({ seed, played, direct: [...onConnection], channel: [...onChannel] });
      if (differences.length > 3) break;
    }
    if (process.env['DIFF'] !== undefined)
      (await import('node:fs')).writeFileSync(process.env['DIFF'], JSON.stringify(differences, null, 1));
    expect(differences).toEqual([]);
  });
});
