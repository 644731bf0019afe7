import type { ServerHttp2Stream } from 'node:http2';
import { setImmediate } from 'node:timers/promises';
import {
  InterceptingCall,
  Metadata,
  credentials,
  makeGenericClientConstructor,
  status,
  type CallOptions,
  type ChannelOptions,
  type Interceptor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { Http2FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { BehaviorSubject, firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ECHO_PROTO, type Echo, type EchoRequest } from '../testing/echo-client.js';
import { fail, reset, startHttp2Server, succeed } from './raw-http2-server.js';
import { EACH_METHOD, callOnce, scene, startClient, startServer, toList, upTo } from './support.js';

type Done = (error: ServiceError | null, value?: Echo) => void;

/** grpc-js's generated client of the service. */
interface Callbacks {
  unary(request: EchoRequest, done: Done): { cancel(): void };
  unary(request: EchoRequest, options: CallOptions, done: Done): { cancel(): void };
  unsafeUnary(request: EchoRequest, done: Done): { cancel(): void };
  Unary(request: EchoRequest, done: Done): unknown;
  clientStream(done: Done): Requests;
  serverStream(request: EchoRequest): AsyncIterable<Echo>;
  bidi(): Requests & AsyncIterable<Echo>;
  close(): void;
}

interface Requests {
  write(request: EchoRequest): boolean;
  end(): void;
}

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

function answer(call: (done: Done) => unknown): Promise<Echo | undefined> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
}

function send<T extends Requests>(call: T): T {
  for (const request of upTo(3)) call.write(request);
  call.end();
  return call;
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

/** One function per kind of call. Each makes one call and resolves to the numbers in the responses. */
const KINDS: Readonly<Record<string, (client: Callbacks) => Promise<unknown>>> = {
  unary: async (client) => (await answer((done) => client.unsafeUnary({ number: 7 }, done)))?.number,
  'client-streaming': async (client) => (await answer((done) => send(client.clientStream(done))))?.number,
  'server-streaming': async (client) => (await toList(client.serverStream({ number: 3 }))).map(({ number }) => number),
  bidi: async (client) => (await toList(send(client.bidi()))).map(({ number }) => number),
};
const ANSWERS: Readonly<Record<string, unknown>> = {
  unary: 7,
  'client-streaming': 3,
  'server-streaming': [1, 2, 3],
  bidi: [1, 2, 3],
};

describe('callback client of getClientByServiceName()', () => {
  it("makes the calls of grpc-js's callback client on the shared channel", async () => {
    const { echo, client, server } = await scene();
    await firstValueFrom(echo.unary({}));
    const callbacks = client.getClientByServiceName<Callbacks>('Echo');
    for (const name of ['unary', 'Unary'] as const) {
      expect(await answer((done) => callbacks[name]({ text: name }, done))).toMatchObject({ text: name });
    }
    expect(await toList(callbacks.serverStream({ number: 3 }))).toMatchObject(upTo(3));
    expect(server.connections.accepted).toBe(1);
  });

  it('keeps the shared channel open when the callback client is closed', async () => {
    const { echo, client } = await scene();
    client.getClientByServiceName<Callbacks>('testing.v1.Echo').close();
    expect(await firstValueFrom(echo.unary({ text: 'tea' }))).toMatchObject({ text: 'tea' });
  });

  const startBehindProxy = async () => {
    const server = await startServer();
    const proxy = await Http2FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    return { server, proxy };
  };

  describe.each([
    ["on this library's channel", connectOurClient],
    ['on a plain grpc-js channel', connectPlainClient],
  ] as const)('%s', (where, connect) => {
    it.each(Object.entries(KINDS))(
      `resends a %s call of a callback client ${where} once if a GOAWAY rejects it`,
      async (kind, call) => {
        const { server, proxy } = await startBehindProxy();
        const client = await connect(proxy.url);
        await answer((done) => client.unary({}, done));
        proxy.failCalls({ kind: 'goaway' });
        expect(await call(client)).toEqual(ANSWERS[kind]);
        expect(proxy.counters).toMatchObject({ accepted: 2, failed: 1, forwarded: 2 });
        expect(server.counts().calls).toBe(2);
      },
    );

    it.each(Object.entries(KINDS))(
      `fails a %s call of a callback client ${where} if a second GOAWAY rejects it`,
      async (_kind, call) => {
        const { proxy } = await startBehindProxy();
        const client = await connect(proxy.url);
        await answer((done) => client.unary({}, done));
        proxy.failCalls({ kind: 'goaway' }, { times: 3 });
        await expect(call(client)).rejects.toMatchObject({ code: status.UNAVAILABLE });
        expect(proxy.counters).toMatchObject({ failed: 2, forwarded: 1 });
      },
    );
  });

  it.each(['INTERNAL_ERROR', 'ENHANCE_YOUR_CALM'] as const)(
    'resends a call of a callback client if a GOAWAY with %s rejects it',
    async (code) => {
      const { server, proxy } = await startBehindProxy();
      const client = await connectOurClient(proxy.url);
      await answer((done) => client.unary({}, done));
      proxy.failCalls({ kind: 'goaway', code });
      expect(await KINDS['unary']!(client)).toBe(7);
      expect(server.counts().calls).toBe(2);
    },
  );

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

  it('releases buffered requests of a callback client and does not resend a call whose request exceeds the per-call limit', async () => {
    const { server, proxy } = await startBehindProxy();
    const client = await connectOurClient(proxy.url);
    const payload = Buffer.alloc(1_000_000);
    // These calls send more than the 16 MiB that all calls of a client can buffer in total.
    for (let call = 0; call < 20; call += 1) await answer((done) => client.unary({ payload }, done));
    proxy.failCalls({ kind: 'goaway' });
    expect(await answer((done) => client.unary({ payload, number: 8 }, done))).toMatchObject({ number: 8 });
    proxy.failCalls({ kind: 'goaway' });
    const larger = { payload: Buffer.alloc(1_100_000) };
    await expect(answer((done) => client.unary(larger, done))).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(server.counts().calls).toBe(21);
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

  it.each(Object.entries(KINDS))(
    'makes a %s call of a callback client on the new channel if an interceptor starts it after the channel was replaced',
    async (kind, call) => {
      const { server, callbacks, replace, release } = await startHeld();
      const outcome = call(callbacks);
      await replace();
      release();
      expect(await outcome).toEqual(ANSWERS[kind]);
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
        details: 'Deadline exceeded before the attempt was sent',
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
        details: 'Channel closed before call started',
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
