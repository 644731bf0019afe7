import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { Controller } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod, Payload, RpcException } from '@nestjs/microservices';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import type { GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { NEVER, Observable, concat, defer, map, of, startWith, tap, throwError, toArray } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { bytesOf, collectTelemetry, compressingOrders, serveTold } from './collected-telemetry.js';
import { LATENCY, SIZE } from './grfc-bounds.js';

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

/** How a call of a method that answers once ended. */
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

describe('metrics of a server', () => {
  // gRFC A66, "Server Instruments" and "Units": name, kind, unit, attributes, bounds.
  // https://github.com/grpc/proposal/blob/master/A66-otel-stats.md
  it.each([
    [STARTED, DataPointType.SUM, '{call}', ['grpc.method'], undefined],
    [SENT, DataPointType.HISTOGRAM, 'By', ['grpc.method', 'grpc.status'], SIZE],
    [RECEIVED, DataPointType.HISTOGRAM, 'By', ['grpc.method', 'grpc.status'], SIZE],
    [DURATION, DataPointType.HISTOGRAM, 's', ['grpc.method', 'grpc.status'], LATENCY],
  ] as const)('has %s as gRFC A66 has it', async (name, kind, unit, attributes, bounds) => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.get = ({ id }) => ({ id });
    await get(client);
    await waitFor(async () => (await told.recorded(DURATION)) !== undefined);
    const found = (await told.instruments()).find(({ descriptor }) => descriptor.name === name);
    expect(found).toMatchObject({ dataPointType: kind, descriptor: { unit } });
    const [point] = found!.dataPoints;
    expect(Object.keys(point!.attributes).sort()).toEqual(attributes);
    if (found!.dataPointType === DataPointType.SUM) expect(found!.isMonotonic).toBe(true);
    if (bounds !== undefined) expect(boundsOf(found!)).toEqual(bounds);
    expect(await told.scopes()).toMatchObject([{ name: 'nestjs-resilient-grpc' }]);
  });

  it('counts the bytes of the messages of a call that answers once, as they are on the wire', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    const order = { id: '7', item: 'tea'.repeat(1_000) };
    handlers.get = () => order;
    expect(await get(client)).toBe(status.OK);
    const attributes = { ...GET, 'grpc.status': 'OK' };
    await waitFor(async () => (await told.recorded(SENT, attributes)) !== undefined);
    expect(await told.recorded(SENT, attributes)).toMatchObject({
      count: 1,
      sum: bytesOf(client, 'Get', 'response', order),
    });
    expect(await told.recorded(RECEIVED, attributes)).toMatchObject({
      count: 1,
      sum: bytesOf(client, 'Get', 'request', { id: '7' }),
    });
    expect(await told.count(STARTED, GET)).toBe(1);
  });

  it.each<[string, (client: any) => Promise<status>, number, number]>([
    ['Watch', (client) => read(client.watch({ from: '5' })), 1, 3],
    ['Upload', (client) => sent.upload(client, ['1', '2']), 2, 1],
    ['Session', (client) => sent.session(client, ['1', '2', '3']), 3, 3],
  ])('sums up all messages of a %s, each way', async (method, call, requests, responses) => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.watch = () => of(event(1), event(2), event(3));
    handlers.upload = (items) =>
      items.pipe(
        toArray(),
        map(({ length }) => ({ count: length })),
      );
    handlers.session = (messages) => messages;
    expect(await call(client)).toBe(status.OK);
    const attributes = { 'grpc.method': `orders.v1.Orders/${method}`, 'grpc.status': 'OK' };
    await waitFor(async () => (await told.recorded(SENT, attributes)) !== undefined);
    const request = { Watch: { from: '5' }, Upload: { requestId: '1' }, Session: { messageId: '1' } }[method]!;
    const response = { Watch: event(1), Upload: { count: 2 }, Session: { messageId: '1' } }[method]!;
    expect(await told.recorded(RECEIVED, attributes)).toMatchObject({
      sum: requests * bytesOf(client, method, 'request', request),
    });
    expect(await told.recorded(SENT, attributes)).toMatchObject({
      sum: responses * bytesOf(client, method, 'response', response),
    });
  });

  it('counts compressed messages as they came, and tells their own size in the trace', async () => {
    const told = collectTelemetry();
    const { url } = await serveTold(OrdersController);
    const client = compressingOrders(url);
    handlers.get = ({ id }) => ({ id: id.slice(0, 1) });
    const request = { id: 'a'.repeat(20_000) };
    expect(await answerOf((callback) => client.get(request, callback))).toBe(status.OK);
    const { events } = await told.span('Recv.orders.v1.Orders.Get');
    expect(events[0]).toMatchObject({
      name: 'Inbound message',
      attributes: { 'message-size': bytesOf(client, 'Get', 'request', request) },
    });
    const received = await told.recorded(RECEIVED, GET);
    expect(received?.sum).toBeGreaterThan(10);
    expect(received?.sum).toBeLessThan(1_000);
  });

  it('takes the length of a call from its first header to its trailers', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    let answer: () => void = () => undefined;
    handlers.get = ({ id }) => new Promise((resolve) => (answer = () => resolve({ id })));
    const askedAt = performance.now();
    const got = get(client);
    await waitFor(async () => (await told.count(STARTED, GET)) === 1);
    const servedAt = performance.now();
    await waitFor(() => performance.now() - servedAt > 100);
    expect(await told.recorded(DURATION)).toBeUndefined();
    answer();
    await got;
    await waitFor(async () => (await told.recorded(DURATION)) !== undefined);
    const seconds = (await told.recorded(DURATION))?.sum;
    expect(seconds).toBeGreaterThan(0.1);
    expect(seconds).toBeLessThan((performance.now() - askedAt) / 1_000);
  });

  it.each<[string, () => unknown, Record<string, string>, string]>([
    ['fails', () => throwError(() => new RpcException({ code: status.NOT_FOUND, message: 'none' })), {}, 'NOT_FOUND'],
    ['fails with what is no error of gRPC', () => Promise.reject(new Error('secret')), {}, 'UNKNOWN'],
    ['is past its deadline', () => NEVER, { 'grpc-timeout': '50m' }, 'DEADLINE_EXCEEDED'],
    ['answers with what is no message', () => 'a text', {}, 'INTERNAL'],
  ])('has the status of a call that %s', async (_how, handler, headers, name) => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.get = handler;
    // A deadline that the client does not know of, and so does not keep itself.
    const metadata = Metadata.fromHttp2Headers(headers);
    await answerOf((callback) => (client as any).get({ id: '7' }, metadata, callback));
    const attributes = { ...GET, 'grpc.status': name };
    await waitFor(async () => (await told.recorded(DURATION, attributes)) !== undefined);
    expect(await told.count(STARTED, GET)).toBe(1);
    expect(told.spans()[0]?.status).toMatchObject({ code: SpanStatusCode.ERROR });
    expect(told.spans()[0]?.status.message).toMatch(new RegExp(`^${name}`));
  });

  it('has the status of a call that its caller cancels, once', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.get = () => NEVER;
    const call = (client as any).get({ id: '7' }, () => undefined);
    await waitFor(async () => (await told.count(STARTED, GET)) === 1);
    call.cancel();
    await waitFor(async () => (await told.recorded(DURATION)) !== undefined);
    expect(await told.recorded(DURATION, { ...GET, 'grpc.status': 'CANCELLED' })).toMatchObject({ count: 1 });
  });

  it('has the status of a request that cannot be read, which no handler sees', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    const nonsense = () => Buffer.from([0x0a, 0xff]);
    const code = await answerOf((callback) =>
      client.makeUnaryRequest('/orders.v1.Orders/Get', nonsense, (bytes) => bytes, {}, callback),
    );
    expect(code).toBe(status.INTERNAL);
    await waitFor(async () => (await told.recorded(DURATION, { ...GET, 'grpc.status': 'INTERNAL' })) !== undefined);
  });

  it("counts a method that the server does not have as 'other', whatever its name", async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
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
    await waitFor(async () => (await told.count(STARTED, other)) === 2);
    expect(await told.recorded(DURATION, { ...other, 'grpc.status': 'UNIMPLEMENTED' })).toMatchObject({ count: 2 });
    expect(await told.count(STARTED)).toBe(2);
  });
});

describe('metrics of ours', () => {
  it('have the streams that are open now', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.watch = () => NEVER.pipe(startWith(event(1)));
    const stream = (client as any).watch({ from: '0' });
    stream.on('error', () => undefined);
    stream.resume();
    await waitFor(async () => (await told.count('resilient_grpc.server.streams', WATCH)) === 1);
    stream.cancel();
    await waitFor(async () => (await told.count('resilient_grpc.server.streams', WATCH)) === 0);
  });

  it('have streams that ended because they were idle, and one whose client does not read is UNAVAILABLE too', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController, { streamIdleTimeoutMs: 300 });
    handlers.watch = async function* () {
      for (let sequence = 1; ; sequence++) yield await Promise.resolve(event(sequence, 50_000));
    };
    const stream = (client as any).watch({ from: '0' });
    stream.on('error', () => undefined);
    stream.once('data', () => stream.pause());
    await waitFor(async () => (await told.count('resilient_grpc.server.idle_streams', WATCH)) === 1);
    await waitFor(async () => (await told.recorded(DURATION)) !== undefined);
    expect(await told.recorded(DURATION, { ...WATCH, 'grpc.status': 'UNAVAILABLE' })).toMatchObject({ count: 1 });
    expect((await told.span('Recv.orders.v1.Orders.Watch')).status.message).toContain('streamIdleTimeoutMs');
  });

  it('have handlers that run on after their call', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController, { leakWarningMs: 100 });
    let end: (() => void) | undefined;
    handlers.get = () => new Promise<void>((resolve) => (end = resolve));
    const call = (client as any).get({ id: '7' }, () => undefined);
    await waitFor(() => end !== undefined);
    call.cancel();
    await waitFor(async () => (await told.count('resilient_grpc.server.handler_leaks', GET)) === 1);
    end?.();
  });

  it('have the shutdown and what it cut off, and streams that it ended are UNAVAILABLE', async () => {
    const told = collectTelemetry();
    const { client, close } = await serveTold(OrdersController, {
      drain: { timeoutMs: 500 },
      methods: { 'orders.v1.Orders/Session': { onDrain: 'finish' } },
    });
    handlers.watch = () => NEVER;
    handlers.session = () => NEVER;
    for (const stream of [(client as any).watch({ from: '0' }), (client as any).session()]) {
      stream.on('error', () => undefined);
      stream.resume();
    }
    await waitFor(async () => (await told.count('resilient_grpc.server.streams')) === 2);
    await close();
    expect(await told.count('resilient_grpc.server.drain.cut_off_calls')).toBe(1);
    const drain = await told.recorded('resilient_grpc.server.drain.duration');
    expect(drain?.count).toBe(1);
    expect(drain?.sum).toBeGreaterThan(0.3);
    expect(await told.count('resilient_grpc.server.streams')).toBe(0);
    const unavailable = { 'grpc.status': 'UNAVAILABLE' };
    expect(await told.recorded(DURATION, { ...WATCH, ...unavailable })).toMatchObject({ count: 1 });
    expect(await told.recorded(DURATION, { 'grpc.method': 'orders.v1.Orders/Session', ...unavailable })).toMatchObject({
      count: 1,
    });
  });
});

describe('the span of a served call', () => {
  // gRFC A72, "Tracing Information", "At the server".
  // https://github.com/grpc/proposal/blob/master/A72-open-telemetry-tracing.md
  it('has the name, the kind, the messages and the status of gRFC A72', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.session = (messages) => messages;
    expect(await sent.session(client, ['1', '22'])).toBe(status.OK);
    const span = await told.span('Recv.orders.v1.Orders.Session');
    expect(span.kind).toBe(SpanKind.SERVER);
    expect(span.status).toEqual({ code: SpanStatusCode.OK });
    expect(span.parentSpanContext).toBeUndefined();
    const messages = (name: string) =>
      span.events.filter((one) => one.name === name).map(({ attributes }) => attributes);
    const sizes = ['1', '22'].map((messageId) => bytesOf(client, 'Session', 'request', { messageId }));
    const expected = sizes.map((size, index) => ({ 'sequence-number': index, 'message-size': size }));
    expect(messages('Inbound message')).toEqual(expected);
    expect(messages('Outbound message')).toEqual(expected);
    expect(span.events).toHaveLength(4);
    expect(told.spans()).toHaveLength(1);
  });

  it('says what a call failed with', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    const message = 'no order 7 % „süß“';
    handlers.get = () => throwError(() => new RpcException({ code: status.NOT_FOUND, message }));
    await get(client);
    const span = await told.span('Recv.orders.v1.Orders.Get');
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: `NOT_FOUND, ${message}` });
  });

  it("is a child of the caller's, by the header of W3C", async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.get = ({ id }) => ({ id });
    const metadata = new Metadata();
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    await answerOf((callback) => (client as any).get({ id: '7' }, metadata, callback));
    const span = await told.span('Recv.orders.v1.Orders.Get');
    expect(span.spanContext().traceId).toBe('0af7651916cd43dd8448eb211c80319c');
    expect(span.parentSpanContext).toMatchObject({ spanId: 'b7ad6b7169203331', isRemote: true });
  });

  it('is no child of one in which the server was started', async () => {
    const told = collectTelemetry();
    const { client } = await told.within('start', () => serveTold(OrdersController));
    handlers.get = ({ id }) => ({ id });
    await get(client);
    expect((await told.span('Recv.orders.v1.Orders.Get')).parentSpanContext).toBeUndefined();
  });

  it.each<[string, string, (told: () => void) => void, (client: any) => Promise<unknown>]>([
    [
      'an async handler does',
      'Get',
      (told) => {
        handlers.get = async ({ id }) => {
          await new Promise((resolve) => setImmediate(resolve));
          told();
          return { id };
        };
      },
      (client) => get(client),
    ],
    [
      'an Observable does that a handler returns',
      'Get',
      (told) => {
        handlers.get = ({ id }) => Promise.resolve(defer(() => (told(), of({ id }))));
      },
      (client) => get(client),
    ],
    [
      'is done for each request',
      'Session',
      (told) => {
        handlers.session = (messages) => messages.pipe(tap(told));
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
      'is done for requests that are pulled',
      'Upload',
      (told) => {
        handlers.upload = async (items) => {
          for await (const _item of items) told();
          return { count: 1 };
        };
      },
      (client) => sent.upload(client, ['1']),
    ],
    [
      'is done for each response of a generator, when its client has read the one before',
      'Watch',
      (told) => {
        handlers.watch = async function* () {
          for (let sequence = 1; sequence <= 40; sequence++) {
            yield event(sequence, 50_000);
            if (sequence === 39) told();
          }
        };
      },
      (client) => read(client.watch({ from: '0' })),
    ],
    [
      'is done when the caller has left',
      'Watch',
      (told) => {
        handlers.watch = () => concat(of(event(1)), new Observable(() => told));
      },
      async (client) => {
        const stream = client.watch({ from: '0' });
        stream.once('data', () => stream.cancel());
        await read(stream);
      },
    ],
  ])('is the parent of what %s', async (_what, method, arrange, call) => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    arrange(() => {
      told.nested('query');
    });
    await call(client);
    await told.span('query');
    const { spanId } = (await told.span(`Recv.orders.v1.Orders.${method}`)).spanContext();
    const queries = told.spans().filter(({ name }) => name === 'query');
    expect(queries.map((query) => query.parentSpanContext?.spanId)).toEqual(queries.map(() => spanId));
  });

  it('is that of each call, where several are served at once', async () => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController);
    handlers.get = async ({ id }) => {
      await new Promise((resolve) => setImmediate(resolve));
      told.nested('query');
      return { id };
    };
    await Promise.all(Array.from({ length: 20 }, () => get(client)));
    await waitFor(() => told.spans().length === 40);
    const parents = told
      .spans()
      .filter(({ name }) => name === 'query')
      .map((span) => span.parentSpanContext?.spanId);
    const calls = told
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
  ])('with %o leaves the rest', async (options, measured, spans) => {
    const told = collectTelemetry();
    const { client } = await serveTold(OrdersController, {}, options);
    handlers.get = ({ id }) => ({ id });
    await get(client);
    await waitFor(async () => told.spans().length === 1 || (await told.recorded(DURATION)) !== undefined);
    expect((await told.instruments()).length > 0).toBe(measured);
    expect(told.spans()).toHaveLength(spans);
  });
});

function boundsOf(metric: MetricData): readonly number[] {
  return metric.dataPointType === DataPointType.HISTOGRAM ? metric.dataPoints[0]!.value.buckets.boundaries : [];
}
