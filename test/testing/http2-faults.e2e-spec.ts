import { connectivityState, status } from '@grpc/grpc-js';
import { captureLeaks, Http2FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import type { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { failureOf, startClient, startServer, upTo, type EchoService, type EchoStub } from '../calls/support.js';
import { EchoClient } from './echo-client.js';

type CallFault = Parameters<Http2FaultProxy['failCalls']>[0];

const REFUSED: CallFault = { kind: 'reset', code: 'REFUSED_STREAM' };

/** The status that grpc-js reports for each fault of a unary call, and the number of calls that the server received. */
const FAILURES: readonly (readonly [CallFault, { readonly code: number; readonly details: RegExp }, number])[] = [
  [{ kind: 'reset', code: 'INTERNAL_ERROR' }, { code: status.INTERNAL, details: /code 2 \(Internal/ }, 0],
  [{ kind: 'reset', code: 'CANCEL', at: { afterRequests: 1 } }, { code: status.CANCELLED, details: /cancelled/ }, 1],
  [{ kind: 'reset', code: 0, at: 'headers' }, { code: status.INTERNAL, details: /code 0 / }, 1],
  [{ kind: 'reset', code: 11, at: 'headers' }, { code: status.RESOURCE_EXHAUSTED, details: /exhausted/ }, 1],
  [{ kind: 'reset', code: 'INTERNAL_ERROR', at: 'trailers' }, { code: status.INTERNAL, details: /code 2 / }, 1],
];

describe('Http2FaultProxy', () => {
  let server: ScriptedGrpcServer;
  let proxy: Http2FaultProxy;
  let plain: EchoClient;

  beforeEach(async () => {
    const leaks = captureLeaks();
    onTestFinished(() => leaks.settled());
    server = await startServer();
    proxy = await Http2FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    plain = connect();
  });

  function connect(options = {}): EchoClient {
    const client = new EchoClient(proxy.url, undefined, options);
    onTestFinished(() => {
      client.close();
    });
    return client;
  }

  async function resilientStub(): Promise<EchoStub> {
    return (await startClient({ url: proxy.url })).getService<EchoService>('Echo');
  }

  const held = async () => {
    server.script('UnsafeUnary', { hold: 'everything' });
    // Wraps the call, so that awaiting this function does not await the call.
    const answer = plain.unary({}, { method: 'UnsafeUnary' });
    await waitFor(() => server.heldCount() === 1);
    return { answer };
  };

  describe('failCalls', () => {
    it.each(FAILURES)(
      'fails a unary call with the Http2FaultProxy fault %j',
      async (fault, { code, details }, seen) => {
        proxy.failCalls(fault, { method: 'Unary' });
        expect((await plain.unary({})).status).toMatchObject({ code, details: expect.stringMatching(details) });
        expect(server.counts().calls).toBe(seen);
        expect((await plain.unary({ text: 'next' })).value?.text).toBe('next');

        // The resilient client retries an idempotent call; any other call fails with the reason 'connection-lost'.
        const echo = await resilientStub();
        server.reset();
        proxy.failCalls(fault, { method: 'Unary' });
        expect(await firstValueFrom(echo.unary({ text: 'safe' }))).toMatchObject({ text: 'safe' });
        expect(server.counts('Unary').calls).toBe(seen + 1);
        proxy.failCalls(fault, { method: 'UnsafeUnary' });
        expect(await failureOf(echo.unsafeUnary({}))).toMatchObject({
          code: status.UNAVAILABLE,
          reason: 'connection-lost',
        });
        expect(server.counts('UnsafeUnary').calls).toBe(seen);
      },
    );

    it.each(['unary', 'unsafeUnary'] as const)(
      'refuses the streams of the method %s in an Http2FaultProxy',
      async (method) => {
        proxy.failCalls(REFUSED, { method });
        const protoMethod = method === 'unary' ? 'Unary' : 'UnsafeUnary';
        expect((await plain.unary({ text: 'again' }, { method: protoMethod })).value?.text).toBe('again');
        proxy.failCalls(REFUSED, { method, times: 2 });
        // Two faults are needed, because grpc-js retries a refused stream once.
        expect((await plain.unary({}, { method: protoMethod })).status).toMatchObject({
          code: status.UNAVAILABLE,
          details: 'Stream refused by server',
        });
        const echo = await resilientStub();
        server.reset();
        proxy.failCalls(REFUSED, { method });
        const answer = await firstValueFrom(echo[method]({ text: 'again' })).catch((error: unknown) => error);
        if (method === 'unary') expect(answer).toMatchObject({ text: 'again' });
        else expect(answer).toMatchObject({ reason: 'refused', reachedServer: 'maybe' });
        expect(server.counts().calls).toBe(method === 'unary' ? 1 : 0);
      },
    );

    it('rejects a call as unprocessed with an Http2FaultProxy GOAWAY, so that the call is resent on a new connection and earlier calls finish', async () => {
      const { answer } = await held();
      proxy.failCalls({ kind: 'goaway', debugData: 'max_age' }, { method: 'Unary' });
      expect((await plain.unary({ text: 'elsewhere' })).value?.text).toBe('elsewhere');
      expect(proxy.counters).toMatchObject({ accepted: 2, calls: 3, forwarded: 2 });
      server.release();
      expect((await answer).status.code).toBe(status.OK);
      server.script('UnsafeUnary', {});
      const echo = await resilientStub();
      await firstValueFrom(echo.unary({}));
      proxy.failCalls({ kind: 'goaway' });
      server.reset();
      await firstValueFrom(echo.unsafeUnary({}));
      expect(server.counts('UnsafeUnary').calls).toBe(1);
    });

    it('rejects a call in an Http2FaultProxy by GOAWAY with an error code, which grpc-js reports as a failure', async () => {
      proxy.failCalls({ kind: 'goaway', code: 'INTERNAL_ERROR' }, { times: 2 });
      expect((await plain.unary({})).status).toMatchObject({
        code: status.INTERNAL,
        details: expect.stringMatching(/code 2 .*Session closed/),
      });
      const echo = await resilientStub();
      expect(await firstValueFrom(echo.unsafeUnary({ text: 'again' }))).toMatchObject({ text: 'again' });
      expect(server.counts().calls).toBe(1);
    });

    it('sends a safe call without trailers once, and reports a stream without trailers as lost, because HAProxy ends it so', async () => {
      const echo = await resilientStub();
      proxy.failCalls({ kind: 'missing-trailers' }, { times: 2 });
      expect((await plain.unary({})).status).toMatchObject({
        code: status.INTERNAL,
        details: expect.stringContaining('without gRPC status'),
      });
      expect(await failureOf(echo.unary({}))).toMatchObject({
        code: status.INTERNAL,
        reason: 'trailers-missing',
        reachedServer: 'yes',
        notRetriedBecause: 'protocol',
        message: expect.stringMatching(/ended without trailers.*let proxies and tunnels before the server forward/s),
      });
      expect(server.calls('Unary')).toHaveLength(2);
      server.script('ServerStream', { messages: upTo(2) });
      proxy.failCalls({ kind: 'missing-trailers' });
      expect(await failureOf(echo.serverStream({}))).toMatchObject({
        code: status.UNAVAILABLE,
        reason: 'connection-lost',
        reachedServer: 'yes',
        details: expect.stringContaining('the response ended without trailers'),
      });
    });

    it('removes the status of a trailers-only response if the missing-trailers fault of an Http2FaultProxy applies', async () => {
      server.script('Unary', { status: 'NOT_FOUND', details: 'sold' });
      proxy.failCalls({ kind: 'missing-trailers' });
      expect((await plain.unary({})).status).toMatchObject({ code: status.UNKNOWN });
      expect((await plain.unary({})).status).toMatchObject({ code: status.NOT_FOUND, details: 'sold' });
    });
  });

  describe('goaway', () => {
    it.each(['newest', 'none'] as const)(
      'lets calls in flight finish and moves new ones to a new connection if an Http2FaultProxy sends GOAWAY with the lastStreamId %s',
      async (lastStreamId) => {
        const { answer } = await held();
        expect(proxy.goaway({ lastStreamId })).toBe(1);
        await waitFor(() => plain.state === connectivityState.IDLE);
        expect((await plain.unary({})).error).toBeUndefined();
        server.release();
        expect((await answer).status.code).toBe(status.OK);
        await waitFor(() => proxy.counters.open === 1);
      },
    );

    it('makes the client resend calls whose stream IDs are above a numeric lastStreamId that an Http2FaultProxy sends', async () => {
      const { answer } = await held();
      proxy.goaway({ lastStreamId: 0 });
      await waitFor(() => server.counts('UnsafeUnary').cancelled === 1 && server.heldCount() === 1);
      server.release();
      expect((await answer).status.code).toBe(status.OK);
      expect(server.counts('UnsafeUnary').calls).toBe(2);
    });

    it('closes the connection after an Http2FaultProxy sends GOAWAY with an error code', async () => {
      const { answer } = await held();
      proxy.goaway({ code: 'PROTOCOL_ERROR' });
      expect((await answer).status.code).toBe(status.INTERNAL);
      await waitFor(() => proxy.counters.open === 0);
      expect((await plain.unary({})).error).toBeUndefined();
    });
  });

  it('limits concurrent streams in an Http2FaultProxy, so that further calls wait in the client until the limit is lifted', async () => {
    await plain.unary({});
    proxy.limitStreams(1);
    const { answer } = await held();
    expect((await plain.unary({}, { deadline: Date.now() + 100 })).status.code).toBe(status.DEADLINE_EXCEEDED);
    const waitingCall = plain.unary({});
    proxy.limitStreams(undefined);
    expect((await waitingCall).error).toBeUndefined();
    server.release();
    await answer;
  });

  it('sends too_many_pings from an Http2FaultProxy after the given number of pings, and thereby ends calls in flight', async () => {
    const pinging = connect({ 'grpc.keepalive_time_ms': 50, 'grpc.keepalive_permit_without_calls': 1 });
    await pinging.unary({});
    proxy.tooManyPingsAfter(2);
    server.script('UnsafeUnary', { hold: 'everything' });
    const answer = await pinging.unary({}, { method: 'UnsafeUnary' });
    expect(answer.status).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    expect(proxy.counters.pings).toBeGreaterThanOrEqual(3);
    server.release();
  });

  it('holds SETTINGS in an Http2FaultProxy, so that a connecting client becomes READY only after releaseSettings()', async () => {
    proxy.holdSettings();
    const late = plain.unary({ text: 'late' });
    await waitFor(() => proxy.counters.open === 1);
    const early = await plain.unary({}, { deadline: Date.now() + 100 });
    expect(early.status.code).toBe(status.DEADLINE_EXCEEDED);
    expect(plain.state).toBe(connectivityState.CONNECTING);
    proxy.releaseSettings();
    expect((await late).value?.text).toBe('late');
    expect(proxy.counters.accepted).toBe(1);
  });

  it('removes all faults of an Http2FaultProxy with heal()', async () => {
    proxy.failCalls({ kind: 'missing-trailers' }, { times: Infinity });
    proxy.limitStreams(0);
    proxy.tooManyPingsAfter(0);
    proxy.holdSettings();
    proxy.heal();
    expect((await plain.unary({ text: 'healed' })).value?.text).toBe('healed');
  });
});
