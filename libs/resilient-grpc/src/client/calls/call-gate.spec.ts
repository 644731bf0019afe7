import { InterceptingCall } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { PermitOutcome } from '../../policy/concurrency/adaptive-limit.js';
import { PermitQueue } from '../../policy/concurrency/permit-queue.js';
import { DEFAULT_CIRCUIT_BREAKER } from '../../policy/circuit-breaker/circuit-breaker.js';
import { DEFAULT_RETRY_POLICY } from '../../policy/retry/retry-policy.js';
import { StatusCode } from '../../status/status-code.js';
import { MEMORY_METHOD, memoryRuntime } from '../../../../../test/unit-support/memory-runtime.js';
import { ENDS, MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { MethodContext } from '../call-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import type { ResolvedMethodPolicy } from '../settings/resolve-method-policies.js';
import { CallRegistry } from './call-registry.js';
import { ClientCall } from './client-call.js';

/** A limit that records the outcome and latency of each released permit. */
class RecordingLimit extends PermitQueue {
  readonly released: [PermitOutcome, number][] = [];

  override release(outcome: PermitOutcome, latencyMs: number): void {
    this.released.push([outcome, latencyMs]);
    super.release(outcome, latencyMs);
  }
}

/** A clock whose wall clock can be set. */
class SettableClock extends VirtualClock {
  stepMs = 0;

  override epoch(): number {
    return super.epoch() + this.stepMs;
  }
}

function setUp(policy: Partial<ResolvedMethodPolicy> = {}) {
  const clock = new SettableClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const registry = new CallRegistry(clock);
  const runtime = memoryRuntime(transport, { registry });
  const limit = new RecordingLimit({ maxConcurrent: 1, maxQueued: 10 });
  const context: MethodContext = {
    ...runtime.contextOf(MEMORY_METHOD, { safeToRepeat: true, safeBecause: 'test', ...policy } as ResolvedMethodPolicy),
    limits: [limit],
  };
  const failures: unknown[] = [];
  const begin = (options?: GrpcCallOptions): ClientCall => {
    const input = { request: 'x', given: { metadata: undefined, options }, createdIn: undefined };
    const call = new ClientCall(context, input, {
      next: () => true,
      error: (error) => void failures.push(error),
      complete: () => undefined,
    });
    call.begin();
    return call;
  };
  return { clock, transport, registry, limit, begin, failures };
}

const RETRY = { ...DEFAULT_RETRY_POLICY, maxAttempts: 2 };
const HEDGING = { maxAttempts: 2, hedgingDelayMs: 10, nonFatalStatusCodes: new Set([StatusCode.UNAVAILABLE]) };

describe('permits of a call', () => {
  it('releases the permit of a call as succeeded, with the latency of the attempt', () => {
    const { clock, transport, limit, begin } = setUp();
    begin();
    clock.advance(30);
    transport.attempts[0]!.message();
    transport.attempts[0]!.end(ENDS.ok);
    expect(limit.released).toEqual([['succeeded', 30]]);
  });

  it('releases the permit of a call as failed after an error status', () => {
    const { clock, transport, limit, begin } = setUp();
    begin();
    clock.advance(20);
    transport.attempts[0]!.end(ENDS['not found']);
    expect(limit.released).toEqual([['failed', 20]]);
  });

  it.each<[string, GrpcCallOptions]>([
    ['the deadline ends the attempt', {}],
    [
      'the deadline passes during an attempt with interceptors',
      { interceptors: [(options, next) => new InterceptingCall(next(options))] },
    ],
  ])('releases the permit of a call as timed out if %s', (_, options) => {
    const { clock, limit, begin } = setUp();
    begin({ timeoutMs: 40, ...options });
    clock.advance(40);
    expect(limit.released).toEqual([['timed-out', 40]]);
  });

  it('releases the permit of a call as cancelled if the reader unsubscribes', () => {
    const { clock, limit, begin } = setUp();
    const call = begin();
    clock.advance(10);
    call.unsubscribe();
    expect(limit.released).toEqual([['cancelled', 10]]);
  });

  it('releases the permit of a call as cancelled if a signal aborts the call or the client is closed', () => {
    const { clock, registry, limit, begin } = setUp();
    const abort = new AbortController();
    begin({ signal: abort.signal });
    clock.advance(10);
    abort.abort();
    begin();
    clock.advance(5);
    registry.close();
    expect(limit.released).toEqual([
      ['cancelled', 10],
      ['cancelled', 5],
    ]);
  });

  it('reports a released call to the channel as failed if its attempt exceeds the deadline, and as cancelled if the call is cancelled or has no attempt at the deadline', () => {
    const { clock, transport, limit, begin } = setUp();
    const reported: unknown[] = [];
    transport.releasedCallEnded = (result?: unknown) => reported.push(result);
    transport.disconnect();
    const call = begin();
    transport.release();
    call.unsubscribe();
    expect(reported).toEqual(['cancelled']);
    transport.disconnect();
    begin({ timeoutMs: 40 });
    transport.release();
    clock.advance(40);
    expect(reported).toEqual(['cancelled', 'failed']);
    // A released call that still waits for a permit has no attempt, so its deadline counts as a cancellation.
    expect(limit.acquire({ permitted: () => undefined })).toBe('permitted');
    transport.disconnect();
    begin({ timeoutMs: 40 });
    transport.release();
    clock.advance(40);
    expect(reported).toEqual(['cancelled', 'failed', 'cancelled']);
  });

  it('reports a released call to the channel as answered if the application chose its status, and as failed otherwise', () => {
    const { clock, transport, begin } = setUp();
    const reported: unknown[] = [];
    transport.releasedCallEnded = (result?: unknown) => reported.push(result);
    for (const end of [ENDS['not found'], ENDS.busy]) {
      transport.disconnect();
      begin();
      transport.release();
      clock.advance(20);
      transport.attempts.at(-1)!.end(end);
    }
    expect(reported).toEqual([20, 'failed']);
  });

  it('releases the permit of a call as not sent if no connection was available', () => {
    const { clock, transport, limit, begin } = setUp();
    begin();
    clock.advance(10);
    transport.attempts[0]!.end(ENDS['not picked']);
    expect(limit.released).toEqual([['not-sent', 0]]);
  });

  it('releases the permit of a call as not sent if the circuit of the method is open', () => {
    const { clock, transport, limit, begin } = setUp({
      circuitBreaker: { ...DEFAULT_CIRCUIT_BREAKER, minimumThroughput: 1 },
    });
    begin();
    clock.advance(10);
    transport.attempts[0]!.end(ENDS.busy);
    begin();
    expect(transport.attempts).toHaveLength(1);
    expect(limit.released).toEqual([
      ['failed', 10],
      ['not-sent', 0],
    ]);
  });

  it('releases the permit of a call once, after all attempts, with the result of the last attempt that was sent', () => {
    const { clock, transport, limit, begin } = setUp({ retry: RETRY });
    begin();
    clock.advance(10);
    transport.attempts[0]!.end(ENDS['busy, retry in 2 s']);
    expect(limit.released).toEqual([]);
    clock.advance(2_000);
    clock.advance(25);
    transport.attempts[1]!.message();
    transport.attempts[1]!.end(ENDS.ok);
    expect(limit.released).toEqual([['succeeded', 25]]);
  });

  it.each([
    ['retry', { retry: RETRY }],
    ['hedge', { hedging: HEDGING }],
  ])(
    'releases the permit with the result of the failed attempt if the call is cancelled before its %s',
    (_, policy) => {
      const { clock, transport, limit, begin } = setUp(policy);
      const call = begin();
      clock.advance(9);
      transport.attempts[0]!.end(ENDS['busy, retry in 2 s']);
      clock.advance(500);
      call.unsubscribe();
      expect(limit.released).toEqual([['failed', 9]]);
    },
  );

  it('releases the permit with the result of the attempt that wins a hedged call, not of the cancelled attempts', () => {
    const { clock, transport, limit, begin } = setUp({ hedging: HEDGING });
    begin();
    clock.advance(10);
    expect(transport.attempts).toHaveLength(2);
    clock.advance(7);
    transport.attempts[1]!.message();
    transport.attempts[1]!.end(ENDS.ok);
    expect(transport.attempts[0]!.cancelled).toBe(true);
    expect(limit.released).toEqual([['succeeded', 7]]);
  });

  it('releases the permit as cancelled, with the latency of the latest attempt, if a hedged call is cancelled', () => {
    const { clock, limit, begin } = setUp({ hedging: HEDGING });
    const call = begin();
    clock.advance(15);
    call.unsubscribe();
    expect(limit.released).toEqual([['cancelled', 5]]);
  });

  it('releases the permit as failed if an attempt of a hedged call fails and the next attempt waits for the channel', () => {
    const { clock, transport, limit, begin } = setUp({ hedging: HEDGING });
    begin();
    clock.advance(5);
    transport.disconnect();
    clock.advance(0);
    expect(limit.released).toEqual([['failed', 5]]);
    expect(limit.running).toBe(0);
    expect(transport.waiters.size).toBe(1);
  });

  it('fails a call that the channel releases after its deadline, and makes no attempt', () => {
    const { clock, transport, limit, begin, failures } = setUp();
    transport.ready = false;
    begin({ timeoutMs: 1_000 });
    clock.stepMs = 20_000;
    transport.ready = true;
    transport.release();
    expect(failures).toMatchObject([{ code: 4, reason: 'deadline', reachedServer: 'no' }]);
    expect(transport.attempts).toHaveLength(0);
    expect(limit.running).toBe(0);
  });

  it('fails queued calls when their turn comes, and passes on the permit, if the wall clock was set forward past their deadlines', () => {
    const { clock, transport, limit, begin, failures } = setUp();
    const first = begin();
    begin({ timeoutMs: 1_000 });
    begin({ timeoutMs: 1_000 });
    begin({ timeoutMs: 60_000 });
    clock.stepMs = 20_000;
    first.unsubscribe();
    const details = 'Deadline exceeded after 0.000s, queued for a permit (maxConcurrentCalls)';
    const failure = { code: 4, details, reason: 'deadline', reachedServer: 'no' };
    expect(failures).toMatchObject([failure, failure]);
    expect(transport.attempts).toHaveLength(2);
    expect([limit.running, limit.queued]).toEqual([1, 0]);
  });
});
