import { gzipSync } from 'node:zlib';
import { compressionAlgorithms } from '@grpc/grpc-js';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { captureLeaks, waitFor, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { NEVER, concat, firstValueFrom, lastValueFrom, of, toArray } from 'rxjs';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { EACH_METHOD, callOnce, failureOf, failureOnceSeen, protoName, startServer } from '../calls/support.js';
import { reset, startHttp2Server, succeed } from '../calls/raw-http2-server.js';
import { collectTelemetry } from './collected-telemetry.js';
import { bytesOfEcho, hedged, instrumentedClient, instrumentedScene } from './instrumented-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

const TRANSPARENT_RETRIES = 'grpc.client.call.transparent_retries';

describe('gRPC metrics of a client', () => {
  it('reports an adaptive concurrency limit, and a hedging delay once there are enough calls to compute the delay from latency', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene({
      maxConcurrentCalls: 'adaptive',
      methods: { Unary: { hedge: 'p95' } },
      serviceConfig: {
        methodConfig: [
          { name: [{}], hedgingPolicy: { maxAttempts: 2, hedgingDelay: '60s', nonFatalStatusCodes: ['UNAVAILABLE'] } },
        ],
      },
    });
    const unary = { 'grpc.method': 'testing.v1.Echo/Unary' };
    expect(await telemetry.gauge('resilient_grpc.client.concurrency_limit')).toBe(20);
    expect(await telemetry.gauge('resilient_grpc.client.hedging_delay', unary)).toBeUndefined();
    await waitFor(async () => {
      await Promise.all(Array.from({ length: 20 }, () => firstValueFrom(echo.unary({}))));
      return (await telemetry.gauge('resilient_grpc.client.hedging_delay', unary)) !== undefined;
    });
    expect(await telemetry.gauge('resilient_grpc.client.hedging_delay', unary)).toBeGreaterThan(0);
  });

  it.each(EACH_METHOD)('counts calls, attempts, and bytes of %s', async (method) => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    const [message] = (await lastValueFrom(callOnce(echo, method).pipe(toArray()))) as [object | undefined];
    const attributes = {
      'grpc.method': `testing.v1.Echo/${protoName(method)}`,
      'grpc.target': `dns:///${server.url}`,
      'grpc.status': 'OK',
    };
    expect(await telemetry.recorded('grpc.client.call.duration', attributes)).toMatchObject({ count: 1 });
    expect(await telemetry.recorded('grpc.client.attempt.duration', attributes)).toMatchObject({ count: 1 });
    expect(await telemetry.count('grpc.client.attempt.started')).toBe(1);
    const sent = await telemetry.recorded('grpc.client.attempt.sent_total_compressed_message_size', attributes);
    expect(sent).toMatchObject({ count: 1, sum: bytesOfEcho({ text: 'x' }) });
    const received = await telemetry.recorded('grpc.client.attempt.rcvd_total_compressed_message_size', attributes);
    expect(received).toMatchObject({ count: 1, sum: message === undefined ? 0 : bytesOfEcho(message) });
    for (const name of ['retries', 'transparent_retries', 'hedges', 'retry_delay']) {
      expect(await telemetry.recorded(`grpc.client.call.${name}`)).toBeUndefined();
    }
  });

  it('counts request bytes before compression', async () => {
    const telemetry = collectTelemetry();
    const options = { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip };
    const { echo } = await instrumentedScene({ channelOptions: options });
    // Only the request is compressed, because a grpc-js server does not compress its responses.
    const request = { text: 'a'.repeat(20_000) };
    await firstValueFrom(echo.unary(request));
    const sent = await telemetry.recorded('grpc.client.attempt.sent_total_compressed_message_size');
    expect(sent?.sum).toBe(bytesOfEcho(request));
    const received = await telemetry.recorded('grpc.client.attempt.rcvd_total_compressed_message_size');
    expect(received?.sum).toBe(bytesOfEcho(request));
    const { events } = await telemetry.span('Attempt.testing.v1.Echo.Unary');
    expect(events.map(({ name, attributes }) => [name, attributes])).toEqual([
      ['Delayed LB pick complete', {}],
      ['Outbound message', { 'sequence-number': 0, 'message-size': bytesOfEcho(request) }],
      ['Inbound message', { 'sequence-number': 0, 'message-size': bytesOfEcho(request) }],
    ]);
  });

  it('counts response bytes after decompression', async () => {
    const telemetry = collectTelemetry();
    const message = gzipSync(Buffer.concat([Buffer.from([0x0a, 0x80, 0x08]), Buffer.alloc(1_024, 'a')]));
    const frame = Buffer.alloc(5);
    frame.writeUInt8(1, 0);
    frame.writeUInt32BE(message.length, 1);
    const server = await startHttp2Server((stream) => {
      stream.resume();
      const headers = { ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' };
      stream.respond(headers, { waitForTrailers: true });
      stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.concat([frame, message]));
    });
    const { echo } = await instrumentedClient(server.url);
    expect((await firstValueFrom(echo.unary({}))).text).toHaveLength(1_024);
    const received = await telemetry.recorded('grpc.client.attempt.rcvd_total_compressed_message_size');
    expect(received?.sum).toBe(1_027);
    const { events } = await telemetry.span('Attempt.testing.v1.Echo.Unary');
    expect(events.slice(2).map(({ name, attributes }) => [name, attributes])).toEqual([
      ['Inbound message', { 'sequence-number': 0, 'message-size': 1_027 }],
    ]);
  });

  it('records the status of the call and of each attempt', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    const countOf = async (scope: 'call' | 'attempt', status: string) =>
      (await telemetry.recorded(`grpc.client.${scope}.duration`, { 'grpc.status': status }))?.count ?? 0;
    server.script('Unary', { status: 'NOT_FOUND', details: 'no such thing' });
    await failureOf(echo.unary({}));
    expect([await countOf('call', 'NOT_FOUND'), await countOf('attempt', 'NOT_FOUND')]).toEqual([1, 1]);
    server.script('Unary', { never: true });
    const { calls } = await failureOnceSeen(server, () => echo.unary({}, { timeoutMs: 50 }));
    expect(await countOf('call', 'DEADLINE_EXCEEDED')).toBe(calls);
    const late = await countOf('attempt', 'DEADLINE_EXCEEDED');
    expect(late).toBeGreaterThanOrEqual(1);
    expect(late).toBeLessThanOrEqual(calls);
    // Waits for the resets of the calls that timed out, because the server counts these calls as open until then.
    await waitFor(() => server.counts().open === 0);
    const subscription = echo.unary({}).subscribe();
    await waitFor(() => server.counts().open === 1);
    subscription.unsubscribe();
    expect([await countOf('call', 'CANCELLED'), await countOf('attempt', 'CANCELLED')]).toEqual([1, 1]);
    // grpc-js reports this reset as INTERNAL; the library reports it as UNAVAILABLE.
    const cutting = await startHttp2Server((stream) => {
      reset(stream, 'NGHTTP2_NO_ERROR');
    });
    await failureOf((await instrumentedClient(cutting.url)).echo.unsafeUnary({}));
    expect([await countOf('call', 'UNAVAILABLE'), await countOf('attempt', 'UNAVAILABLE')]).toEqual([1, 1]);
    expect(await telemetry.count('grpc.client.attempt.started')).toBe(3 + late);
  });

  it('records the status of a call that is rejected before its first attempt, and counts no attempt', async () => {
    const telemetry = collectTelemetry();
    const { echo, client } = await instrumentedScene({ maxSendMessageLength: 10 });
    await failureOf(echo.unary({}, { signal: AbortSignal.abort() }));
    await failureOf(echo.unary({ text: 'longer than that' }));
    await client.close();
    await failureOf(echo.unary({}));
    const duration = (status: string) => telemetry.recorded('grpc.client.call.duration', { 'grpc.status': status });
    expect(await duration('CANCELLED')).toMatchObject({ count: 1 });
    expect(await duration('RESOURCE_EXHAUSTED')).toMatchObject({ count: 1 });
    expect(await duration('UNAVAILABLE')).toMatchObject({ count: 1 });
    expect(await telemetry.count('grpc.client.attempt.started')).toBe(0);
  });

  it('counts retries and records the time without an open attempt', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    server.script('Unary', [
      { status: 'UNAVAILABLE', pushback: 40 },
      { status: 'UNAVAILABLE', pushback: 40 },
      { message: {} },
    ]);
    await firstValueFrom(echo.unary({}));
    expect(await telemetry.recorded('grpc.client.call.retries')).toMatchObject({ count: 1, sum: 2 });
    const delay = await telemetry.recorded('grpc.client.call.retry_delay');
    expect(delay?.count).toBe(1);
    expect(delay?.sum).toBeGreaterThan(0.07);
    const call = await telemetry.recorded('grpc.client.call.duration');
    expect(delay?.sum).toBeLessThan(call!.sum!);
    expect(await telemetry.count('grpc.client.attempt.started')).toBe(3);
    const unavailable = { 'grpc.status': 'UNAVAILABLE' };
    expect(await telemetry.recorded('grpc.client.attempt.duration', unavailable)).toMatchObject({ count: 2 });
    expect(await telemetry.recorded(TRANSPARENT_RETRIES)).toBeUndefined();
  });

  it('counts hedges and records a losing attempt as CANCELLED', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene({ serviceConfig: hedged });
    server.script('ServerStream', ({ previousAttempts }: ScriptedCall) =>
      previousAttempts === 0 ? { never: true } : { messages: [{ number: 1 }] },
    );
    await lastValueFrom(echo.serverStream({}));
    expect(await telemetry.recorded('grpc.client.call.hedges')).toMatchObject({ count: 1, sum: 1 });
    expect(await telemetry.recorded('grpc.client.call.retries')).toBeUndefined();
    const lost = { 'grpc.status': 'CANCELLED' };
    expect(await telemetry.recorded('grpc.client.attempt.duration', lost)).toMatchObject({ count: 1 });
    expect(await telemetry.recorded('grpc.client.call.duration', { 'grpc.status': 'OK' })).toMatchObject({ count: 1 });
  });

  it.each<[string, string]>([
    ['GOAWAY NO_ERROR', 'goaway 0'],
    ['GOAWAY ENHANCE_YOUR_CALM', 'goaway 11'],
    ['unknown', 'goaway 100000'],
    ['connection reset', 'reset'],
    ['unknown', 'end'],
    ['subchannel shutdown', 'close'],
  ])('records disconnect reason %s after %s', async (reason, how) => {
    const telemetry = collectTelemetry();
    const peer = await startHttp2Server(succeed);
    const { echo, close } = await instrumentedClient(peer.url);
    await firstValueFrom(echo.unsafeUnary({}));
    expect(await telemetry.count('grpc.subchannel.open_connections')).toBe(1);
    const [session] = peer.sessions;
    if (how.startsWith('goaway')) session!.goaway(Number(how.slice(7)));
    // Resets the TCP connection, because closing the HTTP/2 session would send GOAWAY.
    else if (how === 'reset') session!.socket.resetAndDestroy();
    else if (how === 'end') session!.socket.destroySoon();
    else await close();
    await waitFor(async () => (await telemetry.count('grpc.subchannel.disconnections')) === 1);
    expect(await telemetry.count('grpc.subchannel.disconnections', { 'grpc.disconnect_error': reason })).toBe(1);
    expect(await telemetry.count('grpc.subchannel.open_connections', { 'grpc.security_level': 'none' })).toBe(0);
  });
});

describe('resilient_grpc metrics of a client', () => {
  const CLIENT = { 'resilient_grpc.client': 'echo' };

  it('records an outage, its waiting calls, and the outcome of each wait', async () => {
    const telemetry = collectTelemetry();
    const { client, echo, server } = await instrumentedScene({ outageGraceMs: 10_000 });
    await firstValueFrom(echo.unary({}));
    expect(await telemetry.gauge('resilient_grpc.client.addresses', CLIENT)).toBe(1);
    await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    const patient = firstValueFrom(echo.unary({}));
    const subscription = echo.unary({}).subscribe();
    const refused = failureOf(echo.unary({}, { waitForReady: false }));
    await waitFor(async () => (await telemetry.gauge('resilient_grpc.client.waiting_calls', CLIENT)) === 2);
    await waitFor(async () => (await telemetry.gauge('resilient_grpc.client.oldest_wait', CLIENT))! > 0.02);
    await refused;
    subscription.unsubscribe();
    expect(await telemetry.count('resilient_grpc.client.outages', CLIENT)).toBe(1);
    expect(await telemetry.recorded('resilient_grpc.client.outage.duration')).toBeUndefined();
    await server.restart();
    await patient;
    await waitFor(
      async () => (await telemetry.recorded('resilient_grpc.client.outage.duration', CLIENT)) !== undefined,
    );
    for (const outcome of ['released', 'refused', 'abandoned']) {
      const attributes = { ...CLIENT, 'resilient_grpc.outcome': outcome, 'grpc.method': 'testing.v1.Echo/Unary' };
      expect(await telemetry.recorded('resilient_grpc.client.wait.duration', attributes)).toMatchObject({
        count: outcome === 'released' ? 2 : 1,
      });
    }
    expect(await telemetry.gauge('resilient_grpc.client.waiting_calls', CLIENT)).toBe(0);
    expect(await telemetry.gauge('resilient_grpc.client.oldest_wait', CLIENT)).toBe(0);
  });

  it('counts failures that are not retried, by reason, and reports the retry budget', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    expect(await telemetry.gauge('resilient_grpc.client.retry_budget', CLIENT)).toBe(1);
    server.script('Unary', { status: 'UNAVAILABLE', pushback: 1 });
    server.script('UnsafeUnary', { status: 'NOT_FOUND' });
    await failureOf(echo.unary({}));
    await failureOf(echo.unsafeUnary({}));
    const reasons = async (reason: string) =>
      telemetry.count('resilient_grpc.client.not_retried', { ...CLIENT, 'resilient_grpc.reason': reason });
    expect(await reasons('attempts-exhausted')).toBe(1);
    expect(await telemetry.count('resilient_grpc.client.not_retried', CLIENT)).toBe(2);
    const left = await telemetry.gauge('resilient_grpc.client.retry_budget', CLIENT);
    expect(left).toBeGreaterThan(0.5);
    expect(left).toBeLessThan(0.8);
  });

  it('reports the number of open streams and the age of the oldest stream without taking a snapshot of the client', async () => {
    const telemetry = collectTelemetry();
    const { client, echo, server } = await instrumentedScene();
    server.script('ServerStream', { messages: [{ number: 1 }], never: true });
    const reader = echo.serverStream({}).subscribe();
    // With thousands of streams, a snapshot per collection would be too expensive.
    const snapshot = vi.spyOn(client, 'snapshot');
    const attributes = { ...CLIENT, 'grpc.method': 'testing.v1.Echo/ServerStream' };
    expect(await telemetry.count('resilient_grpc.client.streams', attributes)).toBe(1);
    await waitFor(async () => (await telemetry.gauge('resilient_grpc.client.oldest_stream', CLIENT))! > 0.02);
    reader.unsubscribe();
    expect(await telemetry.count('resilient_grpc.client.streams', attributes)).toBe(0);
    expect(await telemetry.gauge('resilient_grpc.client.oldest_stream', CLIENT)).toBe(0);
    expect(snapshot).not.toHaveBeenCalled();
  });

  it('counts stream resumes with progress and without progress', async () => {
    const telemetry = collectTelemetry();
    const { echo, server } = await instrumentedScene();
    const calls: number[] = [];
    server.script('ServerStream', () => {
      calls.push(calls.length);
      if (calls.length === 1) return { messages: [{ number: 1 }], status: 'UNAVAILABLE' };
      if (calls.length === 2) return { status: 'UNAVAILABLE', headers: true };
      return { messages: [{ number: 2 }] };
    });
    const feed = resumable(() => echo.serverStream({}, { retry: false }), {
      cursor: ({ number }) => number,
      seed: 0,
      backoff: { initialBackoffMs: 10, maxBackoffMs: 20 },
    });
    expect(await lastValueFrom(feed.pipe(toArray()))).toHaveLength(2);
    const resumes = (progress: boolean) =>
      telemetry.count('resilient_grpc.client.resumes', { ...CLIENT, 'resilient_grpc.progress': progress });
    expect(await resumes(true)).toBe(1);
    expect(await resumes(false)).toBe(1);
    expect(await telemetry.count('resilient_grpc.client.streams')).toBe(0);
    // Each call of the stream has a span. Each span after the first has a link to the span of the previous call.
    const spans = telemetry.spans().filter(({ name }) => name === 'Sent.testing.v1.Echo.ServerStream');
    expect(spans.map(({ attributes }) => attributes['resilient_grpc.resumes'])).toEqual([undefined, 1, 2]);
    expect(spans.map(({ links }) => links.map(({ context }) => context.spanId))).toEqual([
      [],
      [spans[0]!.spanContext().spanId],
      [spans[1]!.spanContext().spanId],
    ]);
  });

  it('counts ejections by rule (gRFC A91)', async () => {
    const telemetry = collectTelemetry();
    const servers = await Promise.all([startServer(), startServer(), startServer()]);
    const { echo } = await instrumentedClient(`ipv4:${servers.map(({ url }) => url).join(',')}`, {
      loadBalancing: [
        {
          outlier_detection: {
            interval: '0.1s',
            failurePercentageEjection: { threshold: 50, minimumHosts: 2, requestVolume: 5 },
            childPolicy: [{ round_robin: {} }],
          },
        },
      ],
    });
    servers[0].script('Unary', { status: 'UNAVAILABLE' });
    const ejections = (name: string) => telemetry.count(`grpc.lb.outlier_detection.ejections_${name}`);
    await waitFor(
      async () => {
        await Promise.allSettled(Array.from({ length: 60 }, () => firstValueFrom(echo.unary({}))));
        return (await ejections('enforced_total')) === 1;
      },
      { timeoutMs: 30_000 },
    );
    expect(await ejections('enforced_failure_percentage')).toBe(1);
    expect(await ejections('detected_failure_percentage')).toBe(1);
    const byRule = { 'resilient_grpc.reason': 'failure-percentage' };
    expect(await telemetry.count('resilient_grpc.client.ejections', byRule)).toBe(1);
  });

  it('records replaced connections, the drain, and the calls that the drain cut off, except those that onDrain ended', async () => {
    const telemetry = collectTelemetry();
    const { client, echo, server, close } = await instrumentedScene({
      connections: { maxAgeMs: 1_000 },
      methods: { ServerStream: { onDrain: 'fail' } },
    });
    server.script('Unary', { never: true });
    server.script('ServerStream', { never: true });
    const cut = failureOf(echo.unary({}));
    const ended = failureOf(echo.serverStream({}));
    await waitFor(async () => (await telemetry.count('resilient_grpc.client.replacements')) > 0);
    const byAge = { ...CLIENT, 'resilient_grpc.reason': 'age' };
    expect(await telemetry.count('resilient_grpc.client.replacements', byAge)).toBeGreaterThan(0);
    await close();
    await Promise.all([cut, ended]);
    expect(await telemetry.count('resilient_grpc.client.drain.cut_off_calls', CLIENT)).toBe(1);
    const drain = await telemetry.recorded('resilient_grpc.client.drain.duration', CLIENT);
    expect(drain?.count).toBe(1);
    expect(drain?.sum).toBeGreaterThan(0.2);
    expect(await telemetry.recorded('grpc.client.call.duration', { 'grpc.status': 'UNAVAILABLE' })).toMatchObject({
      count: 1,
    });
    expect(await telemetry.gauge('resilient_grpc.client.waiting_calls')).toBe(0);
    // The final values of the client were stored when the client closed, so later collections do not read them from the client.
    const figures = vi.spyOn(client as unknown as { figures(): unknown }, 'figures');
    await telemetry.instruments();
    expect(figures).not.toHaveBeenCalled();
  });

  it('records a call as CANCELLED if the caller unsubscribes while the request stream is open', async () => {
    const telemetry = collectTelemetry();
    const { echo } = await instrumentedScene();
    const requests = concat(of({ text: 'x' }), NEVER);
    const call = echo.bidi(requests).subscribe();
    await waitFor(async () => (await telemetry.count('resilient_grpc.client.streams')) === 1);
    call.unsubscribe();
    expect(await telemetry.recorded('grpc.client.call.duration', { 'grpc.status': 'CANCELLED' })).toMatchObject({
      count: 1,
    });
  });
});
