import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable, Subject, from, mergeAll } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { IS_FULL } from '../support/full-tables.js';
import type { EchoRequest } from '../testing/echo-client.js';
import { failureOf, protoName, scene, toList, turns } from '../calls/support.js';

const METHODS = IS_FULL ? (['clientStream', 'bidi'] as const) : (['bidi'] as const);
/** An interceptor that changes nothing. A call with interceptors serializes its messages later than a call without. */
const unchanged: Interceptor = (options, next) => new InterceptingCall(next(options));
const payload = Buffer.alloc(16 * 1024);

/** Pushes 16 KiB in every turn of the event loop, regardless of the speed of the connection. */
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

describe.each(METHODS)('request Observable of %s', (method) => {
  it.each([
    ['without interceptors', {}],
    ['with interceptors', { interceptors: [unchanged] }],
  ])(
    'unsubscribes and fails the call with an error that names the remedy if the request Observable is 16 MiB ahead of the connection (%s)',
    async (_, options) => {
      const { echo, server, client } = await scene();
      server.script(protoName(method), { requests: 'leave', never: true });
      const { state, source } = flood();
      const error = await failureOf(echo[method](source, options));
      expect(error).toMatchObject({
        codeName: 'RESOURCE_EXHAUSTED',
        reason: 'requests-overflow',
        reachedServer: 'maybe',
      });
      expect(error.details).toMatch(
        /^The request Observable is \d+ bytes ahead of the connection; pass an AsyncIterable or an Iterable, which is pulled$/,
      );
      expect(state.stopped).toBe(true);
      // The bound is the limit plus the bytes that grpc-js and the socket accepted before they were full.
      expect(state.pushed * payload.length).toBeLessThan(21 << 20);
      expect(client.activeCalls()).toEqual([]);
      await waitFor(() => server.counts().open === 0);
    },
  );

  it('sends more than 16 MiB in total from a request Observable if the server keeps pace', async () => {
    const { echo, server } = await scene();
    const { state, source } = flood();
    server.script(protoName(method), { requests: 'read', message: {}, messages: [], never: true });
    const subscription = echo[method](source).subscribe();
    await waitFor(() => state.pushed > 1_200);
    expect(server.calls()[0]!.outcome).toBe('open');
    subscription.unsubscribe();
    expect(state.stopped).toBe(true);
  });

  it.each([
    ['synchronously', (all: EchoRequest[]) => from(all), {}],
    ['from a promise', (all: EchoRequest[]) => from(Promise.resolve(all)).pipe(mergeAll()), {}],
    [
      'with interceptors',
      (all: EchoRequest[]) => from(turns().then(() => all)).pipe(mergeAll()),
      { interceptors: [unchanged] },
    ],
  ])(
    'sends all messages of a request Observable that pushes more than 16 MiB in one event-loop turn, %s',
    async (_when, make, options) => {
      const { echo, server } = await scene();
      const all = Array.from({ length: 1_100 }, (_, number) => ({ number, payload }));
      await toList(echo[method](make(all), options));
      expect(server.calls()[0]!.requests).toHaveLength(1_100);
    },
  );

  it('sends many tiny messages with interceptors', async () => {
    const { echo, server } = await scene();
    const requests = new Subject<EchoRequest>();
    const answers = toList(echo[method](requests, { interceptors: [unchanged] }));
    // Pushes these two requests before the channel is connected. The connection attempt takes many turns.
    requests.next({ number: 1 });
    requests.next({ number: 1 });
    await turns();
    // Unserialized messages that were counted as 1 KiB each would exceed the limit of 16 MiB.
    for (let i = 0; i < 20_000; i++) requests.next({ number: 1 });
    requests.complete();
    await answers;
    expect(server.calls()[0]!.requests).toHaveLength(20_002);
  });
});
