import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod, Payload, RpcException } from '@nestjs/microservices';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import type { GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { NEVER, Observable, concat, defer, map, of, startWith, tap, throwError, toArray } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { bytesOf, collectTelemetry, compressingOrders, serveInstrumented } from './collected-telemetry.js';
import { LATENCY_BOUNDS_SECONDS, SIZE_BOUNDS_BYTES } from './grfc-bounds.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

interface Item {
  readonly requestId: string;
}
const handlers: {
  get: (request: { id: string }) => unknown;
  watch: () => unknown;
  session: (requests: GrpcRequestStream<object>) => unknown;
  upload: (requests: GrpcRequestStream<Item>) => unknown;
} = { get: ({ id }) => ({ id }), watch: () => of(), session: () => of(), upload: () => of() };

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Get')
  get(@Payload() request: { id: string }): unknown {
    return handlers.get(request);
  }
  @GrpcMethod('Orders', 'Watch')
  watch(): unknown {
    return handlers.watch();
  }
  @GrpcStreamMethod('Orders', 'Session')
  session(@Payload() requests: GrpcRequestStream<object>): unknown {
    return handlers.session(requests);
  }
  @GrpcStreamMethod('Orders', 'Upload')
  upload(@Payload() requests: GrpcRequestStream<Item>): unknown {
    return handlers.upload(requests);
  }
}

const STARTED = 'grpc.server.call.started';
const SENT = 'grpc.server.call.sent_total_compressed_message_size';
const RECEIVED = 'grpc.server.call.rcvd_total_compressed_message_size';
const DURATION = 'grpc.server.call.duration';

const GET = { 'grpc.method': 'orders.v1.Orders/Get' };
const WATCH = { 'grpc.method': 'orders.v1.Orders/Watch' };
const event = (sequence: number, bytes = 1_000) => ({ sequence: String(sequence), order: { id: 'x'.repeat(bytes) } });

/** Resolves to the status of a unary or client-streaming call. */
function answerOf(call: (callback: (error: ServiceError | null) => void) => unknown): Promise<status> {
  return new Promise((resolve) => call((error) => resolve(error?.code ?? status.OK)));
}

async function read(stream: AsyncIterable<unknown>): Promise<status> {
  try {
    for await (const _message of stream);
    return status.OK;
  } catch (error) {
    return (error as ServiceError).code;
  }
}

const get = (client: any, options: object = {}) => answerOf((callback) => client.get({ id: '7' }, options, callback));

const sent = {
  upload: (client: any, ids: readonly string[]) =>
    answerOf((callback) => {
      const call = client.upload(callback);
      for (const requestId of ids) call.write({ requestId });
      call.end();
    }),
  session: async (client: any, ids: readonly string[]) => {
    const call = client.session();
    for (const messageId of ids) call.write({ messageId });
    call.end();
    return read(call);
  },
};

it('observes the concurrency limits of a server and of its methods until the server is closed', async () => {
  const telemetry = collectTelemetry();
  const { client, server, close } = await serveInstrumented(OrdersController, {
    maxConcurrentCalls: 30,
    methods: { Get: { maxConcurrentCalls: 'adaptive' } },
  });
  await get(client);
  const LIMIT = 'resilient_grpc.server.concurrency_limit';
  expect(await telemetry.gauge(LIMIT, GET)).toBe(20);
  const values = async () =>
    (await telemetry.instruments())
      .filter(({ descriptor }) => descriptor.name === LIMIT)
      .flatMap(({ dataPoints }) => dataPoints.map(({ attributes, value }) => [attributes['grpc.method'], value]));
  expect(await values()).toEqual(
    expect.arrayContaining([
      ['orders.v1.Orders/Get', 20],
      [undefined, 30],
    ]),
  );
  await close();
  const observed = vi.spyOn(server, 'overload');
  await telemetry.instruments();
  expect(observed).not.toHaveBeenCalled();
});

describe('gRPC metrics of a server', () => {
  // gRFC A66, "Server Instruments" and "Units": name, kind, unit, attributes, bounds.
  // https://github.com/grpc/proposal/blob/master/A66-otel-stats.md
  it.each([
    [STARTED, DataPointType.SUM, '{call}', ['grpc.method'], undefined],
    [SENT, DataPointType.HISTOGRAM, 'By', ['grpc.method', 'grpc.status'], SIZE_BOUNDS_BYTES],
    [RECEIVED, DataPointType.HISTOGRAM, 'By', ['grpc.method', 'grpc.status'], SIZE_BOUNDS_BYTES],
    [DURATION, DataPointType.HISTOGRAM, 's', ['grpc.method', 'grpc.status'], LATENCY_BOUNDS_SECONDS],
  ] as const)('defines the server metric %s as in gRFC A66', async (name, kind, unit, attributes, bounds) => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.get = ({ id }) => ({ id });
    await get(client);
    await waitFor(async () => (await telemetry.recorded(DURATION)) !== undefined);
    const found = (await telemetry.instruments()).find(({ descriptor }) => descriptor.name === name);
    expect(found).toMatchObject({ dataPointType: kind, descriptor: { unit } });
    const [point] = found!.dataPoints;
    expect(Object.keys(point!.attributes).sort()).toEqual(attributes);
    if (found!.dataPointType === DataPointType.SUM) expect(found!.isMonotonic).toBe(true);
    if (bounds !== undefined) expect(boundsOf(found!)).toEqual(bounds);
    expect(await telemetry.scopes()).toMatchObject([{ name: 'nestjs-resilient-grpc' }]);
  });

  it.each<[string, (client: any) => Promise<status>, number, number]>([
    ['Get', (client) => get(client), 1, 1],
    ['Watch', (client) => read(client.watch({ from: '5' })), 1, 3],
    ['Upload', (client) => sent.upload(client, ['1', '2']), 2, 1],
    ['Session', (client) => sent.session(client, ['1', '2', '3']), 3, 3],
  ])('sums up the bytes of all messages of %s in each direction', async (method, call, requests, responses) => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.get = ({ id }) => ({ id });
    handlers.watch = () => of(event(1), event(2), event(3));
    handlers.upload = (items) =>
      items.pipe(
        toArray(),
        map(({ length }) => ({ count: length })),
      );
    handlers.session = (messages) => messages;
    expect(await call(client)).toBe(status.OK);
    const attributes = { 'grpc.method': `orders.v1.Orders/${method}`, 'grpc.status': 'OK' };
    await waitFor(async () => (await telemetry.recorded(SENT, attributes)) !== undefined);
    const [id, message] = [{ id: '7' }, { messageId: '1' }];
    const request = { Get: id, Watch: { from: '5' }, Upload: { requestId: '1' }, Session: message }[method]!;
    const response = { Get: id, Watch: event(1), Upload: { count: 2 }, Session: message }[method]!;
    expect(await telemetry.recorded(RECEIVED, attributes)).toMatchObject({
      count: 1,
      sum: requests * bytesOf(client, method, 'request', request),
    });
    expect(await telemetry.recorded(SENT, attributes)).toMatchObject({
      count: 1,
      sum: responses * bytesOf(client, method, 'response', response),
    });
  });

  it('counts the compressed bytes of a served request, but records the uncompressed size in the span', async () => {
    const telemetry = collectTelemetry();
    const { url } = await serveInstrumented(OrdersController);
    const client = compressingOrders(url);
    handlers.get = ({ id }) => ({ id: id.slice(0, 1) });
    const request = { id: 'a'.repeat(20_000) };
    expect(await answerOf((callback) => client.get(request, callback))).toBe(status.OK);
    const { events } = await telemetry.span('Recv.orders.v1.Orders.Get');
    expect(events[0]).toMatchObject({
      name: 'Inbound message',
      attributes: { 'message-size': bytesOf(client, 'Get', 'request', request) },
    });
    const received = await telemetry.recorded(RECEIVED, GET);
    expect(received?.sum).toBeGreaterThan(10);
    expect(received?.sum).toBeLessThan(1_000);
  });

  it('records the duration of a served call, including the time of its handler, only when the call ends', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    let answer: () => void = () => undefined;
    handlers.get = ({ id }) => new Promise((resolve) => (answer = () => resolve({ id })));
    const calledAt = performance.now();
    const got = get(client);
    await waitFor(async () => (await telemetry.count(STARTED, GET)) === 1);
    const servedAt = performance.now();
    await waitFor(() => performance.now() - servedAt > 100);
    expect(await telemetry.recorded(DURATION)).toBeUndefined();
    answer();
    await got;
    await waitFor(async () => (await telemetry.recorded(DURATION)) !== undefined);
    const seconds = (await telemetry.recorded(DURATION))?.sum;
    expect(seconds).toBeGreaterThan(0.1);
    expect(seconds).toBeLessThan((performance.now() - calledAt) / 1_000);
  });

  it.each<[string, () => unknown, Record<string, string>, string]>([
    ['fails', () => throwError(() => new RpcException({ code: status.NOT_FOUND, message: 'none' })), {}, 'NOT_FOUND'],
    ['fails with an error other than RpcException', () => Promise.reject(new Error('secret')), {}, 'UNKNOWN'],
    ['exceeds its deadline', () => NEVER, { 'grpc-timeout': '50m' }, 'DEADLINE_EXCEEDED'],
    ['responds with an invalid message', () => 'a text', {}, 'INTERNAL'],
  ])('records the status of a served call that %s', async (_how, handler, headers, name) => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.get = handler;
    // Set as raw metadata, so that the client does not enforce the deadline itself.
    const metadata = Metadata.fromHttp2Headers(headers);
    await answerOf((callback) => (client as any).get({ id: '7' }, metadata, callback));
    const attributes = { ...GET, 'grpc.status': name };
    await waitFor(async () => (await telemetry.recorded(DURATION, attributes)) !== undefined);
    expect(await telemetry.count(STARTED, GET)).toBe(1);
    expect(telemetry.spans()[0]?.status).toMatchObject({ code: SpanStatusCode.ERROR });
    expect(telemetry.spans()[0]?.status.message).toMatch(new RegExp(`^${name}`));
  });

  it('records a served call as CANCELLED, exactly once, if the client cancels the call', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.get = () => NEVER;
    const call = (client as any).get({ id: '7' }, () => undefined);
    await waitFor(async () => (await telemetry.count(STARTED, GET)) === 1);
    call.cancel();
    await waitFor(async () => (await telemetry.recorded(DURATION)) !== undefined);
    expect(await telemetry.recorded(DURATION, { ...GET, 'grpc.status': 'CANCELLED' })).toMatchObject({ count: 1 });
  });

  it('records a served call with an undecodable request as INTERNAL', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    const nonsense = () => Buffer.from([0x0a, 0xff]);
    const code = await answerOf((callback) =>
      client.makeUnaryRequest('/orders.v1.Orders/Get', nonsense, (bytes) => bytes, {}, callback),
    );
    expect(code).toBe(status.INTERNAL);
    await waitFor(
      async () => (await telemetry.recorded(DURATION, { ...GET, 'grpc.status': 'INTERNAL' })) !== undefined,
    );
  });

  it("counts calls to unknown methods as 'other'", async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    for (const name of ['/orders.v1.Orders/Nope', '/made.up/Name']) {
      const code = await answerOf((callback) =>
        client.makeUnaryRequest(
          name,
          () => Buffer.alloc(0),
          (bytes) => bytes,
          {},
          callback,
        ),
      );
      expect(code).toBe(status.UNIMPLEMENTED);
    }
    const other = { 'grpc.method': 'other' };
    await waitFor(async () => (await telemetry.count(STARTED, other)) === 2);
    expect(await telemetry.recorded(DURATION, { ...other, 'grpc.status': 'UNIMPLEMENTED' })).toMatchObject({
      count: 2,
    });
    expect(await telemetry.count(STARTED)).toBe(2);
  });
});

describe('resilient_grpc metrics of a server', () => {
  it('reports the number of open streams of a server', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.watch = () => NEVER.pipe(startWith(event(1)));
    const stream = (client as any).watch({ from: '0' });
    stream.on('error', () => undefined);
    stream.resume();
    await waitFor(async () => (await telemetry.count('resilient_grpc.server.streams', WATCH)) === 1);
    stream.cancel();
    await waitFor(async () => (await telemetry.count('resilient_grpc.server.streams', WATCH)) === 0);
  });

  it('counts a served stream as idle if its client does not read, and records the end of the stream as UNAVAILABLE', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController, { maxStreamIdleMs: 300 });
    handlers.watch = async function* () {
      for (let sequence = 1; ; sequence++) yield await Promise.resolve(event(sequence, 50_000));
    };
    const stream = (client as any).watch({ from: '0' });
    stream.on('error', () => undefined);
    stream.once('data', () => stream.pause());
    await waitFor(async () => (await telemetry.count('resilient_grpc.server.idle_streams', WATCH)) === 1);
    await waitFor(async () => (await telemetry.recorded(DURATION)) !== undefined);
    expect(await telemetry.recorded(DURATION, { ...WATCH, 'grpc.status': 'UNAVAILABLE' })).toMatchObject({ count: 1 });
    expect((await telemetry.span('Recv.orders.v1.Orders.Watch')).status.message).toContain('maxStreamIdleMs');
  });

  it('counts handlers that keep running after their call ends', async () => {
    const telemetry = collectTelemetry();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const { client, server } = await serveInstrumented(OrdersController);
    let end: (() => void) | undefined;
    handlers.get = () => new Promise<void>((resolve) => (end = resolve));
    const call = (client as any).get({ id: '7' }, () => undefined);
    await vi.waitFor(() => {
      expect(end).toBeDefined();
    });
    call.cancel();
    await vi.waitFor(() => {
      expect(server.lingeringHandlers).toBe(1);
    });
    await vi.advanceTimersByTimeAsync(62_000);
    expect(await telemetry.count('resilient_grpc.server.handler_leaks', GET)).toBe(1);
    end?.();
  });

  it('records the drain of a server and the number of calls that the drain cuts off, and records UNAVAILABLE for each stream that the drain ends', async () => {
    const telemetry = collectTelemetry();
    const { client, close } = await serveInstrumented(OrdersController, {
      drain: { timeoutMs: 500 },
      methods: { 'orders.v1.Orders/Session': { onDrain: 'finish' } },
    });
    handlers.watch = () => NEVER;
    handlers.session = () => NEVER;
    for (const stream of [(client as any).watch({ from: '0' }), (client as any).session()]) {
      stream.on('error', () => undefined);
      stream.resume();
    }
    await waitFor(async () => (await telemetry.count('resilient_grpc.server.streams')) === 2);
    await close();
    expect(await telemetry.count('resilient_grpc.server.drain.cut_off_calls')).toBe(1);
    const drain = await telemetry.recorded('resilient_grpc.server.drain.duration');
    expect(drain?.count).toBe(1);
    expect(drain?.sum).toBeGreaterThan(0.3);
    expect(await telemetry.count('resilient_grpc.server.streams')).toBe(0);
    const unavailable = { 'grpc.status': 'UNAVAILABLE' };
    expect(await telemetry.recorded(DURATION, { ...WATCH, ...unavailable })).toMatchObject({ count: 1 });
    expect(
      await telemetry.recorded(DURATION, { 'grpc.method': 'orders.v1.Orders/Session', ...unavailable }),
    ).toMatchObject({
      count: 1,
    });
  });
});

describe('span of a served call', () => {
  // gRFC A72, "Tracing Information", "At the server".
  // https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md
  it('creates a span of a served call with the name, kind, message events, and status of gRFC A72', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.session = (messages) => messages;
    expect(await sent.session(client, ['1', '22'])).toBe(status.OK);
    const span = await telemetry.span('Recv.orders.v1.Orders.Session');
    expect(span.kind).toBe(SpanKind.SERVER);
    expect(span.status).toEqual({ code: SpanStatusCode.OK });
    expect(span.parentSpanContext).toBeUndefined();
    const messages = (name: string) =>
      span.events.filter((spanEvent) => spanEvent.name === name).map(({ attributes }) => attributes);
    const sizes = ['1', '22'].map((messageId) => bytesOf(client, 'Session', 'request', { messageId }));
    const expected = sizes.map((size, index) => ({ 'sequence-number': index, 'message-size': size }));
    expect(messages('Inbound message')).toEqual(expected);
    expect(messages('Outbound message')).toEqual(expected);
    expect(span.events).toHaveLength(4);
    expect(telemetry.spans()).toHaveLength(1);
  });

  it('sets the status and message of a failed call on the span of the served call', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    const message = 'no order 7% „süß“';
    handlers.get = () => throwError(() => new RpcException({ code: status.NOT_FOUND, message }));
    await get(client);
    const span = await telemetry.span('Recv.orders.v1.Orders.Get');
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: `NOT_FOUND, ${message}` });
  });

  it("continues the trace of a served call's W3C traceparent header", async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.get = ({ id }) => ({ id });
    const metadata = new Metadata();
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    await answerOf((callback) => (client as any).get({ id: '7' }, metadata, callback));
    const span = await telemetry.span('Recv.orders.v1.Orders.Get');
    expect(span.spanContext().traceId).toBe('0af7651916cd43dd8448eb211c80319c');
    expect(span.parentSpanContext).toMatchObject({ spanId: 'b7ad6b7169203331', isRemote: true });
  });

  it('starts the span of a served call without a parent even if a span was active when the server started', async () => {
    const telemetry = collectTelemetry();
    const { client } = await telemetry.within('start', () => serveInstrumented(OrdersController));
    handlers.get = ({ id }) => ({ id });
    await get(client);
    expect((await telemetry.span('Recv.orders.v1.Orders.Get')).parentSpanContext).toBeUndefined();
  });

  it.each<[string, string, (work: () => void) => void, (client: any) => Promise<unknown>]>([
    [
      'an async handler',
      'Get',
      (work) => {
        handlers.get = async ({ id }) => {
          await new Promise((resolve) => setImmediate(resolve));
          work();
          return { id };
        };
      },
      (client) => get(client),
    ],
    [
      'an Observable returned by a handler',
      'Get',
      (work) => {
        handlers.get = ({ id }) => Promise.resolve(defer(() => (work(), of({ id }))));
      },
      (client) => get(client),
    ],
    [
      'operators on the request stream',
      'Session',
      (work) => {
        handlers.session = (messages) => messages.pipe(tap(work));
      },
      async (client) => {
        const call = client.session();
        call.write({ messageId: '1' });
        call.once('data', () => {
          call.write({ messageId: '2' });
          call.end();
        });
        await read(call);
      },
    ],
    [
      'a loop over the requests',
      'Upload',
      (work) => {
        handlers.upload = async (items) => {
          for await (const _item of items) work();
          return { count: 1 };
        };
      },
      (client) => sent.upload(client, ['1']),
    ],
    [
      'a generator that is resumed by flow control',
      'Watch',
      (work) => {
        handlers.watch = async function* () {
          for (let sequence = 1; sequence <= 40; sequence++) {
            yield event(sequence, 50_000);
            if (sequence === 39) work();
          }
        };
      },
      (client) => read(client.watch({ from: '0' })),
    ],
    [
      'the teardown after the client cancels',
      'Watch',
      (work) => {
        handlers.watch = () => concat(of(event(1)), new Observable(() => work));
      },
      async (client) => {
        const stream = client.watch({ from: '0' });
        stream.once('data', () => stream.cancel());
        await read(stream);
      },
    ],
  ])('keeps the span of a served call active in %s', async (_what, method, arrange, call) => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    arrange(() => {
      telemetry.nested('query');
    });
    await call(client);
    await telemetry.span('query');
    const { spanId } = (await telemetry.span(`Recv.orders.v1.Orders.${method}`)).spanContext();
    const queries = telemetry.spans().filter(({ name }) => name === 'query');
    expect(queries.map((query) => query.parentSpanContext?.spanId)).toEqual(queries.map(() => spanId));
  });

  it('keeps a span active only in its own call if several calls are served concurrently', async () => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController);
    handlers.get = async ({ id }) => {
      await new Promise((resolve) => setImmediate(resolve));
      telemetry.nested('query');
      return { id };
    };
    await Promise.all(Array.from({ length: 20 }, () => get(client)));
    await waitFor(() => telemetry.spans().length === 40);
    const parents = telemetry
      .spans()
      .filter(({ name }) => name === 'query')
      .map((span) => span.parentSpanContext?.spanId);
    const calls = telemetry
      .spans()
      .filter(({ name }) => name !== 'query')
      .map((span) => span.spanContext().spanId);
    expect(parents.sort()).toEqual(calls.sort());
  });
});

describe('ResilientGrpcTelemetryModule', () => {
  it.each([
    [{ traces: false }, true, 0],
    [{ metrics: false }, false, 1],
  ])('disables only the metrics or only the traces of served calls with %o', async (options, measured, spans) => {
    const telemetry = collectTelemetry();
    const { client } = await serveInstrumented(OrdersController, {}, options);
    handlers.get = ({ id }) => ({ id });
    await get(client);
    await waitFor(async () => telemetry.spans().length === 1 || (await telemetry.recorded(DURATION)) !== undefined);
    expect((await telemetry.instruments()).length > 0).toBe(measured);
    expect(telemetry.spans()).toHaveLength(spans);
  });
});

function boundsOf(metric: MetricData): readonly number[] {
  return metric.dataPointType === DataPointType.HISTOGRAM ? metric.dataPoints[0]!.value.buckets.boundaries : [];
}
