import { InterceptingCall, Metadata, type Interceptor } from '@grpc/grpc-js';
import { describe, expect, it, vi } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { CapturedCall } from '../../call/inbound-call.js';
import type { MethodDescriptor } from '../../call/method.js';
import type { StreamScope } from '../../call/stream-source.js';
import type { GrpcCallError } from '../../errors/grpc-call-error.js';
import { PermitQueue } from '../../policy/concurrency/permit-queue.js';
import { ReplayLimits } from '../../policy/replay/replay-ledger.js';
import { DEFAULT_RETRY_POLICY } from '../../policy/retry/retry-policy.js';
import { memoryRuntime } from '../../../../../test/unit-support/memory-runtime.js';
import { MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { turn, VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { ResolvedMethodPolicy } from '../settings/resolve-method-policies.js';
import type { CallerContext } from '../caller/caller-context.js';
import { ClientCall } from './client-call.js';

const METHOD: MethodDescriptor = {
  path: '/memory.Echo/Watch',
  service: 'memory.Echo',
  method: 'Watch',
  kind: 'server-stream',
  requestStream: false,
  responseStream: true,
  declaredIdempotent: true,
  requestSerialize: () => Buffer.alloc(7),
  responseDeserialize: () => 'answer',
};

const INPUT = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };

function setUp(options: Partial<ResolvedMethodPolicy> = {}) {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const replayLimits = new ReplayLimits(1_000, 1_000);
  const events = new EventHub({ client: 'memory' }, () => clock.epoch());
  const runtime = memoryRuntime(transport, { replayLimits, events });
  const policy = {
    ...options,
    safeToRepeat: true,
    safeBecause: 'test',
    retry: DEFAULT_RETRY_POLICY,
  } as ResolvedMethodPolicy;
  const context = runtime.contextOf(METHOD, policy);
  return { clock, transport, replayLimits, events, registry: context.client.registry, context };
}

it("releases the call's share of the retry buffers if a listener of 'stream-resumed' ends the call", () => {
  const { transport, replayLimits, events, context } = setUp();
  const scope: StreamScope = {
    outer: undefined,
    resumes: 0,
    deadline: Infinity,
    hosts: new Set(),
    delivered: 0,
    demand: undefined,
    isOver: false,
    attemptBegan: () => undefined,
    complete: () => undefined,
    fail: () => undefined,
  };
  const sink = { next: () => true, error: () => undefined, complete: () => undefined };
  const make = () => new ClientCall(context, INPUT, sink, { scope, isDirect: true });
  const first = make();
  first.begin();
  expect(replayLimits.used).toBeGreaterThan(0);
  first.unsubscribe();
  const second = make();
  events.listen((event) => {
    if (event.type === 'stream-resumed') second.unsubscribe();
  }, true);
  second.begin();
  expect(second.isOpen()).toBe(false);
  expect(transport.attempts).toHaveLength(1);
  expect(replayLimits.used).toBe(0);
});

it('does not make a call wait for the channel if the call is ended while its permit passes to the next call', () => {
  const { clock, transport, context } = setUp();
  const queue = new PermitQueue({ maxConcurrent: 1, maxQueued: 1 });
  const given = { metadata: undefined, options: { timeoutMs: 1_000 } };
  const sink = { next: () => true, error: () => undefined, complete: () => undefined };
  const call = new ClientCall({ ...context, limits: [queue] }, { ...INPUT, given }, sink);
  call.begin();
  expect(transport.attempts).toHaveLength(1);
  queue.acquire({
    permitted: () => {
      call.unsubscribe();
    },
  });
  transport.disconnect();
  clock.advance(1_000);
  expect(call.isOpen()).toBe(false);
  expect(clock.pending).toBe(0);
  expect(transport.waiters.size).toBe(0);
});

it("did not reach the server if an attempt with grpc-js's interceptors cannot be started", () => {
  const { transport, context } = setUp();
  const start = () => {
    throw new Error('circuit open');
  };
  const interceptors: Interceptor[] = [(options, next) => new InterceptingCall(next(options))];
  const sink = { next: () => true, error: vi.fn(), complete: () => undefined };
  new ClientCall({ ...context, start, interceptors }, INPUT, sink).begin();
  expect(sink.error.mock.calls).toMatchObject([[{ reason: 'not-sent', reachedServer: 'no' }]]);
  expect(transport.attempts).toEqual([]);
});

it('waits for the channel again if the metadata function loses the connection', () => {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const metadataSource = () => {
    transport.ready = false;
    return new Metadata();
  };
  const context = memoryRuntime(transport, {}, { metadataSource }).contextOf(METHOD, {} as ResolvedMethodPolicy);
  new ClientCall(context, INPUT, { next: () => true, error: () => undefined, complete: () => undefined }).begin();
  expect(transport.violations).toEqual([]);
  expect([transport.attempts.length, transport.waiters.size]).toEqual([0, 1]);
});

describe('a call with an asynchronous metadata function', () => {
  /** Begins a call on a connection that the call waited for, and that has no free stream when its metadata is ready. */
  async function begin(metadata: () => Promise<Metadata>) {
    const clock = new VirtualClock();
    const transport = new MemoryTransport(clock, () => undefined);
    Object.defineProperty(transport, 'isConnected', { value: true });
    const ended: unknown[] = [];
    transport.releasedCallEnded = (result?: unknown) => ended.push(result);
    const metadataSource = vi.fn(metadata);
    const context = memoryRuntime(transport, {}, { metadataSource }).contextOf(METHOD, {} as ResolvedMethodPolicy);
    const sink = { next: () => true, error: vi.fn(), complete: () => undefined };
    const call = new ClientCall(context, INPUT, sink);
    transport.ready = false;
    call.begin();
    transport.release();
    transport.ready = false;
    await turn();
    return { transport, call, sink, ended, metadataSource };
  }
  const ready = () => Promise.resolve(new Metadata());

  it('waits for a stream with its metadata, and reports its response to the release that it waited for last', async () => {
    const { transport, ended, metadataSource } = await begin(ready);
    expect([transport.attempts.length, transport.waiters.size, ended]).toEqual([0, 1, ['cancelled']]);
    transport.release();
    expect([transport.attempts.length, metadataSource.mock.calls.length]).toEqual([1, 1]);
    expect(ended).toEqual(['cancelled']);
    transport.attempts[0]!.headers();
    expect(ended).toEqual(['cancelled', 0]);
  });

  it('is neither sent nor reported again if it ends while it waits for a stream', async () => {
    const { transport, call, ended } = await begin(ready);
    call.unsubscribe();
    expect(transport.waiters.size).toBe(0);
    transport.release();
    expect([transport.attempts, ended]).toEqual([[], ['cancelled']]);
  });

  it('is no evidence about the server if the function fails', async () => {
    const { sink, ended } = await begin(() => Promise.reject(new Error('no token')));
    expect(sink.error.mock.calls).toMatchObject([[{ reason: 'not-sent', reachedServer: 'no' }]]);
    expect(ended).toEqual(['cancelled']);
  });
});

it('neither counts nor sends a stream that starts after endStreams() if the reader unsubscribes before the stream completes', async () => {
  const { clock, transport, registry, context } = setUp({ onDrain: 'complete' });
  await registry.endStreams();
  const sink = { next: () => true, error: vi.fn(), complete: vi.fn() };
  const call = new ClientCall(context, INPUT, sink);
  call.begin();
  expect(call.isOpen()).toBe(true);
  call.unsubscribe();
  expect(context.statistics.snapshot(0)).toMatchObject({ started: 0, succeeded: 0, failed: 0, cancelled: 0 });
  expect(clock.pending).toBe(0);
  expect([transport.attempts, sink.error.mock.calls, sink.complete.mock.calls]).toEqual([[], [], []]);
});

it("completes a stream with onDrain 'complete' that starts during a drain after endStreams(), and does not send it", async () => {
  const { clock, transport, registry, context } = setUp({ onDrain: 'complete' });
  await registry.endStreams();
  void registry.drain(1_000);
  const sink = { next: () => true, error: vi.fn(), complete: vi.fn() };
  new ClientCall(context, INPUT, sink).begin();
  clock.advance(100);
  expect([transport.attempts, sink.error.mock.calls, sink.complete.mock.calls]).toEqual([[], [], [[]]]);
});

it("ends a call with CANCELLED and does not send it if a listener of 'call-start' aborts the signal of the call", () => {
  const { clock, transport, events, context } = setUp();
  const abort = new AbortController();
  const reason = new Error('no longer needed');
  events.listen((event) => {
    if (event.type === 'call-start') abort.abort(reason);
  }, true);
  const input = { ...INPUT, given: { metadata: undefined, options: { signal: abort.signal } } };
  const sink = { next: () => true, error: vi.fn(), complete: vi.fn() };
  const call = new ClientCall(context, input, sink);
  call.begin();
  expect(call.isOpen()).toBe(false);
  expect(sink.error).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ code: 1, reason: 'cancelled', reachedServer: 'no', cause: reason }),
  );
  expect(context.statistics.snapshot(0)).toMatchObject({ started: 1, failed: 0, cancelled: 1 });
  expect([transport.attempts, clock.pending]).toEqual([[], 0]);
});

/** Starts a call for an inbound call, by default with a deadline of 1 s, and records how the attempt is abandoned. */
function startInboundCall({ hasDeadline = true } = {}) {
  const { clock, transport, context } = setUp();
  const controller = new AbortController();
  const inbound: CapturedCall = {
    kind: 'grpc',
    ...(hasDeadline && { deadline: new Date(clock.epoch() + 1_000) }),
    signal: controller.signal,
    retry: false,
    streaming: false,
    startedAt: clock.now(),
    get: () => undefined,
  };
  const propagation = { deadline: true, cancellation: true, metadata: [] };
  const reasons: string[] = [];
  const error = ({ reason }: GrpcCallError) => void reasons.push(reason);
  const given = { metadata: undefined, options: { timeoutMs: 1_000 } };
  const input = { ...INPUT, given, createdIn: { inbound } as CallerContext };
  const sink = { next: () => true, error: error as (error: unknown) => void, complete: () => undefined };
  const call = new ClientCall({ ...context, propagation }, input, sink);
  call.begin();
  const [attempt] = transport.attempts;
  const abandon = vi.spyOn(attempt!, 'abandon');
  return { clock, controller, call, attempt: attempt!, abandon, reasons };
}

describe('call made for an inbound call', () => {
  it.each([
    ['shortly before the deadline of the inbound call', 940, true, 'deadline'],
    ['long before the deadline of the inbound call', 850, true, undefined],
    ['if the inbound call has no deadline', 940, false, undefined],
  ])(
    'ends a call immediately when its inbound call is cancelled, and reports its attempt as timed out only near the inbound deadline: %s',
    (_, ms, hasDeadline, because) => {
      const { clock, controller, call, abandon, reasons } = startInboundCall({ hasDeadline });
      clock.advance(ms);
      controller.abort();
      expect(call.isOpen()).toBe(false);
      expect(reasons).toEqual(['inbound-cancelled']);
      expect(abandon.mock.calls).toEqual([[because]]);
    },
  );

  it.each([
    ['counts as timed out', false, 'deadline'],
    ['does not count as timed out after a response', true, undefined],
  ])(
    'ends a call if the handler unsubscribes shortly before the inbound deadline; the attempt %s',
    (_, hasHeaders, because) => {
      const { clock, call, attempt, abandon } = startInboundCall();
      clock.advance(500);
      if (hasHeaders) attempt.headers();
      clock.advance(440);
      call.unsubscribe();
      expect(call.isOpen()).toBe(false);
      expect(abandon.mock.calls).toEqual([[because]]);
    },
  );

  it('does not count an attempt as timed out if the reader unsubscribes before a deadline that is not inherited', () => {
    const { clock, call, abandon } = startInboundCall({ hasDeadline: false });
    clock.advance(960);
    call.unsubscribe();
    expect(abandon.mock.calls).toEqual([[undefined]]);
  });
});
