import { Metadata } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { callOnce, failureOf, scene, type ClientSettings } from './support.js';

/** Starts an echo server and a client that is connected to it and has no calls. */
async function idleScene(settings: ClientSettings = {}, options: Parameters<typeof scene>[1] = {}) {
  const parts = await scene(settings, options);
  await parts.client.waitForReady();
  return parts;
}

describe('first calls after an idle period', () => {
  it('sends the first calls after an idle period in the order in which they were made', async () => {
    const { echo, server } = await idleScene();
    const calls: Promise<unknown>[] = [];
    const call = (text: string) => void calls.push(firstValueFrom(echo.unsafeUnary({ text })));
    call('a');
    setImmediate(() => {
      call('b');
      // Runs after the immediate that starts the first call.
      setImmediate(() => {
        call('c');
      });
    });
    await waitFor(() => calls.length === 3);
    await Promise.all(calls);
    expect(server.calls().map(({ requests: [request] }) => (request as { text: string }).text)).toEqual([
      'a',
      'b',
      'c',
    ]);
  });

  it('neither sends nor reports an attempt of a call whose timeout expires before the call can be sent', async () => {
    const { echo, server } = await idleScene();
    const failure = failureOf(callOnce(echo, 'unsafeUnary', { timeoutMs: 50 }));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 80);
    expect(await failure).toMatchObject({ code: 4, reachedServer: 'no', attempts: [] });
    await firstValueFrom(echo.unsafeUnary({ text: 'last' }));
    expect(server.counts().calls).toBe(1);
  });

  it('sends the first call after an idle period even if a test fakes setImmediate', async () => {
    const { echo } = await idleScene();
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers({ toFake: ['setImmediate'] });
    expect(await firstValueFrom(echo.unary({ text: 'x' }))).toMatchObject({ text: 'x' });
  });
});

describe('metadata reused for several calls', () => {
  const tags = (server: Awaited<ReturnType<typeof scene>>['server']) =>
    server.calls().map(({ metadata }) => metadata.get('x-tag').join());

  it.each([
    ['if calls wait for a connection', scene],
    ['after an idle period', idleScene],
  ])(
    'sends each call with its own metadata %s, although the caller changes the same Metadata object for the next call',
    async (_when, begin) => {
      const { echo, server } = await begin({ connections: { warm: false } }, {});
      const metadata = new Metadata();
      const calls = ['a', 'b', 'c'].map((tag) => {
        metadata.set('x-tag', tag);
        return firstValueFrom(echo.unsafeUnary({ text: tag }, metadata));
      });
      await Promise.all(calls);
      expect(tags(server).sort()).toEqual(['a', 'b', 'c']);
    },
  );

  it('sends a retry with the metadata of the original call', async () => {
    const { echo, server } = await scene();
    server.script('Unary', [{ status: 'UNAVAILABLE' }, { message: {} }]);
    const metadata = new Metadata();
    metadata.set('x-tag', 'a');
    const call = firstValueFrom(echo.unary({ text: 'a' }, metadata));
    metadata.set('x-tag', 'b');
    await call;
    expect(tags(server)).toEqual(['a', 'a']);
  });
});
