import { InterceptingCall, Metadata, type Interceptor } from '@grpc/grpc-js';
import { Http2FaultProxy, waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, tap, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Echo, EchoRequest } from '../testing/echo-client.js';
import { hedged } from './service-configs.js';
import {
  EACH_METHOD,
  failureOf,
  protoName,
  scene,
  startBehindProxy,
  startClient,
  startServer,
  toList,
  upTo,
  type EchoService,
  type EchoStub,
  type MethodName,
} from './support.js';

/** Forwards everything unchanged. */
const passing: Interceptor = (options, next) => new InterceptingCall(next(options));

describe('interceptor of grpc-js that calls nextCall twice', () => {
  it('does not resend a call that the server may have executed, even though the second call of the interceptor was never sent', async () => {
    const statuses: string[] = [];
    /** Makes a second call if the first one fails, as the retry example of gRFC L5 does. */
    const retrying: Interceptor = (options, next) => {
      let message: unknown;
      return new InterceptingCall(next(options), {
        start: (metadata, listener, start) =>
          start(metadata, {
            onReceiveStatus: () => {
              const again = next(options);
              again.start(metadata, {
                onReceiveStatus: (status) => {
                  statuses.push(status.details);
                  listener.onReceiveStatus(status);
                },
              });
              again.sendMessage(message);
              again.halfClose();
            },
          }),
        sendMessage: (sent: unknown, send) => {
          message = sent;
          send(sent);
        },
      });
    };
    const settings = { channelOptions: { interceptors: [retrying] } };
    const { server, proxy, echo } = await startBehindProxy(settings, { scripts: { UnsafeUnary: { never: true } } });
    const failure = failureOf(echo.unsafeUnary({}, { waitForReady: false }));
    await waitFor(() => server.counts().open === 1);
    proxy.refuse();
    proxy.resetAll();
    expect(await failure).toMatchObject({
      code: 14,
      reachedServer: 'maybe',
      notRetriedBecause: 'not-safe-to-repeat',
      attempts: [{ number: 1 }],
    });
    expect(statuses).toEqual([expect.stringContaining('No connection established')]);
  });
});

/** Starts a server, and a client with `interceptor`. A GOAWAY rejects the first call of the client. */
async function rejectedByGoaway(interceptor: Interceptor) {
  const server = await startServer();
  const proxy = await Http2FaultProxy.start(server.url);
  onTestFinished(() => proxy.close());
  const client = await startClient({ url: proxy.url, channelOptions: { interceptors: [interceptor] } });
  await client.waitForReady();
  proxy.failCalls({ kind: 'goaway' });
  return { server, proxy, client };
}

describe('request stream with interceptors of grpc-js', () => {
  it.each(['clientStream', 'bidi'] as const)(
    'resends the messages of a %s call that a GOAWAY rejects',
    async (method) => {
      const { proxy, client } = await rejectedByGoaway(passing);
      const numbers = (await toList(client.getService<EchoService>('Echo')[method](upTo(3)))).map(
        ({ number }) => number,
      );
      expect(numbers).toEqual(method === 'bidi' ? [1, 2, 3] : [3]);
      expect(proxy.counters).toMatchObject({ failed: 1, forwarded: 1 });
    },
  );

  /** Starts a server that fails the first attempt of an upload after one message, and answers the second with the received numbers. */
  async function startFailingOnce(channelOptions: object, interceptor: Interceptor) {
    const context = await scene({
      methods: { ClientStream: { idempotent: true } },
      channelOptions: { ...channelOptions, interceptors: [interceptor] },
    });
    context.server.script('ClientStream', async ({ requests, previousAttempts }) => {
      if (previousAttempts > 0) {
        const numbers = (await toList(requests)).map((request) => (request as Echo).number);
        return { message: { text: numbers.join(' ') } };
      }
      await requests[Symbol.asyncIterator]().next();
      return { status: 'UNAVAILABLE' };
    });
    return context;
  }

  it('runs the interceptors on the original messages, not on their own output, when a request stream is retried', async () => {
    const doubling: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        sendMessage: ({ number = 0 }: EchoRequest, send) => send({ number: number * 2 }),
      });
    const { echo } = await startFailingOnce({}, doubling);
    expect(await toList(echo.clientStream(upTo(3)))).toMatchObject([{ text: '2 4 6' }]);
  });

  it('does not retry a request stream with interceptors if the stream exceeds the retry buffer', async () => {
    const { echo, server } = await startFailingOnce({ 'grpc.per_rpc_retry_buffer_size': 100 }, passing);
    const failure = await failureOf(echo.clientStream(upTo(3)));
    expect(failure).toMatchObject({ code: 14, notRetriedBecause: 'request-not-replayable' });
    expect(failure.message).toContain('grpc.per_rpc_retry_buffer_size');
    expect(server.counts().calls).toBe(1);
  });
});

describe('interceptor of grpc-js that changes messages in place', () => {
  const doubling: Interceptor = (options, next) =>
    new InterceptingCall(next(options), {
      sendMessage: (message: { number: number }, send) => {
        message.number *= 2;
        send(message);
      },
    });
  const isSingle = (method: MethodName) => method !== 'clientStream' && method !== 'bidi';
  const callOf = (echo: EchoStub, method: MethodName) =>
    isSingle(method) ? echo[method as 'unary']({ number: 1 }) : echo[method as 'bidi'](upTo(3));
  const doubled = (method: MethodName) => (isSingle(method) ? [2] : [2, 4, 6]);
  const received = (server: ScriptedGrpcServer) =>
    server.calls().map(({ requests }) => requests.map((request) => (request as Echo).number));

  it.each(EACH_METHOD)(
    'applies in-place changes of an interceptor to the original messages of a %s call that is resent after a GOAWAY',
    async (method) => {
      const { server, proxy, client } = await rejectedByGoaway(doubling);
      await toList(callOf(client.getService<EchoService>('Echo'), method));
      expect(proxy.counters).toMatchObject({ failed: 1, forwarded: 1 });
      expect(received(server)).toEqual([doubled(method)]);
    },
  );

  it.each(EACH_METHOD)(
    'applies in-place changes of an interceptor to the original messages in each attempt of a retried %s call',
    async (method) => {
      const { echo, server } = await scene({
        methods: { [protoName(method)]: { idempotent: true } },
        channelOptions: { interceptors: [doubling] },
      });
      server.script(protoName(method), async ({ requests, previousAttempts }) => {
        await toList(requests);
        return previousAttempts < 2 ? { status: 'UNAVAILABLE' } : { messages: [{}] };
      });
      await toList(callOf(echo, method));
      expect(received(server)).toEqual([doubled(method), doubled(method), doubled(method)]);
    },
  );

  it.each(EACH_METHOD)(
    'lets an interceptor convert the original values in each attempt of a retried %s call',
    async (method) => {
      const converting: Interceptor = (options, next) =>
        new InterceptingCall(next(options), {
          sendMessage: (message: { number: { value: number } | number }, send) => {
            // Without the interceptor, the serializer sends 0 for an object.
            if (typeof message.number === 'object') message.number = message.number.value;
            send(message);
          },
        });
      const { echo, server, client } = await scene({
        methods: { [protoName(method)]: { idempotent: true } },
        channelOptions: { interceptors: [converting] },
      });
      await client.waitForReady();
      server.script(protoName(method), async ({ requests, previousAttempts }) => {
        await toList(requests);
        return previousAttempts < 1 ? { status: 'UNAVAILABLE' } : { messages: [{}] };
      });
      const message = { number: { value: 7 } } as unknown as EchoRequest;
      await toList(isSingle(method) ? echo[method as 'unary'](message) : echo[method as 'bidi']([message] as never));
      expect(received(server)).toEqual([[7], [7]]);
    },
  );

  it.each(['unary', 'serverStream'] as const)(
    'applies in-place changes of an interceptor to the original messages in each attempt of a hedged %s call',
    async (method) => {
      const { echo, server } = await scene({ ...hedged(), channelOptions: { interceptors: [doubling] } });
      server.script(protoName(method), ({ previousAttempts }) =>
        previousAttempts < 2 ? { never: true } : { messages: [{}] },
      );
      await toList(callOf(echo, method));
      expect(received(server)).toEqual([[2], [2], [2]]);
    },
  );
});

/** Forwards only the messages and the status of its call, as the retry example of gRFC L5 does for its second call. */
const withoutHeaders: Interceptor = (options, next) => {
  const inner = next(options);
  return new InterceptingCall(inner, {
    start: (metadata, listener) => {
      inner.start(metadata, {
        onReceiveMessage: (message) => listener.onReceiveMessage(message),
        onReceiveStatus: (status) => listener.onReceiveStatus(status),
      });
    },
    sendMessage: (message) => inner.sendMessage(message),
    halfClose: () => inner.halfClose(),
  });
};

/** Returns a message and a status without headers, and sends nothing, as the caching example of gRFC L5 does. */
const caching: Interceptor = (options, next) => {
  let listener: Parameters<InterceptingCall['start']>[1];
  return new InterceptingCall(next(options), {
    start: (_metadata, given) => {
      listener = given;
    },
    sendMessage: () => undefined,
    halfClose: () => {
      listener?.onReceiveMessage?.({ text: 'cached' });
      listener?.onReceiveStatus?.({ code: 0, details: '', metadata: new Metadata() });
    },
  });
};

describe('response without headers from an interceptor of grpc-js', () => {
  it('does not retry a response stream that has delivered messages, even if an interceptor forwarded no headers', async () => {
    const { server, proxy, echo } = await startBehindProxy(
      { methods: { ServerStream: { idempotent: true } }, channelOptions: { interceptors: [withoutHeaders] } },
      { scripts: { ServerStream: { messages: upTo(2), never: true } } },
    );
    const received: (number | undefined)[] = [];
    const failure = await failureOf(
      echo.serverStream({}).pipe(
        tap(({ number }) => {
          received.push(number);
          if (number === 2) proxy.resetAll();
        }),
      ),
    );
    expect(failure).toMatchObject({ reason: 'connection-lost', reachedServer: 'yes', notRetriedBecause: 'committed' });
    expect(received).toEqual([1, 2]);
    expect(server.counts().calls).toBe(1);
  });

  it.each(['unary', 'serverStream'] as const)(
    'delivers the response that an interceptor returns without headers for a hedged %s call',
    async (method) => {
      const { echo, server, client } = await scene({ ...hedged('10s'), channelOptions: { interceptors: [caching] } });
      await client.waitForReady();
      const headers: unknown[] = [];
      const call = echo[method]({}, { onHeaders: (received) => headers.push(received.getMap()) });
      expect(await lastValueFrom(call.pipe(toArray()))).toMatchObject([{ text: 'cached' }]);
      expect(headers).toEqual([{}]);
      expect(server.counts().calls).toBe(0);
    },
  );
});
