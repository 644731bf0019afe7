import type { ServerHttp2Stream } from 'node:http2';
import { BehaviorSubject, firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { GrpcClientEvent, ResilientGrpcClient, ServiceConfig } from 'nestjs-resilient-grpc';
import { waitFor, type Reply, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { failRetryably, reset, startHttp2Server } from '../calls/raw-http2-server.js';
import { hedged } from '../calls/service-configs.js';
import { failureOf, scene, startClient, type ClientSettings, type EchoService } from '../calls/support.js';

/** Never responds to the original attempt; responds to each hedge with its number. */
const firstHangs = ({ previousAttempts }: ScriptedCall): Reply =>
  previousAttempts === 0 ? { never: true } : { message: { number: previousAttempts } };

describe('hedged call', () => {
  it('delivers a hedged stream from the attempt whose first message arrives first', async () => {
    const { echo, server } = await scene(hedged());
    server.script('ServerStream', ({ previousAttempts }) =>
      previousAttempts === 0 ? { never: true } : { messages: [{ number: 1 }, { number: 2 }] },
    );
    const messages = await lastValueFrom(echo.serverStream({}, { timeoutMs: 20_000 }).pipe(toArray()));
    expect(messages.map(({ number }) => number)).toEqual([1, 2]);
    await waitFor(() => server.counts().open === 0);
  });

  it('cancels the slower attempts of a hedged stream at its first message, while the stream stays open', async () => {
    const { echo, server } = await scene(hedged());
    server.script('ServerStream', ({ previousAttempts }) =>
      previousAttempts === 0 ? { never: true } : { messages: [{ number: 1 }], never: true },
    );
    const numbers: (number | undefined)[] = [];
    const subscription = echo.serverStream({}).subscribe(({ number }) => numbers.push(number));
    await waitFor(() => numbers.length === 1);
    await waitFor(() => server.counts().open === 1);
    expect(numbers).toEqual([1]);
    expect(subscription.closed).toBe(false);
    subscription.unsubscribe();
  });

  it('reports for each failed attempt of a hedged call whether another attempt follows, and why', async () => {
    const { echo, server, client } = await scene(hedged('60s'));
    const events: GrpcClientEvent[] = [];
    client.events$.subscribe((event) => events.push(event));
    server.script('Unary', { status: 'UNAVAILABLE', details: 'busy' });
    await failureOf(echo.unary({}));
    expect(events.filter(({ type }) => type === 'attempt-end')).toMatchObject([
      { attempt: { number: 1, code: 14 }, reachedServer: 'maybe', next: 'retry', reason: 'replaces-failed' },
      { attempt: { number: 2, code: 14 }, reachedServer: 'maybe', next: 'retry', reason: 'replaces-failed' },
      { attempt: { number: 3, code: 14 }, reachedServer: 'maybe', next: 'none', reason: 'attempts-exhausted' },
    ]);
  });

  it("reports 'replaces-failed' for a failed attempt of a hedged call if a pushback delays the attempt that replaces it", async () => {
    const { echo, server, client } = await scene(hedged('60s'));
    const events: GrpcClientEvent[] = [];
    client.events$.subscribe((event) => events.push(event));
    server.script('Unary', ({ previousAttempts }) =>
      previousAttempts === 0
        ? { status: 'UNAVAILABLE', trailers: { 'grpc-retry-pushback-ms': '20' } }
        : { message: { number: 2 } },
    );
    expect(await firstValueFrom(echo.unary({}))).toMatchObject({ number: 2 });
    expect(events.filter(({ type }) => type === 'attempt-end')).toMatchObject([
      { attempt: { number: 1, code: 14 }, next: 'retry', reason: 'replaces-failed' },
    ]);
  });

  it('resends a refused hedge under the same attempt number while another attempt is open', async () => {
    const open: ServerHttp2Stream[] = [];
    const previousAttempts: unknown[] = [];
    const server = await startHttp2Server((stream, number, { 'grpc-previous-rpc-attempts': previous }) => {
      previousAttempts.push(previous);
      if (number === 2) reset(stream, 'NGHTTP2_REFUSED_STREAM');
      else open.push(stream);
      if (number === 4) for (const held of open) failRetryably(held);
    });
    const client = await startClient({ url: server.url, trustRefusedStreams: true, ...hedged('0.05s', 3) });
    const error = await failureOf(client.getService<EchoService>('Echo').unary({}, { timeoutMs: 60_000 }));
    expect(error).toMatchObject({ code: 14, notRetriedBecause: 'attempts-exhausted' });
    expect(error.attempts.map(({ number }) => number).toSorted()).toEqual([1, 2, 3]);
    expect(previousAttempts).toEqual([undefined, '1', '1', '2']);
  });

  it('names the buffer option in the error if the request of a hedged call is too large to be resent', async () => {
    const settings = { ...hedged(), channelOptions: { 'grpc.per_rpc_retry_buffer_size': 100 } };
    const { echo, server } = await scene(settings);
    server.script('Unary', { status: 'UNAVAILABLE' });
    const error = await failureOf(echo.unary({ payload: Buffer.alloc(200) }));
    expect(error).toMatchObject({ code: 14, notRetriedBecause: 'request-not-replayable' });
    expect(error.message).toContain("raise 'grpc.per_rpc_retry_buffer_size'");
    server.script('Unary', { status: 'NOT_FOUND' });
    expect(await failureOf(echo.unary({ payload: Buffer.alloc(200) }))).toMatchObject({
      notRetriedBecause: 'fatal-status',
    });
    expect(server.counts().calls).toBe(2);
  });

  it('completes a hedged call after the loss of its connection', async () => {
    const { echo, server } = await scene(hedged('60s'));
    await firstValueFrom(echo.unary({}));
    server.script('Unary', ({ previousAttempts }) =>
      previousAttempts === 0 ? { never: true } : { message: { number: 5 } },
    );
    const answer = firstValueFrom(echo.unary({}, { timeoutMs: 25_000 }));
    await waitFor(() => server.counts().open === 1);
    await server.restart('kill-connections');
    expect(await answer).toMatchObject({ number: 5 });
  });

  it('cancels all attempts of a hedged call when the caller unsubscribes', async () => {
    const { echo, server } = await scene(hedged('0.01s'));
    server.script('Unary', { never: true });
    const subscription = echo.unary({}).subscribe();
    await waitFor(() => server.counts().open === 3);
    subscription.unsubscribe();
    await waitFor(() => server.counts().open === 0);
  });

  it('sends hedges for at most 5% of the calls, plus five, if all calls are slow', async () => {
    const { echo, server } = await scene(hedged('0.01s'));
    server.script('Unary', { delayMs: 40, message: {} });
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 20 }, () => firstValueFrom(echo.unary({}))));
    }
    expect(server.counts().calls).toBeGreaterThan(200);
    expect(server.counts().calls).toBeLessThanOrEqual(200 * 1.05 + 5);
  });

  it.each([{ retry: false }, { idempotent: false }] as const)(
    'sends no hedge for a call with the options %j',
    async (options) => {
      const { echo, server } = await scene(hedged('0.01s'));
      server.script('Unary', { delayMs: 60, message: {} });
      await firstValueFrom(echo.unary({}, options));
      expect(server.counts().calls).toBe(1);
    },
  );
});

describe('hedge that follows latency', () => {
  const measured = (change: ClientSettings = {}): ClientSettings => ({
    methods: { Unary: { idempotent: true, hedge: 'p95' }, ServerStream: { hedge: 'p90' } },
    ...change,
  });
  const delays = (client: ResilientGrpcClient) => client.snapshot().hedgingDelays;

  it('starts to hedge slow calls after 100 measured attempts if `hedge` is p95', async () => {
    const { echo, server, client } = await scene(measured());
    server.script('Unary', { message: { number: 5 } });
    expect(delays(client)).toContainEqual({ path: '/testing.v1.Echo/Unary', percentile: 'p95' });
    for (let i = 0; i < 99; i++) await firstValueFrom(echo.unary({}));
    expect(delays(client)[0]).not.toHaveProperty('delayMs');
    expect(client.snapshot().counters.hedged).toBe(0);
    await firstValueFrom(echo.unary({}));
    expect(delays(client)[0]?.delayMs).toBeGreaterThanOrEqual(5);
    server.script('Unary', firstHangs);
    expect(await firstValueFrom(echo.unary({}, { timeoutMs: 20_000 }))).toMatchObject({ number: 1 });
    expect(client.snapshot().counters.hedged).toBeGreaterThanOrEqual(1);
  });

  it('replaces the delay of a hedgingPolicy with that of `hedge` of the method, and keeps the attempts and status codes of the policy', async () => {
    const { echo, server } = await scene(measured(hedged('0s', 2)));
    server.script('Unary', { status: 'UNAVAILABLE' });
    const error = await failureOf(echo.unary({}));
    // With the delay of the policy, both attempts would start at once.
    expect(error.attempts.map(({ number, superseded }) => [number, superseded])).toEqual([
      [1, true],
      [2, false],
    ]);
    server.script('Unary', { message: {} });
    await firstValueFrom(echo.unary({}));
    expect(server.counts().calls).toBe(3);
  });

  it('keeps the measured latency if a live service config changes the hedging policy of the method', async () => {
    const configs = new BehaviorSubject<ServiceConfig>({});
    const { echo, server, client } = await scene(measured({ serviceConfig: configs }));
    server.script('Unary', { message: {} });
    for (let i = 0; i < 100; i++) await firstValueFrom(echo.unary({}));
    const before = delays(client)[0]?.delayMs;
    configs.next(hedged('60s', 2).serviceConfig);
    server.script('Unary', firstHangs);
    expect(await firstValueFrom(echo.unary({}, { timeoutMs: 20_000 }))).toMatchObject({ number: 1 });
    expect(before).toBeGreaterThanOrEqual(5);
  });

  it('hedges a response stream that is slow to begin', async () => {
    const { echo, server } = await scene({ methods: { ServerStream: { idempotent: true, hedge: 'p90' } } });
    server.script('ServerStream', { messages: [{ number: 0 }] });
    for (let i = 0; i < 50; i++) await lastValueFrom(echo.serverStream({}));
    server.script('ServerStream', ({ previousAttempts }) =>
      previousAttempts === 0 ? { never: true } : { messages: [{ number: 1 }] },
    );
    expect(await lastValueFrom(echo.serverStream({}, { timeoutMs: 20_000 }))).toMatchObject({ number: 1 });
  });
});
