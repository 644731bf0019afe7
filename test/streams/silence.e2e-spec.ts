import { resumable } from 'nestjs-resilient-grpc/operators';
import { ChildServer, FaultProxy, captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { describe, expect, it, onTestFinished } from 'vitest';
import { recordTiming } from '../support/timing.js';
import { failureOf, scene, startClient, startServer, toList, turns, type EchoService } from '../calls/support.js';
import type { Echo } from '../testing/echo-client.js';

const IDLE_MS = 200;
const idleAfter = (streamIdleTimeoutMs: number) => ({ methods: { '*': { streamIdleTimeoutMs } } });
const idle = idleAfter(IDLE_MS);
/** Idle timeout in milliseconds, longer than the server process can be silent on a busy machine. */
const LONG_IDLE_MS = 2_000;

/** Starts a server in its own process, which continues while this process is blocked, and a client of the server. */
async function startDistantServer() {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await ChildServer.start({ script: new URL('../testing/fixtures/echo-server.mjs', import.meta.url) });
  onTestFinished(() => server.close());
  return { server, client: await startClient({ url: server.url, ...idleAfter(LONG_IDLE_MS) }) };
}

describe('streamIdleTimeoutMs', () => {
  it(
    'fails a stream if its server is frozen, even though the connection stays open',
    { tags: ['timed'] },
    async ({ task }) => {
      const { server, client } = await startDistantServer();
      const received: unknown[] = [];
      const failed = failureOf(
        new Promise((resolve, reject) => {
          client
            .getService<EchoService>('Echo')
            .serverStream({ text: 'one' })
            .subscribe({
              next: (message) => received.push(message),
              error: reject,
              complete: () => resolve('completed'),
            });
        }),
      );
      await waitFor(() => received.length === 1);
      server.freeze();
      const frozenAt = performance.now();
      const error = await failed;
      server.thaw();
      expect(error).toMatchObject({
        codeName: 'UNAVAILABLE',
        reason: 'stream-idle',
        reachedServer: 'yes',
        notRetriedBecause: 'committed',
        details: 'No message for 2000 ms (streamIdleTimeoutMs)',
      });
      recordTiming(
        task,
        'time from the idle timeout until the stream ends, ms',
        performance.now() - frozenAt - LONG_IDLE_MS,
        {
          atMost: 1_000,
        },
      );
    },
  );

  it('does not fail a stream whose messages arrived while the event loop of the client was blocked', async () => {
    const { client } = await startDistantServer();
    const seen = { messages: 0, error: undefined as unknown };
    const echo = client.getService<EchoService>('Echo');
    const subscription = echo.serverStream({ number: 20 }).subscribe({
      next: () => (seen.messages += 1),
      error: (error: unknown) => (seen.error = error),
    });
    await waitFor(() => seen.messages >= 3);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1.25 * LONG_IDLE_MS);
    const before = seen.messages;
    await waitFor(() => seen.error !== undefined || seen.messages >= before + 5, { timeoutMs: 20_000 });
    expect(seen.error).toBeUndefined();
    subscription.unsubscribe();
  });

  it('cancels the call of an idle stream on the wire', async () => {
    const { echo, server } = await scene(idle);
    server.script('ServerStream', { messages: [{}], never: true });
    await failureOf(echo.serverStream({}));
    await waitFor(() => server.counts('ServerStream').cancelled === 1);
  });

  it("reports reachedServer: 'maybe' for a stream that is idle before its first message", async () => {
    const { echo, server, client } = await scene(idle);
    server.script('Bidi', { never: true });
    await client.waitForReady();
    expect(await failureOf(echo.bidi([{}]))).toMatchObject({ reason: 'stream-idle', reachedServer: 'maybe' });
    expect(server.counts('Bidi').calls).toBe(1);
  });

  it('retries a safe stream that is idle before its first message', async () => {
    const { echo, server } = await scene(idleAfter(1_000));
    server.script('ServerStream', [{ never: true }, { messages: [{ number: 7 }] }]);
    expect(await toList(echo.serverStream({}, { idempotent: true }))).toMatchObject([{ number: 7 }]);
    expect(server.counts('ServerStream').calls).toBe(2);
  });

  it('does not count a pause of the reader toward streamIdleTimeoutMs', async () => {
    const { echo, server } = await scene(idleAfter(LONG_IDLE_MS));
    const payload = Buffer.alloc(64 * 1024);
    server.script('ServerStream', { messages: Array.from({ length: 100 }, () => ({ payload })) });
    const reader = echo.serverStream({})[Symbol.asyncIterator]();
    await reader.next();
    const pausedAt = performance.now();
    await waitFor(() => performance.now() - pausedAt > 1.1 * LONG_IDLE_MS);
    let rest = 0;
    while ((await reader.next()).done !== true) rest += 1;
    expect(rest).toBe(99);
  });

  it('lets a call override streamIdleTimeoutMs', async () => {
    const { echo, server } = await scene({ streamIdleTimeoutMs: 60_000 });
    server.script('ServerStream', { never: true });
    const error = await failureOf(echo.serverStream({}, { streamIdleTimeoutMs: 50 }));
    expect(error).toMatchObject({ reason: 'stream-idle', details: 'No message for 50 ms (streamIdleTimeoutMs)' });
  });

  it('does not apply streamIdleTimeoutMs to a unary call', async () => {
    const { echo, server } = await scene({ streamIdleTimeoutMs: 50 });
    server.script('Unary', { delayMs: 150 });
    await turns();
    expect(await toList(echo.unary({ text: 'x' }))).toHaveLength(1);
  });
});

const SLOW = { tags: ['timed'], timeout: 60_000 };

describe('stream over a black-holed connection', () => {
  it(
    'ends a stream over a black-holed connection when keepalive fails, and resumes a resumable stream over a new connection',
    SLOW,
    async ({ task }) => {
      const server = await startServer();
      server.script('ServerStream', (call) => ({
        messages: [{ number: (call as ScriptedCall<Echo>).request.number + 1 }],
        never: true,
      }));
      const proxy = await FaultProxy.start(server.url);
      onTestFinished(() => proxy.close());
      const keepalive = { keepaliveTimeMs: 10_000, keepaliveTimeoutMs: 200 };
      const client = await startClient({ url: proxy.url, keepalive });
      const echo = client.getService<EchoService>('Echo');
      const plain = failureOf(echo.serverStream({ number: 0 }));
      const seen: number[] = [];
      const feed = resumable((number: number) => echo.serverStream({ number }), {
        cursor: (message) => message.number,
        seed: 100,
      });
      const subscription = feed.subscribe(({ number }) => seen.push(number));
      onTestFinished(() => {
        subscription.unsubscribe();
      });
      await waitFor(() => seen.length === 1 && client.activeCalls().every(({ received }) => received === 1));
      // From now on, open connections transfer no bytes, but new connections do.
      const heldAt = performance.now();
      proxy.holdBytes();
      expect(await plain).toMatchObject({ reason: 'connection-lost', reachedServer: 'yes' });
      recordTiming(task, 'time until the stream on the black-holed connection fails, ms', performance.now() - heldAt, {
        atMost: 11_200,
      });
      await waitFor(() => seen.length === 2, { timeoutMs: 20_000 });
      expect(seen).toEqual([101, 102]);
    },
  );
});
