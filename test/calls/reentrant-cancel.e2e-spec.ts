import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { GrpcClientInterceptor } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { failureOf, scene, turns } from './support.js';

describe('reentrant cancellation', () => {
  it.each(['onCall', 'onAttempt'] as const)('does not send a call that an %s hook cancels', async (hook) => {
    const abort = new AbortController();
    const interceptor: GrpcClientInterceptor = {
      [hook]: () => {
        abort.abort();
      },
    };
    const { echo, server, client } = await scene({ interceptors: [interceptor] });
    await client.waitForReady();
    const error = await failureOf(echo.unsafeUnary({}, { signal: abort.signal }));
    expect(error).toMatchObject({ code: 1, reason: 'cancelled', reachedServer: 'no' });
    await turns();
    expect(server.counts().calls).toBe(0);
    expect(client.activeCalls()).toEqual([]);
  });

  it('does not retry a call that an event subscriber cancels between two attempts', async () => {
    const abort = new AbortController();
    const { echo, server, client } = await scene();
    server.script('Unary', { status: 'UNAVAILABLE' });
    client.events$.subscribe((event) => {
      if (event.type === 'attempt-end') abort.abort();
    });
    expect(await failureOf(echo.unary({}, { signal: abort.signal }))).toMatchObject({ reason: 'cancelled' });
    await turns();
    expect(server.counts().calls).toBe(1);
  });
});

describe('process', () => {
  it('clears the timers of a call that waited for the connection', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
    const { echo } = await scene();
    const before = timers();
    // The first call waits for the connection.
    await firstValueFrom(echo.unary({}));
    await waitFor(() => timers() <= before);
  });
});

describe('grpc-js callback client', () => {
  it('completes a call of the callback client if the channel is replaced during the call', async () => {
    const { server, client } = await scene({
      connections: { maxAgeMs: 1_000 },
      keepalive: { keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 1_000, keepalivePermitWithoutCalls: 1 },
    });
    await client.waitForReady();
    server.script('Unary', { hold: 'everything', message: { text: 'late' } });
    const callbacks = client.getClientByServiceName<{
      unary(request: object, done: (error: Error | null, answer: unknown) => void): void;
    }>('Echo');
    const answer = new Promise((resolve, reject) => {
      callbacks.unary({}, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
    await waitFor(() => server.heldCount() === 1);
    let replacements = 0;
    client.events$.subscribe((event) => (replacements += event.type === 'connection-replaced' ? 1 : 0));
    await waitFor(() => replacements === 1);
    await turns();
    server.release();
    expect(await answer).toMatchObject({ text: 'late' });
  });
});
