import { hedge, idleTimeout } from 'nestjs-resilient-grpc/operators';
import { ChildServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { defer, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { CallEnd, GrpcClientEvent } from 'nestjs-resilient-grpc';
import { failureOf, startClient, turns, type ClientSettings, type EchoService } from '../calls/support.js';

/** Far below `BLOCKED_MS`, so that it is over when the event loop runs again. */
const TIMEOUT_MS = 100;
const BLOCKED_MS = 400;

const HEDGED: ClientSettings = {
  serviceConfig: {
    methodConfig: [
      {
        name: [{ service: 'testing.v1.Echo' }],
        hedgingPolicy: { maxAttempts: 3, hedgingDelay: `${TIMEOUT_MS / 1_000}s` },
      },
    ],
  },
};

/** A client, and a server in a process of its own, which goes on while this one is blocked. */
async function distant(settings: ClientSettings) {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await ChildServer.start({ script: new URL('../testing/fixtures/echo-server.mjs', import.meta.url) });
  onTestFinished(() => server.close());
  const client = await startClient({ url: server.url, ...settings });
  return { server, client, echo: client.getService<EchoService>('Echo') };
}

/** Blocks the event loop of this process. */
function block(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCKED_MS);
}

/** When the event loop is blocked: before the request is sent, or while the server, which stood still until then, answers it. */
const MOMENTS: readonly [string, (server: ChildServer) => Promise<void>][] = [
  [
    'before the request is sent',
    () => {
      block();
      return Promise.resolve();
    },
  ],
  [
    'while the server answers',
    async (server) => {
      server.freeze();
      await turns();
      server.thaw();
      block();
    },
  ],
];

describe.each(MOMENTS)('an event loop that is blocked %s', (_when, blocked) => {
  it('sends no hedge', async () => {
    const { client, echo, server } = await distant(HEDGED);
    await lastValueFrom(echo.unary({ text: 'connected' }));
    const ends: CallEnd[] = [];
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { onEnd: (end) => ends.push(end), timeoutMs: 20_000 }));
    await blocked(server);
    expect(await answer).toMatchObject({ text: 'x' });
    expect(ends).toMatchObject([{ code: 0, attempts: [{ number: 1 }] }]);
    expect(client.snapshot().methods).toMatchObject([{ hedged: 0 }]);
  });

  it('times out no attempt', async () => {
    const { echo, server } = await distant({ methods: { '*': { attemptTimeoutMs: TIMEOUT_MS } } });
    await lastValueFrom(echo.unary({ text: 'connected' }));
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { timeoutMs: 20_000 }));
    await blocked(server);
    expect(await answer).toMatchObject({ text: 'x' });
  });

  it('opens no circuit by deadlines that pass meanwhile', async () => {
    const { echo, server } = await distant({
      methods: { '*': { circuitBreaker: { minimumThroughput: 1, failureRatio: 0.01 } } },
    });
    await lastValueFrom(echo.unary({ text: 'connected' }));
    const failed = Promise.all([1, 2, 3].map(() => failureOf(echo.unary({ text: 'x' }, { timeoutMs: TIMEOUT_MS }))));
    await blocked(server);
    const codes = (await failed).map(({ codeName }) => codeName);
    expect(codes).toEqual(['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED']);
    expect(await lastValueFrom(echo.unary({ text: 'admitted' }))).toMatchObject({ text: 'admitted' });
  });

  it('ends no stream as idle', async () => {
    const { echo, server } = await distant({ methods: { '*': { streamIdleTimeoutMs: TIMEOUT_MS } } });
    await lastValueFrom(echo.unary({ text: 'connected' }));
    const messages = lastValueFrom(echo.bidi([{ text: 'x' }]).pipe(toArray()));
    await blocked(server);
    expect(await messages).toMatchObject([{ text: 'x' }]);
  });

  it('fails no attempt to connect', async () => {
    const { client, echo, server } = await distant({ connectTimeoutMs: TIMEOUT_MS });
    const events: GrpcClientEvent[] = [];
    const subscription = client.events$.subscribe((event) => events.push(event));
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { timeoutMs: 20_000 }));
    await blocked(server);
    expect(await answer).toMatchObject({ text: 'x' });
    subscription.unsubscribe();
    expect(events.filter((event) => event.type === 'connection')).toMatchObject([{ change: 'connected' }]);
  });

  it('makes hedge() subscribe once', async () => {
    const { echo, server } = await distant({});
    await lastValueFrom(echo.unary({ text: 'connected' }));
    const calls = { begun: 0 };
    const call = defer(() => {
      calls.begun += 1;
      return echo.unary({ text: 'x' }, { timeoutMs: 20_000 });
    });
    const answer = lastValueFrom(call.pipe(hedge({ delayMs: TIMEOUT_MS, maxAttempts: 3 })));
    await blocked(server);
    expect(await answer).toMatchObject({ text: 'x' });
    expect(calls.begun).toBe(1);
  });

  it('is not taken by idleTimeout() for a silence of the stream', async () => {
    const { echo, server } = await distant({});
    await lastValueFrom(echo.unary({ text: 'connected' }));
    const messages = lastValueFrom(echo.bidi([{ text: 'x' }]).pipe(idleTimeout(TIMEOUT_MS), toArray()));
    await blocked(server);
    expect(await messages).toMatchObject([{ text: 'x' }]);
  });
});
