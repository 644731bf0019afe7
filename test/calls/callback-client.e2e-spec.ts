import type { EventEmitter } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import {
  InterceptingCall,
  Metadata,
  compressionAlgorithms,
  credentials,
  makeGenericClientConstructor,
  status,
  type ChannelOptions,
  type Client,
  type Interceptor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Http2FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { BehaviorSubject, firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ECHO_PROTO } from '../testing/echo-client.js';
import {
  KINDS,
  answer,
  type CallbackCall,
  type Callbacks,
  type Done,
  type Requests,
  type Responses,
} from './callback-calls.js';
import { fail, reset, startHttp2Server, succeed } from './raw-http2-server.js';
import {
  EACH_METHOD,
  callOnce,
  protoName,
  scene,
  settled,
  startClient,
  startServer,
  toList,
  turns,
  upTo,
  type ClientSettings,
} from './support.js';

const connectOurClient = async (url: string): Promise<Callbacks> =>
  (await startClient({ url })).getClientByServiceName<Callbacks>('Echo');

async function connectPlainClient(url: string): Promise<Callbacks> {
  const Plain = makeGenericClientConstructor(loadSync(ECHO_PROTO)['testing.v1.Echo'] as never, 'Echo');
  const client = new Plain(url, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  onTestFinished(() => {
    client.close();
  });
  // The cast is safe because the constructor generates these members.
  return client as unknown as Callbacks;
}

/** Sends GOAWAY without an error after the response. */
function closeAfter(stream: ServerHttp2Stream): void {
  const { session } = stream;
  stream.once('close', () => session?.close());
}

/** Sends GOAWAY without an error, and responds when the client has received it. */
function respondAfterGoaway(stream: ServerHttp2Stream): void {
  stream.session?.close();
  stream.session?.ping(() => {
    succeed(stream);
  });
}

describe('callback client of getClientByServiceName()', () => {
  it("makes the calls of grpc-js's callback client on the shared channel", async () => {
    const { echo, client, server } = await scene();
    await firstValueFrom(echo.unary({}));
    const callbacks = client.getClientByServiceName<Callbacks>('testing.v1.Echo');
    for (const name of ['unary', 'Unary'] as const) {
      expect(await answer((done) => callbacks[name]({ text: name }, done))).toMatchObject({ text: name });
    }
    expect(await toList(callbacks.serverStream({ number: 3 }))).toMatchObject(upTo(3));
    expect(server.connections.accepted).toBe(1);
  });

  const startBehindProxy = async () => {
    const server = await startServer();
    const proxy = await Http2FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    return { server, proxy };
  };

  describe.each([
    ["on this library's channel", connectOurClient, 'resends'],
    ['on a plain grpc-js channel', connectPlainClient, 'fails'],
  ] as const)('%s', (where, connect, outcome) => {
    it.each(KINDS)(
      `resends a %s call of a callback client ${where} once if a GOAWAY rejects it`,
      async (_kind, { call, numbers }) => {
        const { server, proxy } = await startBehindProxy();
        const client = await connect(proxy.url);
        await answer((done) => client.unary({}, done));
        proxy.failCalls({ kind: 'goaway' });
        expect(await call(client)).toEqual(numbers);
        expect(proxy.counters).toMatchObject({ accepted: 2, failed: 1, forwarded: 2 });
        expect(server.counts().calls).toBe(2);
      },
    );

    it.each(KINDS)(
      `${outcome} a %s call of a callback client ${where} if a second GOAWAY rejects it`,
      async (_kind, { call, numbers }) => {
        const { server, proxy } = await startBehindProxy();
        const client = await connect(proxy.url);
        await answer((done) => client.unary({}, done));
        proxy.failCalls({ kind: 'goaway' }, { times: 2 });
        const result = call(client);
        if (outcome === 'fails') await expect(result).rejects.toMatchObject({ code: status.UNAVAILABLE });
        else expect(await result).toEqual(numbers);
        expect(proxy.counters.failed).toBe(2);
        expect(server.counts().calls).toBe(outcome === 'fails' ? 1 : 2);
      },
    );
  });

  it.each([
    ['does not resend a callback-client call that is reset with REFUSED_STREAM, because the call may have run', false],
    ['resends a callback-client call once if it is reset with REFUSED_STREAM and trustRefusedStreams is set', true],
  ])('%s', async (_, trustRefusedStreams) => {
    const server = await startHttp2Server((stream) => {
      reset(stream, 'NGHTTP2_REFUSED_STREAM');
    });
    const client = (await startClient({ url: server.url, trustRefusedStreams })).getClientByServiceName<Callbacks>(
      'Echo',
    );
    await expect(answer((done) => client.unsafeUnary({}, done))).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(server.streams).toHaveLength(trustRefusedStreams ? 2 : 1);
  });

  it.each<[string, (stream: ServerHttp2Stream) => void, (stream: ServerHttp2Stream) => void]>([
    ['after a response', succeed, closeAfter],
    ['after an error without headers', (stream) => fail(stream, status.NOT_FOUND), closeAfter],
    ['before the response', () => undefined, respondAfterGoaway],
  ])('counts no outage if a server closes each connection of a callback client %s', async (_, respond, close) => {
    const server = await startHttp2Server((stream) => {
      respond(stream);
      close(stream);
    });
    const client = await startClient({ url: server.url });
    const callbacks = client.getClientByServiceName<Callbacks>('Echo');
    for (let call = 0; call < 4; call += 1) {
      await answer((done) => callbacks.unsafeUnary({}, done)).catch((error: unknown) => {
        expect(error).toMatchObject({ code: status.NOT_FOUND });
      });
      await waitFor(() => client.connectivity.state !== 'READY');
    }
    expect(server.streams).toHaveLength(4);
    expect(client.snapshot().outages).toMatchObject({ total: 0 });
  });

  it('ends a cancelled call of a callback client with CANCELLED even if a GOAWAY rejects it', async () => {
    const { server, proxy } = await startBehindProxy();
    server.script('UnsafeUnary', { never: true });
    const client = await connectOurClient(proxy.url);
    await answer((done) => client.unary({}, done));
    proxy.failCalls({ kind: 'goaway' });
    const failure = new Promise<ServiceError | null>((resolve) => {
      const call = client.unsafeUnary({}, resolve);
      void waitFor(() => proxy.counters.failed === 1, { intervalMs: 0 }).then(() => {
        call.cancel();
      });
    });
    // If the client reads the GOAWAY before `cancel()`, the resent call is cancelled on the second connection.
    expect(await failure).toMatchObject({ code: status.CANCELLED });
    await waitFor(() => server.counts().open === 0);
    await answer((done) => client.unary({}, done));
    expect(server.counts('Unary').calls).toBe(2);
  });

  it('releases buffered requests of a callback client and does not resend a request stream that exceeds the per-call limit', async () => {
    const { server, proxy } = await startBehindProxy();
    const client = await connectOurClient(proxy.url);
    const upload = (bytes: number) =>
      answer((done) => {
        const call = client.clientStream(done);
        call.write({ payload: Buffer.alloc(bytes) });
        call.end();
      });
    // These calls send more than the 16 MiB that all calls of a client can buffer in total.
    for (let call = 0; call < 20; call += 1) await upload(1_000_000);
    proxy.failCalls({ kind: 'goaway' });
    expect(await upload(1_000_000)).toMatchObject({ number: 1 });
    proxy.failCalls({ kind: 'goaway' });
    await expect(upload(1_100_000)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(server.counts().calls).toBe(21);
  });
});

const TIMEOUT_MS = 50;
/** Client settings that set the timeout of a method. */
const TIMEOUTS: readonly (readonly [where: string, settings: (method: string) => ClientSettings])[] = [
  ['methods', (method) => ({ methods: { [method]: { timeoutMs: TIMEOUT_MS } } })],
  [
    'the service config',
    () => ({ serviceConfig: { methodConfig: [{ name: [{}], timeout: { seconds: 0, nanos: 50_000_000 } }] } }),
  ],
  ['the client', () => ({ timeoutMs: TIMEOUT_MS })],
];
const TIMEOUT_CASES = KINDS.flatMap(([kind, row]) =>
  // The client's own timeout does not apply to response streams.
  TIMEOUTS.slice(0, Array.isArray(row.numbers) ? 2 : 3).map(
    ([where, settings]) => [kind, where, settings, row] as const,
  ),
);
const silent = Object.fromEntries(KINDS.map(([, { method }]) => [method, { never: true }] as const));

describe('settings of the client, for calls of a callback client', () => {
  it.each(TIMEOUT_CASES)(
    'ends a %s call of a callback client at the timeout from %s',
    async (_kind, _where, settings, { method, call }) => {
      const { client } = await scene(settings(method), { scripts: silent });
      await expect(call(client.getClientByServiceName<Callbacks>('Echo'))).rejects.toMatchObject({
        code: status.DEADLINE_EXCEEDED,
      });
    },
  );

  it.each([
    ['its own deadline', 40, 60_000],
    ['the timeout of its method', 60_000, 40],
  ])('ends a call of a callback client at %s if that is earlier', async (_which, ownMs, timeoutMs) => {
    const { client } = await scene({ methods: { UnsafeUnary: { timeoutMs } } }, { scripts: silent });
    await client.waitForReady();
    const callbacks = client.getClientByServiceName<Callbacks>('Echo');
    const deadline = Date.now() + ownMs;
    await expect(answer((done) => callbacks.unsafeUnary({}, { deadline }, done))).rejects.toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    });
  });

  it.each(KINDS)(
    'sends the metadata of the client with a %s call of a callback client',
    async (_kind, { method, call }) => {
      const { server, client } = await scene({ metadata: { 'x-tenant': 'shop' } });
      await call(client.getClientByServiceName<Callbacks>('Echo'));
      expect(server.calls(method)[0]?.metadata.get('x-tenant')).toEqual(['shop']);
    },
  );

  it.each(KINDS)(
    'counts a %s call of a callback client, lists it while it runs, and emits its events',
    async (_kind, { method, call, numbers }) => {
      const { server, client } = await scene();
      const events: string[] = [];
      client.events$.subscribe(({ type }) => events.push(type));
      const reply = Array.isArray(numbers) ? { messages: upTo(3) } : { message: { number: numbers } };
      server.script(method, { ...reply, hold: 'status' });
      const outcome = call(client.getClientByServiceName<Callbacks>('Echo'));
      await waitFor(() => server.heldCount(method) === 1);
      expect(client.activeCalls()).toMatchObject([{ path: `/testing.v1.Echo/${method}` }]);
      server.release(method);
      expect(await outcome).toEqual(numbers);
      expect(client.snapshot()).toMatchObject({ active: 0, counters: { started: 1, succeeded: 1, attempts: 1 } });
      expect(events).toEqual(expect.arrayContaining(['call-start', 'call-end']));
    },
  );

  it('retries a safe call of a callback client, and reports its last error with the evidence', async () => {
    const { server, client } = await scene();
    const callbacks = client.getClientByServiceName<Callbacks>('Echo');
    server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: { number: 2 } }]);
    expect(await answer((done) => callbacks.unary({}, done))).toMatchObject({ number: 2 });
    server.script('UnsafeUnary', { status: 'UNAVAILABLE', details: 'busy' });
    await expect(answer((done) => callbacks.unsafeUnary({}, done))).rejects.toMatchObject({
      message: '14 UNAVAILABLE: busy',
      details: 'busy',
      reason: 'server',
      reachedServer: 'maybe',
    });
    expect(server.counts().calls).toBe(3);
  });

  it.each(KINDS)('completes a %s call of a callback client that starts during an outage', async (_kind, row) => {
    const { server, client } = await scene({ outageGraceMs: 60_000 });
    await client.waitForReady();
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    const outcome = row.call(client.getClientByServiceName<Callbacks>('Echo'));
    await waitFor(() => client.snapshot().outages.total === 1);
    await server.restart();
    expect(await outcome).toEqual(row.numbers);
  });
});

describe('method outside the contract, called by a callback client', () => {
  const OTHER = '/other.v1.Other/Get';
  const identity = (bytes: Buffer) => bytes;

  async function startOther(respond: (stream: ServerHttp2Stream) => void, settings: ClientSettings = {}) {
    const server = await startHttp2Server(respond);
    const client = await startClient({ url: server.url, ...settings });
    return { server, client: client.getClientByServiceName<Client>('Echo') };
  }

  it('completes calls of each kind', async () => {
    const { server, client } = await startOther(succeed);
    const requests = (call: { end(): void }) => {
      call.end();
    };
    const results: unknown[] = [];
    await new Promise((resolve) => {
      client.makeUnaryRequest(OTHER, identity, identity, Buffer.of(), (...result) => resolve(results.push(result)));
    });
    await new Promise((resolve) => {
      requests(client.makeClientStreamRequest(OTHER, identity, identity, (...result) => resolve(results.push(result))));
    });
    expect(results).toEqual(Array.from({ length: 2 }, () => [null, Buffer.of()]));
    expect(await toList(client.makeServerStreamRequest(OTHER, identity, identity, Buffer.of()))).toEqual([Buffer.of()]);
    const bidi = client.makeBidiStreamRequest(OTHER, identity, identity);
    requests(bidi);
    expect(await toList(bidi)).toEqual([Buffer.of()]);
    expect(server.streams).toEqual(Array.from({ length: 4 }, () => OTHER));
  });

  it('applies a timeout of the service config for all methods', async () => {
    const { client } = await startOther(() => undefined, {
      serviceConfig: { methodConfig: [{ name: [{}], timeout: '0.05s' }] },
    });
    const error = await new Promise((resolve) => {
      client.makeUnaryRequest(OTHER, identity, identity, Buffer.of(), resolve);
    });
    expect(error).toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });
});

describe('events of a call of a callback client', () => {
  it.each(KINDS)('reports the headers, the messages, and one status of a %s call in this order', async (_kind, row) => {
    const { server, client } = await scene();
    const { method, numbers } = row;
    const reply = Array.isArray(numbers) ? { messages: upTo(2) } : { message: { number: 1 } };
    server.script(method, { ...reply, headers: { 'x-head': '1' }, trailers: { 'x-tail': '2' } });
    const callbacks = client.getClientByServiceName<Callbacks>('Echo');
    const events: string[] = [];
    const done: Done = (error, value) => events.push(error === null ? `message ${String(value?.number)}` : 'error');
    const calls: Readonly<Record<string, () => CallbackCall>> = {
      UnsafeUnary: () => callbacks.unsafeUnary({}, done),
      ClientStream: () => callbacks.clientStream(done),
      ServerStream: () => callbacks.serverStream({}),
      Bidi: () => callbacks.bidi(),
    };
    const call = calls[method]!();
    call.on('metadata', (headers) => events.push(`headers ${String(headers.get('x-head'))}`));
    const ended = new Promise((resolve) => {
      call.on('status', ({ code, metadata }) => {
        events.push(`status ${String(code)} ${String(metadata.get('x-tail'))}`);
        resolve(undefined);
      });
    });
    if ('end' in call) (call as Requests).end();
    if (Array.isArray(numbers)) for await (const { number } of call as Responses) events.push(`message ${number}`);
    await ended;
    await turns();
    const messages = Array.isArray(numbers) ? ['message 1', 'message 2'] : ['message 1'];
    expect(events).toEqual(['headers 1', ...messages, 'status 0 2']);
  });

  it.each(KINDS)('ends a %s call with CANCELLED, in a later turn, if the caller cancels it at once', async (_, row) => {
    const { server, client } = await scene({}, { scripts: silent });
    await client.waitForReady();
    const callbacks = client.getClientByServiceName<Callbacks>('Echo');
    const codes: number[] = [];
    let call: CallbackCall;
    if (row.method === 'UnsafeUnary') call = callbacks.unsafeUnary({}, () => undefined);
    else if (row.method === 'ClientStream') call = callbacks.clientStream(() => undefined);
    else call = row.method === 'Bidi' ? callbacks.bidi() : callbacks.serverStream({});
    (call as unknown as EventEmitter).on('error', () => undefined);
    call.on('status', ({ code }) => codes.push(code));
    call.cancel();
    call.cancel();
    expect(codes).toEqual([]);
    await turns();
    expect(codes).toEqual([status.CANCELLED]);
    await waitFor(() => server.counts().open === 0);
    expect(client.snapshot()).toMatchObject({ active: 0, counters: { failed: 0 } });
  });
});

describe('flow control of a callback client', () => {
  const payload = Buffer.alloc(64 * 1024);
  /** Number of 64 KiB messages, far more than the buffers on both sides hold. */
  const MANY_MESSAGES = 200;

  it('stops the server while the reader of a response stream pauses, and delivers all messages in their sequence afterward', async () => {
    const { server, client } = await scene();
    let sent = 0;
    const messages = function* () {
      while (sent < MANY_MESSAGES) yield { number: ++sent, payload };
    };
    server.script('ServerStream', { messages: messages() });
    const call = client.getClientByServiceName<Callbacks>('Echo').serverStream({});
    const reader = call[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ number: 1 });
    expect(await settled(() => sent)).toBeLessThan(MANY_MESSAGES);
    for (let number = 2; number <= MANY_MESSAGES; number++) {
      expect((await reader.next()).value).toMatchObject({ number });
    }
    expect(await reader.next()).toMatchObject({ done: true });
  });

  it.each(['clientStream', 'bidi'] as const)(
    'stops the writer of a %s call if the server does not read',
    async (method) => {
      const { server, client } = await scene();
      server.script(protoName(method), { requests: 'leave', never: true });
      const callbacks = client.getClientByServiceName<Callbacks>('Echo');
      const call = method === 'bidi' ? callbacks.bidi() : callbacks.clientStream(() => undefined);
      (call as unknown as EventEmitter).on('error', () => undefined);
      let written = 0;
      let isOver = false;
      const write = (): void => {
        if (isOver) return;
        call.write({ payload }, undefined, () => {
          written += 1;
          write();
        });
      };
      write();
      await waitFor(() => written > 0);
      const accepted = await settled(() => written);
      expect(accepted).toBeLessThan(MANY_MESSAGES);
      isOver = true;
      call.cancel();
      // The callback of the message that was being sent.
      await waitFor(() => written === accepted + 1);
    },
  );

  it('does not compress a message that is written with the flag NoCompress', async () => {
    const flags: number[] = [];
    const server = await startHttp2Server((stream) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('end', () => {
        const bytes = Buffer.concat(chunks);
        for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) flags.push(bytes[at]!);
        succeed(stream);
      });
    });
    const client = await startClient({
      url: server.url,
      channelOptions: { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip },
    });
    await answer((done) => {
      const call = client.getClientByServiceName<Callbacks>('Echo').clientStream(done);
      call.write({ text: 'x'.repeat(1_000) });
      // WriteFlags.NoCompress
      call.write({ text: 'x'.repeat(1_000) }, 2);
      call.end();
    });
    expect(flags).toEqual([1, 0]);
  });
});

describe('call that a grpc-js interceptor starts after its channel was replaced', () => {
  /** Starts a client whose grpc-js interceptor holds every call after the first until `release()` is called. */
  async function startHeld() {
    const waiting: (() => void)[] = [];
    let isHolding = false;
    const interceptor: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start: (metadata, listener, start) => {
          if (isHolding) waiting.push(() => start(metadata, listener));
          else start(metadata, listener);
        },
      });
    const serviceConfig = new BehaviorSubject<object>({ loadBalancingConfig: [{ pick_first: {} }] });
    const channelOptions = { interceptors: [interceptor] } as unknown as ChannelOptions;
    const { server, client, echo } = await scene({ serviceConfig, channelOptions });
    await firstValueFrom(echo.unary({}));
    isHolding = true;
    /** Replaces the channel. The previous one closes, because no attempt runs on it. */
    const replace = async (): Promise<void> => {
      await waitFor(() => waiting.length > 0);
      serviceConfig.next({ loadBalancingConfig: [{ round_robin: {} }] });
      await waitFor(() => client.snapshot().counters.replaced === 1);
    };
    const release = (): void => {
      isHolding = false;
      for (const start of waiting) start();
    };
    return { server, client, echo, callbacks: client.getClientByServiceName<Callbacks>('Echo'), replace, release };
  }

  it.each(KINDS)(
    'makes a %s call of a callback client on the new channel if an interceptor starts it after the channel was replaced',
    async (_kind, { call, numbers }) => {
      const { server, callbacks, replace, release } = await startHeld();
      const outcome = call(callbacks);
      await replace();
      release();
      expect(await outcome).toEqual(numbers);
      expect(server.counts().calls).toBe(2);
      await waitFor(() => server.connections.open === 1);
    },
  );

  it.each(EACH_METHOD)(
    'completes a %s call of the client if a grpc-js interceptor starts it after the channel was replaced',
    async (method) => {
      const { server, echo, replace, release } = await startHeld();
      const outcome = toList(callOnce(echo, method));
      await replace();
      release();
      await outcome;
      expect(server.counts().calls).toBe(2);
      await waitFor(() => server.connections.open === 1);
    },
  );

  it('sends the call credentials of a callback client if an interceptor starts the call after the channel was replaced', async () => {
    const { server, callbacks, replace, release } = await startHeld();
    const metadata = new Metadata();
    metadata.set('authorization', 'token-1');
    const perCall = credentials.createFromMetadataGenerator((_, done) => done(null, metadata));
    const outcome = answer((done) => callbacks.unary({ number: 7 }, { credentials: perCall }, done));
    await replace();
    release();
    expect(await outcome).toMatchObject({ number: 7 });
    expect(server.calls().at(-1)?.metadata.get('authorization')).toEqual(['token-1']);
  });

  describe.each([
    ['on the channel on which it was created', false],
    ['after the channel was replaced', true],
  ])('%s', (when, isReplaced) => {
    it(`ends a callback-client call with CANCELLED, unsent, if the caller cancels before the interceptor starts the call ${when}`, async () => {
      const { server, callbacks, replace, release } = await startHeld();
      let cancel: (() => void) | undefined;
      const outcome = answer((done) => {
        const call = callbacks.unary({}, done);
        cancel = () => call.cancel();
      });
      if (isReplaced) await replace();
      cancel?.();
      // grpc-js discards the status in the next turn if the call has not been started.
      await setImmediate();
      release();
      await expect(outcome).rejects.toMatchObject({ code: status.CANCELLED, details: 'Cancelled on client' });
      expect(server.counts().calls).toBe(1);
    });

    it(`ends a callback-client call with DEADLINE_EXCEEDED, unsent, if the deadline passes before the interceptor starts the call ${when}`, async () => {
      const { server, callbacks, replace, release } = await startHeld();
      const deadline = Date.now() + 5;
      const outcome = answer((done) => callbacks.unary({}, { deadline }, done));
      if (isReplaced) await replace();
      await waitFor(() => Date.now() > deadline);
      release();
      await expect(outcome).rejects.toMatchObject({
        code: status.DEADLINE_EXCEEDED,
        details: 'Deadline exceeded before the call began',
      });
      expect(server.counts().calls).toBe(1);
    });

    it(`ends a callback-client call with UNAVAILABLE if the client is closed before the interceptor starts the call ${when}`, async () => {
      const { client, callbacks, replace, release } = await startHeld();
      const outcome = answer((done) => callbacks.unary({}, done));
      if (isReplaced) await replace();
      await client.close();
      release();
      await expect(outcome).rejects.toMatchObject({
        code: status.UNAVAILABLE,
        details: 'The client was closed',
      });
    });
  });

  it('closes a replaced channel on which a callback-client call was cancelled before its interceptor started it', async () => {
    const { server, callbacks, replace, release } = await startHeld();
    const outcome = answer((done) => {
      const call = callbacks.unary({}, done);
      call.cancel();
    });
    const other = answer((done) => callbacks.unary({}, done));
    await setImmediate();
    release();
    await expect(outcome).rejects.toMatchObject({ code: status.CANCELLED });
    await other;
    await replace();
    await waitFor(() => server.connections.open === 1);
  });
});
