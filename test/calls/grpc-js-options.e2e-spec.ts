import { promisify } from 'node:util';
import {
  InterceptingCall,
  Metadata,
  Server,
  ServerCredentials,
  credentials,
  type Interceptor,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader';
import type { GrpcCallOptions } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { repeatUntil } from '../support/repeat-until.js';
import { ECHO_PROTO, EchoClient, type Echo, type EchoRequest } from '../testing/echo-client.js';
import {
  EACH_METHOD,
  callOnce,
  failureOf,
  protoName,
  scene,
  settled,
  startBehindProxy,
  startClient,
  toList,
  upTo,
  type EchoService,
} from './support.js';
import { startHttp2Server } from './raw-http2-server.js';

interface Callbacks {
  unary(request: EchoRequest, options: object, done: (error: Error | null) => void): unknown;
}

const tagging =
  (tag: string): Interceptor =>
  (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, start) => {
        metadata.add('x-tag', tag);
        start(metadata, listener);
      },
    });

/** Adds 10 to the number of each request and 100 to the number of each response. */
const raising: Interceptor = (options, next) =>
  new InterceptingCall(next(options), {
    start: (metadata, listener, start) => {
      start(metadata, {
        onReceiveMessage: (message: Echo | null, pass) => pass(message && { ...message, number: message.number + 100 }),
      });
    },
    sendMessage: (message: EchoRequest, send) => {
      send({ ...message, number: (message.number ?? 0) + 10 });
    },
  });

const tags = (metadata: Metadata | undefined) => metadata?.get('x-tag').join('').replaceAll(', ', '');

describe("grpc-js's interceptors", () => {
  it.each(EACH_METHOD)(
    'runs the interceptors of channelOptions for a %s call, or the interceptors of the call if it has any',
    async (method) => {
      const { echo, server } = await scene({ channelOptions: { interceptors: [tagging('a'), tagging('b')] } });
      await toList(callOnce(echo, method));
      await toList(callOnce(echo, method, { interceptors: [tagging('c')] }));
      await toList(callOnce(echo, method, { interceptor_providers: [() => tagging('d')] }));
      expect(server.calls(protoName(method)).map(({ metadata }) => tags(metadata))).toEqual(['ab', 'c', 'd']);
    },
  );

  it('lets interceptors change the messages of each kind of call', async () => {
    const { echo } = await scene({ channelOptions: { interceptors: [raising] } });
    expect(await firstValueFrom(echo.unary({ number: 1 }))).toMatchObject({ number: 111 });
    expect(await firstValueFrom(echo.clientStream(upTo(3)))).toMatchObject({ number: 103 });
    expect(await lastValueFrom(echo.serverStream({ number: 0 }).pipe(toArray()))).toMatchObject(
      upTo(10).map(({ number }) => ({ number: number + 100 })),
    );
    expect(await toList(echo.bidi(upTo(3)))).toMatchObject([{ number: 111 }, { number: 112 }, { number: 113 }]);
  });

  it.each(EACH_METHOD)('forwards a failure of a %s call through interceptors unchanged', async (method) => {
    const { echo, server } = await scene({ channelOptions: { interceptors: [raising] } });
    server.script(protoName(method), { status: 'NOT_FOUND', details: 'none', trailers: { 'x-why': 'sold' } });
    const error = await failureOf(callOnce(echo, method));
    expect(error).toMatchObject({ code: 5, details: 'none', reachedServer: 'yes', reason: 'server' });
    expect(error.metadata.get('x-why')).toEqual(['sold']);
  });

  it.each(EACH_METHOD)('forwards a cancellation of a %s call through interceptors to the server', async (method) => {
    const { echo, server, client } = await scene({ channelOptions: { interceptors: [tagging('a')] } });
    server.script(protoName(method), { never: true });
    await client.waitForReady();
    for (let i = 0; i < 100; i++) callOnce(echo, method).subscribe().unsubscribe();
    const subscription = callOnce(echo, method).subscribe();
    await waitFor(() => server.counts().open > 0);
    subscription.unsubscribe();
    await waitFor(() => server.counts().open === 0);
  });

  /** Returns an interceptor that responds synchronously without calling the server, as a cache does. */
  const answering =
    (code: number): Interceptor =>
    (options, next) =>
      new InterceptingCall(next(options), {
        start: (_metadata, listener) => {
          listener.onReceiveMetadata(new Metadata());
          listener.onReceiveMessage({ text: 'cached' });
          listener.onReceiveStatus({ code, details: code === 0 ? '' : 'refused', metadata: new Metadata() });
        },
        sendMessage: () => undefined,
        halfClose: () => undefined,
      });

  it.each(EACH_METHOD)('lets an interceptor answer a %s call without the server', async (method) => {
    const { echo, server, client } = await scene();
    await client.waitForReady();
    for (let i = 0; i < 3; i++) {
      expect(await toList(callOnce(echo, method, { interceptors: [answering(0)] }))).toMatchObject([
        { text: 'cached' },
      ]);
      expect(await lastValueFrom(callOnce(echo, method, { interceptors: [answering(0)] }))).toMatchObject({
        text: 'cached',
      });
    }
    expect(client.activeCalls()).toEqual([]);
    expect(server.counts().calls).toBe(0);
  });

  it.each(EACH_METHOD)('lets an interceptor fail a %s call without the server', async (method) => {
    const { echo, server, client } = await scene();
    await client.waitForReady();
    const error = await failureOf(callOnce(echo, method, { interceptors: [answering(7)] }));
    expect(error).toMatchObject({ code: 7, details: 'refused' });
    expect(client.activeCalls()).toEqual([]);
    expect(server.counts().calls).toBe(0);
  });

  it.each(EACH_METHOD)(
    'lets an interceptor set a default deadline for a %s call without a deadline',
    async (method) => {
      const defaulting: Interceptor = (options, next) =>
        new InterceptingCall(next(options.deadline ? options : { ...options, deadline: Date.now() + 50 }));
      const { echo, server } = await scene({ channelOptions: { interceptors: [defaulting] } });
      server.script(protoName(method), { never: true });
      const error = await failureOf(callOnce(echo, method));
      // The server has the same deadline, and its status can arrive first.
      expect([error.code, ['deadline', 'server'].includes(error.reason)]).toEqual([4, true]);
    },
  );

  it.each(['the client', 'a callback client'])(
    'passes a deadline given as a Date unchanged to the interceptors of a call that %s makes',
    async (caller) => {
      const seen: unknown[] = [];
      const reading: Interceptor = (options, next) => {
        seen.push(options.deadline);
        return new InterceptingCall(next(options));
      };
      const { echo, client } = await scene({ channelOptions: { interceptors: [reading] } });
      const deadline = new Date(Date.now() + 27_000);
      const callbacks = client.getClientByServiceName<Callbacks>('Echo');
      const unary = (options: GrpcCallOptions) => {
        if (caller === 'the client') return firstValueFrom(echo.unary({}, options));
        return promisify((done: (error: Error | null) => void) => callbacks.unary({}, options, done))();
      };
      await unary({ deadline });
      await unary({});
      expect(seen).toEqual([deadline, undefined]);
      expect(seen[0]).toBe(deadline);
    },
  );
});

describe('metadata', () => {
  const sent = (metadata: Metadata | undefined) =>
    Object.fromEntries(
      ['x-client', 'x-argument', 'x-option', 'x-many', 'x-raw-bin'].map((key) => [key, metadata?.get(key)]),
    );

  it.each(EACH_METHOD)(
    'merges the metadata of the client, the argument, and the option for a %s call',
    async (method) => {
      const { echo, server } = await scene({ metadata: { 'x-client': 'client', 'x-many': ['1', '2'] } });
      const argument = new Metadata();
      argument.set('x-argument', 'argument');
      const options: GrpcCallOptions = {
        metadata: { 'x-option': 'option', 'x-raw-bin': Buffer.from([0, 255]), 'x-none': undefined },
      };
      const call =
        method === 'clientStream' || method === 'bidi'
          ? echo[method]([], argument, options)
          : echo[method]({}, argument, options);
      await toList(call);
      expect(sent(server.calls()[0]?.metadata)).toEqual({
        'x-client': ['client'],
        'x-argument': ['argument'],
        'x-option': ['option'],
        'x-many': ['1, 2'],
        'x-raw-bin': [Buffer.from([0, 255])],
      });
    },
  );

  it('accepts a call with metadata as an argument (as in Nest) or as an option, and a call without metadata', async () => {
    const { echo, server } = await scene();
    const metadata = new Metadata();
    metadata.set('x-argument', 'argument');
    await firstValueFrom(echo.unary({}, metadata));
    await firstValueFrom(echo.unary({}, null));
    await firstValueFrom(echo.unary({}, { metadata }));
    await firstValueFrom(echo.unary({}, null, { metadata }));
    await firstValueFrom(echo.unary({}, undefined, { timeoutMs: 20_000 }));
    expect(server.calls().map(({ metadata: got }) => got.get('x-argument'))).toEqual([
      ['argument'],
      [],
      ['argument'],
      ['argument'],
      [],
    ]);
    expect(metadata.getMap()).toEqual({ 'x-argument': 'argument' });
  });
});

describe('null options', () => {
  const nulls = { parent: null, credentials: null, host: null, propagate_flags: null };

  it.each(EACH_METHOD)('makes a %s call if its grpc-js options are null', async (method) => {
    const { echo, server } = await scene();
    await toList(callOnce(echo, method, nulls as never));
    const interceptors: Interceptor[] = [(options, next) => new InterceptingCall(next(options))];
    await toList(callOnce(echo, method, { ...nulls, interceptors } as never));
    expect(server.counts().calls).toBe(2);
  });
});

describe('call credentials', () => {
  it.each(EACH_METHOD)('requests call credentials once per %s call', async (method) => {
    const { echo, server } = await scene();
    let requests = 0;
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      requests += 1;
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${requests}`);
      setImmediate(() => callback(null, metadata));
    });
    await toList(callOnce(echo, method, { credentials: token }));
    await toList(callOnce(echo, method, { credentials: token }));
    expect(server.calls().map(({ metadata }) => metadata.get('authorization')[0])).toEqual(['Bearer 1', 'Bearer 2']);
  });

  it('requests call credentials again for each attempt of a call', async () => {
    const { echo, server } = await scene();
    server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: { number: 1 } }]);
    let requests = 0;
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      requests += 1;
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${requests}`);
      callback(null, metadata);
    });
    await firstValueFrom(echo.unary({}, { credentials: token }));
    expect(server.calls().map(({ metadata }) => metadata.get('authorization')[0])).toEqual(['Bearer 1', 'Bearer 2']);
  });

  it('requests call credentials again if they fail with a retryable code', async () => {
    const { echo } = await scene();
    let requests = 0;
    const token = credentials.createFromMetadataGenerator((_, callback) => {
      requests += 1;
      if (requests === 1) callback(Object.assign(new Error('not yet'), { code: 14 }));
      else callback(null, new Metadata());
    });
    expect(await firstValueFrom(echo.unary({ text: 'tea' }, { credentials: token }))).toMatchObject({ text: 'tea' });
    expect(requests).toBe(2);
  });
});

describe('compression', () => {
  it.each([
    ['the encoding br', 'br'],
    ['no encoding', undefined],
  ])('fails a call with INTERNAL if its compressed response declares %s', async (_what, encoding) => {
    const server = await startHttp2Server((stream) => {
      stream.resume();
      stream.respond({
        ':status': 200,
        'content-type': 'application/grpc',
        ...(encoding !== undefined && { 'grpc-encoding': encoding }),
      });
      // A message of one byte that is marked as compressed.
      stream.end(Buffer.from([1, 0, 0, 0, 1, 0]));
    });
    const client = await startClient({ url: server.url });
    const error = await failureOf(client.getService<EchoService>('Echo').unary({}));
    expect(error).toMatchObject({ code: 13, reason: 'protocol', reachedServer: 'yes' });
    expect(error.details).toMatch(/^Compression method not supported: |"grpc-encoding" header was identity$/);
  });

  it('compresses requests if channelOptions set a compression algorithm', async () => {
    const channelOptions = { 'grpc.default_compression_algorithm': 2 } as const;
    const { proxy, echo } = await startBehindProxy({ channelOptions });
    const payload = Buffer.alloc(200_000, 'a');
    const answers = [
      await firstValueFrom(echo.unary({ payload })),
      ...(await toList(echo.bidi([{ payload }, { payload }]))),
    ];
    expect(answers.map((answer) => answer.payload.equals(payload))).toEqual([true, true, true]);
    expect(proxy.counters.bytesToUpstream).toBeLessThan(20_000);
  });
});

/** Starts a plain grpc-js server, for details that a scripted server does not expose. */
async function startPlainServer(
  unary: (call: ServerUnaryCall<EchoRequest, EchoRequest>, callback: sendUnaryData<EchoRequest>) => void,
): Promise<string> {
  const server = new Server();
  server.addService(loadSync(ECHO_PROTO)['testing.v1.Echo'] as ServiceDefinition, { Unary: unary, UnsafeUnary: unary });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  onTestFinished(() => server.forceShutdown());
  return `127.0.0.1:${port}`;
}

describe('host option', () => {
  it('uses the host option as the authority of the call', async () => {
    const hosts: string[] = [];
    const url = await startPlainServer((call, callback) => {
      hosts.push(call.getHost());
      callback(null, call.request);
    });
    const client = await startClient({ url });
    const echo = client.getService<EchoService>('Echo');
    await firstValueFrom(echo.unary({}, { host: 'orders.internal' }));
    await firstValueFrom(echo.unary({}));
    expect(hosts).toEqual(['orders.internal', url]);
  });
});

describe('parent option', () => {
  /** Starts a gateway that a grpc-js client calls, and that calls the scripted server with the inbound call as `parent`. */
  async function startGateway(options: GrpcCallOptions = {}) {
    const upstream = await scene();
    upstream.server.script('UnsafeUnary', { never: true });
    const failures: unknown[] = [];
    const url = await startPlainServer((call, callback) => {
      upstream.echo.unsafeUnary(call.request, { ...options, parent: call }).subscribe({
        next: (value) => callback(null, value),
        error: (error: ServiceError) => {
          failures.push(error);
          callback(error);
        },
      });
    });
    const caller = new EchoClient(url);
    onTestFinished(() => caller.close());
    return { ...upstream, caller, failures };
  }

  it('propagates the deadline of the inbound call given as the parent option', async () => {
    const { server, caller, failures } = await startGateway();
    const seen: { deadline: number; at: number }[] = [];
    server.script('UnsafeUnary', (call) => {
      seen.push({ deadline: call.deadline, at: Date.now() });
      return { never: true };
    });
    let deadline = NaN;
    await repeatUntil('the call passes the gateway before its deadline', async () => {
      deadline = Date.now() + 300;
      const { error } = await caller.unary({}, { deadline });
      expect(error?.code).toBe(4);
      await settled(() => server.counts().calls);
      return seen.length > 0;
    });
    await waitFor(() => failures.length > 0);
    // A server adds the remaining time to the time of arrival, which is later on a busy machine. Rounding on two hops adds at most 6 ms.
    expect(seen[0]!.deadline).toBeGreaterThanOrEqual(deadline - 3);
    expect(seen[0]!.deadline).toBeLessThanOrEqual(seen[0]!.at + 300 + 6);
    await waitFor(() => server.counts().open === 0);
  });

  it('propagates the cancellation of the inbound call given as the parent option', async () => {
    const { server, caller, client, failures } = await startGateway();
    const call = caller.client.makeUnaryRequest(
      '/testing.v1.Echo/Unary',
      () => Buffer.alloc(0),
      (bytes) => bytes,
      {},
      () => undefined,
    );
    await waitFor(() => server.counts().open === 1);
    call.cancel();
    await waitFor(() => server.counts().cancelled === 1);
    await waitFor(() => failures.length === 1);
    expect(failures[0]).toMatchObject({ code: 1, reason: 'cancelled', notRetriedBecause: 'cancelled' });
    expect(client.activeCalls()).toEqual([]);
  });

  it('causes no warning about listeners if a handler makes 10 concurrent calls with its inbound call as the parent option', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    onTestFinished(() => void process.off('warning', onWarning));
    const { echo } = await scene();
    const url = await startPlainServer((call, callback) => {
      const calls = upTo(10).map(({ number }) => firstValueFrom(echo.unary({ number }, { parent: call })));
      Promise.all(calls).then(() => callback(null, call.request), callback);
    });
    const caller = new EchoClient(url);
    onTestFinished(() => caller.close());
    expect((await caller.unary({})).error).toBeUndefined();
    expect(warnings).toEqual([]);
  });

  it('does not propagate the deadline of the inbound call given as the parent option if propagate_flags is 0', async () => {
    const { server, caller, failures } = await startGateway({ propagate_flags: 0 });
    server.script('UnsafeUnary', { hold: 'everything' });
    await repeatUntil('the call passes the gateway before its deadline', async () => {
      const { error } = await caller.unary({}, { deadline: Date.now() + 100 });
      expect(error?.code).toBe(4);
      await settled(() => server.counts().calls);
      return server.counts().calls > 0;
    });
    expect(server.counts()).toMatchObject({ open: 1, cancelled: 0 });
    server.release();
    await waitFor(() => server.counts().answered === 1);
    expect(failures).toEqual([]);
  });
});
