import { waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable, from, interval, map } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { failureOf, protoName, scene } from '../calls/support.js';

const METHODS = ['clientStream', 'bidi'] as const;
const payload = Buffer.alloc(16 * 1024);

/** Pushes 16 KiB in every turn of the event loop, whether or not anybody takes it. */
function flood() {
  const state = { pushed: 0, stopped: false };
  const source = new Observable<{ payload: Buffer }>((subscriber) => {
    const push = () => {
      if (state.stopped) return;
      state.pushed += 1;
      subscriber.next({ payload });
      setImmediate(push);
    };
    setImmediate(push);
    return () => (state.stopped = true);
  });
  return { state, source };
}

describe.each(METHODS)('an Observable of requests of %s', (method) => {
  it('that pushes faster than the wire is stopped at its bound, and its call fails with what to do', async () => {
    const { echo, server, client } = await scene({ methods: { '*': { maxQueuedRequestBytes: 1 << 20 } } });
    server.script(protoName(method), { requests: 'leave', never: true });
    const { state, source } = flood();
    const error = await failureOf(echo[method](source));
    expect(error).toMatchObject({
      codeName: 'RESOURCE_EXHAUSTED',
      reason: 'requests-overflow',
      reachedServer: 'maybe',
    });
    expect(error.details).toMatch(
      /^The Observable of requests is \d+ bytes ahead of the wire; give an AsyncIterable or an Iterable, which is pulled, or raise methods\[…\]\.maxQueuedRequestBytes$/,
    );
    expect(state.stopped).toBe(true);
    // What the bound allows, and what grpc-js and the socket took before they were full.
    expect(state.pushed * payload.length).toBeLessThan(6 << 20);
    expect(client.activeCalls()).toEqual([]);
    await waitFor(() => server.counts().open === 0);
  });

  it('that keeps pace with it has no bound', async () => {
    const { echo, server } = await scene({ methods: { '*': { maxQueuedRequestBytes: 256 * 1024 } } });
    const { state, source } = flood();
    server.script(protoName(method), { requests: 'read', message: {}, messages: [], never: true });
    const subscription = echo[method](source).subscribe();
    await waitFor(() => state.pushed > 200);
    expect(server.calls()[0]!.outcome).toBe('open');
    subscription.unsubscribe();
    expect(state.stopped).toBe(true);
  });

  it('that pushes all of it when it is subscribed to is sent, though it is more than the bound', async () => {
    const { echo, server } = await scene({ methods: { '*': { maxQueuedRequestBytes: 64 * 1024 } } });
    const all = Array.from({ length: 100 }, (_, number) => ({ number, payload }));
    await new Promise<void>((resolve, reject) => {
      echo[method](from(all)).subscribe({ error: reject, complete: resolve });
    });
    expect(server.calls()[0]!.requests).toHaveLength(100);
  });
});

it('a slow Observable of requests is what it was', async () => {
  const { echo, server } = await scene();
  let received = 0;
  const subscription = echo.bidi(interval(5).pipe(map((number) => ({ number })))).subscribe(() => (received += 1));
  await waitFor(() => received >= 10);
  subscription.unsubscribe();
  await waitFor(() => server.counts('Bidi').open === 0);
});
