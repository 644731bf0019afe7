import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { create, createFileRegistry, fromBinary, toBinary, type DescMethod } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { ConnectError } from '@connectrpc/connect';
import { compressionGzip, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { Client, credentials, Metadata, type ChannelCredentials, type StatusObject } from '@grpc/grpc-js';
import { ClientError, createChannel, createClientFactory, Metadata as NiceMetadata } from 'nice-grpc';
import { readFileSync } from 'node:fs';
import { goProgram } from '../support/go-program.js';
import { PYTHON, isInstalled } from '../support/programs.js';

/** A call for a client of another implementation. Messages are encoded. */
export interface ForeignCall {
  /** '/testing.v1.Echo/Unary' */
  readonly path: string;
  readonly kind: 'unary' | 'clientStream' | 'serverStream' | 'bidi';
  readonly requests: readonly Buffer[];
  /** Values of names that end in '-bin' are base64, also in responses. */
  readonly metadata?: Fields;
  readonly timeoutMs?: number;
  /** Compresses the requests. */
  readonly gzip?: boolean;
}

export type Fields = Readonly<Record<string, string>>;

export interface Outcome {
  readonly headers: Fields;
  readonly messages: readonly Buffer[];
  readonly trailers: Fields;
  readonly code: number;
  readonly details: string;
}

/** Makes calls with a client of another implementation. */
export interface ForeignClient {
  /** Resolves when the call has ended; aborting `signal` cancels it. */
  call(call: ForeignCall, signal?: AbortSignal): Promise<Outcome>;
  close(): unknown;
}

export interface ClientKind {
  readonly name: string;
  /** Why the client cannot run; `undefined` if it can. */
  readonly missing: () => string | undefined;
  /** @param ca path of the certificate authority of a server with TLS */
  readonly open: (target: string, ca?: string) => ForeignClient | Promise<ForeignClient>;
}

const METHOD_SHAPES = {
  unary: [false, false],
  clientStream: [true, false],
  serverStream: [false, true],
  bidi: [true, true],
} as const;
const present = () => undefined;
const identity = (bytes: Buffer): Buffer => bytes;

function securityOf(ca: string | undefined): ChannelCredentials {
  return ca === undefined ? credentials.createInsecure() : credentials.createSsl(readFileSync(ca));
}

// ── in this process ──

const channelOptions = (gzip = false) => ({
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 200,
  // 2 is gzip.
  'grpc.default_compression_algorithm': gzip ? 2 : 0,
});

function decoded(fields: Fields = {}): Record<string, string | Buffer> {
  const decode = (name: string, value: string) => (name.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, decode(name, value)]));
}

function encoded(values: Iterable<[name: string, value: string | Uint8Array]>): Fields {
  const encode = (value: string | Uint8Array) =>
    typeof value === 'string' ? value : Buffer.from(value).toString('base64');
  return Object.fromEntries([...values].map(([name, value]) => [name, encode(value)]));
}

const fieldsOf = (metadata?: Metadata): Fields => encoded(Object.entries(metadata?.getMap() ?? {}));

export class GrpcJsClient implements ForeignClient {
  private readonly plain: Client;
  private readonly zipped: Client;

  constructor(target: string, ca?: string) {
    this.plain = new Client(target, securityOf(ca), channelOptions());
    this.zipped = new Client(target, securityOf(ca), channelOptions(true));
  }

  call({ path, requests, metadata, timeoutMs, gzip }: ForeignCall, signal?: AbortSignal): Promise<Outcome> {
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    const client = gzip ? this.zipped : this.plain;
    // grpc-js sends the same frames for all kinds of methods.
    const sent = new Metadata();
    for (const [name, value] of Object.entries(decoded(metadata))) sent.set(name, value);
    const call = client.makeBidiStreamRequest(path, identity, identity, sent, options);
    signal?.addEventListener('abort', () => call.cancel());
    for (const request of requests) call.write(request);
    call.end();
    return new Promise((resolve) => {
      const messages: Buffer[] = [];
      let headers: Metadata | undefined;
      call.on('metadata', (received) => (headers = received));
      call.on('data', (message: Buffer) => messages.push(message));
      call.on('error', () => undefined);
      call.on('status', ({ code, details, metadata: trailers }: StatusObject) => {
        resolve({ headers: fieldsOf(headers), messages, trailers: fieldsOf(trailers), code, details });
      });
    });
  }

  close(): void {
    this.plain.close();
    this.zipped.close();
  }
}

/** nice-grpc leaves deadlines to a middleware, which cancels the call. */
function openNice(target: string, ca?: string): ForeignClient {
  const channels = [false, true].map((gzip) => createChannel(target, securityOf(ca), channelOptions(gzip)));
  return {
    async call({ path, kind, requests, metadata, timeoutMs, gzip }, signal) {
      const [requestStream, responseStream] = METHOD_SHAPES[kind];
      const codec = { requestSerialize: identity, requestDeserialize: identity };
      const definition = { ...codec, responseSerialize: identity, responseDeserialize: identity, options: {} };
      const client: any = createClientFactory().create(
        { run: { path, requestStream, responseStream, ...definition } } as any,
        channels[gzip ? 1 : 0]!,
      );
      const late = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
      const seen = { headers: {}, messages: [] as Buffer[], trailers: {}, code: 0, details: '' };
      const fields = (received: NiceMetadata) =>
        encoded([...received].map(([name, [value = '']]): [string, string | Uint8Array] => [name, value]));
      const options = {
        metadata: new NiceMetadata(decoded(metadata)),
        signal: AbortSignal.any([late, signal].filter((one) => one !== undefined)),
        onHeader: (received: NiceMetadata) => (seen.headers = fields(received)),
        onTrailer: (received: NiceMetadata) => (seen.trailers = fields(received)),
      };
      async function* stream() {
        yield* requests;
      }
      try {
        const response = client.run(requestStream ? stream() : requests[0], options);
        if (responseStream) for await (const message of response) seen.messages.push(message);
        else seen.messages.push(await response);
      } catch (error) {
        const code = error instanceof ClientError ? error.code : late?.aborted ? 4 : 1;
        Object.assign(seen, { code, details: error instanceof ClientError ? error.details : String(error) });
      }
      return seen;
    },
    close() {
      for (const channel of channels) channel.close();
    },
  };
}

/** A method whose messages have only unknown fields. */
function rawMethod(path: string, kind: ForeignCall['kind']): DescMethod {
  const [, service = '', name = ''] = path.split('/');
  const at = service.lastIndexOf('.');
  const [clientStreaming, serverStreaming] = METHOD_SHAPES[kind];
  const [inputType, outputType] = ['.raw.Message', '.raw.Message'];
  const file = (more: object) => create(FileDescriptorProtoSchema, { syntax: 'proto3', ...more });
  const messages = file({ name: 'raw.proto', package: 'raw', messageType: [{ name: 'Message' }] });
  const services = file({
    name: 'service.proto',
    package: service.slice(0, at),
    dependency: ['raw.proto'],
    service: [
      {
        name: service.slice(at + 1),
        method: [{ name, inputType, outputType, clientStreaming, serverStreaming }],
      },
    ],
  });
  const found = createFileRegistry(services, (wanted) => (wanted === 'raw.proto' ? messages : undefined));
  return found.getService(service)!.methods[0]!;
}

function openConnect(target: string, ca?: string): ForeignClient {
  const baseUrl = `${ca === undefined ? 'http' : 'https'}://${target}`;
  const sessionManager = new Http2SessionManager(baseUrl, {}, ca === undefined ? {} : { ca: readFileSync(ca) });
  const [plain, zipped] = [false, true].map((gzip) =>
    createGrpcTransport({
      baseUrl,
      sessionManager,
      ...(gzip && { sendCompression: compressionGzip, compressMinBytes: 0 }),
    }),
  );
  // Binary values have no padding in fields of HTTP.
  const fields = (headers: Headers): Fields => encoded(Object.entries(decoded(Object.fromEntries(headers))));
  return {
    async call({ path, kind, requests, metadata, timeoutMs, gzip }, signal) {
      const method = rawMethod(path, kind);
      const transport = gzip ? zipped! : plain!;
      const seen = { headers: {}, messages: [] as Buffer[], trailers: {}, code: 0, details: '' };
      async function* stream() {
        for (const request of requests) yield fromBinary(method.input, request);
      }
      try {
        const { header, message, trailer } =
          kind === 'unary'
            ? await transport.unary(
                method as never,
                signal,
                timeoutMs,
                metadata,
                fromBinary(method.input, requests[0]!),
              )
            : await transport.stream(method as never, signal, timeoutMs, metadata, stream());
        seen.headers = fields(header);
        const received = Symbol.asyncIterator in message ? message : [message];
        for await (const one of received) seen.messages.push(Buffer.from(toBinary(method.output, one)));
        seen.trailers = fields(trailer);
      } catch (error) {
        const { code, rawMessage: details, metadata: trailers } = ConnectError.from(error);
        // node:http2 refuses a stream after a GOAWAY, which Connect reports as INTERNAL if both happen at the same time.
        const isRefused = details.includes('NGHTTP2_REFUSED_STREAM');
        Object.assign(seen, { trailers: fields(trailers), code: isRefused ? 14 : code, details });
      }
      return seen;
    },
    close: () => sessionManager.abort(),
  };
}

// ── in processes of their own ──

/** A program that makes the calls that it reads as lines of JSON, and ends at the end of its input. */
function openProgram([command = '', ...args]: readonly string[]): ForeignClient {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map<number, (outcome: Outcome) => void>();
  const write = (line: object): unknown => child.stdin.write(`${JSON.stringify(line)}\n`);
  createInterface({ input: child.stdout }).on('line', (line) => {
    const outcome = JSON.parse(line);
    const messages = outcome.messages.map((message: string) => Buffer.from(message, 'base64'));
    waiting.get(outcome.id)?.({ ...outcome, messages });
  });
  let calls = 0;
  return {
    call({ path, kind, requests, metadata = {}, timeoutMs = 0, gzip = false }, signal) {
      const id = ++calls;
      const encoded = requests.map((request) => request.toString('base64'));
      write({ id, path, kind, requests: encoded, metadata, timeoutMs, gzip });
      signal?.addEventListener('abort', () => write({ id, cancel: true }));
      return new Promise((resolve) => {
        waiting.set(id, resolve);
      });
    },
    async close() {
      child.stdin.end();
      child.kill();
      await once(child, 'close');
    },
  };
}

const inFolder = (file: string): string => new URL(`clients/${file}`, import.meta.url).pathname;
const arguments_ = (target: string, ca?: string): readonly string[] => (ca === undefined ? [target] : [target, ca]);

export const CLIENTS: readonly ClientKind[] = [
  { name: 'grpc-js', missing: present, open: (target, ca) => new GrpcJsClient(target, ca) },
  { name: 'nice-grpc', missing: present, open: openNice },
  { name: "Connect's client", missing: present, open: openConnect },
  {
    name: 'grpc-go',
    missing: () => (isInstalled('grpc-go') ? undefined : 'grpc-go is not installed'),
    open: async (target, ca) => openProgram([await goProgram(inFolder('grpc-go.go')), ...arguments_(target, ca)]),
  },
  {
    name: 'grpcio',
    missing: () => (isInstalled('grpcio') ? undefined : 'grpcio is not installed'),
    open: (target, ca) => openProgram([PYTHON, inFolder('grpcio_client.py'), ...arguments_(target, ca)]),
  },
];
