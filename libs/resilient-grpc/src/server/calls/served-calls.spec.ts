import { EventEmitter } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import { GrpcMethodStreamingType } from '@nestjs/microservices';
import { EMPTY, NEVER, Observable, Subject, concat, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { TraceContexts } from '../../call/call-telemetry.js';
import { EventHub } from '../../call/event-hub.js';
import { keepTraces } from '../../client/caller/caller-context.js';
import type { MethodKind } from '../../call/method.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { StatusCode } from '../../status/status-code.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { ServiceTime } from '../../policy/overload/overload-queue.js';
import { InnermostCall } from '../grpc/innermost-call.js';
import { OverloadGate } from '../overload/overload-gate.js';
import { OverloadState } from '../overload/overload-state.js';
import { implementationOf } from '../served-methods.js';
import type { ResolvedServerMethod } from '../server-options.js';
import { servedCallOf, type ServedHandler } from './served-call.js';
import { ServerCalls } from './server-calls.js';
import type { StatusLike, WireCall } from './wire-call.js';

const RX = GrpcMethodStreamingType.RX_STREAMING;
const PT = GrpcMethodStreamingType.PT_STREAMING;

/** Imitates the call that grpc-js passes to a handler. The client reads only while `reads` is true. */
class Wire extends EventEmitter {
  readonly metadata = new Metadata();
  readonly request = {};
  cancelled = false;
  writableEnded = false;
  writableHighWaterMark = 16;
  deadline = Infinity;
  reads = true;
  readonly written: unknown[] = [];
  readonly resets: number[] = [];
  /** Bytes by which the responses are ahead of the client. */
  keptBytes = 0;
  status: StatusLike | 'OK' | undefined;
  private readonly waiting: (() => void)[] = [];
  /** The call on the transport. */
  readonly call = Object.defineProperties(Object.create(InnermostCall.prototype) as object, {
    isClosed: { value: false, writable: true },
    isHandled: { value: false, writable: true },
    reset: { value: (status: StatusLike) => this.resets.push(status.code) },
    keepResponses: { value: (bytes: number) => (this.keptBytes = bytes) },
  });

  constructor() {
    super();
    this.on('error', (status: StatusLike) => {
      this.status = status;
      this.writableEnded = true;
    });
  }
  get writableLength(): number {
    return this.waiting.length;
  }
  getDeadline(): number {
    return this.deadline;
  }
  getPeer(): string {
    return '10.0.0.7:4711';
  }
  write(message: unknown, taken?: () => void): boolean {
    this.written.push(message);
    if (this.reads) queueMicrotask(() => taken?.());
    else this.waiting.push(taken ?? (() => undefined));
    return this.waiting.length < this.writableHighWaterMark;
  }
  resumeReading(): void {
    this.reads = true;
    for (const taken of this.waiting.splice(0)) taken();
  }
  readOne(): void {
    this.waiting.shift()?.();
  }
  end(): void {
    this.status = 'OK';
    this.writableEnded = true;
  }
  /** Emits 'cancelled', as grpc-js does when the stream of any call closes. */
  disconnect(): void {
    this.cancelled = true;
    this.emit('cancelled');
  }
}

/** A response of 1 MiB. */
const RESPONSE = Buffer.alloc(1024 * 1024);

function makeServer(options: Partial<ResolvedServerMethod> = {}) {
  const clock = new BusyClock();
  const reported: GrpcServerEvent[] = [];
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  events.listen((event) => reported.push(event), false);
  const calls = new ServerCalls(clock, events);
  const gate = new OverloadGate(clock, events, new OverloadState(clock, events), () => clock.now());
  const serve = (
    kind: MethodKind,
    handler: ServedHandler,
    streaming = RX,
    onDone?: () => void,
    as: Partial<Wire> = {},
  ) => {
    const method = {
      path: '/a.B/M',
      kind,
      handler,
      serialize: () => RESPONSE,
      serviceTime: new ServiceTime(),
      options: {
        onDrain: 'fail',
        maxStreamIdleMs: undefined,
        overloadProtection: true,
        maxConcurrentCalls: undefined,
        maxCallMs: undefined,
        ...options,
      } as const,
    };
    const wire = Object.assign(new Wire(), as);
    const answers: unknown[] = [];
    const hook = onDone === undefined ? undefined : () => onDone;
    implementationOf(method, streaming, { calls, gate, limits: [], onCall: hook })(
      wire as unknown as WireCall,
      (...answer) => answers.push(answer),
    );
    return { wire, answers, call: servedCallOf(wire)! };
  };
  const types = () => reported.map(({ type }) => type);
  return { clock, calls, gate, reported, types, serve };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('maxStreamIdleMs', () => {
  it('restarts the idle timeout of a stream with each message', async () => {
    const { clock, serve, types } = makeServer({ maxStreamIdleMs: 1_000 });
    const source = new Subject<unknown>();
    const { wire } = serve('server-stream', () => source);
    for (let i = 0; i < 5; i++) {
      await clock.advanceAsync(700);
      source.next(i);
      await turn();
    }
    expect(wire.status).toBeUndefined();
    await clock.advanceAsync(1_100);
    expect(types()).toEqual(['stream-idle']);
    expect(wire.status).toMatchObject({ code: StatusCode.UNAVAILABLE });
  });

  it('excludes the time of an event-loop block from the idle time of a stream', async () => {
    const { clock, serve, types } = makeServer({ maxStreamIdleMs: 1_000 });
    serve('server-stream', () => NEVER);
    await clock.advanceAsync(500);
    clock.block(3_000);
    await clock.advanceAsync(3_300);
    expect(types()).toEqual([]);
    await clock.advanceAsync(700);
    expect(types()).toEqual(['stream-idle']);
  });

  it('does not apply the idle timeout to a handler that owns its stream', async () => {
    const { clock, serve, types } = makeServer({ maxStreamIdleMs: 1_000 });
    const { wire } = serve('bidi', () => undefined, PT);
    await clock.advanceAsync(10_000);
    expect([types(), wire.status]).toEqual([[], undefined]);
  });

  it('resets an idle stream if its client does not read, because no status would arrive', async () => {
    const { clock, serve } = makeServer({ maxStreamIdleMs: 1_000 });
    const source = new Subject<unknown>();
    const { wire } = serve('server-stream', () => source);
    wire.reads = false;
    source.next(1);
    await clock.advanceAsync(1_100);
    expect(wire.resets).toHaveLength(1);
    expect(source.observed).toBe(false);
  });
});

it.each(['', ', with traces'])('tells the transport how far an Observable is ahead of its client%s', async (traces) => {
  const contexts: TraceContexts = { active: () => ({}), run: (_, work) => work() };
  const forget = traces === '' ? () => undefined : keepTraces(contexts);
  const { clock, serve } = makeServer();
  const source = new Subject<unknown>();
  const { wire } = serve('server-stream', () => source);
  wire.reads = false;
  for (let message = 0; message < 40; message++) {
    source.next(message);
    await clock.advanceAsync(1);
  }
  expect(wire.keptBytes).toBeGreaterThan(20 * RESPONSE.length);
  wire.resumeReading();
  await turn();
  expect(wire.keptBytes).toBe(0);
  forget();
});

describe('deadline', () => {
  it('resets a stream past its deadline if the client does not read', async () => {
    const { clock, serve } = makeServer();
    const { wire } = serve('server-stream', () => concat(of(1), NEVER), RX, undefined, {
      reads: false,
      deadline: clock.epoch() + 200,
    });
    await clock.advanceAsync(400);
    expect(wire.resets).toEqual([]);
    await clock.advanceAsync(2_000);
    expect(wire.resets).toHaveLength(1);
  });

  it('ends a stream at its deadline, regardless of steps of the wall clock', async () => {
    const { clock, serve } = makeServer();
    const { wire, call } = serve('server-stream', () => NEVER, RX, undefined, { deadline: clock.epoch() + 60_000 });
    await clock.advanceAsync(500);
    clock.step(61_000);
    await clock.advanceAsync(3_000);
    expect([call.isCallerGone, wire.status]).toEqual([false, undefined]);
    clock.step(-122_000);
    await clock.advanceAsync(58_500);
    expect(call.isCallerGone).toBe(true);
    expect(wire.status).toMatchObject({ code: StatusCode.DEADLINE_EXCEEDED });
  });
});

describe('epoch time without fractions', () => {
  it('reports DEADLINE_EXCEEDED for a call that grpc-js cancels at most 1 ms before its deadline on the monotonic clock', () => {
    const { clock, serve } = makeServer();
    clock.advance(0.75);
    const epoch = clock.epoch.bind(clock);
    clock.epoch = () => Math.floor(epoch());
    const { wire, call } = serve('unary', () => NEVER, RX, undefined, { deadline: clock.epoch() + 200 });
    clock.advance(199.5);
    wire.disconnect();
    expect(call.endCode).toBe(StatusCode.DEADLINE_EXCEEDED);
  });
});

describe('stopped call', () => {
  it('aborts the signal of a stopped handler, even if the signal is first read later', () => {
    const { calls, serve } = makeServer();
    const { call } = serve('server-stream', () => NEVER);
    const { signal } = call.inbound;
    const { call: other } = serve('server-stream', () => NEVER);
    calls.endAll();
    expect([signal.aborted, other.inbound.signal.aborted]).toEqual([true, true]);
  });

  it('sends the status of a stopped call and reports an error thrown by its teardown', () => {
    const { calls, serve, types } = makeServer();
    const failing = () =>
      new Observable(() => () => {
        throw new Error('teardown');
      });
    const { answers } = serve('unary', failing);
    const { wire } = serve('server-stream', failing);
    const { wire: own } = serve('bidi', failing, PT);
    expect(calls.endAll()).toBe(3);
    expect(answers).toEqual([[expect.objectContaining({ code: StatusCode.UNAVAILABLE })]]);
    for (const { status } of [wire, own]) expect(status).toMatchObject({ code: StatusCode.UNAVAILABLE });
    expect(types()).toContain('handler-failed');
  });

  it("aborts the signal of a draining stream, delivers its queued messages, and then ends the stream with OK if onDrain is 'complete'", async () => {
    const { calls, serve } = makeServer({ onDrain: 'complete' });
    const source = new Subject<unknown>();
    const { wire, call } = serve('server-stream', () => source);
    wire.writableHighWaterMark = 1;
    wire.reads = false;
    const { signal } = call.inbound;
    for (let i = 1; i <= 3; i++) source.next(i);
    await calls.notifyStreams();
    expect([wire.written, wire.status, source.observed, signal.aborted]).toEqual([[1], undefined, false, true]);
    wire.resumeReading();
    await turn();
    expect([wire.written, wire.status]).toEqual([[1, 2, 3], 'OK']);
  });

  it('does not interrupt a draining stream whose handler has completed', async () => {
    const { calls, serve } = makeServer();
    const { wire } = serve('server-stream', () => of(1, 2, 3));
    const { wire: slow } = serve('server-stream', (_request, _metadata, call) => {
      Object.assign(call as Wire, { reads: false, writableHighWaterMark: 1 });
      return of(1, 2, 3);
    });
    await turn();
    await calls.notifyStreams();
    slow.resumeReading();
    await turn();
    expect([wire.status, slow.status, slow.written]).toEqual(['OK', 'OK', [1, 2, 3]]);
  });

  it('schedules no further batch of draining streams after all calls have ended', async () => {
    const { clock, calls, serve } = makeServer();
    const wires = Array.from({ length: 250 }, () => serve('server-stream', () => NEVER).wire);
    const notified = calls.notifyStreams();
    expect(calls.endAll()).toBe(250);
    await notified;
    for (const wire of wires) wire.disconnect();
    expect(clock.pending).toBe(0);
  });
});

describe('call whose stream is closed on arrival', () => {
  it.each<MethodKind>(['unary', 'client-stream', 'server-stream', 'bidi'])(
    'does not run the handler of a %s call whose stream is already closed',
    (kind) => {
      const { calls, gate, serve } = makeServer();
      let served = 0;
      const handler = () => {
        served += 1;
        return NEVER;
      };
      const closed = new Wire();
      Object.assign(closed.call, { isClosed: true });
      const method = {
        path: '/a.B/M',
        kind,
        handler,
        serialize: () => Buffer.alloc(1),
        serviceTime: new ServiceTime(),
        options: {
          onDrain: 'fail',
          maxStreamIdleMs: undefined,
          overloadProtection: true,
          maxConcurrentCalls: undefined,
          maxCallMs: undefined,
        } as const,
      };
      implementationOf(method, RX, { calls, gate, limits: [], onCall: undefined })(
        closed as unknown as WireCall,
        () => undefined,
      );
      expect([served, calls.size, calls.lingeringHandlers]).toEqual([0, 0, 0]);
      serve(kind, handler);
      expect([served, calls.size]).toEqual([1, 1]);
    },
  );
});

describe('handler that outlives its call', () => {
  it('reports a handler leak once', async () => {
    const { clock, calls, serve, types } = makeServer();
    const { wire } = serve('unary', () => new Promise(() => undefined));
    wire.disconnect();
    expect([calls.size, calls.lingeringHandlers]).toEqual([0, 1]);
    await clock.advanceAsync(300_000);
    expect(types()).toEqual(['handler-leak']);
  });

  it('excludes the time of an event-loop block from the age of a handler leak', async () => {
    const { clock, serve, types } = makeServer();
    const { wire } = serve('unary', () => new Promise(() => undefined));
    wire.disconnect();
    await clock.advanceAsync(500);
    clock.block(90_000);
    await clock.advanceAsync(140_000);
    expect(types()).toEqual([]);
    await clock.advanceAsync(20_000);
    expect(types()).toEqual(['handler-leak']);
  });

  it('closes an async generator that the handler returns after its call ended', async () => {
    const { calls, serve } = makeServer();
    let resolveResult: (value: unknown) => void = () => undefined;
    let returned = 0;
    const { wire } = serve('server-stream', () => new Promise((resolve) => (resolveResult = resolve)));
    wire.disconnect();
    resolveResult({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => undefined),
        return: () => Promise.resolve({ done: true, value: (returned += 1) }),
      }),
    });
    await turn();
    expect([returned, calls.lingeringHandlers]).toEqual([1, 0]);
  });

  it('ends a stream with UNKNOWN if the iterable of its handler throws, and does not crash the process', async () => {
    const { serve } = makeServer();
    const locked = {
      [Symbol.asyncIterator]: () => {
        throw new TypeError('locked');
      },
    };
    const { wire } = serve('server-stream', () => Promise.resolve(locked));
    const { wire: inner } = serve('server-stream', () => of(locked));
    const { wire: late } = serve('server-stream', () => Promise.resolve(locked));
    late.disconnect();
    await turn();
    for (const { status } of [wire, inner]) expect(status).toMatchObject({ code: StatusCode.UNKNOWN });
  });
});

describe('Observable that outruns its client', () => {
  /**
   * Pushes up to 2,000 messages, until the server unsubscribes. The client reads one message per `pushesPerRead` pushes, or none if
   * `pushesPerRead` is 0.
   */
  async function pushMessages(pushesPerRead: number, gapMs: number) {
    const { clock, serve, reported } = makeServer();
    const source = new Subject<unknown>();
    const { wire } = serve('server-stream', () => source);
    wire.writableHighWaterMark = 1;
    wire.reads = false;
    let count = 0;
    while (source.observed && count < 2_000) {
      source.next(count++);
      clock.advance(gapMs);
      if (pushesPerRead > 0 && count % pushesPerRead === 0) wire.readOne();
    }
    return { count, reported };
  }

  it('keeps the stream of an Observable open while its client reads and lags by less than 30 s, and ends the stream if the lag exceeds 30 s', async () => {
    expect((await pushMessages(50, 1)).count).toBe(2_000);
    const { count } = await pushMessages(50, 100);
    expect(count * 100).toBeGreaterThan(30_000);
    expect(count).toBeLessThan(500);
  });

  it('excludes the time of an event-loop block from the age of a queued response', async () => {
    const { clock, serve, types } = makeServer();
    const source = new Subject<unknown>();
    const { wire } = serve('server-stream', () => source);
    wire.writableHighWaterMark = 1;
    wire.reads = false;
    const push = async (count: number, reads: boolean) => {
      for (let index = 0; index < count; index++) {
        source.next(index);
        await clock.advanceAsync(100);
        if (reads) wire.readOne();
      }
    };
    // These responses stay queued and exceed 8 MiB.
    await push(20, false);
    await push(20, true);
    clock.block(40_000);
    await clock.advanceAsync(40_000);
    await push(20, true);
    expect([source.observed, types()]).toEqual([true, []]);
  });
});

describe('handler that owns its stream', () => {
  it('unsubscribes from the Observable of a handler that owns its stream when the client disconnects, and reports the end of the handler once', () => {
    const source = new Subject();
    let ended = 0;
    const { serve } = makeServer();
    const { wire } = serve(
      'bidi',
      () => source,
      PT,
      () => (ended += 1),
    );
    expect(source.observed).toBe(true);
    wire.disconnect();
    wire.disconnect();
    expect([source.observed, ended]).toEqual([false, 1]);
  });

  it('ignores the response of a handler that responds after the call ended', () => {
    let answer: (error: null, value: unknown) => void = () => undefined;
    const { calls, serve } = makeServer();
    const { answers } = serve(
      'client-stream',
      (_call, callback) => {
        answer = callback as typeof answer;
        return NEVER;
      },
      PT,
    );
    calls.endAll();
    answer(null, {});
    expect(answers).toEqual([[expect.objectContaining({ code: StatusCode.UNAVAILABLE })]]);
  });
});

describe('unary handler', () => {
  it.each<[string, ServedHandler]>([
    ['returns a value', () => ({})],
    ['returns an Observable that completes', () => of({})],
    ['returns an empty Observable', () => EMPTY],
    ['returns an Observable that fails', () => throwError(() => new Error('no'))],
    ['returns a promise that rejects', () => Promise.reject(new Error('no'))],
  ])('ends a unary call once and reports no leak if its handler %s', async (_what, handler) => {
    const { clock, calls, serve } = makeServer();
    let ended = 0;
    const { answers } = serve('unary', handler, RX, () => (ended += 1));
    await turn();
    expect([answers.length, ended, calls.size, calls.lingeringHandlers]).toEqual([1, 1, 0, 0]);
    // The check for handlers that outlive their calls uses a timer. Without a pending timer, no such check is pending.
    expect(clock.pending).toBe(0);
  });

  it('responds with the value of a thenable that a unary handler returns or its Observable emits', async () => {
    const thenable = {
      then: (resolve: (value: unknown) => void) => {
        resolve({ id: '7' });
      },
    };
    const { serve } = makeServer();
    const { answers } = serve('unary', () => thenable);
    const { answers: emitted } = serve('unary', () => of(thenable));
    await turn();
    expect([answers, emitted]).toEqual([[[null, { id: '7' }]], [[null, { id: '7' }]]]);
  });
});

it('closes the generator that an Observable of a unary handler emits, even if the teardown of the Observable throws', async () => {
  const { calls, serve } = makeServer();
  let returned = 0;
  const generator = {
    [Symbol.asyncIterator]: () => undefined,
    next: () => new Promise(() => undefined),
    return: () => Promise.resolve({ done: true, value: (returned += 1) }),
  };
  const { wire } = serve(
    'unary',
    () =>
      new Observable((subscriber) => {
        subscriber.next(generator);
        return () => {
          throw new Error('teardown');
        };
      }),
  );
  wire.disconnect();
  await turn();
  expect([returned, calls.lingeringHandlers]).toEqual([1, 0]);
});

describe.each<MethodKind>(['unary', 'client-stream'])('generator of a %s handler', (kind) => {
  const path = '/a.B/M';

  it.each<[string, ServedHandler, unknown]>([
    [
      'an async generator',
      async function* () {
        yield { id: '7' };
      },
      [null, { id: '7' }],
    ],
    [
      'a sync generator',
      function* () {
        yield { id: '7' };
      },
      [null, { id: '7' }],
    ],
    [
      'a generator that an interceptor emits',
      () =>
        of(
          (async function* () {
            yield { id: '7' };
          })(),
        ),
      [null, { id: '7' }],
    ],
    [
      'an Observable of a promise of a generator',
      () =>
        of(
          Promise.resolve(
            (async function* () {
              yield { id: '7' };
            })(),
          ),
        ),
      [null, { id: '7' }],
    ],
    ['an iterable message', () => ({ id: '7', [Symbol.iterator]: () => [1, 2].values() }), [null, { id: '7' }]],
    [
      'a generator without a value',
      async function* () {
        // Yields nothing.
      },
      [{ code: StatusCode.INTERNAL, details: `The handler of ${path} completed without a response` }],
    ],
    [
      'a generator with two values',
      async function* () {
        yield { id: '1' };
        yield { id: '2' };
      },
      [{ code: StatusCode.INTERNAL, details: `The handler of ${path} emitted a second response` }],
    ],
    [
      'a generator that fails after its value',
      async function* () {
        yield { id: '1' };
        throw new Error('secret');
      },
      [{ code: StatusCode.UNKNOWN, details: 'Internal server error' }],
    ],
    [
      'a generator of a rejected promise',
      function* () {
        yield Promise.reject(new Error('secret'));
      },
      [{ code: StatusCode.UNKNOWN, details: 'Internal server error' }],
    ],
  ])('ends the call once and reports no leak if the handler returns %s', async (_what, handler, answer) => {
    const { clock, calls, serve } = makeServer();
    let ended = 0;
    const { answers } = serve(kind, handler, RX, () => (ended += 1));
    await turn();
    expect(answers).toMatchObject([answer]);
    // A closed generator ends after its call, so a check for handler leaks is pending.
    await clock.advanceAsync(2_000);
    expect([ended, calls.size, calls.lingeringHandlers, clock.pending]).toEqual([1, 0, 0, 0]);
  });

  it.each([
    ['a message', { id: '7' }],
    [
      'a generator',
      (function* () {
        yield { id: '7' };
      })(),
    ],
  ])('counts the handler as running until the promise emitted by its Observable resolves to %s', async (_, value) => {
    const { calls, serve } = makeServer();
    let settle: (value: unknown) => void = () => undefined;
    const { wire, answers } = serve(kind, () => of(new Promise((resolve) => (settle = resolve))));
    wire.disconnect();
    await turn();
    expect([calls.size, calls.lingeringHandlers]).toEqual([0, 1]);
    settle(value);
    await turn();
    expect([calls.lingeringHandlers, answers]).toEqual([0, []]);
  });

  it('closes the generator of a handler that yields a second value', async () => {
    const { serve } = makeServer();
    let closed = 0;
    serve(kind, function* () {
      try {
        for (;;) yield {};
      } finally {
        closed += 1;
      }
    });
    await turn();
    expect(closed).toBe(1);
  });

  it('closes a generator that the handler returns after its call ended', async () => {
    const { calls, serve } = makeServer();
    let resolveResult: (value: unknown) => void = () => undefined;
    let returned = 0;
    const { wire } = serve(kind, () => new Promise((resolve) => (resolveResult = resolve)));
    wire.disconnect();
    resolveResult({
      [Symbol.asyncIterator]: () => undefined,
      next: () => new Promise(() => undefined),
      return: () => Promise.resolve({ done: true, value: (returned += 1) }),
    });
    await turn();
    expect([returned, calls.lingeringHandlers]).toEqual([1, 0]);
  });
});
