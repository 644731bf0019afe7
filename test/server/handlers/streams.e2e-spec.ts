import { connect } from 'node:http2';
import { status, type ClientReadableStream } from '@grpc/grpc-js';
import { Controller, type CallHandler, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { GrpcMethod, GrpcStreamMethod, Payload } from '@nestjs/microservices';
import { CallSignal, type GrpcRequestStream } from 'nestjs-resilient-grpc/server';
import { FaultProxy, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { Observable, Subject, lastValueFrom, map, of, toArray } from 'rxjs';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { turns } from '../../calls/support.js';
import { holdTimers, releaseTimers } from '../support/held-timers.js';
import { serveOrders, type OrdersService } from './orders-service.js';

const leaks = captureLeaks();

interface Message {
  readonly messageId: string;
}
const handlers: {
  watch: (request: { from: string }, signal: AbortSignal) => unknown;
  session: (requests: GrpcRequestStream<Message>, signal: AbortSignal) => unknown;
  upload: (requests: GrpcRequestStream<{ requestId: string }>) => unknown;
} = { watch: () => of(), session: () => of(), upload: () => of() };

@Controller()
class OrdersController {
  @GrpcMethod('Orders', 'Watch')
  watch(@Payload() request: { from: string }, @CallSignal() signal: AbortSignal): unknown {
    return handlers.watch(request, signal);
  }
  @GrpcStreamMethod('Orders', 'Session')
  session(@Payload() requests: GrpcRequestStream<Message>, @CallSignal() signal: AbortSignal): unknown {
    return handlers.session(requests, signal);
  }
  @GrpcStreamMethod('Orders', 'Upload')
  upload(requests: GrpcRequestStream<{ requestId: string }>): unknown {
    return handlers.upload(requests);
  }
}

/** Waits for one event-loop turn, like an interceptor that queries a database, and then continues. */
const slowInterceptor: NestInterceptor = {
  async intercept(_context: ExecutionContext, next: CallHandler) {
    await new Promise((resolve) => setImmediate(resolve));
    return next.handle();
  },
};

let orders: OrdersService;
let intercepted: OrdersService;
beforeAll(async () => {
  orders = await serveOrders(OrdersController, { maxStreamIdleMs: 20_000 });
  intercepted = await serveOrders(OrdersController, {}, slowInterceptor);
});
beforeEach(() => {
  orders.log.lines.length = 0;
});
afterAll(async () => {
  await orders.close();
  await intercepted.close();
  await leaks.settled();
});

const event = (sequence: number, length = 1_000) => ({
  sequence: String(sequence),
  order: { id: 'x'.repeat(length) },
});
const numbers = (count: number) => Array.from({ length: count }, (_, index) => String(index + 1));

/** Reads a stream to its end, and resolves to its messages and its status. */
async function read(stream: AsyncIterable<{ sequence?: string; messageId?: string }>) {
  const got: (string | undefined)[] = [];
  try {
    for await (const { sequence, messageId } of stream) got.push(sequence ?? messageId);
    return { got, code: status.OK };
  } catch (error) {
    const { code, details } = error as { code: status; details: string };
    return { got, code, details };
  }
}

/** Reads one message and then pauses, because grpc-js receives the stream without flow control until the first read. */
function readOne(stream: ClientReadableStream<unknown>): void {
  stream.on('error', () => undefined);
  stream.once('data', () => stream.pause());
}

describe.each([
  ['with no interceptor', () => orders],
  ['with an asynchronous interceptor', () => intercepted],
])('response stream %s', (_how, service) => {
  it.each<[string, () => unknown]>([
    ['an Observable', () => of(event(1), event(2), event(3))],
    ['a promise of an Observable', () => Promise.resolve(of(event(1), event(2), event(3)))],
    ['an array', () => [event(1), event(2), event(3)]],
    [
      'a generator',
      function* () {
        for (const sequence of [1, 2, 3]) yield event(sequence);
      },
    ],
    [
      'an async generator',
      async function* () {
        for (const sequence of [1, 2, 3]) yield await Promise.resolve(event(sequence));
      },
    ],
  ])('streams the responses of a handler that returns %s', async (_what, handler) => {
    handlers.watch = handler;
    expect(await read(service().client.watch({ from: '0' }))).toEqual({ got: ['1', '2', '3'], code: status.OK });
  });

  it('delivers the messages that an async generator yields before it throws', async () => {
    handlers.watch = async function* () {
      yield await Promise.resolve(event(1));
      throw Object.assign(new Error('torn page'), { code: status.DATA_LOSS, details: 'torn page' });
    };
    expect(await read(service().client.watch({ from: '0' }))).toMatchObject({ got: ['1'], code: status.DATA_LOSS });
  });
});

describe('response stream', () => {
  it('pulls from an async generator at the pace of the client and closes the generator when the client cancels', async () => {
    let made = 0;
    let ended = false;
    handlers.watch = async function* () {
      try {
        for (;;) yield await Promise.resolve(event(++made));
      } finally {
        ended = true;
      }
    };
    const stream = orders.client.watch({ from: '0' });
    readOne(stream);
    // The generator stops when all buffers between handler and client are full.
    let before = -1;
    await waitFor(
      () => {
        const still = made > 0 && made === before;
        before = made;
        return still;
      },
      { intervalMs: 100 },
    );
    expect(made).toBeLessThan(500);
    const seen = made;
    stream.resume();
    await waitFor(() => made > seen + 1_000);
    stream.cancel();
    await waitFor(() => ended);
    await waitFor(() => orders.server.lingeringHandlers === 0 && orders.server.activeStreams().length === 0);
  });

  it('delivers 10,000 messages that a handler emits in one turn, and logs a warning about the burst', async () => {
    handlers.watch = () =>
      new Observable((subscriber) => {
        for (let sequence = 1; sequence <= 10_000; sequence++) subscriber.next(event(sequence, 10));
        subscriber.complete();
      });
    const { got, code } = await read(orders.client.watch({ from: '0' }));
    expect(code).toBe(status.OK);
    expect(got).toEqual(numbers(10_000));
    expect(orders.log.lines).toContainEqual(
      expect.objectContaining({ level: 'warn', text: expect.stringContaining('/orders.v1.Orders/Watch') }),
    );
  });

  it('aborts the signal of a streaming handler when the client cancels the stream', async () => {
    let signal: AbortSignal | undefined;
    handlers.watch = (_request, callSignal) => {
      signal = callSignal;
      return new Observable(() => undefined);
    };
    const stream = orders.client.watch({ from: '0' });
    stream.on('error', () => undefined);
    await waitFor(() => signal !== undefined);
    stream.cancel();
    await waitFor(() => signal?.aborted === true);
  });

  it('lists an open stream in activeStreams() with its start time and message counts', async () => {
    const source = new Subject<unknown>();
    handlers.watch = () => source;
    const stream = orders.client.watch({ from: '0' });
    stream.on('error', () => undefined);
    stream.resume();
    await waitFor(() => source.observed);
    source.next(event(1));
    source.next(event(2));
    await waitFor(() => orders.server.activeStreams()[0]?.sent === 2);
    expect(orders.server.activeStreams()).toEqual([
      {
        path: '/orders.v1.Orders/Watch',
        kind: 'server-stream',
        peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        startedAt: expect.any(Date),
        lastActivityAt: expect.any(Date),
        sent: 2,
        received: 1,
      },
    ]);
    source.complete();
    await waitFor(() => orders.server.activeStreams().length === 0);
  });
});

describe('request stream', () => {
  it('sends each response that a handler yields while it iterates over its requests', async () => {
    handlers.session = async function* (requests) {
      for await (const { messageId } of requests) yield { messageId };
    };
    const call = orders.client.session();
    for (const messageId of numbers(200)) call.write({ messageId });
    call.end();
    expect(await read(call)).toEqual({ got: numbers(200), code: status.OK });
  });

  it('reads requests no faster than the handler iterates over them', async () => {
    let resume: () => void = () => undefined;
    let first: string | undefined;
    let count = 0;
    handlers.upload = async (requests) => {
      for await (const { requestId } of requests) {
        first ??= requestId.slice(0, 1);
        count += 1;
        if (count === 1) await new Promise<void>((resolve) => (resume = resolve));
      }
      return { count };
    };
    let answer: unknown;
    const call = orders.client.upload({}, (_error, value) => (answer = value));
    let sent = 0;
    let free = true;
    const message = { requestId: 'x'.repeat(16 * 1024) };
    const write = (): void => {
      while (free && sent < 2_000) {
        sent += 1;
        free = call.write(message);
      }
      if (sent === 2_000) call.end();
    };
    call.on('drain', () => {
      free = true;
      write();
    });
    write();
    await waitFor(() => first !== undefined);
    let before = -1;
    await waitFor(
      () => {
        const still = sent === before;
        before = sent;
        return still;
      },
      { intervalMs: 200 },
    );
    expect(sent).toBeLessThan(500);
    resume();
    await waitFor(() => answer !== undefined, { timeoutMs: 10_000 });
    expect(answer).toMatchObject({ count: 2_000 });
  });

  describe('iteration', () => {
    let failure: unknown;
    let began: boolean;
    beforeEach(() => {
      failure = undefined;
      began = false;
      handlers.upload = async (requests) => {
        try {
          for await (const _ of requests) began = true;
          failure = 'none';
        } catch (error) {
          failure = error;
        }
        return { count: 0 };
      };
    });

    it('fails the iteration over requests when the deadline of the client passes', async () => {
      // This client does not enforce its deadline. At the deadline, a grpc-js client would end its requests as if they were complete.
      const session = connect(`http://127.0.0.1:${orders.server.port}`);
      const stream = session.request({
        ':method': 'POST',
        ':path': '/orders.v1.Orders/Upload',
        'content-type': 'application/grpc',
        'grpc-timeout': '100m',
      });
      // An empty message.
      stream.write(Buffer.alloc(5));
      await waitFor(() => failure !== undefined);
      expect(failure).toMatchObject({ name: 'CallerGoneError', code: status.CANCELLED });
      session.close();
      stream.close();
    });

    it('fails the iteration over requests when the connection of the client is lost', async () => {
      const proxy = await FaultProxy.start(`127.0.0.1:${orders.server.port}`);
      const call = orders.newClient(proxy.url).upload({}, () => undefined);
      call.write({ requestId: '1' });
      await waitFor(() => began);
      proxy.closeAll();
      await waitFor(() => failure !== undefined);
      expect(failure).toMatchObject({ name: 'CallerGoneError', code: status.CANCELLED });
      await proxy.close();
    });
  });

  it('lets an upload and a response stream complete even if the wall clock steps forward past their deadlines', async () => {
    const timers = holdTimers();
    const service = await serveOrders(OrdersController);
    onTestFinished(() => {
      releaseTimers();
      return service.close();
    });
    const source = new Subject<unknown>();
    handlers.watch = () => source;
    handlers.upload = async (requests) => {
      let count = 0;
      for await (const request of requests) count += request.requestId.length;
      return { count };
    };
    const deadline = Date.now() + 60_000;
    const watched = read(service.client.watch({ from: '0' }, { deadline }));
    let answer: unknown;
    const call = service.client.upload({ deadline }, (error, value) => (answer = error ?? value));
    call.write({ requestId: '1' });
    await timers.until(() =>
      service.server.activeStreams().some(({ received, sent }) => received + sent > 0 && source.observed),
    );
    vi.setSystemTime(Date.now() + 61_000);
    // The server checks the deadlines of open streams once a second.
    await timers.advance(3_000);
    source.next(event(1));
    source.complete();
    call.write({ requestId: '2' });
    call.end();
    expect(await watched).toEqual({ got: ['1'], code: status.OK });
    await timers.until(() => answer);
    expect(answer).toMatchObject({ count: 2 });
  });

  it('sends the response that the generator of a client-streaming handler yields, with and without an interceptor', async () => {
    handlers.upload = async function* (requests) {
      let count = 0;
      for await (const _request of requests) count += 1;
      yield { count };
    };
    for (const { client } of [orders, intercepted]) {
      const answer = await new Promise((resolve) => {
        const call = client.upload({}, (_error, value) => {
          resolve(value);
        });
        for (const requestId of ['a', 'b']) call.write({ requestId });
        call.end();
      });
      expect(answer).toEqual({ count: 2 });
    }
  });

  it('logs no error if the client cancels an upload and the handler does not catch the resulting error', async () => {
    let began = false;
    let ended = false;
    handlers.upload = async (requests) => {
      try {
        for await (const _ of requests) began = true;
      } finally {
        ended = true;
      }
      return { count: 0 };
    };
    const call = orders.newClient(`127.0.0.1:${orders.server.port}`).upload({}, () => undefined);
    call.write({ requestId: '1' });
    await waitFor(() => began);
    call.cancel();
    await waitFor(() => ended);
    await turns();
    expect(orders.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('emits all requests to every subscriber, starting with the first request', async () => {
    handlers.upload = async (requests) => {
      const both = await Promise.all([
        lastValueFrom(requests.pipe(toArray())),
        lastValueFrom(
          requests.pipe(
            map(({ requestId }) => requestId),
            toArray(),
          ),
        ),
      ]);
      return { count: both[0].length * 1_000 + both[1].length };
    };
    const answer = new Promise((resolve) => {
      const call = intercepted.client.upload({}, (_error, value) => {
        resolve(value);
      });
      for (const requestId of numbers(20)) call.write({ requestId });
      call.end();
    });
    expect(await answer).toMatchObject({ count: 20_020 });
  });

  it('fails a call and logs an explanation if the handler iterates over the requests twice', async () => {
    handlers.upload = async (requests) => {
      for await (const _ of requests) break;
      for await (const _ of requests) break;
      return { count: 1 };
    };
    const error = await new Promise((resolve) => {
      const call = orders.client.upload({}, resolve);
      call.write({ requestId: '1' });
      call.end();
    });
    expect(error).toMatchObject({ code: status.UNKNOWN });
    expect(orders.log.lines).toContainEqual(
      expect.objectContaining({ text: expect.stringContaining('can be read only once') }),
    );
  });
});
