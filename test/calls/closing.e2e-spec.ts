import { isGrpcCallError } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, scene, turns, type EchoService } from './support.js';

const NEVER_ENDING = Object.fromEntries(
  ['Unary', 'UnsafeUnary', 'ClientStream', 'ServerStream', 'Bidi'].map((method) => [method, { never: true }]),
);

describe('close()', () => {
  it('ends running calls of every kind on both sides when the client closes', async () => {
    const { echo, server, client } = await scene({}, { scripts: NEVER_ENDING });
    const failures = EACH_METHOD.map((method) => failureOf(callOnce(echo, method)));
    await waitFor(() => server.counts().open === EACH_METHOD.length);
    await client.close();
    for (const error of await Promise.all(failures)) {
      expect(error).toMatchObject({ code: 14, reason: 'closed', reachedServer: 'maybe', notRetriedBecause: 'closed' });
      expect(isGrpcCallError(error, 'UNAVAILABLE')).toBe(true);
    }
    await waitFor(() => server.counts().cancelled === EACH_METHOD.length);
    expect(client.activeCalls()).toEqual([]);
    await waitFor(() => server.connections.open === 0);
  });

  it('ends calls that started in the same tick as close()', async () => {
    const { echo, server, client } = await scene({}, { scripts: NEVER_ENDING });
    await client.waitForReady();
    const failures = EACH_METHOD.map((method) => failureOf(callOnce(echo, method)));
    await client.close();
    for (const error of await Promise.all(failures)) expect(error).toMatchObject({ code: 14, reason: 'closed' });
    await waitFor(() => server.counts().open === 0 && server.connections.open === 0);
  });

  it('ends calls that wait for the channel when the client closes', async () => {
    const { echo, server, client } = await scene();
    await server.stop('kill-connections');
    const failures = EACH_METHOD.map((method) => failureOf(callOnce(echo, method)));
    await turns();
    expect(client.snapshot().waiting).toBe(EACH_METHOD.length);
    await client.close();
    for (const error of await Promise.all(failures)) {
      expect(error).toMatchObject({ code: 14, reason: 'closed', reachedServer: 'no' });
    }
  });

  it('ends calls that are between two attempts when the client closes', async () => {
    const { echo, client } = await scene({}, { scripts: { Unary: { status: 'UNAVAILABLE', pushback: 60_000 } } });
    let failedAttempts = 0;
    client.events$.subscribe(({ type }) => (failedAttempts += type === 'attempt-end' ? 1 : 0));
    const failure = failureOf(echo.unary({}));
    await waitFor(() => failedAttempts === 1);
    await client.close();
    expect(await failure).toMatchObject({
      code: 14,
      reason: 'closed',
      reachedServer: 'maybe',
      attempts: [{ number: 1 }],
    });
  });

  it('completes the Observables of the client even if close() is called repeatedly', async () => {
    const { client } = await scene();
    const ended: string[] = [];
    client.events$.subscribe({ complete: () => ended.push('events') });
    client.connectivity$.subscribe({ complete: () => ended.push('connectivity') });
    await Promise.all([client.close(), client.close()]);
    await client.close();
    expect(ended.sort()).toEqual(['connectivity', 'events']);
    expect(client.connectivity.state).toBe('SHUTDOWN');
  });
});

describe('closed client', () => {
  it.each(EACH_METHOD)(
    'rejects a %s call of a closed client with a GrpcCallError, whether the call is subscribed to or iterated over',
    async (method) => {
      const { echo, server, client } = await scene();
      await client.waitForReady();
      await client.close();
      const call = callOnce(echo, method);
      const iterated = (async () => {
        for await (const _ of call);
      })();
      for (const error of [await failureOf(call), await failureOf(iterated)]) {
        expect(error).toMatchObject({
          code: 14,
          reason: 'closed',
          reachedServer: 'no',
          details: 'The client was closed',
        });
      }
      await turns();
      expect(server.counts().calls).toBe(0);
      expect(client.connectivity.state).toBe('SHUTDOWN');
    },
  );

  it('does not reconnect a closed client for later calls or for getConnectivityState(true)', async () => {
    const { server, client } = await scene();
    const callbacks = client.getClientByServiceName<{
      getChannel(): { getConnectivityState(connect: boolean): unknown };
    }>('Echo');
    await client.waitForReady();
    await client.close();
    await expect(client.waitForReady()).rejects.toThrow('closed');
    callbacks.getChannel().getConnectivityState(true);
    client
      .getService<EchoService>('Echo')
      .unary({})
      .subscribe({ error: () => undefined });
    await waitFor(() => server.connections.open === 0);
    await turns();
    expect(server.connections).toEqual({ accepted: 1, open: 0 });
  });
});
