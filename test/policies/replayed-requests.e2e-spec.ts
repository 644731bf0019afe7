import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { isGrpcCallError } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { failureOf, startBehindProxy, type ClientSettings } from '../calls/support.js';

/** Starts a proxy that can cut connections, a client of the proxy, and a server that responds with the number of requests in an upload. */
const startUpload = (settings: ClientSettings = {}) =>
  startBehindProxy({ methods: { ClientStream: { idempotent: true } }, ...settings });

/** Creates a request stream that pauses after `first` messages until `continueRequests()` is called, and then yields `rest` more. */
function createPausingRequests(first: number, rest: number, text = 'x') {
  let continueRequests: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (continueRequests = resolve));
  async function* requests() {
    for (let i = 0; i < first; i++) yield { text };
    await gate;
    for (let i = 0; i < rest; i++) yield { text };
  }
  return { requests: requests(), continueRequests };
}

describe('request that is safe to repeat', () => {
  it('resends all requests if the connection is lost in the middle of a request stream', async () => {
    const { server, proxy, echo } = await startUpload();
    const source = createPausingRequests(10, 5);
    const answer = firstValueFrom(echo.clientStream(source.requests));
    await waitFor(() => server.calls().at(-1)?.requests.length === 10);
    proxy.resetAll();
    await waitFor(() => server.counts().calls === 2);
    source.continueRequests();
    expect(await answer).toMatchObject({ number: 15 });
    expect(server.calls().map(({ previousAttempts }) => previousAttempts)).toEqual([0, 1]);
  });

  it('resends all requests of a stream even if they exceed the 64 KiB retry buffer of the grpc-js channel', async () => {
    const { server, proxy, echo } = await startUpload();
    const source = createPausingRequests(10, 5, 'x'.repeat(60_000));
    const answer = firstValueFrom(echo.clientStream(source.requests));
    await waitFor(() => server.calls().at(-1)?.requests.length === 10);
    proxy.resetAll();
    await waitFor(() => server.counts().calls === 2);
    source.continueRequests();
    expect(await answer).toMatchObject({ number: 15 });
  });

  it('sends but does not resend requests that exceed the retry buffer of the call', async () => {
    const { server, proxy, echo } = await startUpload({ channelOptions: { 'grpc.per_rpc_retry_buffer_size': 1_000 } });
    const source = createPausingRequests(10, 0, 'x'.repeat(200));
    const failure = failureOf(echo.clientStream(source.requests));
    await waitFor(() => server.calls().at(-1)?.requests.length === 10);
    proxy.resetAll();
    expect(await failure).toMatchObject({
      code: 14,
      reason: 'connection-lost',
      notRetriedBecause: 'request-not-replayable',
    });
    expect(server.counts().calls).toBe(1);
  });

  it('names the buffer options in the error if a request does not fit in the retry buffers', async () => {
    const { server, echo } = await startUpload({ channelOptions: { 'grpc.per_rpc_retry_buffer_size': 1_000 } });
    server.script('Unary', { status: 'UNAVAILABLE', details: 'busy' });
    const { message, details, notRetriedBecause } = await failureOf(echo.unary({ text: 'x'.repeat(1_000) }));
    expect({ details, notRetriedBecause }).toEqual({ details: 'busy', notRetriedBecause: 'request-not-replayable' });
    expect(message).toBe(
      "14 UNAVAILABLE: busy (not retried: the request does not fit in the retry buffers; raise 'grpc.per_rpc_retry_buffer_size' or 'grpc.retry_buffer_size' in channelOptions)",
    );
  });

  it('shares the retry buffer of a client between unary calls', async () => {
    const { server, echo } = await startUpload({ channelOptions: { 'grpc.retry_buffer_size': 2_000 } });
    server.script('Unary', { hold: 'everything', status: 'UNAVAILABLE' });
    const failures = [1, 2].map(() => failureOf(echo.unary({ text: 'x'.repeat(1_500) })));
    await waitFor(() => server.heldCount('Unary') === 2);
    server.script('Unary', { message: {} });
    server.release('Unary');
    const reasons = (await Promise.allSettled(failures)).map((end) =>
      end.status === 'fulfilled' ? end.value.notRetriedBecause : 'succeeded',
    );
    expect(reasons.sort()).toEqual(['request-not-replayable', 'succeeded']);
  });

  it('shares the retry buffer of a client between request streams', async () => {
    const { server, proxy, echo } = await startUpload({ channelOptions: { 'grpc.retry_buffer_size': 2_000 } });
    const sources = [createPausingRequests(4, 0, 'x'.repeat(200)), createPausingRequests(4, 0, 'x'.repeat(200))];
    const failures = sources.map((source) =>
      firstValueFrom(echo.clientStream(source.requests)).then(
        () => 'succeeded',
        (error: unknown) => (isGrpcCallError(error) ? error.notRetriedBecause : error),
      ),
    );
    await waitFor(() => server.calls().every(({ requests }) => requests.length === 4) && server.counts().calls === 2);
    proxy.resetAll();
    await waitFor(() => server.counts().calls === 3);
    for (const source of sources) source.continueRequests();
    expect((await Promise.all(failures)).sort()).toEqual(['request-not-replayable', 'succeeded']);
  });
});
