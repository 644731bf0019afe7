import { Metadata } from '@grpc/grpc-js';
import { SpanKind, SpanStatusCode, context, propagation, trace } from '@opentelemetry/api';
import { hrTimeToMilliseconds } from '@opentelemetry/core';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, mergeMap, toArray, tap } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { reset, startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { hedged } from '../calls/service-configs.js';
import { EACH_METHOD, callOnce, failureOf, failureOnceSeen, protoName, upTo } from '../calls/support.js';
import { collectTelemetry } from './collected-telemetry.js';
import { bytesOfEcho, instrumentedClient, instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

type Telemetry = ReturnType<typeof collectTelemetry>;

const SENT = 'Sent.testing.v1.Echo.Unary';
const ATTEMPT = 'Attempt.testing.v1.Echo.Unary';
const spansNamed = (telemetry: Telemetry, name: string): ReadableSpan[] =>
  telemetry.spans().filter((span) => span.name === name);
const idOf = (span: ReadableSpan) => span.spanContext().spanId;
const parentOf = (span: ReadableSpan) => span.parentSpanContext?.spanId;
const traceparent = (call: { readonly metadata: Metadata } | undefined) => call?.metadata.get('traceparent');
const headerOf = (span: ReadableSpan) => `00-${span.spanContext().traceId}-${idOf(span)}-01`;

describe('spans of a call', () => {
  // gRFC A72, "Tracing Information", "At the client".
  // https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md#tracing-information
  it.each(EACH_METHOD)(
    'creates the spans of a call to %s with the names, attributes, events, and status of gRFC A72',
    async (method) => {
      const telemetry = collectTelemetry();
      const { client, echo, server } = await instrumentedScene();
      await client.waitForReady();
      const name = protoName(method);
      const messages = await lastValueFrom(callOnce(echo, method).pipe(toArray()));
      const [sent] = spansNamed(telemetry, `Sent.testing.v1.Echo.${name}`);
      const [attempt] = spansNamed(telemetry, `Attempt.testing.v1.Echo.${name}`);
      expect(telemetry.spans()).toHaveLength(2);
      expect(sent).toMatchObject({ kind: SpanKind.INTERNAL, status: { code: SpanStatusCode.OK }, events: [] });
      expect(parentOf(sent!)).toBeUndefined();
      expect(attempt).toMatchObject({ kind: SpanKind.CLIENT, status: { code: SpanStatusCode.OK } });
      const [host, port] = server.url.split(':');
      // OpenTelemetry's conventions for RPC.
      const common = {
        'rpc.system': 'grpc',
        'rpc.service': 'testing.v1.Echo',
        'rpc.method': name,
        'rpc.grpc.status_code': 0,
        'server.address': host,
        'server.port': Number(port),
      };
      expect(sent!.attributes).toEqual(common);
      expect(attempt!.attributes).toEqual({
        ...common,
        'previous-rpc-attempts': 0,
        'transparent-retry': false,
        'network.peer.address': host,
        'network.peer.port': Number(port),
        'rpc.grpc.status_code': 0,
      });
      expect(parentOf(attempt!)).toBe(idOf(sent!));
      expect(attempt!.events.map(({ name: event, attributes }) => [event, attributes])).toEqual([
        ['Outbound message', { 'sequence-number': 0, 'message-size': bytesOfEcho({ text: 'x' }) }],
        ...messages.map((message, index) => [
          'Inbound message',
          { 'sequence-number': index, 'message-size': bytesOfEcho(message) },
        ]),
      ]);
    },
  );

  it('creates one span per call and one per attempt, and sends the IDs of the attempt span in traceparent', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    server.script('Unary', [
      { status: 'UNAVAILABLE', details: 'busy', pushback: 1 },
      { status: 'UNAVAILABLE', details: 'busy', pushback: 1 },
      { message: {} },
    ]);
    await firstValueFrom(echo.unary({}));
    const [sent] = spansNamed(telemetry, SENT);
    const attempts = spansNamed(telemetry, ATTEMPT);
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

  it('marks the span of a transparent retry, and does not count the refused attempt as a previous one', async () => {
    const telemetry = collectTelemetry();
    const refusing = await startHttp2Server((stream, number) => {
      stream.resume();
      if (number === 1) reset(stream, 'NGHTTP2_REFUSED_STREAM');
      else succeed(stream);
    });
    const { echo } = await instrumentedClient(refusing.url, { trustRefusedStreams: true });
    await lastValueFrom(echo.unsafeUnary({}));
    const attempts = spansNamed(telemetry, 'Attempt.testing.v1.Echo.UnsafeUnary');
    expect(attempts.map(({ attributes }) => attributes)).toMatchObject([
      { 'previous-rpc-attempts': 0, 'transparent-retry': false },
      { 'previous-rpc-attempts': 0, 'transparent-retry': true },
    ]);
  });

  it('records no transparent retry for an attempt that never started because the connection was lost first', async () => {
    const telemetry = collectTelemetry();
    const requested: ((metadata: Metadata) => void)[] = [];
    const { client, echo, server } = await instrumentedScene({
      metadata: () => new Promise<Metadata>((resolve) => requested.push(resolve)),
    });
    await client.waitForReady();
    const answer = firstValueFrom(echo.unsafeUnary({}));
    await waitFor(() => requested.length === 1);
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    requested[0]!(new Metadata());
    await waitFor(() => client.snapshot().waiting === 1);
    await server.restart();
    await waitFor(() => requested.length === 2);
    requested[1]!(new Metadata());
    await answer;
    const attempts = spansNamed(telemetry, 'Attempt.testing.v1.Echo.UnsafeUnary');
    expect(attempts.map(({ attributes }) => attributes)).toMatchObject([
      { 'previous-rpc-attempts': 0, 'transparent-retry': false },
    ]);
    expect(await telemetry.recorded('grpc.client.call.transparent_retries')).toBeUndefined();
  });

  it('marks a resent hedge as a transparent retry in its span and in the metrics', async () => {
    const telemetry = collectTelemetry();
    const refusing = await startHttp2Server((stream, number) => {
      stream.resume();
      if (number === 2) reset(stream, 'NGHTTP2_REFUSED_STREAM');
      if (number === 3) succeed(stream);
    });
    const { echo } = await instrumentedClient(refusing.url, { trustRefusedStreams: true, ...hedged('0.02s', 2) });
    await lastValueFrom(echo.unary({}));
    expect(refusing.streams).toHaveLength(3);
    expect(
      spansNamed(telemetry, ATTEMPT).filter(({ attributes }) => attributes['transparent-retry'] === true),
    ).toHaveLength(1);
    expect(await telemetry.recorded('grpc.client.call.hedges')).toMatchObject({ sum: 1 });
    expect(await telemetry.recorded('grpc.client.call.transparent_retries')).toMatchObject({ sum: 1 });
  });

  it('creates a span per hedged attempt, and ends the span of the losing attempt as CANCELLED', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene(hedged('0.02s', 2));
    server.script('Unary', ({ previousAttempts }: ScriptedCall) =>
      previousAttempts === 0 ? { never: true } : { message: {} },
    );
    await firstValueFrom(echo.unary({}));
    const attempts = spansNamed(telemetry, ATTEMPT).sort((a, b) => a.status.code - b.status.code);
    expect(attempts.map(({ attributes, status }) => [attributes['previous-rpc-attempts'], status])).toEqual([
      [1, { code: SpanStatusCode.OK }],
      [0, { code: SpanStatusCode.ERROR, message: 'CANCELLED' }],
    ]);
    expect(new Set(server.calls().map((call) => String(traceparent(call)))).size).toBe(2);
  });

  it('adds the event of a delayed pick to the attempt span if the call waited for the channel', async () => {
    const telemetry = collectTelemetry();
    const { client, echo, server } = await instrumentedScene({ outageGraceMs: 10_000 });
    await firstValueFrom(echo.unary({}));
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    const call = firstValueFrom(echo.unary({}));
    await waitFor(() => client.snapshot().waiting === 1);
    const waitedAt = Date.now();
    await waitFor(() => Date.now() > waitedAt);
    await server.restart();
    await call;
    const [, late] = spansNamed(telemetry, ATTEMPT);
    expect(late!.events[0]!.name).toBe('Delayed LB pick complete');
    const [, sent] = spansNamed(telemetry, SENT);
    // The span of the call includes the wait, and the span of the attempt starts after it.
    expect(hrTimeToMilliseconds(sent!.startTime)).toBeLessThanOrEqual(waitedAt);
    expect(hrTimeToMilliseconds(late!.startTime)).toBeGreaterThan(waitedAt);
  });

  it('ends the spans of a call and its attempts with their own statuses on failure, unsubscribe, deadline, or drain', async () => {
    const telemetry = collectTelemetry();
    const { client, echo, server, close } = await instrumentedScene();
    server.script('Unary', { status: 'NOT_FOUND', details: 'no such thing' });
    await failureOf(echo.unary({}));
    server.script('Unary', { never: true });
    const subscription = echo.unary({}).subscribe();
    await waitFor(() => server.counts().open === 1);
    subscription.unsubscribe();
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
      spansNamed(telemetry, name).map(({ status }) => status.message?.replace(/[\d.]+(s.*| ms)/, '…'));
    expect(texts(SENT)).toEqual([
      'NOT_FOUND, no such thing',
      'CANCELLED, The reader unsubscribed',
      ...Array<string>(calls).fill('DEADLINE_EXCEEDED, Deadline exceeded after …'),
      'DEADLINE_EXCEEDED, Deadline exceeded after …',
      'UNAVAILABLE, The client was shut down: the call did not finish within …; to give calls more time, raise drain.timeoutMs of ResilientGrpcModule.forRoot()',
    ]);
    // One call ended while it waited, without an attempt.
    const late = texts(ATTEMPT).filter((text) => text?.startsWith('DEADLINE_EXCEEDED'));
    expect(texts(ATTEMPT)).toEqual(['NOT_FOUND, no such thing', 'CANCELLED', ...late, 'CANCELLED']);
    expect(new Set(late)).toEqual(new Set(['DEADLINE_EXCEEDED, Deadline exceeded after …']));
    expect(late.length).toBeLessThanOrEqual(calls);
  });

  it('ends the spans of a call if its `for await` loop exits early or its request source fails', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    server.script('ServerStream', { messages: upTo(3), never: true });
    for await (const message of echo.serverStream({})) if (message.number === 2) break;
    const requests = (async function* () {
      yield { text: 'x' };
      await Promise.resolve();
      throw new Error('the source broke');
    })();
    await lastValueFrom(echo.bidi(requests)).catch(() => undefined);
    expect(spansNamed(telemetry, 'Sent.testing.v1.Echo.ServerStream').map(({ status }) => status.message)).toEqual([
      'CANCELLED, The reader unsubscribed',
    ]);
    expect(spansNamed(telemetry, 'Sent.testing.v1.Echo.Bidi').map(({ status }) => status.message)).toEqual([
      'CANCELLED, The request source failed',
    ]);
    expect(spansNamed(telemetry, 'Attempt.testing.v1.Echo.ServerStream')).toHaveLength(1);
  });

  it('ends the span of a stream as OK and that of its attempt as CANCELLED if the shutdown completes the stream', async () => {
    const telemetry = collectTelemetry();
    const { echo, server, close } = await instrumentedScene({ methods: { ServerStream: { onDrain: 'complete' } } });
    server.script('ServerStream', { messages: upTo(1), never: true });
    let received = 0;
    const feed = lastValueFrom(echo.serverStream({}).pipe(tap(() => (received += 1))));
    await waitFor(() => received === 1);
    await close();
    await feed;
    expect(spansNamed(telemetry, 'Sent.testing.v1.Echo.ServerStream')[0]!.status).toEqual({ code: SpanStatusCode.OK });
    expect(spansNamed(telemetry, 'Attempt.testing.v1.Echo.ServerStream')[0]!.status.message).toBe('CANCELLED');
  });

  it('injects the span of the attempt through a propagator that reads only the active context', async () => {
    const telemetry = collectTelemetry();
    propagation.disable();
    propagation.setGlobalPropagator({
      fields: () => ['active-span'],
      extract: (extracted) => extracted,
      inject: (_context, carrier, setter) => {
        setter.set(carrier, 'active-span', trace.getActiveSpan()?.spanContext().spanId ?? 'none');
      },
    });
    const { echo, server } = await instrumentedScene();
    await firstValueFrom(echo.unary({}));
    const [attempt] = spansNamed(telemetry, ATTEMPT);
    expect(server.calls()[0]!.metadata.get('active-span')).toEqual([idOf(attempt!)]);
  });

  it('does not fail the call if a propagator throws or injects invalid metadata', async () => {
    const telemetry = collectTelemetry();
    propagation.disable();
    let injected: 'throw' | 'nonsense' = 'nonsense';
    propagation.setGlobalPropagator({
      fields: () => ['baggage'],
      extract: (extracted) => extracted,
      inject: (_context, carrier, setter) => {
        if (injected === 'throw') throw new Error('no');
        setter.set(carrier, 'baggage', 'tee=grün\u{1f375}');
        setter.set(carrier, 'grpc-trace-bin', Buffer.from('trace').toString('base64'));
      },
    });
    const { echo, server } = await instrumentedScene();
    await firstValueFrom(echo.unary({}));
    injected = 'throw';
    await firstValueFrom(echo.unary({}));
    const [first, second] = server.calls();
    expect(first!.metadata.get('baggage')).toEqual([]);
    expect(first!.metadata.get('grpc-trace-bin')).toEqual([Buffer.from('trace')]);
    expect(second!.metadata.get('grpc-trace-bin')).toEqual([]);
    expect(spansNamed(telemetry, SENT)).toHaveLength(2);
  });

  it('does not change metadata that the caller shares between calls', async () => {
    const telemetry = collectTelemetry();
    const shared = new Metadata();
    shared.set('x-tenant', 'shop');
    const { echo, server } = await instrumentedScene();
    await Promise.all([1, 2].map(() => firstValueFrom(echo.unary({}, shared))));
    expect(shared.getMap()).toEqual({ 'x-tenant': 'shop' });
    expect(server.calls().map(({ metadata }) => metadata.get('x-tenant'))).toEqual([['shop'], ['shop']]);
    expect(new Set(server.calls().map((call) => String(traceparent(call)))).size).toBe(2);
    expect(spansNamed(telemetry, ATTEMPT)).toHaveLength(2);
  });

  it("replaces the caller's traceparent header with that of the attempt span", async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    const metadata = new Metadata();
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    await firstValueFrom(echo.unary({}, metadata));
    expect(traceparent(server.calls()[0])).toEqual([headerOf(spansNamed(telemetry, ATTEMPT)[0]!)]);
  });
});

describe('parent span of a call', () => {
  it('starts the span of a call as a child of the span that is active when the caller subscribes', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene();
    const call = await telemetry.within('created', () => Promise.resolve(echo.unary({})));
    await telemetry.within('subscribed', () => firstValueFrom(call));
    expect(parentOf(spansNamed(telemetry, SENT)[0]!)).toBe(idOf(await telemetry.span('subscribed')));
  });

  it('starts the span of a call as a child of the span that was active when the call was created, if no span is active when the caller subscribes', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene();
    let call = echo.unary({});
    await telemetry.within('created', () => {
      call = echo.unary({});
      return Promise.resolve();
    });
    await firstValueFrom(call);
    expect(parentOf(spansNamed(telemetry, SENT)[0]!)).toBe(idOf(await telemetry.span('created')));
  });

  it('takes the parent span of a call from the request that makes the call, even if another request opens the connection', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene();
    // The first request opens the connection, and the calls of the other requests wait for it.
    const requests = Array.from({ length: 5 }, (_, index) => `request ${index}`);
    await Promise.all([
      ...requests.map((name) =>
        telemetry.within(name, () =>
          lastValueFrom(
            echo.serverStream({ number: 1 }).pipe(
              mergeMap(() => {
                telemetry.nested(`work of ${name}`);
                return echo.unary({ text: name });
              }),
            ),
          ),
        ),
      ),
      // A call without an active span starts its own trace.
      lastValueFrom(echo.serverStream({ number: 1 }).pipe(mergeMap(() => echo.unsafeUnary({})))),
    ]);
    for (const name of requests) {
      const { traceId } = (await telemetry.span(name)).spanContext();
      const traced = telemetry.spans().filter((span) => span.spanContext().traceId === traceId);
      expect(traced.map((span) => span.name).sort()).toEqual(
        [
          name,
          `work of ${name}`,
          SENT,
          ATTEMPT,
          'Sent.testing.v1.Echo.ServerStream',
          'Attempt.testing.v1.Echo.ServerStream',
        ].sort(),
      );
      const calls = traced.filter((span) => span.name.startsWith('Sent.') || span.name.startsWith('work'));
      expect(calls.map(parentOf)).toEqual(calls.map(() => idOf(traced.find((span) => span.name === name)!)));
    }
    expect(parentOf(spansNamed(telemetry, 'Sent.testing.v1.Echo.UnsafeUnary')[0]!)).toBeUndefined();
  });

  it('keeps the parent span active in the request source, metadata functions, and callbacks of the call, even on a retry', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene({
      methods: { ClientStream: { idempotent: true } },
      metadata: () => {
        telemetry.nested('token');
        return {};
      },
      interceptors: [
        {
          onAttempt: () => {
            telemetry.nested('interceptor');
          },
          onEnd: () => {
            telemetry.nested('end');
          },
        },
      ],
    });
    server.script('ClientStream', [{ status: 'UNAVAILABLE', pushback: 5, requests: 'leave' }, { message: {} }]);
    const requests = (async function* () {
      for (let number = 0; number < 3; number++) {
        telemetry.nested('request');
        yield await Promise.resolve({ number });
      }
    })();
    // This call opens the connection for which the other call waits.
    const opened = telemetry.within('opener', () => firstValueFrom(echo.unary({})));
    await telemetry.within('caller', () =>
      firstValueFrom(
        echo.clientStream(requests, {
          onHeaders: () => {
            telemetry.nested('headers');
          },
        }),
      ),
    );
    await opened;
    expect(spansNamed(telemetry, 'Attempt.testing.v1.Echo.ClientStream')).toHaveLength(2);
    const caller = idOf(await telemetry.span('caller'));
    const opener = idOf(await telemetry.span('opener'));
    const counts = ['token', 'interceptor', 'request', 'headers', 'end'].map((name) => {
      const parents = spansNamed(telemetry, name).map(parentOf);
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

  it('keeps the parent span active after the call and in a loop over the messages', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene();
    await telemetry.within('caller', async () => {
      const active = trace.getSpan(context.active());
      await firstValueFrom(echo.unary({}));
      expect(trace.getSpan(context.active())).toBe(active);
      for await (const _message of echo.serverStream({ number: 2 })) {
        expect(trace.getSpan(context.active())).toBe(active);
      }
    });
  });
});
