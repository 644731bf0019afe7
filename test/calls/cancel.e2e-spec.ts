import { getEventListeners } from 'node:events';
import type { GrpcCallOptions, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, merge, of, switchMap, take, type Subscription } from 'rxjs';
import { describe, expect, it } from 'vitest';
import {
  EACH_METHOD,
  callOnce,
  failureOf,
  protoName,
  scene,
  turns,
  type EchoStub,
  type MethodName,
} from './support.js';

const NEVER_ENDING = {
  Unary: { never: true },
  UnsafeUnary: { never: true },
  ClientStream: { never: true },
  ServerStream: { messages: [{ number: 1 }], never: true },
  Bidi: { messages: [{ number: 1 }], never: true },
} as const;

/** A client that is connected, and a server that never ends a call by itself. */
async function connectedScene() {
  const parts = await scene({}, { scripts: NEVER_ENDING });
  await parts.client.waitForReady();
  return parts;
}

/** Whatever was sent has arrived: calls on one connection arrive in order, and this one was made last. */
async function allArrived({ server, echo }: { readonly server: ScriptedGrpcServer; readonly echo: EchoStub }) {
  await turns();
  server.script('Unary', {});
  await firstValueFrom(echo.unary({ text: 'last' }));
}

async function expectNoneLeft(parts: {
  readonly server: ScriptedGrpcServer;
  readonly echo: EchoStub;
  readonly client: ResilientGrpcClient;
}) {
  expect(parts.client.activeCalls()).toEqual([]);
  await allArrived(parts);
  await waitFor(() => parts.server.counts().open === 0, {
    describe: () => `${parts.server.counts().open} streams to be ended`,
  });
}

const WHEN: Readonly<Record<string, (leave: () => void) => void>> = {
  'the same tick': (leave) => leave(),
  'a microtask': (leave) => queueMicrotask(leave),
  'process.nextTick': (leave) => process.nextTick(leave),
  'the next turn': (leave) => setImmediate(leave),
};

describe.each(Object.entries(WHEN))('subscriptions cancelled in %s', (_when, soon) => {
  it.each(EACH_METHOD)('1000 of %s leave no stream open', async (method) => {
    const parts = await connectedScene();
    await new Promise<void>((resolve) => {
      let left = 1_000;
      for (let i = 0; i < 1_000; i++) {
        const subscription = callOnce(parts.echo, method).subscribe();
        soon(() => {
          subscription.unsubscribe();
          left -= 1;
          if (left === 0) resolve();
        });
      }
    });
    await expectNoneLeft(parts);
    expect(parts.client.snapshot().counters).toMatchObject({ started: 1_001, cancelled: 1_000 });
  });
});

describe('operators that unsubscribe at once', () => {
  it.each(EACH_METHOD)('switchMap over three synchronous values keeps one %s', async (method) => {
    const parts = await connectedScene();
    const subscription: Subscription = of(1, 2, 3)
      .pipe(switchMap(() => callOnce(parts.echo, method)))
      .subscribe();
    await allArrived(parts);
    await waitFor(() => parts.server.counts().open === 1, { describe: () => `one of ${parts.server.counts().open}` });
    expect(parts.client.activeCalls()).toHaveLength(1);
    subscription.unsubscribe();
    await expectNoneLeft(parts);
  });

  it.each(EACH_METHOD)('firstValueFrom(merge(%s, of(cached))) leaves none', async (method) => {
    const parts = await connectedScene();
    expect(await firstValueFrom(merge(callOnce(parts.echo, method), of('cached')))).toBe('cached');
    await expectNoneLeft(parts);
  });

  it.each(['serverStream', 'bidi'] as const)('take(1) of %s leaves none', async (method) => {
    const parts = await connectedScene();
    expect(await firstValueFrom(callOnce(parts.echo, method).pipe(take(1)))).toMatchObject({ number: 1 });
    await expectNoneLeft(parts);
  });

  it('an unsubscription inside next() ends the stream there', async () => {
    const parts = await connectedScene();
    parts.server.script('ServerStream', { messages: [{ number: 1 }, { number: 2 }, { number: 3 }] });
    const seen: number[] = [];
    const subscription = parts.echo.serverStream({}).subscribe(({ number }) => {
      seen.push(number);
      subscription.unsubscribe();
    });
    await waitFor(() => seen.length > 0);
    await expectNoneLeft(parts);
    expect(seen).toEqual([1]);
  });
});

describe('calls that wait for the channel', () => {
  it.each(EACH_METHOD)('of %s are never sent when cancelled meanwhile', async (method) => {
    const parts = await scene({}, { scripts: NEVER_ENDING });
    const subscriptions = Array.from({ length: 100 }, () => callOnce(parts.echo, method).subscribe());
    for (const subscription of subscriptions) subscription.unsubscribe();
    await expectNoneLeft(parts);
    expect(parts.server.counts().calls).toBe(1);
  });
});

describe('an abort signal', () => {
  const run = async (method: MethodName, options: GrpcCallOptions, act: () => void) => {
    const parts = await connectedScene();
    const failure = failureOf(callOnce(parts.echo, method, options));
    await waitFor(() => parts.server.counts().open === 1);
    act();
    return { parts, error: await failure };
  };

  it.each(EACH_METHOD)('cancels %s, and its reason is the cause', async (method) => {
    const controller = new AbortController();
    const reason = new Error('the user has left');
    const { parts, error } = await run(method, { signal: controller.signal }, () => controller.abort(reason));
    expect(error).toMatchObject({ code: 1, reason: 'cancelled', notRetriedBecause: 'cancelled' });
    expect(error.cause).toBe(reason);
    expect(error.reachedServer).not.toBe('no');
    await waitFor(() => parts.server.counts().cancelled === 1);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  it('that was aborted before sends nothing', async () => {
    const { echo, server } = await connectedScene();
    const error = await failureOf(echo.unary({}, { signal: AbortSignal.abort('why') }));
    expect(error).toMatchObject({ code: 1, reason: 'cancelled', reachedServer: 'no', cause: 'why' });
    await turns();
    expect(server.counts().calls).toBe(0);
  });

  it('is let go of by a call that succeeded', async () => {
    const { echo, server } = await connectedScene();
    server.script('Unary', {});
    const { signal } = new AbortController();
    await firstValueFrom(echo.unary({}, { signal }));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('ends a call that waits', async () => {
    const { server, echo } = await scene();
    await server.stop('kill-connections');
    const controller = new AbortController();
    const failure = failureOf(echo.unary({}, { signal: controller.signal }));
    await turns();
    controller.abort();
    expect(await failure).toMatchObject({ code: 1, reason: 'cancelled', reachedServer: 'no' });
  });
});

describe('activeCalls()', () => {
  it.each(EACH_METHOD)('lists %s while it runs, and can cancel it', async (method) => {
    const { echo, server, client } = await connectedScene();
    const failure = failureOf(callOnce(echo, method));
    await waitFor(() => server.counts().open === 1);
    const [call] = client.activeCalls();
    expect(call).toMatchObject({ path: `/testing.v1.Echo/${protoName(method)}`, waiting: false });
    call?.cancel('not wanted any more');
    expect(await failure).toMatchObject({ code: 1, details: 'not wanted any more', reason: 'cancelled' });
    await waitFor(() => server.counts().cancelled === 1);
    expect(client.activeCalls()).toEqual([]);
  });
});
