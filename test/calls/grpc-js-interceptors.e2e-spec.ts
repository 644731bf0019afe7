import { InterceptingCall, Metadata, type Interceptor } from '@grpc/grpc-js';
import { FaultProxy, Http2FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, tap, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Echo, EchoRequest } from '../testing/echo-client.js';
import { failureOf, scene, startClient, startServer, toList, upTo, type EchoService } from './support.js';

/** Forwards everything unchanged. */
const passing: Interceptor = (options, next) => new InterceptingCall(next(options));

describe('interceptor of grpc-js that calls nextCall twice', () => {
  it('does not resend a call that the server may have executed if the second call of the interceptor was never sent', async () => {
    const server = await startServer({ scripts: { UnsafeUnary: { never: true } } });
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
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
    const client = await startClient({ url: proxy.url, channelOptions: { interceptors: [retrying] } });
    const failure = failureOf(client.getService<EchoService>('Echo').unsafeUnary({}, { waitForReady: false }));
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

describe('request stream with interceptors of grpc-js', () => {
  it.each(['clientStream', 'bidi'] as const)(
    'resends the messages of a %s call that a GOAWAY rejects',
    async (method) => {
      const server = await startServer();
      const proxy = await Http2FaultProxy.start(server.url);
      onTestFinished(() => proxy.close());
      const client = await startClient({ url: proxy.url, channelOptions: { interceptors: [passing] } });
      await client.waitForReady();
      proxy.failCalls({ kind: 'goaway' });
      const numbers = (await toList(client.getService<EchoService>('Echo')[method](upTo(3)))).map(
        ({ number }) => number,
      );
      expect(numbers).toEqual(method === 'bidi' ? [1, 2, 3] : [3]);
      expect(proxy.counters).toMatchObject({ failed: 1, forwarded: 1 });
    },
  );

  /** Starts a server that fails the first upload after its first message, and answers the second with the numbers that it received. */
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

  it('runs the interceptors on the same messages when a request stream is retried', async () => {
    const doubling: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        sendMessage: ({ number = 0 }: EchoRequest, send) => send({ number: number * 2 }),
      });
    const { echo } = await startFailingOnce({}, doubling);
    expect(await toList(echo.clientStream(upTo(3)))).toMatchObject([{ text: '2 4 6' }]);
  });

  it('does not retry a request stream that exceeds the retry buffer if there are interceptors', async () => {
    const { echo, server } = await startFailingOnce({ 'grpc.per_rpc_retry_buffer_size': 100 }, passing);
    const failure = await failureOf(echo.clientStream(upTo(3)));
    expect(failure).toMatchObject({ code: 14, notRetriedBecause: 'request-not-replayable' });
    expect(failure.message).toContain('grpc.per_rpc_retry_buffer_size');
    expect(server.counts().calls).toBe(1);
  });

  it('does not retry a request stream if an interceptor changed its messages in place', async () => {
    const changing: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        sendMessage: (message: { number: number }, send) => {
          message.number += 10;
          send(message);
        },
      });
    const { echo, server } = await startFailingOnce({}, changing);
    const failure = await failureOf(echo.clientStream(upTo(3)));
    expect(failure).toMatchObject({ code: 14, notRetriedBecause: 'request-not-replayable' });
    expect(failure.message).toMatch(/\(not retried: a request message was changed after it was sent; .+\)$/);
    expect(server.counts().calls).toBe(1);
  });

  it('fails a request stream if a message is changed when the retry has already started', async () => {
    const message = { number: 1 };
    let attempts = 0;
    const { echo } = await startFailingOnce({}, (options, next) => {
      attempts += 1;
      if (attempts === 2) message.number = 2;
      return new InterceptingCall(next(options));
    });
    expect(await failureOf(echo.clientStream([message]))).toMatchObject({
      code: 13,
      reason: 'not-sent',
      notRetriedBecause: 'local',
      details: 'The call could not be resent: a request message was changed after it was sent',
    });
    expect(attempts).toBe(2);
  });
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

/** Answers with a message and a status, without headers and without the server, as the caching example of gRFC L5 does. */
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
  it('does not retry a response stream that has delivered messages', async () => {
    const server = await startServer({ scripts: { ServerStream: { messages: upTo(2), never: true } } });
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const client = await startClient({
      url: proxy.url,
      methods: { ServerStream: { idempotent: true } },
      channelOptions: { interceptors: [withoutHeaders] },
    });
    const received: (number | undefined)[] = [];
    const call = client.getService<EchoService>('Echo').serverStream({});
    const failure = await failureOf(
      call.pipe(
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

  it.each(['unary', 'serverStream'] as const)('delivers the response of a hedged %s call', async (method) => {
    const hedgingPolicy = { maxAttempts: 2, hedgingDelay: '10s' } as const;
    const { echo, server, client } = await scene({
      serviceConfig: { methodConfig: [{ name: [{ service: 'testing.v1.Echo' }], hedgingPolicy }] },
      channelOptions: { interceptors: [caching] },
    });
    await client.waitForReady();
    const headers: unknown[] = [];
    const call = echo[method]({}, { onHeaders: (received) => headers.push(received.getMap()) });
    expect(await lastValueFrom(call.pipe(toArray()))).toMatchObject([{ text: 'cached' }]);
    expect(headers).toEqual([{}]);
    expect(server.counts().calls).toBe(0);
  });
});
