import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { CircuitBreakerOptions } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import {
  failureOf,
  failureOnceSeen,
  scene,
  startBehindProxy,
  startClient,
  type EchoService,
} from '../calls/support.js';
import { fail, failRetryably, startHttp2Server, succeed, timeoutOf } from '../calls/raw-http2-server.js';
import { repeatUntil } from '../support/repeat-until.js';

describe('attemptTimeoutMs', () => {
  it('retries a safe call and fails an unsafe call after attemptTimeoutMs', async () => {
    const { echo, server } = await scene({ methods: { '*': { attemptTimeoutMs: 500 } } });
    server.script('Unary', ({ previousAttempts }) =>
      previousAttempts === 0 ? { never: true } : { message: { number: 2 } },
    );
    await repeatUntil('the server receives the attempt before its timeout', async () => {
      expect(await firstValueFrom(echo.unary({}))).toMatchObject({ number: 2 });
      await waitFor(() => server.counts('Unary').open === 0);
      return server.counts('Unary').cancelled > 0;
    });
    server.script('UnsafeUnary', { never: true });
    const { error } = await failureOnceSeen(server, () => echo.unsafeUnary({}));
    expect(error).toMatchObject({ code: 4, reason: 'attempt-timeout', reachedServer: 'maybe' });
    expect(error.notRetriedBecause).toBe('not-safe-to-repeat');
  });

  it('sends attemptTimeoutMs as grpc-timeout with each attempt and hedge of a unary call', async () => {
    const timeouts: number[] = [];
    const server = await startHttp2Server((stream, number, headers) => {
      timeouts.push(timeoutOf(headers));
      if (number % 2 === 1) failRetryably(stream);
      else succeed(stream);
    });
    const hedgingPolicy = { maxAttempts: 2, hedgingDelay: '60s', nonFatalStatusCodes: ['UNAVAILABLE' as const] };
    const name = [{ service: 'testing.v1.Echo', method: 'UnsafeUnary' }];
    const client = await startClient({
      url: server.url,
      methods: { '*': { attemptTimeoutMs: 60_000 } },
      serviceConfig: { methodConfig: [{ name, hedgingPolicy }] },
    });
    const echo = client.getService<EchoService>('Echo');
    await firstValueFrom(echo.unary({}, { timeoutMs: 120_000 }));
    await firstValueFrom(echo.unsafeUnary({}));
    expect(timeouts).toEqual([60_000, 60_000, 60_000, 60_000]);
  });

  it('sends no grpc-timeout for the attemptTimeoutMs of a response stream, and sends a unary deadline shorter than attemptTimeoutMs as grpc-timeout', async () => {
    const timeouts: number[] = [];
    const server = await startHttp2Server((stream, _number, headers) => {
      timeouts.push(timeoutOf(headers));
      succeed(stream);
    });
    const client = await startClient({ url: server.url, methods: { '*': { attemptTimeoutMs: 60_000 } } });
    const echo = client.getService<EchoService>('Echo');
    await lastValueFrom(echo.serverStream({}));
    await firstValueFrom(echo.unary({}, { timeoutMs: 30_000 }));
    const [stream, unary] = timeouts;
    expect(stream).toBeNaN();
    expect(unary).toBeLessThanOrEqual(30_000);
  });

  it('fails a call with reason attempt-timeout whether the server or the client detects the timeout first', async () => {
    const { echo, server } = await scene({ methods: { '*': { attemptTimeoutMs: 20 } } });
    server.script('UnsafeUnary', { never: true });
    const calls = Array.from({ length: 50 }, () => failureOf(echo.unsafeUnary({}, { timeoutMs: 60_000 })));
    const reasons = new Set((await Promise.all(calls)).map(({ code, reason }) => `${code} ${reason}`));
    expect([...reasons]).toEqual(['4 attempt-timeout']);
  });

  // Handlers pass on the error of a database driver or of another call, and old versions of grpc-go report every expired deadline so.
  it.each([1, 2, 4, 13])(
    'retries a safe call, and reports the peer and reachedServer of an unsafe one, if the server reports the attempt timeout first, as status %d',
    async (code) => {
      const server = await startHttp2Server((stream, number, headers) => {
        stream.resume();
        // Slightly before its deadline, like a server that forwards the deadline to other servers.
        if (number === 2) succeed(stream);
        else setTimeout(() => !stream.destroyed && fail(stream, code), timeoutOf(headers) * 0.92);
      });
      const client = await startClient({ url: server.url, methods: { '*': { attemptTimeoutMs: 1_000 } } });
      const echo = client.getService<EchoService>('Echo');
      await firstValueFrom(echo.unary({}));
      expect(server.streams).toHaveLength(2);
      const error = await failureOf(echo.unsafeUnary({}));
      expect(error).toMatchObject({ code: 4, reason: 'attempt-timeout', reachedServer: 'maybe', peer: server.url });
      expect(server.streams).toHaveLength(3);
    },
  );

  it('counts an attempt timeout that the server reports as UNKNOWN as a failure, for the circuit breaker and for ejection', async () => {
    const slow = await startHttp2Server((stream, _number, headers) => {
      stream.resume();
      setTimeout(() => !stream.destroyed && fail(stream, 2), timeoutOf(headers) * 0.95);
    });
    const others = [await startHttp2Server(succeed), await startHttp2Server(succeed)];
    const client = await startClient({
      url: `ipv4:${[slow, ...others].map(({ url }) => url).join()}`,
      loadBalancing: 'round_robin',
      ejectUnhealthy: true,
      methods: { '*': { attemptTimeoutMs: 500 } },
    });
    const echo = client.getService<EchoService>('Echo');
    const ejected: string[] = [];
    client.events$.subscribe((event) => {
      if (event.type === 'endpoint' && event.change === 'ejected') ejected.push(event.address);
    });
    await repeatUntil('the slow server is ejected', async () => {
      // On a busy machine, the other server may also exceed the timeout.
      await firstValueFrom(echo.unary({})).catch(() => undefined);
      return ejected.includes(slow.url);
    });
    const alone = await startClient({
      url: slow.url,
      methods: { '*': { attemptTimeoutMs: 100, circuitBreaker: { minimumThroughput: 2 } } },
    });
    const unsafe = () => failureOf(alone.getService<EchoService>('Echo').unsafeUnary({}));
    expect([(await unsafe()).reason, (await unsafe()).reason, (await unsafe()).reason]).toEqual([
      'attempt-timeout',
      'attempt-timeout',
      'circuit-open',
    ]);
  });

  it('excludes the wait for the channel from attemptTimeoutMs', async () => {
    const { client, echo, proxy } = await startBehindProxy({ methods: { '*': { attemptTimeoutMs: 1_000 } } });
    proxy.refuse();
    const answer = firstValueFrom(echo.unsafeUnary({ text: 'late' }));
    await waitFor(() => client.snapshot().oldestWaitMs > 1_100);
    await proxy.forward();
    expect(await answer).toMatchObject({ text: 'late' });
  });

  it('ends the attempt timeout when the response headers of a stream arrive', async () => {
    const { echo, server } = await scene({ methods: { '*': { attemptTimeoutMs: 1_000 } } });
    server.script('ServerStream', { headers: true, messages: [{ number: 1 }, { number: 2 }], intervalMs: 1_100 });
    let received = 0;
    for await (const _ of echo.serverStream({})) received += 1;
    expect(received).toBe(2);
  });
});

describe('maxConcurrentCalls', () => {
  it('admits calls up to maxConcurrentCalls, queues calls up to the length of the queue, and rejects the rest', async () => {
    const { echo, server } = await scene({ maxConcurrentCalls: { max: 2, queue: 3 } });
    server.script('Unary', { hold: 'everything', message: {} });
    const calls = Array.from({ length: 5 }, () => firstValueFrom(echo.unary({})));
    await waitFor(() => server.heldCount() === 2);
    const refused = await failureOf(echo.unary({}));
    expect(refused).toMatchObject({ code: 8, reason: 'concurrency-limit', reachedServer: 'no' });
    for (let answered = 0; answered < 5;) {
      await waitFor(() => server.heldCount() > 0);
      answered += server.release();
    }
    await Promise.all(calls);
    expect(server.counts().maxOpen).toBe(2);
    expect(server.counts().calls).toBe(5);
  });

  it('fails a queued call at its deadline and frees its place in the queue', async () => {
    const { echo, server } = await scene({ methods: { Unary: { maxConcurrentCalls: { max: 1, queue: 1 } } } });
    server.script('Unary', { hold: 'everything', message: {} });
    const first = firstValueFrom(echo.unary({}));
    await waitFor(() => server.heldCount() === 1);
    // The second of these calls would be rejected if the first one still occupied the only place in the queue.
    for (let call = 0; call < 2; call++) {
      const error = await failureOf(echo.unary({}, { timeoutMs: 50 }));
      expect(error).toMatchObject({ code: 4, reason: 'deadline', reachedServer: 'no' });
      expect(error.details).toContain('queued for a permit');
    }
    server.release();
    await first;
    const next = firstValueFrom(echo.unary({}));
    await waitFor(() => server.heldCount() === 1);
    server.release();
    await next;
  });

  it('excludes calls that wait for the channel from maxConcurrentCalls', async () => {
    const { client, echo, proxy, server } = await startBehindProxy({ maxConcurrentCalls: { max: 1, queue: 0 } });
    proxy.refuse();
    const waiting = [firstValueFrom(echo.unary({}, { waitForReady: true }))];
    waiting.push(firstValueFrom(echo.unary({}, { waitForReady: true })));
    await waitFor(() => client.snapshot().waiting === 2);
    server.script('Unary', { message: {} });
    await proxy.forward();
    // Both calls waited, although there is only one permit and no queue. At least one gets the permit after the channel connects.
    const ends = await Promise.allSettled(waiting);
    expect(ends.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(1);
  });
});

describe('circuitBreaker', () => {
  const opened = async (breakDurationMs: number, options: CircuitBreakerOptions = {}) => {
    const { echo, server, client } = await scene({
      methods: { UnsafeUnary: { circuitBreaker: { minimumThroughput: 5, breakDurationMs, ...options } } },
    });
    const circuits: string[] = [];
    client.events$.subscribe((event) => {
      if (event.type === 'circuit') circuits.push(`${event.from} > ${event.to}`);
    });
    server.script('UnsafeUnary', { status: 'UNAVAILABLE', details: 'busy' });
    for (let call = 0; call < 5; call++) await failureOf(echo.unsafeUnary({}));
    return { echo, server, client, circuits };
  };

  it('opens the circuit and rejects calls immediately if all attempts fail', async () => {
    const { echo, server, client } = await opened(60_000);
    const refused = await failureOf(echo.unsafeUnary({}));
    expect(refused).toMatchObject({ code: 14, reason: 'circuit-open', reachedServer: 'no', attempts: [] });
    expect(refused.retryAfterMs).toBeGreaterThan(0);
    expect(server.counts('UnsafeUnary').calls).toBe(5);
    expect(client.connectivity.outage).toBeUndefined();
  });

  it('closes the circuit after a successful probe', async () => {
    const { echo, server, circuits } = await opened(100);
    server.script('UnsafeUnary', { message: { text: 'well' } });
    await waitFor(() => firstValueFrom(echo.unsafeUnary({})));
    expect(circuits).toEqual(['closed > open', 'open > half-open', 'half-open > closed']);
    expect(await firstValueFrom(echo.unsafeUnary({}))).toMatchObject({ text: 'well' });
  });

  it('keeps the circuit half-open after a probe that hangs until its deadline, and admits the next probe, if statusCodes omits DEADLINE_EXCEEDED', async () => {
    const { echo, server, circuits } = await opened(1_000, { statusCodes: ['UNAVAILABLE'] });
    server.script('UnsafeUnary', { never: true });
    await waitFor(async () => {
      await failureOf(echo.unsafeUnary({}, { timeoutMs: 100 }));
      return server.counts('UnsafeUnary').calls > 5;
    });
    expect(circuits).toEqual(['closed > open', 'open > half-open']);
    server.script('UnsafeUnary', { message: { text: 'well' } });
    expect(await firstValueFrom(echo.unsafeUnary({}))).toMatchObject({ text: 'well' });
    expect(circuits.at(-1)).toBe('half-open > closed');
  });

  it('opens the circuit after calls exceed deadlines that only a grpc-js interceptor sets', async () => {
    const { echo, server, client } = await scene({
      methods: { UnsafeUnary: { circuitBreaker: { minimumThroughput: 1 } } },
    });
    server.script('UnsafeUnary', { never: true });
    const interceptors: Interceptor[] = [
      (options, next) => new InterceptingCall(next({ ...options, deadline: Date.now() + 100 })),
    ];
    await repeatUntil('the circuit opens', async () => {
      await failureOf(echo.unsafeUnary({}, { interceptors }));
      return client.snapshot().circuits[0]?.state === 'open';
    });
  });

  it('does not open the circuit for statuses that describe the request', async () => {
    const { echo, server } = await scene({
      methods: { UnsafeUnary: { circuitBreaker: { minimumThroughput: 5 } } },
    });
    server.script('UnsafeUnary', { status: 'INVALID_ARGUMENT' });
    for (let call = 0; call < 20; call++) {
      expect(await failureOf(echo.unsafeUnary({}))).toMatchObject({ code: 3, reason: 'server' });
    }
    expect(server.counts().calls).toBe(20);
  });
});

it('reports the limit that refused a call, even if the limit of the method has just admitted the call', async () => {
  const { echo, server } = await scene({
    maxConcurrentCalls: { max: 2, queue: 0 },
    methods: { 'Echo/UnsafeUnary': { maxConcurrentCalls: 1 } },
  });
  server.script('Unary', { hold: 'everything', message: {} });
  const running = [1, 2].map(() => firstValueFrom(echo.unary({})));
  await waitFor(() => server.heldCount() === 2);
  const { cause } = await failureOf(echo.unsafeUnary({}));
  expect(cause).toMatchObject({ maxConcurrent: 2 });
  server.release();
  await Promise.all(running);
});

describe("maxConcurrentCalls: 'adaptive'", () => {
  it('applies an adaptive concurrency limit to unary calls but not to streams, and reports the limit in the snapshot', async () => {
    const { echo, server, client } = await scene({ maxConcurrentCalls: { max: 'adaptive', queue: 0 } });
    expect(client.snapshot().limits).toEqual([{ running: 0, queued: 0, maxConcurrent: 20, adaptive: {} }]);
    server.script('Unary', { hold: 'everything', message: {} });
    server.script('ServerStream', { messages: [{ number: 1 }], never: true });
    const calls = Array.from({ length: 20 }, () => firstValueFrom(echo.unary({})));
    await waitFor(() => server.heldCount() === 20);
    expect(await failureOf(echo.unary({}))).toMatchObject({ code: 8, reason: 'concurrency-limit' });
    const streams = Array.from({ length: 30 }, () => echo.serverStream({})[Symbol.asyncIterator]());
    for (const stream of streams) expect(await stream.next()).toMatchObject({ value: { number: 1 } });
    expect(client.snapshot().limits).toMatchObject([{ running: 20 }]);
    server.release();
    await Promise.all(calls);
    server.script('Unary', { message: {} });
    for (let i = 0; i < 50; i++) await firstValueFrom(echo.unary({}));
    const [limit] = client.snapshot().limits;
    expect(limit).toMatchObject({ running: 0, maxConcurrent: 20 });
    expect(limit?.adaptive?.unloadedLatencyMs).toBeGreaterThan(0);
    for (const stream of streams) await stream.return?.();
  });

  it.each([
    ['a server', {}],
    // This library's server marks the calls that it refuses before their handlers run.
    ['an overloaded ResilientGrpcServer', { 'x-overloaded': 'true' }],
  ])(
    'shrinks an adaptive concurrency limit to its minimum and emits an event for each halving if %s rejects calls',
    async (_, trailers) => {
      const { echo, server, client } = await scene({ methods: { Unary: { maxConcurrentCalls: 'adaptive' } } });
      const changes: number[] = [];
      client.events$.subscribe((event) => {
        if (event.type === 'concurrency-limit') changes.push(event.from, event.to);
      });
      server.script('Unary', { status: 'RESOURCE_EXHAUSTED', details: 'overloaded', trailers });
      // The maximum number of rounds is far larger than a shrinking limit needs.
      for (let round = 0; round < 100 && client.snapshot().limits[0]!.maxConcurrent > 4; round++)
        await Promise.all(Array.from({ length: 20 }, () => failureOf(echo.unary({}))));
      const path = '/testing.v1.Echo/Unary';
      expect(client.snapshot().limits).toEqual([{ path, running: 0, queued: 0, maxConcurrent: 4, adaptive: {} }]);
      expect(changes).toEqual([20, 10, 10, 5]);
    },
  );
});
