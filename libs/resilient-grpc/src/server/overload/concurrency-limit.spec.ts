import { EventEmitter } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import { GrpcMethodStreamingType } from '@nestjs/microservices';
import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { ServiceTime } from '../../policy/overload/overload-queue.js';
import { StatusCode } from '../../status/status-code.js';
import { VirtualClock, turn } from '../../../../../test/unit-support/virtual-clock.js';
import { ServerCalls } from '../calls/server-calls.js';
import type { StatusLike, WireCall } from '../calls/wire-call.js';
import { implementationOf } from '../served-methods.js';
import { ConcurrencyLimit } from './concurrency-limit.js';
import { OverloadGate } from './overload-gate.js';
import { OverloadState } from './overload-state.js';

const PATH = '/a.B/M';

/** A clock whose time also advances while a handler uses the CPU, without running timers or deferred tasks. */
class CpuClock extends VirtualClock {
  usedMs = 0;
  /** Sum of the steps of the wall clock, in milliseconds. */
  steppedMs = 0;

  override now(): number {
    return super.now() + this.usedMs;
  }

  override epoch(): number {
    return super.epoch() + this.steppedMs;
  }
}

interface LimitOptions {
  readonly max?: number | 'adaptive';
  readonly maxQueued?: number;
  readonly serverMax?: number;
  readonly maxCallMs?: number;
}

function makeServer({ max = 2, maxQueued = 1_000, serverMax = Infinity, maxCallMs }: LimitOptions = {}) {
  const clock = new CpuClock();
  const events = new EventHub<GrpcServerEvent>({}, () => clock.epoch());
  const overloads: GrpcServerEvent[] = [];
  events.listen((event) => event.type === 'overload' && overloads.push(event), false);
  const state = new OverloadState(clock, events);
  const gate = new OverloadGate(clock, events, state, () => clock.now());
  const calls = new ServerCalls(clock, events);
  const limits = [
    new ConcurrencyLimit({ path: PATH, maxConcurrent: max, maxQueued }, clock, events, state),
    new ConcurrencyLimit({ path: undefined, maxConcurrent: serverMax, maxQueued }, clock, events, state),
  ];
  const running = new Map<number, (value: unknown) => void>();
  const answers = new Map<number, StatusLike | undefined>();
  let started = 0;
  const method = implementationOf(
    {
      path: PATH,
      kind: 'unary',
      handler: (request) => {
        started += 1;
        // The cast is safe: `call` sends the id as the request.
        return new Promise((resolve) => running.set(request as number, resolve));
      },
      serviceTime: new ServiceTime(),
      serialize: () => Buffer.alloc(1),
      options: {
        onDrain: 'fail',
        maxStreamIdleMs: undefined,
        overloadProtection: true,
        maxConcurrentCalls: undefined,
        maxCallMs,
      },
    },
    GrpcMethodStreamingType.NO_STREAMING,
    { calls, gate, limits, onCall: undefined },
  );
  let next = 0;
  const call = (timeoutMs = Infinity) => {
    const id = next++;
    const deadline = clock.epoch() + timeoutMs;
    const wire = Object.assign(new EventEmitter(), {
      metadata: new Metadata(),
      request: id,
      cancelled: false,
      getDeadline: () => deadline,
      getPeer: () => '10.0.0.7:4711',
      call: { stream: { closed: false, close: () => undefined, on: () => undefined } },
    });
    method(wire as unknown as WireCall, (error) => answers.set(id, error ?? undefined));
    const cancel = () => {
      wire.cancelled = true;
      wire.emit('cancelled');
    };
    return { id, cancel };
  };
  const finish = async (id: number, result: unknown = {}) => {
    running.get(id)?.(result);
    running.delete(id);
    await turn();
  };
  const codes = () => [...answers.values()].map((status) => status?.code ?? StatusCode.OK);
  return { clock, calls, call, finish, running, answers, codes, overloads, state, started: () => started };
}

describe('ConcurrencyLimit', () => {
  it('runs at most maxConcurrent handlers at once, and starts waiting calls in the order of their arrival', async () => {
    const { call, finish, running } = makeServer();
    for (let index = 0; index < 5; index++) call();
    expect([...running.keys()]).toEqual([0, 1]);
    await finish(1);
    expect([...running.keys()]).toEqual([0, 2]);
    await finish(0);
    expect([...running.keys()]).toEqual([2, 3]);
  });

  it('starts no more waiting calls in an event-loop turn in which handlers have run for 10 ms', async () => {
    const { clock, call, finish, running } = makeServer();
    for (let index = 0; index < 5; index++) call();
    await finish(0);
    expect([...running.keys()]).toEqual([1, 2]);
    clock.usedMs += 10;
    await finish(1);
    expect([...running.keys()]).toEqual([2]);
    clock.advance(0);
    expect([...running.keys()]).toEqual([2, 3]);
    await finish(2);
    expect([...running.keys()]).toEqual([3, 4]);
  });

  it('applies both the concurrency limit of the method and that of the server', async () => {
    const { call, finish, running } = makeServer({ max: 3, serverMax: 1 });
    for (let index = 0; index < 3; index++) call();
    expect([...running.keys()]).toEqual([0]);
    await finish(0);
    expect([...running.keys()]).toEqual([1]);
  });

  it('serves a call before its deadline even if the wall clock steps forward while the call waits for the permits of both limits', async () => {
    const { clock, call, codes, finish, running } = makeServer({ max: 2, serverMax: 1 });
    for (let index = 0; index < 4; index++) call(10_000);
    clock.steppedMs = 61_000;
    for (let id = 0; id < 4; id++) {
      expect([...running.keys()]).toEqual([id]);
      await finish(id);
    }
    expect(codes()).toEqual(Array(4).fill(StatusCode.OK));
  });

  it('estimates the wait for a server permit from the run times of handlers, excluding the time for which calls wait for that permit', async () => {
    const { clock, call, codes, finish, running } = makeServer({ max: 50, serverMax: 1 });
    const serveOne = async () => {
      clock.advance(10);
      await finish([...running.keys()][0]!);
    };
    // Fifty calls are always open, so each holds a permit of the method for 500 ms, of which its handler runs for 10 ms.
    for (let index = 0; index < 49; index++) call();
    for (let index = 0; index < 200; index++) {
      call();
      await serveOne();
    }
    for (let index = 0; index < 49; index++) await serveOne();
    const served = codes().length;
    for (let index = 0; index < 50; index++) call(501);
    for (let index = 0; index < 50; index++) await serveOne();
    expect(codes().slice(served)).toEqual(Array(50).fill(StatusCode.OK));
  });

  it.each([
    ['with', 60_000],
    ['without', Infinity],
  ])(
    'refuses calls beyond maxQueued with a status that names maxConcurrentCalls.queue (%s a deadline)',
    (_, timeoutMs) => {
      const { call, codes, answers } = makeServer({ maxQueued: 1 });
      for (let index = 0; index < 4; index++) call(timeoutMs);
      expect(codes()).toEqual([StatusCode.RESOURCE_EXHAUSTED]);
      const [status] = answers.values();
      expect(status?.details).toBe(
        'The server has reached maxConcurrentCalls.queue and refused the call before its handler ran',
      );
      expect(status?.metadata?.getMap()).toEqual({ 'grpc-retry-pushback-ms': '-1', 'x-overloaded': 'true' });
    },
  );

  it.each([
    ['a method', { max: 1, maxQueued: 1 }, { path: PATH, maxConcurrent: 1, maxQueued: 1 }],
    ['the server', { max: 10, serverMax: 1, maxQueued: 1 }, { path: undefined, maxConcurrent: 1, maxQueued: 1 }],
  ])('reports that the concurrency limit of %s causes an overload', (_, options, limit) => {
    const { call, overloads } = makeServer(options);
    for (let index = 0; index < 3; index++) call();
    expect(overloads).toMatchObject([{ phase: 'begin', queued: 1, limit }]);
  });

  it('keeps the permit of a cancelled call until its handler ends, and skips cancelled calls that wait', async () => {
    const { call, calls, finish, running } = makeServer({ max: 1 });
    const first = call();
    const waiting = call();
    const last = call();
    first.cancel();
    waiting.cancel();
    expect([...running.keys()]).toEqual([first.id]);
    await finish(first.id);
    expect([...running.keys()]).toEqual([last.id]);
    await finish(last.id);
    expect([calls.size, calls.lingeringHandlers]).toEqual([0, 0]);
  });

  it('uses nearly the whole capacity of a server for calls that can meet their deadlines, and refuses the other calls, at a load of ten times the capacity', async () => {
    const { call, clock, finish, running, codes, started } = makeServer({ max: 10 });
    const endsAt = new Map<number, number>();
    // 10 handlers of 50 ms serve 200 calls per second.
    for (let ms = 0; ms < 5_000; ms++) {
      call(1_000);
      call(1_000);
      for (const id of running.keys()) {
        const end = endsAt.get(id) ?? clock.now() + 50;
        endsAt.set(id, end);
        if (clock.now() >= end) await finish(id);
      }
      await clock.advanceAsync(1);
    }
    const count = (code: StatusCode) => codes().filter((found) => found === code).length;
    expect(count(StatusCode.OK)).toBeGreaterThan(900);
    expect(count(StatusCode.RESOURCE_EXHAUSTED)).toBeGreaterThan(8_000);
    expect(count(StatusCode.DEADLINE_EXCEEDED)).toBeLessThan(20);
    expect(started()).toBeLessThan(1_020);
  });
});

describe("ConcurrencyLimit 'adaptive'", () => {
  /** Applies ten times the load that a resource can serve. The resource serves 10 handlers at once, for 50 ms each. */
  const load = async ({ seconds = 20, max }: { readonly seconds?: number; readonly max: number | 'adaptive' }) => {
    const { call, clock, finish, running, codes, state } = makeServer({ max });
    const limits: number[] = [];
    /** Ids of the handlers that use the resource, with the time at which each ends. */
    const endsAt = new Map<number, number>();
    for (let ms = 0; ms < seconds * 1_000; ms++) {
      call(1_000);
      call(1_000);
      for (const [id, end] of endsAt) {
        if (clock.now() < end) continue;
        endsAt.delete(id);
        await finish(id);
      }
      for (const id of running.keys()) {
        if (endsAt.size === 10) break;
        if (!endsAt.has(id)) endsAt.set(id, clock.now() + 50);
      }
      if (ms > 5_000) limits.push(state.snapshot().limits[0]!.maxConcurrent);
      await clock.advanceAsync(1);
    }
    return { limits, servedShare: codes().filter((code) => code === StatusCode.OK).length / (200 * seconds) };
  };

  it('uses nearly the whole capacity of a server at a load of ten times the capacity, and keeps the adaptive concurrency limit between 4 and 40', async () => {
    const { limits, servedShare } = await load({ seconds: 20, max: 'adaptive' });
    expect(servedShare).toBeGreaterThan(0.95);
    expect(Math.max(...limits)).toBeLessThanOrEqual(40);
    expect(Math.min(...limits)).toBeGreaterThanOrEqual(4);
  });

  it('reports the current adaptive concurrency limit and the numbers of running and waiting calls', () => {
    const { call, state } = makeServer({ max: 'adaptive', serverMax: 30 });
    for (let index = 0; index < 25; index++) call();
    expect(state.snapshot().limits).toEqual([
      { path: PATH, maxConcurrent: 20, running: 20, queued: 5, maxQueued: 1_000 },
      { path: undefined, maxConcurrent: 30, running: 20, queued: 0, maxQueued: 1_000 },
    ]);
  });

  it('does not change the adaptive concurrency limit if handlers fail', async () => {
    const { call, clock, finish, state } = makeServer({ max: 'adaptive' });
    for (let index = 0; index < 1_000; index++) {
      const { id } = call();
      // First slow, then fast failures.
      await clock.advanceAsync(index < 500 ? 50 : 1);
      await finish(id, Promise.reject(new Error('no connection')));
    }
    expect(state.snapshot().limits[0]?.maxConcurrent).toBe(20);
  });
});

describe('maxCallMs', () => {
  it('ends a running call without a deadline, and a call that waits for a permit, after maxCallMs', async () => {
    const { call, calls, clock, codes, finish, answers, running } = makeServer({ max: 1, maxCallMs: 500 });
    const first = call();
    call();
    clock.advance(499);
    expect(codes()).toEqual([]);
    clock.advance(1);
    expect(codes()).toEqual([StatusCode.DEADLINE_EXCEEDED, StatusCode.DEADLINE_EXCEEDED]);
    expect(answers.get(first.id)?.details).toBe('The call took longer than 500 ms (maxCallMs of the server)');
    expect([...running.keys()]).toEqual([first.id]);
    await finish(first.id);
    expect([calls.size, calls.lingeringHandlers, running.size]).toEqual([0, 0, 0]);
  });

  it('clears the maxCallMs timer at the end of a call', async () => {
    const { call, clock, finish } = makeServer({ maxCallMs: 500 });
    const { id } = call();
    await finish(id);
    clock.advance(0);
    expect(clock.pending).toBe(0);
  });
});
