import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it, vi } from 'vitest';
import type { StartAttempt } from '../../call/attempt.js';
import { CircuitOpenError } from '../../errors/operator-errors.js';
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
