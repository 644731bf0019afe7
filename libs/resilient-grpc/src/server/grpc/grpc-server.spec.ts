import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { gzipSync } from 'node:zlib';
import {
  Client,
  credentials,
  experimental,
  Metadata,
  ServerCredentials,
  ServerInterceptingCall,
  status,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerOptions,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  FRAME,
  FrameReader,
  PREFACE,
  SETTING,
  frame,
  headers,
  settings,
} from '../../../../../test/unit-support/frames.js';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { systemClock } from '../../time/clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { GrpcServer } from './grpc-server.js';
import { innermostCallOf } from './innermost-call.js';
import { SocketConnections } from './socket-connections.js';
import { maxReceiveBytes, maxSendBytes, transportSettings } from './transport-settings.js';

const text = {
  serialize: (value: string) => Buffer.from(value),
  deserialize: (bytes: Buffer) => {
    if (bytes.includes('unreadable')) throw new Error('unreadable');
    return bytes.toString();
  },
};
type Unary = ServerUnaryCall<string, string>;
type Answer = sendUnaryData<string>;

const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/a.B/${name}`,
  requestStream,
  responseStream,
  requestSerialize: text.serialize,
  requestDeserialize: text.deserialize,
  responseSerialize: text.serialize,
  responseDeserialize: text.deserialize,
});
const SERVICE = {
  Unary: method('Unary', false, false),
  Upload: method('Upload', true, false),
  List: method('List', false, true),
  Chat: method('Chat', true, true),
};

interface Handlers {
  Unary?: (call: Unary, answer: Answer) => void;
  Upload?: (call: ServerReadableStream<string, string>, answer: Answer) => void;
  List?: (call: ServerWritableStream<string, string>) => void;
  Chat?: (call: ServerDuplexStream<string, string>) => void;
}

/** A server with `handlers`, and a client of grpc-js. */
class Scene {
  readonly events: GrpcServerEvent[] = [];
  readonly problems: string[] = [];
  readonly connections: SocketConnections;
  readonly server: GrpcServer;
  port = 0;
  client!: Client;

  constructor(handlers: Handlers, options: ServerOptions, maxConnections: number) {
    const events = new EventHub<GrpcServerEvent>({}, () => 0);
    events.listen((event) => this.events.push(event), true);
    const withoutPings = { ...options, 'grpc.keepalive_time_ms': 0 };
    const ages = {
      maxConnectionAgeMs: undefined,
      maxConnectionAgeGraceMs: undefined,
      connectionIdleTimeoutMs: undefined,
    };
    this.connections = new SocketConnections(transportSettings(withoutPings, maxConnections), ages, {
      clock: systemClock,
      random: () => 0.5,
      events,
      endCallsOf: () => undefined,
    });
    this.server = new GrpcServer(options, this.connections, {
      clock: systemClock,
      telemetry: undefined,
      isTraced: false,
      refuse: () => undefined,
      maxReceiveBytes: maxReceiveBytes(options),
      maxSendBytes: maxSendBytes(options),
      sendsMetrics: true,
      onCut: (path) => this.problems.push(`cut ${path}`),
      conversions: {
        onUnreadable: (path) => this.problems.push(`unreadable ${path}`),
        onUnserializable: (path, reason) => this.problems.push(`unserializable ${path}: ${reason}`),
      },
    });
    this.server.addService(SERVICE, handlers as never);
  }

  static async start(
    handlers: Handlers,
    options: ServerOptions = {},
    maxConnections = Infinity,
    security = ServerCredentials.createInsecure(),
  ): Promise<Scene> {
    const scene = new Scene(handlers, options, maxConnections);
    scene.port = await new Promise<number>((resolve, reject) => {
      scene.server.bindAsync('localhost:0', security, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
    scene.client = new Client(`localhost:${scene.port}`, credentials.createInsecure());
    onTestFinished(() => {
      scene.client.close();
      scene.server.forceShutdown();
    });
    return scene;
  }

  unary(request: string, metadata = new Metadata(), options = {}): Promise<Outcome> {
    return new Promise((resolve) => {
      const outcome: Outcome = {};
      const { serialize, deserialize } = text;
      const call = this.client.makeUnaryRequest(
        '/a.B/Unary',
        serialize,
        deserialize,
        request,
        metadata,
        options,
        (error, value) => {
          if (error) outcome.error = error;
          outcome.value = value;
        },
      );
      call.on('metadata', (head) => (outcome.head = head));
      call.on('status', (end) => {
        outcome.trailers = end.metadata;
        queueMicrotask(() => resolve(outcome));
      });
    });
  }

  /** A connection that writes frames. */
  frames(): { frames: string[]; write: (...bytes: Buffer[]) => void } {
    const socket = connect({ port: this.port, host: 'localhost' });
    onTestFinished(() => void socket.destroy());
    const frames: string[] = [];
    const reader = new FrameReader(0, ({ type, flags, stream, payload }) => {
      if (type === FRAME.headers || type === FRAME.data || type === FRAME.reset)
        frames.push(`${String(type)} ${String(stream)} ${String(flags)} ${payload.toString('latin1')}`);
    });
    socket.on('data', (bytes: Buffer) => reader.read(bytes));
    socket.on('error', () => undefined);
    return { frames, write: (...bytes) => socket.write(Buffer.concat(bytes)) };
  }
}

interface Outcome {
  error?: ServiceError;
  value?: string | undefined;
  head?: Metadata;
  trailers?: Metadata;
}

const echo = (call: Unary, answer: Answer): void => answer(null, call.request);

describe('server on the transport of this library', () => {
  it('passes metadata in both directions, and sends no field that HTTP/2 or gRPC reserves', async () => {
    const seen: Metadata[] = [];
    const scene = await Scene.start({
      Unary: (call, answer) => {
        seen.push(call.metadata);
        const head = new Metadata();
        head.set('head', 'h');
        head.set('connection', 'close');
        call.sendMetadata(head);
        const trailers = new Metadata();
        trailers.set('bytes-bin', Buffer.from([0, 255]));
        trailers.set('grpc-status', '5');
        answer(null, 'x', trailers);
      },
    });
    const metadata = new Metadata();
    metadata.set('token-bin', Buffer.from([1, 2, 3]));
    metadata.add('key', 'a');
    metadata.add('key', 'b');
    const { error, head, trailers } = await scene.unary('x', metadata);
    expect(error).toBeUndefined();
    expect(seen[0]?.get('token-bin')).toEqual([Buffer.from([1, 2, 3])]);
    expect(seen[0]?.get('key')).toEqual(['a, b']);
    expect(Object.keys(seen[0]?.getMap() ?? {})).not.toContain('grpc-timeout');
    expect(head?.getMap()).toMatchObject({ head: 'h' });
    expect(head?.get('connection')).toEqual([]);
    expect(trailers?.get('bytes-bin')).toEqual([Buffer.from([0, 255])]);
  });

  it.each([
    ['Grüße, 100 %', 'Grüße, 100 %'],
    ['\ud800 alone', '\ufffd alone'],
  ])('sends the status text %j', async (details, received) => {
    const scene = await Scene.start({ Unary: (_call, answer) => answer({ code: status.NOT_FOUND, details }) });
    expect((await scene.unary('x')).error).toMatchObject({ code: status.NOT_FOUND, details: received });
  });

  it.each<[string, object, object]>([
    ['text that is an object', { message: { a: 1 } }, { code: status.NOT_FOUND, details: '[object Object]' }],
    ['text that is a number', { message: 7 }, { code: status.NOT_FOUND, details: '7' }],
    ['text without a string', { message: Object.create(null) }, { code: status.INTERNAL }],
    ['metadata that are none', { message: 'why', metadata: {} }, { code: status.INTERNAL }],
  ])('ends a call whose status has %s', async (_what, given, received) => {
    const scene = await Scene.start({
      Unary: (_call, answer) => {
        answer({ code: status.NOT_FOUND, ...given });
      },
    });
    expect((await scene.unary('x')).error).toMatchObject(received);
    expect(scene.problems).toHaveLength('details' in received ? 0 : 1);
  });

  it('accepts 160 KB of metadata, or more if it is told to, and answers more with RESOURCE_EXHAUSTED', async () => {
    const codes = async (options: ServerOptions, ...sizes: number[]) => {
      const scene = await Scene.start({ Unary: echo }, options);
      const outcomes = sizes.map((size) => {
        const metadata = new Metadata();
        for (let at = 0; at < size; at += 8_000) metadata.set(`k${at}`, 'Az9-'.repeat(2_000));
        return scene.unary('x', metadata);
      });
      return (await Promise.all(outcomes)).map(({ error }) => error?.code ?? status.OK);
    };
    expect(await codes({}, 160_000, 280_000)).toEqual([status.OK, status.RESOURCE_EXHAUSTED]);
    const raised = await codes({ 'grpc.max_metadata_size': 300_000 }, 272_000, 312_000);
    expect(raised).toEqual([status.OK, status.RESOURCE_EXHAUSTED]);
    // grpc-js's servers ignore it.
    expect(await codes({ 'grpc.max_metadata_size': 20_000 }, 40_000)).toEqual([status.OK]);
  });

  it('accepts more fields of metadata than node:http2, and answers more than 256 with RESOURCE_EXHAUSTED', async () => {
    const scene = await Scene.start({ Unary: echo });
    const outcomes = [200, 300, 200].map(async (count) => {
      const metadata = new Metadata();
      for (let i = 0; i < count; i++) metadata.add('x-bin', Buffer.from([i]));
      const { error } = await scene.unary('x', metadata);
      return error?.code ?? status.OK;
    });
    expect(await Promise.all(outcomes)).toEqual([status.OK, status.RESOURCE_EXHAUSTED, status.OK]);
  });

  it('keeps its certificates while the files that it watches are unusable, reports each change once, and takes later ones', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'certificates-'));
    const fixture = (name: string) =>
      readFileSync(new URL(`../../../../../test/fixtures/tls/${name}.pem`, import.meta.url));
    const path = (name: string) => join(folder, name);
    const write = (name: string, content: Buffer | string) => {
      // At once, as tools that rotate certificates do.
      writeFileSync(path('next'), content);
      renameSync(path('next'), path(name));
    };
    const good = { cert: fixture('server'), key: fixture('server-key'), ca: fixture('ca') };
    for (const [name, content] of Object.entries(good)) write(name, content);
    const files = new experimental.FileWatcherCertificateProvider({
      certificateFile: path('cert'),
      privateKeyFile: path('key'),
      caCertificateFile: path('ca'),
      refreshIntervalMs: 20,
    });
    let reads = 0;
    const read = () => (reads += 1);
    files.addIdentityCertificateListener(read);
    onTestFinished(() => files.removeIdentityCertificateListener(read));
    const severalReads = async () => {
      const before = reads;
      await waitFor(() => reads > before + 3);
    };
    const security = experimental.createCertificateProviderServerCredentials(files, files, true);
    const scene = await Scene.start({}, {}, Infinity, security);
    /** Fingerprint of the certificate with which a client with a certificate is accepted. */
    const accepted = async (): Promise<string | undefined> => {
      const identity = { key: fixture('client-key'), cert: fixture('client'), rejectUnauthorized: false };
      const version = { maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] } as const;
      const socket = connectTls({ port: scene.port, host: 'localhost', ...identity, ...version });
      try {
        await once(socket, 'secureConnect');
        return socket.getPeerX509Certificate()?.fingerprint;
      } catch {
        return undefined;
      } finally {
        socket.destroy();
      }
    };
    await waitFor(async () => (await accepted()) !== undefined);
    const first = await accepted();
    const events = () => scene.events.flatMap((event) => (event.type === 'tls-reload' ? [event] : []));
    const unusable: readonly (readonly [name: 'cert' | 'key' | 'ca', content: Buffer | string | undefined])[] = [
      ['cert', 'junk'],
      ['key', ''],
      ['key', fixture('client-key')],
      ['ca', good.ca.subarray(0, 400)],
      ['ca', undefined],
    ];
    for (const [at, [name, content]] of unusable.entries()) {
      if (content === undefined) rmSync(path(name));
      else write(name, content);
      await waitFor(() => events().length > at);
      await severalReads();
      expect(await accepted()).toBe(first);
      write(name, good[name]);
      await severalReads();
    }
    expect(events().map(({ problem, isInUse }) => [problem.split(',')[0], isInUse])).toEqual([
      ['cert: expected a PEM certificate', true],
      ['key: expected a PEM private key', true],
      ['key: expected the private key of the first certificate in `cert`', true],
      ['ca: expected a PEM certificate', true],
      ['a file cannot be read', true],
    ]);
    write('cert', fixture('client'));
    write('key', fixture('client-key'));
    await waitFor(async () => ![first, undefined].includes(await accepted()));
  });

  it.each([
    ['expired', [true]],
    ['server', []],
  ])('reports a certificate that has expired: %s', async (name, expected) => {
    const pem = (part: string) =>
      readFileSync(new URL(`../../../../../test/fixtures/tls/${name}${part}.pem`, import.meta.url));
    const pair = { cert_chain: pem(''), private_key: pem('-key') };
    const scene = await Scene.start({}, {}, Infinity, ServerCredentials.createSsl(null, [pair]));
    const reported = scene.events.flatMap((event) => (event.type === 'certificate-expiry' ? [event.isExpired] : []));
    expect(reported).toEqual(expected);
  });

  it('sends metadata without spaces at their ends, because clients on Node drop them otherwise', async () => {
    const scene = await Scene.start({
      Unary: (_call, answer) => {
        const trailers = new Metadata();
        trailers.set('lead', ' a');
        trailers.set('tail', 'b ');
        answer(null, 'x', trailers);
      },
    });
    expect((await scene.unary('x')).trailers?.getMap()).toMatchObject({ lead: 'a', tail: 'b' });
  });

  it('keeps the code of a status that exceeds the limit of the client: error details go first, then metadata, then text', async () => {
    const scene = await Scene.start({
      Unary: (call, answer) => {
        const metadata = new Metadata();
        metadata.set('kept', 'k');
        metadata.set('grpc-status-details-bin', Buffer.alloc(call.request === 'details' ? 9_000 : 10));
        if (call.request === 'metadata') metadata.set('large', 'x'.repeat(9_000));
        answer({ code: status.ABORTED, details: call.request === 'text' ? 'ä'.repeat(9_000) : 'why', metadata });
      },
    });
    const details = await scene.unary('details');
    expect(details.error).toMatchObject({ code: status.ABORTED, details: 'why' });
    expect(details.trailers?.getMap()).toMatchObject({ kept: 'k' });
    const large = await scene.unary('metadata');
    expect(large.error).toMatchObject({ code: status.ABORTED, details: 'why' });
    expect(large.trailers?.getMap()).not.toHaveProperty('large');
    const cut = (await scene.unary('text')).error;
    expect(cut?.code).toBe(status.ABORTED);
    expect(cut?.details).toMatch(/^ä{1000,1400}$/);
    expect(scene.problems).toEqual(['cut /a.B/Unary', 'cut /a.B/Unary', 'cut /a.B/Unary']);
  });

  it('ends a call whose response begins with more metadata than the client accepts', async () => {
    const scene = await Scene.start({
      Unary: (call, answer) => {
        const head = new Metadata();
        head.set('large', 'x'.repeat(2_000));
        call.sendMetadata(head);
        answer(null, 'x');
      },
    });
    const raw = scene.frames();
    const one = Buffer.concat([headers(1, request()), frame(FRAME.data, 1, 1, message('x'))]);
    raw.write(PREFACE, settings([SETTING.maxHeaderListSize, 1_000]), one);
    await waitFor(() => raw.frames.some((block) => block.includes('exceed')));
    expect((await scene.unary('x')).value).toBe('x');
  });

  it('tells the handler of a bidirectional call that it has closed before it counts as cancelled', async () => {
    const cancelled: boolean[] = [];
    const scene = await Scene.start({
      Chat: (call) => {
        finished(call, () => cancelled.push(call.cancelled));
        call.on('cancelled', () => cancelled.push(call.cancelled));
        call.on('data', (part: string) => call.write(part));
        call.on('end', () => call.end());
      },
    });
    const call = scene.client.makeBidiStreamRequest('/a.B/Chat', text.serialize, text.deserialize);
    call.end('x');
    expect(await call.toArray()).toEqual(['x']);
    await waitFor(() => cancelled.length === 2);
    expect(cancelled).toEqual([false, true]);
  });

  it('gives each call an async context of its own', async () => {
    const store = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const scene = await Scene.start({
      // Its handler runs as soon as the head has arrived.
      Upload: (call, answer) => {
        seen.push(store.getStore());
        store.enterWith(call.metadata.get('name').join());
        call.on('data', () => seen.push(store.getStore()));
        call.on('end', () => answer(null, 'x'));
      },
    });
    for (const name of ['a', 'b']) {
      const metadata = new Metadata();
      metadata.set('name', name);
      await new Promise((resolve) => {
        const { serialize, deserialize } = text;
        const call = scene.client.makeClientStreamRequest('/a.B/Upload', serialize, deserialize, metadata, resolve);
        call.write('1', () => call.end('2'));
      });
    }
    expect(seen).toEqual([undefined, 'a', 'a', undefined, 'b', 'b']);
  });

  it('lets other calls go on while a client sends thousands of small messages at once', async () => {
    const order: string[] = [];
    let messages = 0;
    const scene = await Scene.start({
      Unary: (call, answer) => {
        order.push(`unary after ${String(messages < 13_000)}`);
        answer(null, call.request);
      },
      Upload: (call, answer) => {
        call.on('data', () => (messages += 1));
        call.on('end', () => {
          order.push(`${String(messages)} messages`);
          answer(null, '');
        });
      },
    });
    const upload = headers(1, { ...request(), ':path': '/a.B/Upload' });
    const flood = [16_380, 16_380, 16_380, 15_860].map((size) => frame(FRAME.data, 0, 1, Buffer.alloc(size)));
    const unary = [headers(3, request()), frame(FRAME.data, 1, 3, message('x'))];
    scene.frames().write(PREFACE, settings(), upload, ...flood, frame(FRAME.data, 1, 1, Buffer.alloc(0)), ...unary);
    await waitFor(() => order.length === 2);
    expect(order).toEqual(['unary after true', '13000 messages']);
  });

  it('lets agents and packages copy, wrap, and observe a call, and tells them its end once', async () => {
    const seen: unknown[] = [];
    const scene = await Scene.start({
      Unary: (call, answer) => {
        const copy: Unary = Object.create(call);
        const proxy = new Proxy(call, {});
        seen.push(Object.assign({}, call).request, copy.getPath(), proxy.getPeer() === call.getPeer());
        const inner = innermostCallOf(call)!;
        inner.callEventTracker = {
          addMessageSent: () => undefined,
          addMessageReceived: () => undefined,
          onStreamEnd: (isOk) => seen.push(isOk),
          onCallEnd: (end) => seen.push(Reflect.get(end, 'code')),
        };
        call.on('cancelled', () => seen.push('cancelled'));
        answer(null, call.request);
      },
    });
    await scene.unary('x');
    await waitFor(() => seen.includes('cancelled'));
    expect(seen).toEqual(['x', '/a.B/Unary', true, true, status.OK, 'cancelled']);
  });

  it('takes an error that a stream emits as its status, and does not end the stream of a client that has cancelled', async () => {
    const seen: unknown[] = [];
    const scene = await Scene.start({
      List: (call) => {
        call.on('cancelled', () => seen.push(call.cancelled, call.writableEnded));
        call.write('first');
        if (call.request === 'fail') call.emit('error', { code: status.ABORTED, details: 'why' });
      },
    });
    const list = (request: string) =>
      scene.client.makeServerStreamRequest('/a.B/List', text.serialize, text.deserialize, request);
    await expect(list('fail').toArray()).rejects.toMatchObject({ code: status.ABORTED, details: 'why' });
    await waitFor(() => seen.length === 2);
    const call = list('stay');
    call.on('error', () => undefined);
    call.on('data', () => call.cancel());
    await waitFor(() => seen.length === 4);
    expect(seen.slice(2)).toEqual([true, false]);
  });

  it('refuses a large request while handlers hold as much as the memory allows, before a handler runs', async () => {
    const answers: (() => void)[] = [];
    const scene = await Scene.start({ Unary: (_call, answer) => answers.push(() => answer(null, 'done')) });
    const { memory } = transportSettings({}, Infinity);
    const { maxBytes } = memory;
    onTestFinished(() => void (memory.maxBytes = maxBytes));
    memory.maxBytes = 4 * 1_048_576 * memory.heapFactor;
    const large = 'x'.repeat(1_500_000);
    const first = scene.unary(large);
    await waitFor(() => answers.length === 1);
    expect((await scene.unary(large)).error).toMatchObject({ code: status.UNAVAILABLE });
    const small = scene.unary('x');
    await waitFor(() => answers.length === 2);
    for (const answer of answers.splice(0)) answer();
    expect([(await first).value, (await small).value]).toEqual(['done', 'done']);
    const next = scene.unary(large);
    await waitFor(() => answers.length === 1);
    answers[0]!();
    expect((await next).value).toBe('done');
  });

  it('waits for a client that does not read', async () => {
    let written = 0;
    const scene = await Scene.start({
      List: (call) => {
        const more = (): void => {
          while (call.write('x'.repeat(1_000))) written += 1;
        };
        call.on('drain', more);
        more();
      },
    });
    const raw = scene.frames();
    raw.write(
      PREFACE,
      settings(),
      headers(1, request({ ':path': '/a.B/List' })),
      frame(FRAME.data, 1, 1, message('x')),
    );
    await waitFor(() => written > 50);
    await waitFor(() => raw.frames.length > 4);
    for (let i = 0; i < 3; i++) await new Promise(setImmediate);
    // The window of the client, 32 KiB ahead of it, and what the stream of the handler holds.
    expect(written).toBeLessThan(140);
  });

  it.each([
    ['gzip', 'compressed '.repeat(50)],
    ['deflate', 'x'],
  ])('reads messages compressed with %s', async (encoding, request) => {
    const scene = await Scene.start({ Unary: echo });
    const algorithm = encoding === 'gzip' ? 2 : 1;
    const client = new Client(`localhost:${scene.port}`, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': algorithm,
    });
    onTestFinished(() => client.close());
    const answered = await new Promise((resolve) => {
      client.makeUnaryRequest('/a.B/Unary', text.serialize, text.deserialize, request, (_error, value) =>
        resolve(value),
      );
    });
    expect(answered).toBe(request);
  });

  it('keeps the order of compressed messages, others, and the end of the request', async () => {
    const parts: string[] = [];
    const scene = await Scene.start({
      Upload: (call, answer) => {
        call.on('data', (part: string) => parts.push(part.slice(0, 2)));
        call.on('end', () => answer(null, parts.join()));
      },
    });
    const compressed = (content: string): Buffer => {
      const bytes = gzipSync(content);
      return Buffer.concat([Buffer.from([1, 0, 0, bytes.length >> 8, bytes.length]), bytes]);
    };
    const body = [compressed('a1'.repeat(100_000)), message('b2'), compressed('c3'), message('d4'), compressed('e5')];
    const raw = scene.frames();
    const fields = { ...request({ 'grpc-encoding': 'gzip' }), ':path': '/a.B/Upload' };
    raw.write(PREFACE, settings(), headers(1, fields), frame(FRAME.data, 1, 1, Buffer.concat(body)));
    await waitFor(() => raw.frames.some((one) => one.includes('a1,b2,c3,d4,e5')));
  });

  it('limits what a compressed message becomes', async () => {
    const scene = await Scene.start({ Unary: echo }, { 'grpc.max_receive_message_length': 1_000 });
    const raw = scene.frames();
    const bomb = gzipSync(Buffer.alloc(100_000));
    const prefix = Buffer.from([1, 0, 0, 0, bomb.length]);
    raw.write(
      PREFACE,
      settings(),
      headers(1, request({ 'grpc-encoding': 'gzip' })),
      frame(FRAME.data, 1, 1, Buffer.concat([prefix, bomb])),
    );
    await waitFor(() => raw.frames.some((one) => one.includes('decompresses')));
  });

  it.each([
    ['too large a request', 'x'.repeat(2_000), status.RESOURCE_EXHAUSTED],
    ['too large a response', 'grow', status.RESOURCE_EXHAUSTED],
    ['an unreadable request', 'unreadable', status.INTERNAL],
    ['an unserializable response', 'null', status.INTERNAL],
    ['a handler that throws', 'throw', status.UNKNOWN],
  ])('ends a call with %s', async (_title, request_, code) => {
    const options = { 'grpc.max_receive_message_length': 1_000, 'grpc.max_send_message_length': 1_000 };
    const scene = await Scene.start(
      {
        Unary: ({ request: asked }, answer) => {
          if (asked === 'throw') throw new Error('secret');
          answer(null, asked === 'null' ? null : 'x'.repeat(asked === 'grow' ? 2_000 : 1));
        },
      },
      options,
    );
    const { error } = await scene.unary(request_);
    expect(error?.code).toBe(code);
    expect(error?.details).not.toContain('secret');
  });

  it('answers unknown methods with UNIMPLEMENTED, and other content with 415 and a text', async () => {
    const scene = await Scene.start({ Unary: echo });
    const raw = scene.frames();
    raw.write(
      PREFACE,
      settings(),
      // RFC 9110, section 5.6.6, allows the space.
      headers(1, { ...request({ ':path': '/a.B/None' }), 'content-type': 'application/grpc ;a=b' }),
      frame(FRAME.data, 1, 1, Buffer.alloc(0)),
    );
    await waitFor(() => raw.frames.some((one) => one.includes('/a.B/None')));
    raw.write(
      headers(3, { ...request(), 'content-type': 'application/grpc-web' }),
      frame(FRAME.data, 1, 3, Buffer.alloc(0)),
    );
    await waitFor(() => raw.frames.some((one) => one.startsWith('0 3 1 This port serves gRPC')));
    expect(raw.frames.filter((one) => one.startsWith(`${String(FRAME.reset)} `))).toEqual([]);
  });

  it('compares the content type and te without case', async () => {
    const scene = await Scene.start({ Unary: echo });
    const raw = scene.frames();
    const fields = { ...request(), 'content-type': 'Application/gRPC', te: 'Trailers' };
    raw.write(PREFACE, settings(), headers(1, fields), frame(FRAME.data, 1, 1, Buffer.alloc(5)));
    await waitFor(() => raw.frames.some((one) => one.startsWith('1 1 5 ') && one.includes('grpc-status')));
  });

  it('serves gRPC of the methods POST and PUT, and answers GET, which proxies repeat and cache, with 405', async () => {
    const scene = await Scene.start({ Unary: echo });
    const raw = scene.frames();
    raw.write(PREFACE, settings());
    for (const [at, method_] of ['GET', 'POST', 'PUT'].entries())
      raw.write(
        headers(1 + 2 * at, request({ ':method': method_ })),
        frame(FRAME.data, 1, 1 + 2 * at, Buffer.alloc(5)),
      );
    const got = (start: string) => waitFor(() => raw.frames.some((one) => one.startsWith(start)));
    await got('0 1 1 This port serves gRPC: the method must be POST');
    await got('1 3 5 ');
    await got('1 5 5 ');
    expect(raw.frames.find((one) => one.startsWith('1 1 '))).toContain('405');
  });

  it('listens at a free port each time that it binds port 0, also at the same time', async () => {
    const { server, port } = await Scene.start({ Unary: echo });
    const bind = (): Promise<number> =>
      new Promise((resolve) => {
        server.bindAsync('localhost:0', ServerCredentials.createInsecure(), (_error, found) => resolve(found));
      });
    expect(new Set([port, ...(await Promise.all([bind(), bind()]))]).size).toBe(3);
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- older applications still call it
    server.start();
  });

  it('runs interceptors of grpc-js around the handler', async () => {
    const order: string[] = [];
    const scene = await Scene.start(
      { Unary: echo },
      {
        interceptors: [
          (definition, call) =>
            new ServerInterceptingCall(call, {
              start: (next) => {
                order.push(definition.path);
                next({
                  onReceiveMetadata: (metadata, pass) => {
                    setImmediate(() => pass(metadata));
                  },
                });
              },
              sendStatus: (end, next) => {
                order.push(`status ${String(end.code)}`);
                next(end);
              },
            }),
        ],
      },
    );
    expect((await scene.unary('x')).value).toBe('x');
    expect(order).toEqual(['/a.B/Unary', 'status 0']);
  });

  it('names the client and the limit when it ends or refuses a connection', async () => {
    const scene = await Scene.start({ Unary: echo }, {}, 1);
    const first = scene.frames();
    first.write(PREFACE, settings(), frame(FRAME.data, 0, 1, Buffer.alloc(1)));
    await waitFor(() => scene.events.length > 0);
    expect(scene.events[0]).toMatchObject({
      type: 'connection-end',
      reason: 'limit',
      protection: 'protocol-violation',
      details: expect.stringContaining('DATA'),
    });
    expect((scene.events[0] as { peer: string }).peer).toMatch(/^(127\.0\.0\.1|::1):\d+$/);
  });
});

function message(content: string): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, content.length]), Buffer.from(content)]);
}

function request(more: Record<string, string> = {}): Record<string, string> {
  return {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': '/a.B/Unary',
    ':authority': 'x',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  };
}
