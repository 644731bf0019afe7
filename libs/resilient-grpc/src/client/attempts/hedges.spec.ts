import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it, vi } from 'vitest';
import type { StartAttempt } from '../../call/attempt.js';
import { EventHub } from '../../call/event-hub.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
import { PermitQueue } from '../../policy/concurrency/permit-queue.js';
import { StatusCode } from '../../status/status-code.js';
import { MEMORY_METHOD, memoryRuntime } from '../../../../../test/unit-support/memory-runtime.js';
import { ENDS, MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { turn, VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { ClientCall } from '../calls/client-call.js';
import type { ResolvedMethodPolicy } from '../settings/resolve-method-policies.js';

const HEDGING = { maxAttempts: 3, hedgingDelayMs: 10, nonFatalStatusCodes: new Set([StatusCode.UNAVAILABLE]) };

it.each([
  ['circuit-open', new CircuitOpenError('/memory.Echo/Get', 5)],
  ['local', new Error('no token')],
])(
  'sets notRetriedBecause to %s if another hedged attempt cannot be started and the running attempt fails',
  (because, thrown) => {
    const clock = new VirtualClock();
    const transport = new MemoryTransport(clock, () => undefined);
    const context = memoryRuntime(transport).contextOf(MEMORY_METHOD, {
      safeToRepeat: true,
      safeBecause: 'test',
      hedging: HEDGING,
    } as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy);
    const start: StartAttempt = (request, listener) => {
      if (request.number > 1) throw thrown;
      return context.start(request, listener);
    };
    const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
    const errors: unknown[] = [];
    const sink = { next: () => true, error: (error: unknown) => errors.push(error), complete: () => undefined };
    new ClientCall({ ...context, start }, input, sink).begin();
    clock.advance(100);
    expect(transport.attempts).toHaveLength(1);
    transport.attempts[0]!.end(ENDS.busy);
    expect(errors).toMatchObject([{ code: StatusCode.UNAVAILABLE, notRetriedBecause: because }]);
  },
);

it.each<[string, (transport: MemoryTransport) => void]>([
  ['was queued on a lost connection', (transport) => transport.attempts[1]!.end(ENDS.queued)],
  [
    'was rejected while the channel was not READY',
    (transport) => {
      transport.ready = false;
      transport.attempts[1]!.end(ENDS.rejected);
      transport.ready = true;
    },
  ],
])('replaces a failed attempt of a hedged call if the last allowed attempt %s', (_, drop) => {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const policy = { safeToRepeat: true, safeBecause: 'test', hedging: { ...HEDGING, maxAttempts: 2 } };
  const context = memoryRuntime(transport).contextOf(
    MEMORY_METHOD,
    policy as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy,
  );
  const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
  const events: unknown[] = [];
  const sink = {
    next: (message: unknown) => events.push(message) > 0,
    error: (error: unknown) => events.push(error),
    complete: () => events.push('complete'),
  };
  new ClientCall(context, input, sink).begin();
  clock.advance(10);
  expect(transport.attempts).toHaveLength(2);
  drop(transport);
  transport.attempts[0]!.end(ENDS.busy);
  expect(transport.attempts).toHaveLength(3);
  transport.attempts[2]!.message();
  transport.attempts[2]!.end(ENDS.ok);
  expect(events).toEqual(['answer', 'complete']);
});

it('drops a hedge whose metadata is ready while no stream is free, because another attempt is in flight', async () => {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  Object.defineProperty(transport, 'isConnected', { value: true });
  const metadataSource = () => Promise.resolve(new Metadata());
  const policy = { safeToRepeat: true, safeBecause: 'test', hedging: HEDGING };
  const context = memoryRuntime(transport, {}, { metadataSource }).contextOf(
    MEMORY_METHOD,
    policy as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy,
  );
  const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
  const complete = vi.fn();
  new ClientCall(context, input, { next: () => true, error: () => undefined, complete }).begin();
  await turn();
  clock.advance(10);
  transport.ready = false;
  await turn();
  expect([transport.attempts.length, transport.waiters.size]).toEqual([1, 0]);
  transport.attempts[0]!.message();
  transport.attempts[0]!.end(ENDS.ok);
  expect(complete).toHaveBeenCalledOnce();
});

describe('a hedged call', () => {
  /** Begins a call that at most one of runs at a time, and whose metadata is prepared in a microtask if `isAsync`. */
  function begin(isAsync = false, hedging: object = HEDGING) {
    const clock = new VirtualClock();
    const transport = new MemoryTransport(clock, () => undefined);
    const events = new EventHub({ client: 'memory' }, () => clock.epoch());
    const ends: unknown[] = [];
    events.listen((event) => {
      if (event.type === 'attempt-end') ends.push(event.attempt.details);
    }, false);
    const metadataSource = () => Promise.resolve(new Metadata());
    const runtime = memoryRuntime(transport, { events }, isAsync ? { metadataSource } : {});
    const limit = new PermitQueue({ maxConcurrent: 1, maxQueued: 10 });
    const policy = { safeToRepeat: true, safeBecause: 'test', hedging };
    const context = {
      ...runtime.contextOf(MEMORY_METHOD, policy as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy),
      limits: [limit],
    };
    const error = vi.fn();
    const make = () => {
      const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
      const call = new ClientCall(context, input, { next: () => true, error, complete: () => undefined });
      call.begin();
      return call;
    };
    return { clock, transport, limit, context, ends, error, make, call: make() };
  }

  it('keeps its permit while it waits for a stream, so that its hedges stay within the limit', async () => {
    const { clock, transport, limit, make } = begin(true);
    Object.defineProperty(transport, 'isConnected', { value: true });
    transport.ready = false;
    await turn();
    make();
    transport.release();
    expect(transport.attempts).toHaveLength(1);
    clock.advance(10);
    await turn();
    expect([transport.attempts.length, limit.running, limit.queued]).toEqual([2, 1, 1]);
  });

  it('starts no attempt that waited for a stream once another has decided the call', async () => {
    const { clock, transport } = begin(true);
    Object.defineProperty(transport, 'isConnected', { value: true });
    transport.ready = false;
    await turn();
    transport.ready = true;
    clock.advance(10);
    await turn();
    expect([transport.attempts.length, transport.waiters.size]).toEqual([1, 1]);
    transport.attempts[0]!.headers();
    expect(transport.waiters.size).toBe(0);
    expect(transport.attempts).toHaveLength(1);
  });

  it('reports a failed attempt before it waits for the channel to replace it', () => {
    const { clock, transport, ends, error } = begin();
    transport.attempts[0]!.end(ENDS['busy, retry in 2 s']);
    expect(ends).toEqual([]);
    transport.ready = false;
    clock.advance(2_000);
    expect(ends).toEqual(['busy']);
    expect([...transport.waiters].map(({ rateLimited }) => rateLimited)).toEqual([true]);
    transport.refuse();
    expect(error.mock.calls).toMatchObject([[{ reason: 'outage', attempts: [{ number: 1, code: 14 }] }]]);
    expect(clock.pending).toBe(0);
  });

  it('marks no metadata that other calls share if a hedge reuses the number of an attempt that was not sent', () => {
    const { clock, transport, context } = begin();
    clock.advance(10);
    transport.attempts[0]!.end(ENDS.queued);
    clock.advance(100);
    expect(transport.attempts.map(({ request }) => request.number)).toEqual([1, 2, 1, 3]);
    expect(context.metadata.get('x-retry-chain')).toEqual([]);
  });
});

describe('hedging delay that follows latency', () => {
  function setUp(options: Pick<ResolvedMethodPolicy, 'hedgingDelay'> = { hedgingDelay: 'p95' }) {
    const clock = new VirtualClock();
    const transport = new MemoryTransport(clock, () => undefined);
    const runtime = memoryRuntime(transport);
    const policy = { safeToRepeat: true, safeBecause: 'test', hedging: { ...HEDGING, maxAttempts: 2 }, ...options };
    const context = runtime.contextOf(MEMORY_METHOD, policy as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy);
    const begin = () => {
      const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
      const call = new ClientCall(context, input, {
        next: () => true,
        error: () => undefined,
        complete: () => undefined,
      });
      call.begin();
      return call;
    };
    const answer = (attempt = transport.attempts.at(-1)) => {
      attempt?.message();
      attempt?.end(ENDS.ok);
    };
    /** Makes calls whose first attempt is answered after `ms`. */
    const makeCalls = (count: number, ms: number) => {
      for (let i = 0; i < count; i++) {
        begin();
        clock.advance(ms);
        answer();
      }
    };
    const delayMs = () => runtime.hedgingDelays[0]?.delayMs;
    return { clock, transport, runtime, begin, answer, makeCalls, delayMs };
  }

  it.each<[effect: 'measures' | 'ignores', outcome: string, afterMs: number]>([
    ['measures', 'answered, or lost to a hedge', 100],
    ['measures', 'cancelled', 100],
    ['ignores', 'cancelled', 10],
    ['measures', 'failed', 100],
    ['ignores', 'failed', 10],
  ])('%s the latency of a first attempt with the outcome "%s" after %i ms', (effect, outcome, afterMs) => {
    const { clock, transport, begin, answer, makeCalls, delayMs } = setUp();
    makeCalls(100, 20);
    for (let i = 0; i < 16; i++) {
      const call = begin();
      const first = transport.attempts.at(-1);
      clock.advance(afterMs);
      if (outcome === 'failed') first?.end(ENDS['not found']);
      else if (outcome === 'cancelled') call.unsubscribe();
      // Answers the hedge, or the first attempt if the hedge budget is used up.
      else answer();
    }
    makeCalls(32, 20);
    if (effect === 'measures') expect(delayMs()).toBeGreaterThan(99);
    else expect(delayMs()).toBeLessThan(21);
  });

  it('does not measure latencies for a fixed hedging delay', () => {
    const { runtime, makeCalls } = setUp({ hedgingDelay: undefined });
    makeCalls(200, 5);
    expect(runtime.hedgingDelays).toEqual([]);
  });
});
