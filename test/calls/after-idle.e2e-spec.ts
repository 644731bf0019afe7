import { Metadata } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, scene, toList, type ClientSettings } from './support.js';

/** A client that is connected, and has nothing to do. */
async function quietScene(settings: ClientSettings = {}, options: Parameters<typeof scene>[1] = {}) {
  const parts = await scene(settings, options);
  await parts.client.waitForReady();
  return parts;
}

describe('the first calls after a pause', () => {
  it.each(EACH_METHOD)('answer %s', async (method) => {
    const { echo, server } = await quietScene();
    await toList(callOnce(echo, method));
    expect(server.calls().map(({ outcome }) => outcome)).toEqual(['answered']);
  });

  it('arrive in the order in which they were made, turn by turn', async () => {
    const { echo, server } = await quietScene();
    const calls: Promise<unknown>[] = [];
    const call = (text: string) => void calls.push(firstValueFrom(echo.unsafeUnary({ text })));
    call('a');
    setImmediate(() => {
      call('b');
      // Behind that with which the first one begins.
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

  it('are not sent where their time was over before they could be', async () => {
    const { echo, server } = await quietScene();
    const failure = failureOf(callOnce(echo, 'unsafeUnary', { timeoutMs: 50 }));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 80);
    expect(await failure).toMatchObject({ code: 4, reachedServer: 'no' });
    await firstValueFrom(echo.unsafeUnary({ text: 'last' }));
    expect(server.counts().calls).toBe(1);
  });

  it('are made though a test fakes the turns of the event loop', async () => {
    const { echo } = await quietScene();
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers({ toFake: ['setImmediate'] });
    expect(await firstValueFrom(echo.unary({ text: 'x' }))).toMatchObject({ text: 'x' });
  });
});

describe('what a caller uses for several calls', () => {
  const tags = (server: Awaited<ReturnType<typeof scene>>['server']) =>
    server.calls().map(({ metadata }) => metadata.get('x-tag').join());

  it.each([
    ['that wait for a connection', scene],
    ['after a pause', quietScene],
  ])('is to calls %s what it was when each of them was made', async (_when, begin) => {
    const { echo, server } = await begin({ connection: 'on-demand' }, {});
    const metadata = new Metadata();
    const calls = ['a', 'b', 'c'].map((tag) => {
      metadata.set('x-tag', tag);
      return firstValueFrom(echo.unsafeUnary({ text: tag }, metadata));
    });
    await Promise.all(calls);
    expect(tags(server).sort()).toEqual(['a', 'b', 'c']);
  });

  it('is to a retry what it was to the call', async () => {
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
