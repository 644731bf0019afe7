import { getEventListeners } from 'node:events';
import type { GrpcCallOptions, ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, of, switchMap, take, type Subscription } from 'rxjs';
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

/** Starts a server that never ends a call, and a client that is connected to it. */
async function connectedScene() {
  const parts = await scene({}, { scripts: NEVER_ENDING });
  await parts.client.waitForReady();
  return parts;
}

/** Waits until all sent calls have arrived. Makes one more call, because calls on one connection arrive in the order they start. */
async function waitForArrivals({ server, echo }: { readonly server: ScriptedGrpcServer; readonly echo: EchoStub }) {
  await turns();
  server.script('Unary', {});
  await firstValueFrom(echo.unary({ text: 'last' }));
}

async function expectNoOpenCalls(parts: {
  readonly server: ScriptedGrpcServer;
  readonly echo: EchoStub;
  readonly client: ResilientGrpcClient;
}) {
  expect(parts.client.activeCalls()).toEqual([]);
  await waitForArrivals(parts);
  await waitFor(() => parts.server.counts().open === 0, {
    describe: () => `${parts.server.counts().open} streams to be ended`,
  });
}

const WHEN: Readonly<Record<string, (unsubscribe: () => void) => void>> = {
  'the same tick': (unsubscribe) => unsubscribe(),
  'a microtask': (unsubscribe) => queueMicrotask(unsubscribe),
  'process.nextTick': (unsubscribe) => process.nextTick(unsubscribe),
  'the next turn': (unsubscribe) => setImmediate(unsubscribe),
};

describe.each(Object.entries(WHEN))('cancellation in %s', (when, soon) => {
  it.each(EACH_METHOD)(
    `ends all streams on the server after 1000 %s calls are cancelled in ${when}`,
    async (method) => {
      const parts = await connectedScene();
      await new Promise<void>((resolve) => {
        let remaining = 1_000;
        for (let i = 0; i < 1_000; i++) {
          const subscription = callOnce(parts.echo, method).subscribe();
          soon(() => {
            subscription.unsubscribe();
            remaining -= 1;
            if (remaining === 0) resolve();
          });
        }
      });
      await expectNoOpenCalls(parts);
      expect(parts.client.snapshot().counters).toMatchObject({ started: 1_001, cancelled: 1_000 });
    },
  );
});

describe('operators that unsubscribe synchronously', () => {
  it.each(EACH_METHOD)(
    'keeps only the last %s call open if switchMap receives three values synchronously',
    async (method) => {
      const parts = await connectedScene();
      const subscription: Subscription = of(1, 2, 3)
        .pipe(switchMap(() => callOnce(parts.echo, method)))
        .subscribe();
      await waitForArrivals(parts);
      await waitFor(() => parts.server.counts().open === 1, {
        describe: () => `1 open call, got ${parts.server.counts().open}`,
      });
      expect(parts.client.activeCalls()).toHaveLength(1);
      subscription.unsubscribe();
      await expectNoOpenCalls(parts);
    },
  );

  it.each(['serverStream', 'bidi'] as const)('ends a %s call after take(1)', async (method) => {
    const parts = await connectedScene();
    expect(await firstValueFrom(callOnce(parts.echo, method).pipe(take(1)))).toMatchObject({ number: 1 });
    await expectNoOpenCalls(parts);
  });

  it('delivers no further message of a stream if its reader unsubscribes inside next()', async () => {
    const parts = await connectedScene();
    parts.server.script('ServerStream', { messages: [{ number: 1 }, { number: 2 }, { number: 3 }] });
    const seen: number[] = [];
    const subscription = parts.echo.serverStream({}).subscribe(({ number }) => {
      seen.push(number);
      subscription.unsubscribe();
    });
    await waitFor(() => seen.length > 0);
    await expectNoOpenCalls(parts);
    expect(seen).toEqual([1]);
  });
});

describe('cancellation of waiting calls', () => {
  it.each(EACH_METHOD)('never sends %s calls that are cancelled while they wait for the channel', async (method) => {
    const parts = await scene({}, { scripts: NEVER_ENDING });
    const subscriptions = Array.from({ length: 100 }, () => callOnce(parts.echo, method).subscribe());
    for (const subscription of subscriptions) subscription.unsubscribe();
    await expectNoOpenCalls(parts);
    expect(parts.server.counts().calls).toBe(1);
  });
});

describe('abort signal', () => {
  const run = async (method: MethodName, options: GrpcCallOptions, act: () => void) => {
    const parts = await connectedScene();
    const failure = failureOf(callOnce(parts.echo, method, options));
    await waitFor(() => parts.server.counts().open === 1);
    act();
    return { parts, error: await failure };
  };

  it.each(EACH_METHOD)(
    'cancels a %s call when its signal aborts, and sets the abort reason as the cause of the error',
    async (method) => {
      const controller = new AbortController();
      const reason = new Error('the user disconnected');
      const { parts, error } = await run(method, { signal: controller.signal }, () => controller.abort(reason));
      expect(error).toMatchObject({ code: 1, reason: 'cancelled', notRetriedBecause: 'cancelled' });
      expect(error.cause).toBe(reason);
      expect(error.reachedServer).not.toBe('no');
      await waitFor(() => parts.server.counts().cancelled === 1);
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    },
  );

  it('does not send a call whose signal is already aborted', async () => {
    const { echo, server } = await connectedScene();
    const error = await failureOf(echo.unary({}, { signal: AbortSignal.abort('why') }));
    expect(error).toMatchObject({ code: 1, reason: 'cancelled', reachedServer: 'no', cause: 'why' });
    await turns();
    expect(server.counts().calls).toBe(0);
  });

  it('ends a call when its signal aborts while the call waits for a connection', async () => {
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
  it.each(EACH_METHOD)(
    'lists a running %s call in activeCalls(), and ends the call when cancel() of its entry is called',
    async (method) => {
      const { echo, server, client } = await connectedScene();
      const failure = failureOf(callOnce(echo, method));
      await waitFor(() => server.counts().open === 1);
      const [call] = client.activeCalls();
      expect(call).toMatchObject({ path: `/testing.v1.Echo/${protoName(method)}`, waiting: false });
      call?.cancel('no longer wanted');
      expect(await failure).toMatchObject({ code: 1, details: 'no longer wanted', reason: 'cancelled' });
      await waitFor(() => server.counts().cancelled === 1);
      expect(client.activeCalls()).toEqual([]);
    },
  );
});
