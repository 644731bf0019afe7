import type { ServerHttp2Stream } from 'node:http2';
import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { isGrpcCallError, type GrpcCallError } from 'nestjs-resilient-grpc';
import {
  FaultProxy,
  Http2FaultProxy,
  type ScriptedCall,
  type ScriptedGrpcServer,
  waitFor,
} from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EchoClient, type Echo } from '../testing/echo-client.js';
import { recordTiming } from '../support/timing.js';
import { reset, startHttp2Server, succeed } from './raw-http2-server.js';
import {
  EACH_METHOD,
  ECHOES,
  callOnce,
  failureOf,
  protoName,
  startBehindProxy,
  startClient,
  startServer,
  toList,
  type ClientSettings,
  type EchoService,
  type EchoStub,
} from './support.js';

/** All methods except the one that is declared safe to repeat. */
const UNSAFE = EACH_METHOD.filter((method) => method !== 'unary');

async function echoOf(settings: ClientSettings & { readonly url: string }): Promise<EchoStub> {
  return (await startClient(settings)).getService<EchoService>('Echo');
}

/** Waits for a first response, because a new connection that ends before any response counts as a failed connection attempt. */
async function awaitFirstResponse(echo: EchoStub, method: 'unary' | 'unsafeUnary'): Promise<void> {
  await firstValueFrom(echo[method]({}));
}

function expectLost(error: GrpcCallError): void {
  expect(error).toMatchObject({
    code: 14,
    reason: 'connection-lost',
    reachedServer: 'maybe',
    notRetriedBecause: 'not-safe-to-repeat',
    attempts: [{ number: 1, code: 14 }],
  });
  expect(error.message).toMatch(/^14 UNAVAILABLE: Connection lost after sending \(/);
  expect(error.cause).toMatchObject({ code: expect.any(Number), details: expect.any(String) });
}

/** Ways to lose the connection of a call that the server has received but not answered. */
const LOSSES: Readonly<Record<string, (server: ScriptedGrpcServer, proxy: FaultProxy) => unknown>> = {
  'a TCP reset': (_, proxy) => proxy.resetAll(),
  'a TCP FIN': (_, proxy) => proxy.closeAll(),
  'a server kill': (server) => server.stop('kill-connections'),
  "grpc-js's forced stop (CANCELLED)": (server) => server.stop('force'),
  'the end of the drain grace period': (server) => server.drainConnections(20),
};

describe.each(Object.entries(LOSSES))('connection lost due to %s', (how, lose) => {
  it.each(UNSAFE)(`fails a %s call as connection-lost and does not repeat it after ${how}`, async (method) => {
    const scripts = { ...ECHOES, [protoName(method)]: { never: true } };
    const { server, proxy, echo } = await startBehindProxy({}, { scripts });
    await awaitFirstResponse(echo, 'unary');
    const failure = failureOf(callOnce(echo, method));
    await waitFor(() => server.counts().open === 1);
    await lose(server, proxy);
    expectLost(await failure);
    await server.restart();
    // A repeated call would arrive before the call below.
    await awaitFirstResponse(echo, 'unary');
    expect(server.counts(protoName(method)).calls).toBe(1);
  });

  it(`repeats a call after ${how} if its method is declared safe`, async () => {
    const { server, proxy, echo } = await startBehindProxy();
    await awaitFirstResponse(echo, 'unsafeUnary');
    server.script('Unary', [{ never: true }, { message: { text: 'second' } }]);
    const answer = firstValueFrom(echo.unary({}));
    await waitFor(() => server.counts().open === 1);
    await lose(server, proxy);
    if (!server.running) await server.restart();
    expect(await answer).toMatchObject({ text: 'second' });
    expect(server.calls('Unary').map(({ previousAttempts }) => previousAttempts)).toEqual([0, 1]);
  });

  it.each(['serverStream', 'bidi'] as const)(
    `does not repeat a %s call after ${how} if its first response message has arrived`,
    async (method) => {
      const { server, proxy, echo } = await startBehindProxy(
        { methods: { '*': { idempotent: true } } },
        { scripts: { ...ECHOES, [protoName(method)]: { messages: [{ number: 1 }], never: true } } },
      );
      await awaitFirstResponse(echo, 'unary');
      const seen: number[] = [];
      const failure = failureOf(
        (async () => {
          for await (const { number } of callOnce(echo, method)) seen.push(number);
        })(),
      );
      await waitFor(() => seen.length === 1);
      await lose(server, proxy);
      expect(await failure).toMatchObject({
        code: 14,
        reason: 'connection-lost',
        reachedServer: 'yes',
        notRetriedBecause: 'committed',
      });
      expect(seen).toEqual([1]);
      expect(server.counts(protoName(method)).calls).toBe(1);
    },
  );
});

/** Forwards everything unchanged. */
const passing: Interceptor = (options, next) => new InterceptingCall(next(options));

describe('stream reset', () => {
  it.each([
    ['NGHTTP2_NO_ERROR', 13],
    ['NGHTTP2_INTERNAL_ERROR', 13],
    ['NGHTTP2_CANCEL', 1],
  ] as const)(
    'reports a stream reset with %s as a lost connection, although grpc-js reports status %d',
    async (code, grpcJsCode) => {
      const server = await startHttp2Server((stream) => reset(stream, code));
      const echo = await echoOf({ url: server.url });
      for (const method of UNSAFE) {
        const error = await failureOf(callOnce(echo, method));
        expectLost(error);
        expect(error.cause).toMatchObject({ code: grpcJsCode });
      }
      expect(server.streams).toHaveLength(UNSAFE.length);
    },
  );

  it.each(['NGHTTP2_PROTOCOL_ERROR', 'NGHTTP2_FLOW_CONTROL_ERROR', 'NGHTTP2_COMPRESSION_ERROR'] as const)(
    'does not retry a call after a reset with %s, even if its method is declared safe',
    async (code) => {
      const server = await startHttp2Server((stream) => reset(stream, code));
      const echo = await echoOf({ url: server.url });
      expect(await failureOf(echo.unary({}))).toMatchObject({ reachedServer: 'maybe', attempts: [{ number: 1 }] });
      expect(server.streams).toHaveLength(1);
    },
  );

  const startRefusingServer = (times: number) =>
    startHttp2Server((stream, number) => {
      if (number <= times) reset(stream, 'NGHTTP2_REFUSED_STREAM');
      else succeed(stream);
    });

  it('resends a safe call no earlier than 0.8 s after a reset with ENHANCE_YOUR_CALM', async () => {
    const server = await startHttp2Server((stream, number) => {
      if (number === 1) reset(stream, 'NGHTTP2_ENHANCE_YOUR_CALM');
      else succeed(stream);
    });
    const echo = await echoOf({ url: server.url });
    const startedAt = performance.now();
    await lastValueFrom(echo.unary({}));
    expect(performance.now() - startedAt).toBeGreaterThan(790);
    expect(server.streams).toHaveLength(2);
  });

  // A proxy may send REFUSED_STREAM for requests that were processed.
  it.each(UNSAFE)('does not resend a %s call after REFUSED_STREAM, because the call may have run', async (method) => {
    const server = await startRefusingServer(1);
    const error = await failureOf(callOnce(await echoOf({ url: server.url }), method));
    expect(error).toMatchObject({
      code: 14,
      details: 'Stream refused by server',
      reason: 'refused',
      reachedServer: 'maybe',
      notRetriedBecause: 'not-safe-to-repeat',
    });
    expect(server.streams).toHaveLength(1);
  });

  it('does not retry a call with `retry: false` after REFUSED_STREAM', async () => {
    const server = await startRefusingServer(1);
    const echo = await echoOf({ url: server.url });
    expect(await failureOf(echo.unary({}, { retry: false }))).toMatchObject({
      reason: 'refused',
      notRetriedBecause: 'disabled',
    });
    expect(server.streams).toHaveLength(1);
  });

  describe('with trustRefusedStreams', () => {
    const trusting = { trustRefusedStreams: true };

    it.each(EACH_METHOD)('resends a %s call once after a trusted REFUSED_STREAM', async (method) => {
      const server = await startRefusingServer(1);
      const echo = await echoOf({ url: server.url, ...trusting });
      expect(await toList(callOnce(echo, method))).toHaveLength(1);
      expect(server.streams).toHaveLength(2);
    });

    it.each([
      ['', {}, {}],
      [' with `retry: false`', {}, { retry: false as const }],
      [" with grpc-js's interceptors", { channelOptions: { interceptors: [passing] } }, {}],
    ])('resends many large calls%s after a trusted REFUSED_STREAM', async (_, settings, options) => {
      const large = { payload: Buffer.alloc(100 * 1024) };
      const refused = new Set<string>();
      const server = await startHttp2Server((stream, _number, { 'x-call': call }) => {
        const id = String(call);
        if (refused.has(id)) {
          succeed(stream);
          return;
        }
        refused.add(id);
        reset(stream, 'NGHTTP2_REFUSED_STREAM');
      });
      const echo = await echoOf({ url: server.url, ...trusting, ...settings });
      const calls = Array.from({ length: 40 }, (_, index) =>
        toList(echo.unsafeUnary(large, { ...options, metadata: { 'x-call': String(index) } })),
      );
      expect((await Promise.all(calls)).flat()).toHaveLength(40);
      expect(server.streams).toHaveLength(80);
    });

    it('applies the retry policy after a second trusted REFUSED_STREAM', async () => {
      const server = await startRefusingServer(Infinity);
      const unsafe = await failureOf((await echoOf({ url: server.url, ...trusting })).unsafeUnary({}));
      expect(unsafe).toMatchObject({ reachedServer: 'maybe', notRetriedBecause: 'not-safe-to-repeat' });
      expect(server.streams).toHaveLength(2);
      const safe = await failureOf((await echoOf({ url: server.url, ...trusting })).unary({}));
      expect(safe).toMatchObject({ reachedServer: 'maybe', notRetriedBecause: 'attempts-exhausted' });
      expect(safe.attempts).toHaveLength(4);
      expect(server.streams).toHaveLength(2 + 5);
    });
  });
});

describe('call queued by MAX_CONCURRENT_STREAMS', () => {
  /** Starts a server that accepts one call at a time per connection, never answers the first call, and records the calls as they arrive. */
  async function startOneAtATime() {
    const arrived: string[] = [];
    const server = await startHttp2Server(
      (stream, number, { 'x-call': call }) => {
        arrived.push(String(call));
        if (number > 1) succeed(stream);
      },
      { maxConcurrentStreams: 1 },
    );
    return { server, arrived };
  }

  it('sends a queued call on the next connection if the server does not answer a keepalive ping', async () => {
    const { server, arrived } = await startOneAtATime();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const channelOptions = { 'grpc.keepalive_time_ms': 100, 'grpc.keepalive_timeout_ms': 5_000 };
    const client = await startClient({ url: proxy.url, channelOptions });
    const echo = client.getService<EchoService>('Echo');
    await client.waitForReady();
    const first = toList(echo.unsafeUnary({}, { metadata: { 'x-call': 'first' } })).catch((error: unknown) => error);
    await waitFor(() => arrived.length === 1);
    const queued = toList(echo.unsafeUnary({}, { metadata: { 'x-call': 'second' } }));
    for (let turn = 0; turn < 3; turn += 1) await new Promise(setImmediate);
    proxy.holdBytes();
    // Checks the history, because the channel is IDLE only briefly: the queued call makes it reconnect immediately.
    await waitFor(() => client.history.some(({ to }) => to === 'IDLE'), { timeoutMs: 50_000 });
    proxy.releaseBytes();
    expect(await queued).toHaveLength(1);
    expect(await first).toMatchObject({
      reason: 'connection-lost',
      reachedServer: 'maybe',
      details: 'Connection lost after sending (UNAVAILABLE: Connection dropped: the server no longer responded)',
    });
    expect(arrived.toSorted()).toEqual(['first', 'second']);
  });
});

describe('GOAWAY', () => {
  describe('on a connection younger than 1 s', () => {
    /** Starts a proxy that rejects each of the first `times` calls with a GOAWAY. */
    const startRejectingProxy = async (times: number) => {
      const proxy = await Http2FaultProxy.start((await startServer()).url);
      onTestFinished(() => proxy.close());
      proxy.failCalls({ kind: 'goaway' }, { times });
      return proxy;
    };

    it(
      'immediately resends a call that a GOAWAY rejects on a connection younger than 1 s',
      { tags: ['timed'] },
      async ({ task }) => {
        const proxy = await startRejectingProxy(1);
        const echo = await echoOf({ url: proxy.url });
        const startedAt = performance.now();
        expect(await toList(echo.unsafeUnary({}))).toHaveLength(1);
        recordTiming(
          task,
          'time until a call that was rejected on a young connection is answered, ms',
          performance.now() - startedAt,
          {
            atMost: 50,
          },
        );
        expect(proxy.counters).toMatchObject({ accepted: 2, failed: 1, forwarded: 1 });
      },
    );

    it('opens at most two more connections in 3 s if the server rejects each call with a GOAWAY', async () => {
      const proxy = await startRejectingProxy(Infinity);
      const echo = await echoOf({ url: proxy.url });
      const error = await failureOf(echo.unsafeUnary({}, { timeoutMs: 3_000, waitForReady: true }));
      expect(error).toMatchObject({ reachedServer: 'no' });
      expect(proxy.counters.accepted).toBeLessThanOrEqual(3);
    });
  });

  // INTERNAL_ERROR is included because gRPC's C core sends it in the GOAWAY on a connection that was idle for too long.
  describe.each(['NO_ERROR', 'INTERNAL_ERROR', 'ENHANCE_YOUR_CALM', 'PROTOCOL_ERROR'] as const)('with %s', (code) => {
    const behindProxy = async (server: ScriptedGrpcServer) => {
      const proxy = await Http2FaultProxy.start(server.url);
      onTestFinished(() => proxy.close());
      const echo = await echoOf({ url: proxy.url });
      await awaitFirstResponse(echo, 'unary');
      return { proxy, echo };
    };

    it.each(EACH_METHOD)(
      `resends a %s call whose stream ID is above the last stream ID of a GOAWAY with ${code}`,
      async (method) => {
        const server = await startServer();
        const { proxy, echo } = await behindProxy(server);
        proxy.failCalls({ kind: 'goaway', code });
        const request = { number: 1 };
        const call = method === 'serverStream' ? echo.serverStream(request) : callOnce(echo, method);
        expect(await toList(call)).toHaveLength(1);
        expect(proxy.counters).toMatchObject({ accepted: 2, failed: 1 });
      },
    );

    it(`resends many large calls after a GOAWAY with ${code}, and ${code === 'NO_ERROR' ? 'completes' : 'fails'} the earlier call`, async () => {
      const server = await startServer({
        scripts: {
          ...ECHOES,
          UnsafeUnary: (call) => {
            const { request } = call as ScriptedCall<Echo>;
            return { message: request, hold: request.text === 'before' ? 'everything' : undefined };
          },
        },
      });
      const { proxy, echo } = await behindProxy(server);
      const before = firstValueFrom(echo.unsafeUnary({ text: 'before' })).catch((error: unknown) => error);
      await waitFor(() => server.counts('UnsafeUnary').open === 1);
      proxy.failCalls({ kind: 'goaway', code });
      const payload = Buffer.alloc(100 * 1024);
      const numbers = Array.from({ length: 20 }, (_, index) => index + 1);
      const answers = numbers.map((number) => firstValueFrom(echo.unsafeUnary({ number, payload })));
      expect((await Promise.all(answers)).map(({ number }) => number)).toEqual(numbers);
      server.release();
      expect(await before).toMatchObject(code === 'NO_ERROR' ? { text: 'before' } : { reachedServer: 'maybe' });
      expect(server.counts('UnsafeUnary').calls).toBe(1 + numbers.length);
    });
  });

  it('reports connection-lost for calls that outlive the grace period of the maximum connection age', async () => {
    const server = await startServer({
      // The maximum age is long enough for a busy machine to send the call below first.
      serverOptions: { 'grpc.max_connection_age_ms': 1_000, 'grpc.max_connection_age_grace_ms': 50 },
      scripts: { ...ECHOES, ...Object.fromEntries(UNSAFE.map((method) => [protoName(method), { never: true }])) },
    });
    const expectCut = async (method: (typeof UNSAFE)[number]) => {
      const echo = await echoOf({ url: server.url });
      await awaitFirstResponse(echo, 'unary');
      expectLost(await failureOf(callOnce(echo, method)));
      expect(server.counts(protoName(method)).calls).toBe(1);
    };
    await Promise.all(UNSAFE.map(expectCut));
  });
});

describe('HTTP response that is not gRPC', () => {
  const answering = (status: number, body?: string) => (stream: ServerHttp2Stream) => {
    stream.resume();
    stream.respond({ ':status': status, 'content-type': 'text/html' }, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
  };

  it.each([
    [401, 16, 1],
    [403, 7, 1],
    [404, 12, 1],
    [429, 14, 4],
    [502, 14, 4],
    [503, 14, 4],
    [504, 14, 4],
    [418, 2, 1],
  ])('maps HTTP status %d to code %d (attempts of a safe call: %d)', async (status, code, attempts) => {
    const expectAnswer = async (body: string | undefined) => {
      const server = await startHttp2Server(answering(status, body));
      const echo = await echoOf({ url: server.url });
      const error = await failureOf(echo.unary({}));
      expect(error).toMatchObject({ code, reachedServer: 'maybe' });
      expect(error.details).toContain(String(status));
      expect(server.streams).toHaveLength(attempts);
      expect(await failureOf(echo.unsafeUnary({}))).toMatchObject({ code, reachedServer: 'maybe' });
      expect(server.streams).toHaveLength(attempts + 1);
    };
    await Promise.all([expectAnswer(undefined), expectAnswer('<h1>sorry</h1>')]);
  });
});

describe('a gRPC proxy whose backend ends the connection', () => {
  /** Places a write like the example in the README: returns whether it was placed, rejected, or not sent, or is in doubt. */
  async function place(echo: EchoStub, text: string): Promise<'placed' | 'rejected' | 'again' | 'check'> {
    try {
      await firstValueFrom(echo.unsafeUnary({ text }));
      return 'placed';
    } catch (error) {
      if (!isGrpcCallError(error)) throw error;
      if (error.reachedServer === 'no') return 'again';
      const isRejected = isGrpcCallError(error, 'INVALID_ARGUMENT', 'ALREADY_EXISTS', 'FAILED_PRECONDITION');
      return isRejected && error.reachedServer === 'yes' ? 'rejected' : 'check';
    }
  }

  it.each(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'] as const)(
    'leaves a write in doubt if the proxy answers %s after the backend has applied the write',
    async (status) => {
      const applied: string[] = [];
      const backend = await startServer({
        scripts: {
          UnsafeUnary: (call) => {
            const { request } = call as ScriptedCall<Echo>;
            if (request.text === 'invalid') return { status: 'INVALID_ARGUMENT', details: 'no text' };
            applied.push(request.text);
            if (request.text === 'lost') void backend.stop('kill-connections');
            return { message: request };
          },
        },
      });
      const upstream = new EchoClient(backend.url);
      onTestFinished(() => {
        upstream.close();
      });
      const proxy = await startServer({
        scripts: {
          UnsafeUnary: async (call) => {
            const { request } = call as ScriptedCall<Echo>;
            const { value, error } = await upstream.unary(request, { method: 'UnsafeUnary' });
            if (value !== undefined) return { message: value };
            return error?.code === 3
              ? { status: 'INVALID_ARGUMENT' }
              : { status, details: 'the backend is unavailable' };
          },
        },
      });
      const echo = await echoOf({ url: proxy.url });
      expect(await place(echo, 'first')).toBe('placed');
      expect(await place(echo, 'invalid')).toBe('rejected');
      expect(await place(echo, 'lost')).toBe('check');
      expect(applied).toEqual(['first', 'lost']);
      expect(await failureOf(echo.unsafeUnary({ text: 'again' }))).toMatchObject({
        reason: 'server',
        reachedServer: 'maybe',
        notRetriedBecause: status === 'UNAVAILABLE' ? 'not-safe-to-repeat' : 'fatal-status',
      });
    },
  );
});
