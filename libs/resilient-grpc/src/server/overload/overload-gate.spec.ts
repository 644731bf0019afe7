import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { Metadata, status } from '@grpc/grpc-js';
import { GrpcMethodStreamingType } from '@nestjs/microservices';
import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { ServiceTime } from '../../policy/overload/overload-queue.js';
import { StatusCode } from '../../status/status-code.js';
import { VirtualClock, turn } from '../../../../../test/unit-support/virtual-clock.js';
import type { ServedHandler, ServedMethod } from '../calls/served-call.js';
import { ServerCalls } from '../calls/server-calls.js';
import type { StatusLike, WireCall } from '../calls/wire-call.js';
import type { CallConnection } from '../grpc/innermost-call.js';
import { implementationOf } from '../served-methods.js';
import { OverloadGate, unreadRefusal } from './overload-gate.js';
import { OverloadState } from './overload-state.js';
import type { ServedCallEnd, ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import type { HeaderBlock } from '../../transport/hpack/header-block.js';

/** A clock whose time passes while handlers use the CPU, and when a test advances it. */
class WorkClock extends VirtualClock {
  private workedMs = 0;

  override now(): number {
    return super.now() + this.workedMs;
  }

  override epoch(): number {
    return super.epoch() + this.workedMs;
  }

  override defer(task: () => void): void {
    setImmediate(task);
  }

  /** Total time for which the event loop has waited for events, in milliseconds. */
  idleMs(): number {
    return super.now();
  }

  /** Advances the time by `ms`, as CPU use would. */
  work(ms: number): void {
    this.workedMs += ms;
  }
}

interface Answer {
  readonly id: number;
  readonly status: StatusLike | undefined;
}

function makeServer(workMs = 5, overloadProtection = true) {
  const clock = new WorkClock();
  const reported: GrpcServerEvent[] = [];
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  events.listen((event) => reported.push(event), false);
  const state = new OverloadState(clock, events);
  const gate = new OverloadGate(clock, events, state, () => clock.idleMs());
  const calls = new ServerCalls(clock, events);
  const handled: number[] = [];
  const answers: Answer[] = [];
  const work: ServedHandler = (request) => {
    // The cast is safe: `call` sends the id as the request.
    handled.push(request as number);
    clock.work(workMs);
    return {};
  };
  const methodOf = (handler: ServedHandler) =>
    implementationOf(
      {
        path: '/a.B/M',
        kind: 'unary',
        handler,
        serviceTime: new ServiceTime(),
        serialize: () => Buffer.alloc(1),
        options: {
          onDrain: 'fail',
          maxStreamIdleMs: undefined,
          overloadProtection,
          maxConcurrentCalls: undefined,
          maxCallMs: undefined,
        },
      },
      GrpcMethodStreamingType.NO_STREAMING,
      { calls, gate, limits: [], onCall: undefined },
    );
  let next = 0;
  const method = methodOf(work);
  const call = (timeoutMs = Infinity, implementation = method, peer = '10.0.0.7:4711') => {
    const id = next++;
    const deadline = clock.epoch() + timeoutMs;
    const wire = Object.assign(new EventEmitter(), {
      metadata: new Metadata(),
      request: id,
      cancelled: false,
      getDeadline: () => deadline,
      getPeer: () => peer,
      call: { stream: { closed: false, close: () => undefined, on: () => undefined } },
    });
    implementation(wire as unknown as WireCall, (error) => answers.push({ id, status: error ?? undefined }));
    const cancel = () => {
      wire.cancelled = true;
      wire.emit('cancelled');
    };
    return { id, cancel };
  };
  /** Waits until the server has no open call. */
  const settle = async () => {
    while (calls.size > 0) await turn();
    await turn();
  };
  /** Makes `count` calls in one turn of the event loop. Reading each request takes `readMs`. */
  const callInOneTurn = async (count: number, readMs: number) => {
    for (let index = 0; index < count; index++) {
      call();
      await new Promise(process.nextTick);
      await new Promise(process.nextTick);
      clock.work(readMs);
    }
  };
  /** Occupies the process, so that later calls wait. The server measures the service time of the method in these `count` calls. */
  const occupy = async (count = 12) => {
    for (let index = 0; index < count; index++) {
      call();
      await Promise.resolve();
      await new Promise(process.nextTick);
    }
    await settle();
    handled.length = answers.length = 0;
    next = 0;
  };
  const refused = () => answers.filter(({ status }) => status?.code === StatusCode.RESOURCE_EXHAUSTED);
  const types = () => reported.map(({ type }) => type);
  return {
    clock,
    calls,
    call,
    callFrom: (peer: string) => call(Infinity, method, peer),
    wantedOf: (peer: string) => gate.wantedOf(peer as unknown as CallConnection),
    callInOneTurn,
    settle,
    occupy,
    methodOf,
    handled,
    answers,
    refused,
    reported,
    types,
    state,
  };
}

describe('OverloadGate', () => {
  it('runs a handler when its call arrives if the process is not busy', () => {
    const { call, handled } = makeServer();
    call();
    expect(handled).toEqual([0]);
    call();
    expect(handled).toEqual([0, 1]);
  });

  it('queues calls after handlers have run for more than 10 ms without a pause, and serves them in the order of their arrival', async () => {
    const { call, handled, settle } = makeServer();
    for (let index = 0; index < 6; index++) call();
    expect(handled).toEqual([0, 1, 2]);
    await settle();
    expect(handled).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it.each([0.1, 1, 8, 12])(
    'queues calls that arrive in one event-loop turn if their handlers take 20 ms and reading a request takes %d ms',
    async (readMs) => {
      const { callInOneTurn, handled, settle } = makeServer(20);
      await callInOneTurn(50, readMs);
      expect(handled.length).toBeLessThanOrEqual(2);
      await settle();
      expect(handled).toHaveLength(50);
    },
  );

  it('counts handlers that run in microtasks, each of whose calls begins in the tick after those of the one before', async () => {
    const { call, clock, methodOf, settle } = makeServer();
    let handled = 0;
    const inMicrotasks = methodOf(async () => {
      await Promise.resolve();
      clock.work(5);
      handled += 1;
      return {};
    });
    let left = 50;
    await new Promise<void>((resolve) => {
      const begin = (): void => {
        if (left-- === 0) {
          resolve();
          return;
        }
        queueMicrotask(() => process.nextTick(begin));
        call(Infinity, inMicrotasks);
      };
      begin();
    });
    expect(handled).toBeLessThanOrEqual(4);
    await settle();
    expect(handled).toBe(50);
  });

  it('runs each handler when its call arrives if reading the request takes longer than the handler', async () => {
    const { callInOneTurn, handled } = makeServer(1);
    await callInOneTurn(50, 2);
    expect(handled).toHaveLength(50);
  });

  it('runs a handler when its call arrives if the process was idle after a busy period', async () => {
    const { call, callInOneTurn, clock, handled, settle } = makeServer(20);
    await callInOneTurn(50, 0);
    await settle();
    clock.advance(1);
    call();
    expect(handled).toHaveLength(51);
  });

  it.each([
    { workMs: 5, expected: 2 },
    { workMs: 7, expected: 1 },
    { workMs: 20, expected: 1 },
  ])('limits handlers of $workMs ms to $expected per turn of the event loop', async ({ workMs, expected }) => {
    const { call, handled, occupy, settle } = makeServer(workMs);
    await occupy();
    const handledAtTurns: number[] = [];
    for (let index = 0; index < 13; index++) call();
    const watch = () => {
      handledAtTurns.push(handled.length);
      if (handled.length < 13) setImmediate(watch);
    };
    setImmediate(watch);
    await settle();
    const perTurn = handledAtTurns.map((count, index) => count - (handledAtTurns[index - 1] ?? 0));
    expect(Math.max(...perTurn)).toBe(expected);
  });

  it('starts a handler after the microtasks of the previous handler', async () => {
    const { call, clock, methodOf, settle } = makeServer();
    const log: string[] = [];
    const slow = methodOf(async (request) => {
      log.push(`${String(request)} starts`);
      for (let hop = 0; hop < 20; hop++) await Promise.resolve();
      clock.work(5);
      log.push(`${String(request)} ends`);
      return {};
    });
    for (let index = 0; index < 4; index++) call();
    log.length = 0;
    const [first, second] = [call(Infinity, slow), call(Infinity, slow)];
    await settle();
    expect(log).toEqual([
      `${String(first.id)} starts`,
      `${String(first.id)} ends`,
      `${String(second.id)} starts`,
      `${String(second.id)} ends`,
    ]);
  });

  it('refuses calls that cannot be served in time, and runs no handler for an expired call', async () => {
    const { call, clock, handled, occupy, refused, answers, settle, types } = makeServer();
    await occupy();
    const load = Array.from({ length: 1_000 }, () => call(1_000).id);
    await settle();
    expect(answers).toHaveLength(load.length);
    // In 1 s, 200 handlers of 5 ms can run.
    expect(handled.length).toBeGreaterThan(190);
    expect(handled.length).toBeLessThanOrEqual(204);
    expect(refused().length).toBeGreaterThan(690);
    expect(types().filter((type) => type === 'call-shed')).toHaveLength(refused().length);
    expect(clock.now()).toBeLessThan(1_100);
  });

  it('serves all calls of a burst if they can meet their deadlines', async () => {
    const { call, handled, occupy, refused, settle } = makeServer();
    await occupy();
    for (let index = 0; index < 180; index++) call(1_000);
    await settle();
    expect(handled).toHaveLength(180);
    expect(refused()).toEqual([]);
  });

  it('refuses none of 1,000 calls without a deadline, and divides the time between calls with and without a deadline', async () => {
    const { call, handled, occupy, refused, settle } = makeServer();
    await occupy();
    for (let index = 0; index < 1_000; index++) call();
    const limited = Array.from({ length: 10 }, () => call(1_000).id);
    await settle();
    expect(refused()).toEqual([]);
    expect(handled).toHaveLength(1_010);
    expect(Math.max(...limited.map((id) => handled.indexOf(id)))).toBeLessThan(25);
  });

  it.each([
    ['without a deadline', Infinity],
    ['with a deadline in 1 hour', 3_600_000],
  ])(
    'serves the backlog without yielding to the event loop while more than 5,000 calls %s are waiting',
    async (_, timeoutMs) => {
      const { call, handled, settle } = makeServer(1);
      for (let index = 0; index < 6_000; index++) call(timeoutMs);
      const before = handled.length;
      await turn();
      await turn();
      expect(handled.length - before).toBeGreaterThan(900);
      await settle();
      expect(handled).toHaveLength(6_000);
    },
  );

  it('yields to the event loop after each slice of work while 6,000 calls with a deadline in 20 s are waiting', async () => {
    const { call, handled, settle } = makeServer(1);
    for (let index = 0; index < 6_000; index++) call(20_000);
    const before = handled.length;
    await turn();
    await turn();
    expect(handled.length - before).toBeLessThan(50);
    await settle();
    expect(handled).toHaveLength(6_000);
  });

  it.each(['cancelled', 'served'])(
    'yields to the event loop again after 6,000 calls with long deadlines were %s',
    async (end) => {
      const { call, handled, settle } = makeServer(1);
      for (let round = 0; round < 2; round++) {
        const calls = Array.from({ length: 6_000 }, () => call(3_600_000));
        if (end === 'cancelled') for (const { cancel } of calls) cancel();
        await settle();
      }
      for (let index = 0; index < 100; index++) call(3_600_000);
      const before = handled.length;
      await turn();
      await turn();
      expect(handled.length - before).toBeLessThan(50);
      await settle();
    },
  );

  it('wants any number of requests of one connection, and few of each of several while calls wait', async () => {
    const { callFrom, settle, wantedOf } = makeServer(1);
    for (let index = 0; index < 1_000; index++) callFrom('a:1');
    expect(wantedOf('a:1')).toBe(Infinity);
    callFrom('b:1');
    expect(['a:1', 'b:1', 'c:1'].map(wantedOf)).toEqual([261, 1_249, 1_250]);
    for (let index = 0; index < 100; index++) callFrom(`${String(index)}:2`);
    expect(['a:1', 'b:1', 'c:1'].map(wantedOf)).toEqual([0, 3, 4]);
    await settle();
    expect(wantedOf('a:1')).toBe(Infinity);
  });

  it('does not run the handler of a call that was cancelled while it waited', async () => {
    const { call, calls, handled, settle } = makeServer();
    for (let index = 0; index < 4; index++) call();
    const cancelled = call();
    const last = call();
    cancelled.cancel();
    await settle();
    expect(handled).not.toContain(cancelled.id);
    expect(handled.at(-1)).toBe(last.id);
    expect([calls.size, calls.lingeringHandlers]).toEqual([0, 0]);
  });

  it('counts queued calls as open, so that a drain ends them without running their handlers', async () => {
    const { call, calls, handled, answers, settle } = makeServer();
    for (let index = 0; index < 8; index++) call();
    expect(calls.size).toBe(5);
    expect(calls.endAll()).toBe(5);
    await settle();
    expect(handled).toHaveLength(3);
    expect(answers.filter(({ status }) => status?.code === StatusCode.UNAVAILABLE)).toHaveLength(5);
    expect(calls.lingeringHandlers).toBe(0);
  });

  it('runs the handler of a queued call in the async context in which the call arrived', async () => {
    const { call, methodOf, settle } = makeServer();
    const context = new AsyncLocalStorage<number>();
    const seen: (number | undefined)[] = [];
    const reading = methodOf(() => {
      seen.push(context.getStore());
      return {};
    });
    for (let index = 0; index < 4; index++) call();
    for (const user of [7, 8]) context.run(user, () => call(Infinity, reading));
    await settle();
    expect(seen).toEqual([7, 8]);
  });

  it('reports the start and the end of an overload once', async () => {
    const { call, clock, occupy, refused, reported, settle, state } = makeServer();
    await occupy();
    for (let index = 0; index < 1_000; index++) call(1_000);
    expect(state.snapshot().queued).toBeGreaterThan(100);
    await settle();
    expect(state.snapshot().since).toBeInstanceOf(Date);
    clock.advance(2_100);
    const overloads = reported.filter((event) => event.type === 'overload');
    expect(overloads).toMatchObject([{ phase: 'begin' }, { phase: 'end', shed: refused().length }]);
    expect(state.snapshot()).toEqual({ since: undefined, queued: 0, shed: refused().length, limits: [] });
  });

  it('runs every handler when its call arrives if overloadProtection is false', () => {
    const { call, handled } = makeServer(5, false);
    for (let index = 0; index < 100; index++) call(1);
    expect(handled).toHaveLength(100);
  });
});

const PATH = '/a.B/Get';

describe('unreadRefusal', () => {
  const refuse = ({
    isRefusing = true,
    path = PATH,
    grpcTimeout,
  }: {
    isRefusing?: boolean;
    path?: string;
    grpcTimeout?: string | undefined;
  }) => {
    const recorded: unknown[] = [];
    const gate = {
      isRefusing,
      refuseUnread: (_: ServedMethod, timeoutMs: number) => recorded.push(timeoutMs) > 0,
    };
    const telemetry = {
      begin: ({ path, kind, metadata }: Parameters<ServerTelemetry['begin']>[0]) => {
        recorded.push(`begin ${kind} ${path} ${String(metadata.get('trace')[0])}`);
        return { end: ({ code, receivedBytes }: ServedCallEnd) => recorded.push(`end ${code} ${receivedBytes}`) };
      },
    } as unknown as ServerTelemetry;
    const methods = new Map([[PATH, { path: PATH, kind: 'unary' } as ServedMethod]]);
    const block = { path, grpcTimeout, fields: ['trace', '7'] } as unknown as HeaderBlock;
    const refused = unreadRefusal(gate as unknown as OverloadGate, methods, telemetry)(block, 'a:1');
    return { refused, recorded };
  };

  it.each([
    [undefined, Infinity],
    ['60S', 60_000],
  ])(
    'refuses a call with the timeout %s with a status that stops retries, and reports it to telemetry',
    (grpcTimeout, timeoutMs) => {
      const { refused, recorded } = refuse({ grpcTimeout });
      expect(refused).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: 'The server is overloaded and refused the call before its handler ran',
      });
      expect(refused?.metadata?.getMap()).toMatchObject({ 'grpc-retry-pushback-ms': '-1', 'x-overloaded': 'true' });
      expect(recorded).toEqual([timeoutMs, `begin unary ${PATH} 7`, 'end 8 0']);
    },
  );

  it.each([
    ['of a method that the gate does not cover', { path: '/a.B/Other' }],
    ['while the server is not overloaded', { isRefusing: false }],
    ['with an invalid timeout', { grpcTimeout: 'soon' }],
  ])('serves a call %s', (_what, given) => {
    expect(refuse(given)).toEqual({ refused: undefined, recorded: [] });
  });
});
