import { Metadata } from '@grpc/grpc-js';
import { SpanKind, SpanStatusCode, context, propagation, trace } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, mergeMap, toArray, tap } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { reset, startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { EACH_METHOD, callOnce, failureOf, failureOnceSeen, protoName, upTo } from '../calls/support.js';
import { collectTelemetry } from './collected-telemetry.js';
import { bytesOfEcho, toldClient, toldScene } from './told-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

type Told = ReturnType<typeof collectTelemetry>;

const SENT = 'Sent.testing.v1.Echo.Unary';
const ATTEMPT = 'Attempt.testing.v1.Echo.Unary';
const all = (told: Told, name: string): ReadableSpan[] => told.spans().filter((span) => span.name === name);
const idOf = (span: ReadableSpan) => span.spanContext().spanId;
const parentOf = (span: ReadableSpan) => span.parentSpanContext?.spanId;
const traceparent = (call: { readonly metadata: Metadata } | undefined) => call?.metadata.get('traceparent');
const headerOf = (span: ReadableSpan) => `00-${span.spanContext().traceId}-${idOf(span)}-01`;

describe('the spans of a call', () => {
  // gRFC A72, "Tracing Information", "At the client".
  // https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information
  it.each(EACH_METHOD)('have the names, attributes, events and status of gRFC A72: %s', async (method) => {
    const told = collectTelemetry();
    const { client, echo } = await toldScene();
    await client.waitForReady();
    const name = protoName(method);
    const messages = await lastValueFrom(callOnce(echo, method).pipe(toArray()));
    const [sent] = all(told, `Sent.testing.v1.Echo.${name}`);
    const [attempt] = all(told, `Attempt.testing.v1.Echo.${name}`);
    expect(told.spans()).toHaveLength(2);
    expect(sent).toMatchObject({ kind: SpanKind.INTERNAL, status: { code: SpanStatusCode.OK }, events: [] });
    expect(parentOf(sent!)).toBeUndefined();
    expect(attempt).toMatchObject({ kind: SpanKind.CLIENT, status: { code: SpanStatusCode.OK } });
    expect(attempt!.attributes).toEqual({ 'previous-rpc-attempts': 0, 'transparent-retry': false });
    expect(parentOf(attempt!)).toBe(idOf(sent!));
    expect(attempt!.events.map(({ name: event, attributes }) => [event, attributes])).toEqual([
      ['Outbound message', { 'sequence-number': 0, 'message-size': bytesOfEcho({ text: 'x' }) }],
      ...messages.map((message, index) => [
        'Inbound message',
        { 'sequence-number': index, 'message-size': bytesOfEcho(message) },
      ]),
    ]);
  });

  it('are a call and its attempts, each of which a server is told of as its parent', async () => {
    const told = collectTelemetry();
    const { echo, server } = await toldScene();
    server.script('Unary', [
      { status: 'UNAVAILABLE', details: 'busy', pushback: 1 },
      { status: 'UNAVAILABLE', details: 'busy', pushback: 1 },
      { message: {} },
    ]);
    await firstValueFrom(echo.unary({}));
    const [sent] = all(told, SENT);
    const attempts = all(told, ATTEMPT);
    expect(attempts.map(parentOf)).toEqual(Array(3).fill(idOf(sent!)));
    expect(attempts.map(({ attributes }) => attributes['previous-rpc-attempts'])).toEqual([0, 1, 2]);
    expect(attempts.map(({ status }) => status)).toEqual([
      { code: SpanStatusCode.ERROR, message: 'UNAVAILABLE, busy' },
      { code: SpanStatusCode.ERROR, message: 'UNAVAILABLE, busy' },
      { code: SpanStatusCode.OK },
    ]);
    expect(server.calls().map(traceparent)).toEqual(attempts.map((span) => [headerOf(span)]));
    expect(sent!.status).toEqual({ code: SpanStatusCode.OK });
  });

  it('show a transparent retry, which is no attempt before others', async () => {
    const told = collectTelemetry();
    const refusing = await startHttp2Server((stream, number) => {
      stream.resume();
      if (number === 1) reset(stream, 'NGHTTP2_REFUSED_STREAM');
      else succeed(stream);
    });
    const { echo } = await toldClient(refusing.url, { trustRefusedStreams: true });
    await lastValueFrom(echo.unsafeUnary({}));
    const attempts = all(told, 'Attempt.testing.v1.Echo.UnsafeUnary');
    expect(attempts.map(({ attributes }) => attributes)).toEqual([
      { 'previous-rpc-attempts': 0, 'transparent-retry': false },
      { 'previous-rpc-attempts': 0, 'transparent-retry': true },
    ]);
  });

  it('show no transparent retry of an attempt that never began, as the channel went while it was prepared', async () => {
    const told = collectTelemetry();
    const asked: ((metadata: Metadata) => void)[] = [];
    const { client, echo, server } = await toldScene({
      metadata: () => new Promise<Metadata>((resolve) => asked.push(resolve)),
    });
    await client.waitForReady();
    const answer = firstValueFrom(echo.unsafeUnary({}));
    await waitFor(() => asked.length === 1);
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    asked[0]!(new Metadata());
    await waitFor(() => client.snapshot().waiting === 1);
    await server.restart();
    await waitFor(() => asked.length === 2);
    asked[1]!(new Metadata());
    await answer;
    const attempts = all(told, 'Attempt.testing.v1.Echo.UnsafeUnary');
    expect(attempts.map(({ attributes }) => attributes)).toEqual([
      { 'previous-rpc-attempts': 0, 'transparent-retry': false },
    ]);
    expect(await told.recorded('grpc.client.call.transparent_retries')).toBeUndefined();
  });

  it('show the resending of a hedge as a transparent retry', async () => {
    const told = collectTelemetry();
    const name = [{ service: 'testing.v1.Echo' }];
    const hedgingPolicy = { maxAttempts: 2, hedgingDelay: '0.02s', nonFatalStatusCodes: ['UNAVAILABLE' as const] };
    const refusing = await startHttp2Server((stream, number) => {
      stream.resume();
      if (number === 2) reset(stream, 'NGHTTP2_REFUSED_STREAM');
      if (number === 3) succeed(stream);
    });
    const serviceConfig = { methodConfig: [{ name, hedgingPolicy }] };
    const { echo } = await toldClient(refusing.url, { trustRefusedStreams: true, serviceConfig });
    await lastValueFrom(echo.unary({}));
    expect(refusing.streams).toHaveLength(3);
    expect(all(told, ATTEMPT).filter(({ attributes }) => attributes['transparent-retry'] === true)).toHaveLength(1);
    expect(await told.recorded('grpc.client.call.hedges')).toMatchObject({ sum: 1 });
    expect(await told.recorded('grpc.client.call.transparent_retries')).toMatchObject({ sum: 1 });
  });

  it('show hedges, of which the one that lost ended with its call', async () => {
    const told = collectTelemetry();
    const name = [{ service: 'testing.v1.Echo' }];
    const hedgingPolicy = { maxAttempts: 2, hedgingDelay: '0.02s', nonFatalStatusCodes: ['UNAVAILABLE' as const] };
    const { echo, server } = await toldScene({ serviceConfig: { methodConfig: [{ name, hedgingPolicy }] } });
    server.script('Unary', ({ previousAttempts }: ScriptedCall) =>
      previousAttempts === 0 ? { never: true } : { message: {} },
    );
    await firstValueFrom(echo.unary({}));
    const attempts = all(told, ATTEMPT).sort((a, b) => a.status.code - b.status.code);
    expect(attempts.map(({ attributes, status }) => [attributes['previous-rpc-attempts'], status])).toEqual([
      [1, { code: SpanStatusCode.OK }],
      [0, { code: SpanStatusCode.ERROR, message: 'CANCELLED' }],
    ]);
    expect(new Set(server.calls().map((call) => String(traceparent(call)))).size).toBe(2);
  });

  it('show that a call waited for its channel, by the event of a late pick', async () => {
    const told = collectTelemetry();
    const { client, echo, server } = await toldScene({ outageGraceMs: 10_000 });
    await firstValueFrom(echo.unary({}));
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    const call = firstValueFrom(echo.unary({}));
    await server.restart();
    await call;
    const [, late] = all(told, ATTEMPT);
    expect(late!.events[0]!.name).toBe('Delayed LB pick complete');
    const [, sent] = all(told, SENT);
    expect(sent!.duration[0] + sent!.duration[1]).toBeGreaterThan(late!.duration[0] + late!.duration[1]);
  });

  it('end when the call does: it fails, its reader leaves, its deadline passes, its client is drained', async () => {
    const told = collectTelemetry();
    const { client, echo, server, close } = await toldScene();
    server.script('Unary', { status: 'NOT_FOUND', details: 'no such thing' });
    await failureOf(echo.unary({}));
    server.script('Unary', { never: true });
    const leaver = echo.unary({}).subscribe();
    await waitFor(() => server.counts().open === 1);
    leaver.unsubscribe();
    const { calls } = await failureOnceSeen(server, () => echo.unary({}, { timeoutMs: 30 }));
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    await failureOf(echo.unary({}, { timeoutMs: 30, waitForReady: true }));
    await server.restart();
    await client.waitForReady();
    const drained = failureOf(echo.unary({}));
    await waitFor(() => server.counts().open === 1);
    await close();
    await drained;
    const texts = (name: string) =>
      all(told, name).map(({ status }) => status.message?.replace(/[\d.]+(s.*| ms)/, '…'));
    expect(texts(SENT)).toEqual([
      'NOT_FOUND, no such thing',
      'CANCELLED, The reader unsubscribed',
      ...Array<string>(calls).fill('DEADLINE_EXCEEDED, Deadline exceeded after …'),
      'DEADLINE_EXCEEDED, Deadline exceeded after …',
      'UNAVAILABLE, The client was shut down: the call did not finish within …',
    ]);
    // One ended while it waited: that is a call without an attempt.
    const late = texts(ATTEMPT).filter((text) => text?.startsWith('DEADLINE_EXCEEDED'));
    expect(texts(ATTEMPT)).toEqual(['NOT_FOUND, no such thing', 'CANCELLED', ...late, 'CANCELLED']);
    expect(new Set(late)).toEqual(new Set(['DEADLINE_EXCEEDED, Deadline exceeded after …']));
    expect(late.length).toBeLessThanOrEqual(calls);
  });

  it('end with the loop that reads a stream, and with the source of its requests', async () => {
    const told = collectTelemetry();
    const { echo, server } = await toldScene();
    server.script('ServerStream', { messages: upTo(3), never: true });
    for await (const message of echo.serverStream({})) if (message.number === 2) break;
    const requests = (async function* () {
      yield { text: 'x' };
      await Promise.resolve();
      throw new Error('the source broke');
    })();
    await lastValueFrom(echo.bidi(requests)).catch(() => undefined);
    expect(all(told, 'Sent.testing.v1.Echo.ServerStream').map(({ status }) => status.message)).toEqual([
      'CANCELLED, The reader unsubscribed',
    ]);
    expect(all(told, 'Sent.testing.v1.Echo.Bidi').map(({ status }) => status.message)).toEqual([
      'CANCELLED, The source of the requests failed',
    ]);
    expect(all(told, 'Attempt.testing.v1.Echo.ServerStream')).toHaveLength(1);
  });

  it('end as OK where a stream is completed by the shutdown of its client', async () => {
    const told = collectTelemetry();
    const { echo, server, close } = await toldScene();
    server.script('ServerStream', { messages: upTo(1), never: true });
    let received = 0;
    const feed = lastValueFrom(echo.serverStream({}, { onDrain: 'complete' }).pipe(tap(() => (received += 1))));
    await waitFor(() => received === 1);
    await close();
    await feed;
    expect(all(told, 'Sent.testing.v1.Echo.ServerStream')[0]!.status).toEqual({ code: SpanStatusCode.OK });
    expect(all(told, 'Attempt.testing.v1.Echo.ServerStream')[0]!.status.message).toBe('CANCELLED');
  });

  it('do not keep a call from being made where a propagator fails, or gives what gRPC does not allow', async () => {
    const told = collectTelemetry();
    propagation.disable();
    let what: 'throw' | 'nonsense' = 'nonsense';
    propagation.setGlobalPropagator({
      fields: () => ['baggage'],
      extract: (extracted) => extracted,
      inject: (_context, carrier, setter) => {
        if (what === 'throw') throw new Error('no');
        setter.set(carrier, 'baggage', 'tee=grün\u{1f375}');
        setter.set(carrier, 'grpc-trace-bin', Buffer.from('trace').toString('base64'));
      },
    });
    const { echo, server } = await toldScene();
    await firstValueFrom(echo.unary({}));
    what = 'throw';
    await firstValueFrom(echo.unary({}));
    const [first, second] = server.calls();
    expect(first!.metadata.get('baggage')).toEqual([]);
    expect(first!.metadata.get('grpc-trace-bin')).toEqual([Buffer.from('trace')]);
    expect(second!.metadata.get('grpc-trace-bin')).toEqual([]);
    expect(all(told, SENT)).toHaveLength(2);
  });

  it('leave the metadata of a caller as they are, which his calls share', async () => {
    const told = collectTelemetry();
    const shared = new Metadata();
    shared.set('x-tenant', 'shop');
    const { echo, server } = await toldScene();
    await Promise.all([1, 2].map(() => firstValueFrom(echo.unary({}, shared))));
    expect(shared.getMap()).toEqual({ 'x-tenant': 'shop' });
    expect(server.calls().map(({ metadata }) => metadata.get('x-tenant'))).toEqual([['shop'], ['shop']]);
    expect(new Set(server.calls().map((call) => String(traceparent(call)))).size).toBe(2);
    expect(all(told, ATTEMPT)).toHaveLength(2);
  });

  it("stand in one trace with a caller's own header, in place of it", async () => {
    const told = collectTelemetry();
    const { echo, server } = await toldScene();
    const metadata = new Metadata();
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    await firstValueFrom(echo.unary({}, metadata));
    expect(traceparent(server.calls()[0])).toEqual([headerOf(all(told, ATTEMPT)[0]!)]);
  });
});

describe('the parent of a call', () => {
  it('is the span that is active where it is subscribed to', async () => {
    const told = collectTelemetry();
    const { echo } = await toldScene();
    const call = await told.within('asked', () => Promise.resolve(echo.unary({})));
    await told.within('subscribed', () => firstValueFrom(call));
    expect(parentOf(all(told, SENT)[0]!)).toBe(idOf(await told.span('subscribed')));
  });

  it('is the one that was active where it was asked for, where none is at the subscription', async () => {
    const told = collectTelemetry();
    const { echo } = await toldScene();
    let call = echo.unary({});
    await told.within('asked', () => {
      call = echo.unary({});
      return Promise.resolve();
    });
    await firstValueFrom(call);
    expect(parentOf(all(told, SENT)[0]!)).toBe(idOf(await told.span('asked')));
  });

  it("is its own request's, for a call that begins with the answer of another that waited for a stranger's connection", async () => {
    const told = collectTelemetry();
    const { echo } = await toldScene();
    // The first of them opens the connection, and what waits for it goes on from there.
    const requests = Array.from({ length: 5 }, (_, index) => `request ${index}`);
    await Promise.all([
      ...requests.map((name) =>
        told.within(name, () =>
          lastValueFrom(
            echo.serverStream({ number: 1 }).pipe(
              mergeMap(() => {
                told.nested(`work of ${name}`);
                return echo.unary({ text: name });
              }),
            ),
          ),
        ),
      ),
      // One that nobody traces begins a trace of its own.
      lastValueFrom(echo.serverStream({ number: 1 }).pipe(mergeMap(() => echo.unsafeUnary({})))),
    ]);
    for (const name of requests) {
      const { traceId } = (await told.span(name)).spanContext();
      const mine = told.spans().filter((span) => span.spanContext().traceId === traceId);
      expect(mine.map((span) => span.name).sort()).toEqual(
        [
          name,
          `work of ${name}`,
          SENT,
          ATTEMPT,
          'Sent.testing.v1.Echo.ServerStream',
          'Attempt.testing.v1.Echo.ServerStream',
        ].sort(),
      );
      const calls = mine.filter((span) => span.name.startsWith('Sent.') || span.name.startsWith('work'));
      expect(calls.map(parentOf)).toEqual(calls.map(() => idOf(mine.find((span) => span.name === name)!)));
    }
    expect(parentOf(all(told, 'Sent.testing.v1.Echo.UnsafeUnary')[0]!)).toBeUndefined();
  });

  it('is that of what the call asks for: requests that are pulled, metadata, callbacks, at a further attempt too', async () => {
    const told = collectTelemetry();
    const { echo, server } = await toldScene({
      methods: { ClientStream: { idempotent: true } },
      metadata: () => {
        told.nested('token');
        return {};
      },
      interceptors: [
        {
          onAttempt: () => {
            told.nested('interceptor');
          },
          onEnd: () => {
            told.nested('end');
          },
        },
      ],
    });
    server.script('ClientStream', [{ status: 'UNAVAILABLE', pushback: 5, requests: 'leave' }, { message: {} }]);
    const requests = (async function* () {
      for (let number = 0; number < 3; number++) {
        told.nested('request');
        yield await Promise.resolve({ number });
      }
    })();
    // It opens the connection that the other waits for.
    const opened = told.within('opener', () => firstValueFrom(echo.unary({})));
    await told.within('caller', () =>
      firstValueFrom(
        echo.clientStream(requests, {
          onHeaders: () => {
            told.nested('headers');
          },
        }),
      ),
    );
    await opened;
    expect(all(told, 'Attempt.testing.v1.Echo.ClientStream')).toHaveLength(2);
    const caller = idOf(await told.span('caller'));
    const opener = idOf(await told.span('opener'));
    const counts = ['token', 'interceptor', 'request', 'headers', 'end'].map((name) => {
      const parents = all(told, name).map(parentOf);
      return [name, parents.filter((id) => id === caller).length, parents.filter((id) => id === opener).length];
    });
    expect(counts).toEqual([
      ['token', 2, 1],
      ['interceptor', 2, 1],
      ['request', 3, 0],
      ['headers', 1, 0],
      ['end', 1, 1],
    ]);
  });

  it('is active again where the caller goes on', async () => {
    const told = collectTelemetry();
    const { echo } = await toldScene();
    await told.within('caller', async () => {
      const active = trace.getSpan(context.active());
      await firstValueFrom(echo.unary({}));
      expect(trace.getSpan(context.active())).toBe(active);
      for await (const _message of echo.serverStream({ number: 2 })) {
        expect(trace.getSpan(context.active())).toBe(active);
      }
    });
  });
});
