import { firstValueFrom, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { CallEnd, GrpcClientEvent } from 'nestjs-resilient-grpc';
import { waitFor, type Reply } from 'nestjs-resilient-grpc/testing';
import { repeatUntil } from '../support/repeat-until.js';
import { failureOf, failureOnceSeen, protoName, scene, settled, toList, upTo } from './support.js';

const UNAVAILABLE: Reply = { status: 'UNAVAILABLE', details: 'busy' };

describe('call that is safe to repeat', () => {
  it('retries a safe call, and sends the number of previous attempts to the server', async () => {
    const { echo, server } = await scene();
    server.script('Unary', [UNAVAILABLE, UNAVAILABLE, { message: { number: 3 } }]);
    const ends: CallEnd[] = [];
    expect(await firstValueFrom(echo.unary({}, { onEnd: (end) => ends.push(end) }))).toMatchObject({ number: 3 });
    expect(server.calls().map(({ previousAttempts }) => previousAttempts)).toEqual([0, 1, 2]);
    expect(server.calls()[0]?.metadata.get('grpc-previous-rpc-attempts')).toEqual([]);
    expect(ends).toMatchObject([
      {
        code: 0,
        attempts: [
          { number: 1, code: 14, details: 'busy' },
          { number: 2, code: 14 },
          { number: 3, code: 0 },
        ],
      },
    ]);
  });

  it('fails a call with the status and the trailers of its last attempt when its attempts are exhausted', async () => {
    const { echo, server } = await scene();
    server.script('Unary', [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, { ...UNAVAILABLE, trailers: { 'x-last': 'yes' } }]);
    const error = await failureOf(echo.unary({}));
    expect(error).toMatchObject({ code: 14, details: 'busy', reason: 'server', reachedServer: 'maybe' });
    expect(error.notRetriedBecause).toBe('attempts-exhausted');
    expect(error.attempts).toHaveLength(4);
    expect(error.metadata.get('x-last')).toEqual(['yes']);
    expect(server.counts().calls).toBe(4);
  });

  it('makes only one attempt of a safe call with `retry: false`', async () => {
    const { echo, server } = await scene();
    server.script('Unary', UNAVAILABLE);
    expect(await failureOf(echo.unary({}, { retry: false }))).toMatchObject({
      code: 14,
      notRetriedBecause: 'disabled',
    });
    expect(server.counts().calls).toBe(1);
  });

  it('makes only one attempt of a safe call with `idempotent: false`', async () => {
    const { echo, server } = await scene();
    server.script('Unary', UNAVAILABLE);
    expect(await failureOf(echo.unary({}, { idempotent: false }))).toMatchObject({
      notRetriedBecause: 'not-safe-to-repeat',
    });
    expect(server.counts().calls).toBe(1);
  });

  it('does not retry a safe call after a status code outside its retry policy or after response headers', async () => {
    const { echo, server } = await scene();
    server.script('Unary', [{ status: 'INTERNAL' }, { ...UNAVAILABLE, headers: true }]);
    expect(await failureOf(echo.unary({}))).toMatchObject({ code: 13, notRetriedBecause: 'fatal-status' });
    expect(await failureOf(echo.unary({}))).toMatchObject({ code: 14, notRetriedBecause: 'committed' });
    expect(server.counts().calls).toBe(2);
  });

  it('ends a call if the caller unsubscribes between two attempts', async () => {
    const { echo, server, client } = await scene();
    server.script('Unary', { ...UNAVAILABLE, pushback: 60_000 });
    const subscription = echo.unary({}).subscribe();
    await waitFor(() => server.counts().answered === 1);
    await settled(() => client.activeCalls().length);
    subscription.unsubscribe();
    expect(client.activeCalls()).toEqual([]);
  });

  it('reports whether a retry follows, and why, in the attempt-end event of each attempt', async () => {
    const { echo, server, client } = await scene();
    const events: GrpcClientEvent[] = [];
    client.events$.subscribe((event) => events.push(event));
    server.script('Unary', [UNAVAILABLE, { status: 'NOT_FOUND' }]);
    await failureOf(echo.unary({}));
    expect(events.filter(({ type }) => type === 'attempt-end')).toMatchObject([
      { attempt: { number: 1, code: 14 }, next: 'retry', reason: 'retryable-status' },
      { attempt: { number: 2, code: 5 }, next: 'none', reason: 'fatal-status' },
    ]);
    expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(['call-start', 'call-end']));
  });
});

describe('call that is not declared safe', () => {
  it('makes only one attempt of a call that is not declared safe', async () => {
    const { echo, server } = await scene();
    for (const method of ['UnsafeUnary', 'ServerStream', 'ClientStream', 'Bidi']) server.script(method, UNAVAILABLE);
    for (const call of [echo.unsafeUnary({}), echo.serverStream({}), echo.clientStream([]), echo.bidi([])]) {
      expect(await failureOf(call)).toMatchObject({ code: 14, notRetriedBecause: 'not-safe-to-repeat' });
    }
    expect(server.counts().calls).toBe(4);
  });

  it('retries a call if the call or its method sets `idempotent`, or if the service config has a retry policy for its method', async () => {
    const retryPolicy = {
      maxAttempts: 3,
      initialBackoff: '0.01s',
      maxBackoff: '0.01s',
      backoffMultiplier: 1,
      retryableStatusCodes: ['ABORTED'],
    };
    const { echo, server } = await scene({
      methods: { ServerStream: { idempotent: true } },
      serviceConfig: {
        methodConfig: [{ name: [{ service: 'testing.v1.Echo', method: 'ClientStream' }], retryPolicy }],
      },
    });
    server.script('UnsafeUnary', [UNAVAILABLE, { message: { number: 2 } }]);
    server.script('ServerStream', [UNAVAILABLE, { messages: [{ number: 2 }] }]);
    server.script('ClientStream', { status: 'ABORTED', requests: 'leave' });
    expect(await firstValueFrom(echo.unsafeUnary({}, { idempotent: true }))).toMatchObject({ number: 2 });
    expect(await lastValueFrom(echo.serverStream({}).pipe(toArray()))).toMatchObject([{ number: 2 }]);
    expect(await failureOf(echo.clientStream([]))).toMatchObject({ notRetriedBecause: 'attempts-exhausted' });
    expect(server.counts('ClientStream').calls).toBe(3);
  });

  it.each(['clientStream', 'bidi'] as const)('resends all requests of a %s call on a retry', async (method) => {
    const { echo, server } = await scene();
    let attempts = 0;
    const seen: unknown[][] = [];
    server.script(protoName(method), async ({ requests }) => {
      attempts += 1;
      const got = await toList(requests);
      seen.push(got);
      return attempts === 1 ? UNAVAILABLE : { messages: [{ number: got.length }] };
    });
    expect(await toList(echo[method](upTo(20), { idempotent: true }))).toMatchObject([{ number: 20 }]);
    expect(seen).toMatchObject([upTo(20), upTo(20)]);
    expect(server.calls().map(({ previousAttempts }) => previousAttempts)).toEqual([0, 1]);
  });

  it.each(['clientStream', 'bidi'] as const)(
    'does not retry a %s call that has sent more than the retry buffer holds',
    async (method) => {
      const { echo, server } = await scene();
      server.script(protoName(method), async ({ requests }) => {
        await toList(requests);
        return UNAVAILABLE;
      });
      const requests = Array.from({ length: 40 }, () => ({ payload: Buffer.alloc(64 * 1024) }));
      const error = await failureOf(echo[method](requests, { idempotent: true }));
      expect(error).toMatchObject({ code: 14, notRetriedBecause: 'request-not-replayable' });
      expect(server.counts().calls).toBe(1);
    },
  );
});

describe('pushback', () => {
  it.each([[-1], ['soon'], ['10ms'], ['1.5'], [['10', '20'] as const]])(
    'stops retries if the pushback is %j',
    async (pushback) => {
      const { echo, server } = await scene();
      server.script('Unary', { ...UNAVAILABLE, pushback });
      const error = await failureOf(echo.unary({}));
      expect(error).toMatchObject({ code: 14, details: 'busy', notRetriedBecause: 'pushback' });
      expect(server.counts().calls).toBe(1);
    },
  );

  it('exposes the pushback as retryAfterMs if the call is not retried', async () => {
    const { echo, server } = await scene();
    server.script('UnsafeUnary', { ...UNAVAILABLE, pushback: 700 });
    expect(await failureOf(echo.unsafeUnary({}))).toMatchObject({ retryAfterMs: 700 });
  });
});

describe('retry budget', () => {
  it('allows at most 11 retries for 100 failing concurrent calls under the retry budget', async () => {
    const { echo, server } = await scene();
    server.script('Unary', { ...UNAVAILABLE, pushback: 0 });
    const errors = await Promise.all(Array.from({ length: 100 }, () => failureOf(echo.unary({}))));
    expect(errors.filter(({ notRetriedBecause }) => notRetriedBecause === 'throttled').length).toBeGreaterThan(80);
    expect(server.counts().calls).toBeLessThanOrEqual(111);
  });

  it('allows no retries right after concurrent calls to a silent server reach their deadlines', async () => {
    const { calls } = await repeatUntil('20 calls fail before the tokens return', async () => {
      const { client, echo, server } = await scene();
      await client.waitForReady();
      server.script('Unary', { never: true });
      await Promise.all(Array.from({ length: 5 }, () => failureOf(echo.unary({}, { timeoutMs: 50 }))));
      // Repeats if a request has not arrived yet, because a late request would be counted with the calls below.
      if (server.counts().calls < 5) return false;
      const beganAt = performance.now();
      server.reset();
      server.script('Unary', { ...UNAVAILABLE, pushback: 0 });
      await Promise.all(Array.from({ length: 20 }, () => failureOf(echo.unary({}))));
      return performance.now() - beganAt < 4_500 && server.counts();
    });
    expect(calls).toBe(20);
  });

  it('allows retries after sequential calls reach their deadlines', async () => {
    const { echo, server } = await scene();
    server.script('Unary', { never: true });
    for (let i = 0; i < 5; i++) await failureOnceSeen(server, () => echo.unary({}, { timeoutMs: 50 }));
    server.reset();
    server.script('Unary', [UNAVAILABLE, { message: { text: 'retried' } }]);
    expect(await firstValueFrom(echo.unary({}))).toMatchObject({ text: 'retried' });
  });

  it('names the retry budget and its option in the error message of a call that is not retried because the budget is used up', async () => {
    const { echo, server } = await scene({ serviceConfig: { retryThrottling: { maxTokens: 1, tokenRatio: 0.1 } } });
    server.script('Unary', UNAVAILABLE);
    const { message, details, notRetriedBecause } = await failureOf(echo.unary({}));
    expect({ details, notRetriedBecause }).toEqual({ details: 'busy', notRetriedBecause: 'throttled' });
    expect(message).toBe(
      '14 UNAVAILABLE: busy (not retried: the retry budget of this client is used up; set serviceConfig.retryThrottling to change it)',
    );
  });

  it('keeps the tokens of the retry budget when concurrent calls reach their deadlines, if another call succeeded after those calls started', async () => {
    const { echo, server } = await repeatUntil('a call is answered before the deadlines of slow calls', async () => {
      const fresh = await scene();
      await fresh.client.waitForReady();
      fresh.server.script('Unary', [{ never: true }, { never: true }, {}]);
      let isOver = false;
      const slow = [1, 2].map(async () => {
        await failureOf(fresh.echo.unary({}, { timeoutMs: 300 }));
        isOver = true;
      });
      await waitFor(() => fresh.server.counts().calls === 2 || isOver);
      if (!isOver) await firstValueFrom(fresh.echo.unary({}, { timeoutMs: 20_000 }));
      const wasAnswered = !isOver;
      await Promise.all(slow);
      return wasAnswered && fresh;
    });
    server.reset();
    server.script('Unary', { ...UNAVAILABLE, pushback: 0 });
    await Promise.all(Array.from({ length: 20 }, () => failureOf(echo.unary({}))));
    expect(server.counts().calls).toBe(30);
  });
});
