import { getEventListeners } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { AttemptRequest } from '../../call/attempt.js';
import type { CallTelemetry } from '../../call/call-telemetry.js';
import type { MethodKind } from '../../call/method.js';
import type { StreamSink } from '../../call/stream-source.js';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { concurrencyPolicy } from '../../policy/concurrency/permit-queue.js';
import { DEFAULT_RETRY_POLICY } from '../../policy/retry/retry-policy.js';
import { StatusCode } from '../../status/status-code.js';
import {
  ENDS,
  MemoryTransport,
  type EndName,
  type MemoryAttempt,
} from '../../../../../test/unit-support/memory-transport.js';
import { memoryRuntime } from '../../../../../test/unit-support/memory-runtime.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { Clock } from '../../time/clock.js';
import { DEFAULT_CIRCUIT_BREAKER } from '../../policy/circuit-breaker/circuit-breaker.js';
import type { MethodContext } from '../call-context.js';
import { ClientCall } from './client-call.js';
import { CallRegistry } from './call-registry.js';
import type { ClientDrainMode } from '../resilient-types.js';
import type { MethodRuntime } from '../method-context.js';
import { ReplayLimits } from '../../policy/replay/replay-ledger.js';
import type { StreamMembership } from './scoped-stream.js';

/** A call, and the policy of its method. */
interface CallPlan {
  readonly kind: MethodKind;
  readonly safe: boolean;
  readonly maxAttempts: number;
  /** Delay between hedged attempts; `undefined` if calls are not hedged. */
  readonly hedgingDelayMs: number | undefined;
  readonly attemptTimeoutMs: number | undefined;
  /** Idle timeout of response streams. */
  readonly streamIdleTimeoutMs: number | undefined;
  readonly onDrain: ClientDrainMode | undefined;
  readonly timeoutMs: number | undefined;
  readonly waitForReady: boolean | undefined;
  readonly requests: number;
  /** True if the caller unsubscribes on the first message. */
  readonly unsubscribesOnMessage: boolean;
}

/** Settings that all calls of a client share. */
interface WorldPlan {
  readonly maxConcurrentCalls: number | undefined;
  readonly maxQueuedCalls: number;
  readonly breaker: boolean;
  /** Milliseconds until each attempt receives its token; `undefined`: no tokens. With -300, the token fails after 300 ms. */
  readonly tokenMs: number | undefined;
  /** True if the channel was idle. Each call then waits until pending data has been read. */
  readonly quiet: boolean;
  /** Maximum bytes of requests that are kept, per call and for all calls. */
  readonly keptBytes: readonly [perCall: number, perClient: number];
}

const UNLIMITED: WorldPlan = {
  maxConcurrentCalls: undefined,
  maxQueuedCalls: 0,
  breaker: false,
  tokenMs: undefined,
  quiet: false,
  keptBytes: [1 << 20, 1 << 24],
};

const UNARY: CallPlan = {
  kind: 'unary',
  safe: false,
  maxAttempts: 2,
  hedgingDelayMs: undefined,
  attemptTimeoutMs: undefined,
  streamIdleTimeoutMs: undefined,
  onDrain: undefined,
  timeoutMs: undefined,
  waitForReady: undefined,
  requests: 0,
  unsubscribesOnMessage: false,
};

/** A call and the events that its caller receives. */
class WatchedCall {
  readonly abort = new AbortController();
  readonly errors: unknown[] = [];
  completed = 0;
  unsubscribed = false;
  afterEnd = 0;
  messages = 0;
  started = 0;
  /** Telemetry of the call; `undefined` if its recording never began. */
  telemetry: RecordedTelemetry | undefined;
  readonly deadline: number;
  readonly execution: ClientCall;

  constructor(
    readonly plan: CallPlan,
    readonly id: string,
    context: MethodContext,
    clock: Clock,
    part?: StreamMembership,
  ) {
    const { timeoutMs, waitForReady, requests, kind } = plan;
    this.deadline = timeoutMs === undefined ? Infinity : clock.epoch() + timeoutMs;
    const metadata = new Metadata();
    metadata.set('x-call', id);
    const many = kind === 'client-stream' || kind === 'bidi';
    const request = many ? Array.from({ length: requests }, (_, index) => String(index)) : 'request';
    const options = { timeoutMs, waitForReady, signal: this.abort.signal };
    const input = { request, given: { metadata, options }, createdIn: undefined };
    const sink: StreamSink<unknown> = {
      next: () => {
        if (this.ended) this.afterEnd += 1;
        this.messages += 1;
        if (plan.unsubscribesOnMessage) this.unsubscribe();
        return true;
      },
      // A caller that unsubscribes in `next` receives nothing afterward, like every RxJS subscriber.
      error: (error) => {
        if (this.unsubscribed) return;
        if (this.ended) this.afterEnd += 1;
        this.errors.push(error);
      },
      complete: () => {
        if (this.unsubscribed) return;
        if (this.ended) this.afterEnd += 1;
        this.completed += 1;
      },
    };
    this.execution = new ClientCall(context, input, sink, part);
  }

  get ended(): boolean {
    return this.unsubscribed || this.completed > 0 || this.errors.length > 0;
  }

  unsubscribe(): void {
    if (this.ended) return;
    this.unsubscribed = true;
    this.execution.unsubscribe();
  }
}

class RecordedTelemetry implements CallTelemetry {
  readonly ends: StatusCode[] = [];
  nextIs(): void {
    // Ignored.
  }
  attempt(): never {
    throw new Error('expected no attempt() call, because the in-memory transport records the attempts');
  }
  waited(): void {
    expect(this.ends, 'the end of a wait is reported before the end of the call').toEqual([]);
  }
  end(code: StatusCode): void {
    this.ends.push(code);
  }
}

/** A client on one transport in virtual time, with its calls. */
class World {
  readonly clock = new VirtualClock();
  readonly calls: WatchedCall[] = [];
  readonly registry = new CallRegistry(this.clock);
  readonly transport = new MemoryTransport(this.clock, (request) => this.began(request));
  readonly limits = new Set<MethodContext['limits'][number]>();
  readonly replayLimits: ReplayLimits;
  private readonly runtime: MethodRuntime;
  private lastTelemetry: RecordedTelemetry | undefined;

  constructor(private readonly plan: WorldPlan = UNLIMITED) {
    const { registry, transport } = this;
    transport.mustAwaitRead = plan.quiet;
    this.replayLimits = new ReplayLimits(...plan.keptBytes);
    const { maxConcurrentCalls: max, maxQueuedCalls: queue } = plan;
    const maxConcurrentCalls = concurrencyPolicy(max === undefined ? undefined : { max, queue });
    const metadataSource = plan.tokenMs === undefined ? undefined : () => this.fetchToken(Math.abs(plan.tokenMs ?? 0));
    const telemetry = {
      contexts: undefined,
      begin: () => (this.lastTelemetry = new RecordedTelemetry()),
      take: () => undefined,
      close: () => undefined,
    };
    const client = { registry, replayLimits: this.replayLimits, telemetry };
    this.runtime = memoryRuntime(transport, client, { maxConcurrentCalls, metadataSource });
  }

  private fetchToken(ms: number): Promise<Metadata> {
    return new Promise((resolve, reject) => {
      this.clock.setTimer(() => {
        if (this.plan.tokenMs !== undefined && this.plan.tokenMs < 0) reject(new Error('no token'));
        else resolve(new Metadata());
      }, ms);
    });
  }

  begin(plan: CallPlan, part?: StreamMembership): void {
    const { hedgingDelayMs, maxAttempts, safe, kind, attemptTimeoutMs, streamIdleTimeoutMs, onDrain } = plan;
    const nonFatalStatusCodes = new Set([StatusCode.UNAVAILABLE]);
    const policy = {
      timeoutMs: undefined,
      timeoutFrom: '',
      streamIdleTimeoutMs,
      prefetch: 16,
      onDrain,
      waitForReady: undefined,
      attemptTimeoutMs,
      safeToRepeat: safe,
      safeBecause: safe ? 'the test' : '',
      retry: safe ? { ...DEFAULT_RETRY_POLICY, maxAttempts } : undefined,
      hedging: hedgingDelayMs === undefined ? undefined : { maxAttempts, hedgingDelayMs, nonFatalStatusCodes },
      circuitBreaker: this.plan.breaker ? { ...DEFAULT_CIRCUIT_BREAKER, minimumThroughput: 4 } : undefined,
      maxConcurrentCalls: undefined,
      maxRequestMessageBytes: undefined,
      maxResponseMessageBytes: undefined,
      hedgingDelay: undefined,
    };
    const method = {
      path: '/test/Call',
      service: 'test',
      method: 'Call',
      kind,
      requestStream: kind === 'client-stream' || kind === 'bidi',
      responseStream: kind === 'server-stream' || kind === 'bidi',
      declaredIdempotent: safe,
      requestSerialize: (message: unknown) => Buffer.from(String(message)),
      responseDeserialize: String,
    };
    const context = this.runtime.contextOf(method, policy);
    for (const limit of context.limits) this.limits.add(limit);
    const call = new WatchedCall(plan, String(this.calls.length), context, this.clock, part);
    this.calls.push(call);
    this.lastTelemetry = undefined;
    call.execution.begin();
    call.telemetry = this.lastTelemetry;
  }

  /** Checks that an attempt starts only before the end and the deadline of its call. */
  private began(request: AttemptRequest): void {
    const call = this.calls.find(({ id }) => id === callOf({ request }))!;
    const { violations } = this.transport;
    if (call.ended) violations.push(`an attempt of call ${call.id} began after the call ended`);
    if (call.deadline <= this.clock.epoch())
      violations.push(`an attempt of call ${call.id} began after the deadline of the call`);
    call.started += 1;
  }

  attemptsOf(call: WatchedCall): readonly MemoryAttempt[] {
    return this.transport.attempts.filter(({ request }) => callOf({ request }) === call.id);
  }

  /** Checks all invariants. Calls `expect` at most once, because the first property runs this check tens of thousands of times. */
  check(): void {
    const { violations } = this.transport;
    const atMost = (what: string, value: number, limit: number): void => {
      if (value > limit) violations.push(`${what}: ${value} (at most ${limit})`);
    };
    for (const call of this.calls) {
      const of = `of call ${call.id}`;
      atMost(`ends ${of}`, call.errors.length + call.completed + (call.unsubscribed ? 1 : 0), 1);
      atMost(`notifications ${of} after its end`, call.afterEnd, 0);
      const ends = call.telemetry?.ends.length;
      if (ends !== undefined && ends !== (call.ended ? 1 : 0)) violations.push(`ends ${of} in telemetry: ${ends}`);
      const attempts = this.attemptsOf(call);
      const running = attempts.filter(({ open, cancelled }) => open && !cancelled);
      const { safe, hedgingDelayMs, maxAttempts } = call.plan;
      const maxRunning = hedgingDelayMs === undefined ? 1 : maxAttempts;
      atMost(`attempts ${of} at once`, running.length, call.ended ? 0 : maxRunning);
      // The default retry policy resends a call of any method if the transport rejected it unprocessed.
      const { maxAttempts: defaultMaxAttempts } = DEFAULT_RETRY_POLICY;
      const limit =
        safe || hedgingDelayMs !== undefined ? Math.max(maxAttempts, defaultMaxAttempts) : defaultMaxAttempts;
      const resent = attempts.some(({ rejected }) => rejected) ? 1 : 0;
      atMost(`attempts ${of} that were sent`, attempts.filter(({ unsent }) => !unsent).length, limit + resent);
    }
    const busy = new Set(this.transport.open.filter(({ cancelled }) => !cancelled).map(callOf));
    atMost('calls at once', busy.size, this.plan.maxConcurrentCalls ?? Infinity);
    if (violations.length > 0) expect(violations).toEqual([]);
  }

  /** Ends all attempts successfully and returns the number of calls that are still open afterward. */
  async settle(): Promise<number> {
    for (let round = 0; round < 100 && this.calls.some(({ ended }) => !ended); round++) {
      this.transport.release();
      for (const attempt of this.transport.open) {
        for (let i = 0; i < 10; i++) attempt.acknowledge();
        attempt.message();
        attempt.end(ENDS.ok);
      }
      await this.pass(1_000);
    }
    await this.pass(1_000);
    return this.calls.filter(({ ended }) => !ended).length;
  }

  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    for (let i = 0; i < 6; i++) await Promise.resolve();
  }
}

function callOf({ request }: { readonly request: AttemptRequest }): string {
  return String(request.metadata.get('x-call')[0]);
}

/** Returns the membership of a call in a stream that was resumed `resumes` times. */
function partOfStream(resumes: number): StreamMembership {
  const ignore = (): void => undefined;
  const ends = { isOver: false, attemptBegan: ignore, complete: ignore, fail: ignore };
  const none = { outer: undefined, demand: undefined, delivered: 0 };
  return { isDirect: true, scope: { resumes, deadline: Infinity, hosts: new Set(), ...none, ...ends } };
}

type Step =
  | { readonly do: 'begin'; readonly plan: CallPlan }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'end'; readonly which: number; readonly how: EndName }
  | { readonly do: 'message' | 'headers' | 'acknowledge'; readonly which: number }
  | { readonly do: 'unsubscribe' | 'abort'; readonly which: number }
  | { readonly do: 'disconnect' | 'release' | 'refuse' | 'end streams' | 'drain' | 'close' };

async function take(world: World, step: Step): Promise<void> {
  const { transport, calls, registry } = world;
  const attempt = 'which' in step ? transport.open[step.which % Math.max(transport.open.length, 1)] : undefined;
  const call = 'which' in step ? calls[step.which % Math.max(calls.length, 1)] : undefined;
  switch (step.do) {
    case 'begin':
      world.begin(step.plan);
      break;
    case 'end':
      attempt?.end(ENDS[step.how]);
      break;
    case 'message':
    case 'headers':
    case 'acknowledge':
      attempt?.[step.do]();
      break;
    case 'unsubscribe':
      call?.unsubscribe();
      break;
    case 'abort':
      call?.abort.abort();
      break;
    case 'disconnect':
    case 'release':
    case 'refuse':
      transport[step.do]();
      break;
    case 'end streams':
      void registry.endStreams();
      break;
    case 'drain':
      void registry.drain(3_000);
      break;
    case 'close':
      registry.close();
      break;
    case 'pass':
      break;
  }
  // Only 'pass' ends the turn of the event loop. After any other step, the next step runs in the same turn.
  if (step.do === 'pass') await world.pass(step.ms);
  world.check();
}

const plan: fc.Arbitrary<CallPlan> = fc.record({
  kind: fc.constantFrom<MethodKind>('unary', 'client-stream', 'server-stream', 'bidi'),
  safe: fc.boolean(),
  maxAttempts: fc.integer({ min: 2, max: 5 }),
  hedgingDelayMs: fc.constantFrom(undefined, undefined, 0, 100),
  attemptTimeoutMs: fc.constantFrom(undefined, undefined, 200),
  streamIdleTimeoutMs: fc.constantFrom(undefined, undefined, 150, 2_000),
  onDrain: fc.constantFrom(undefined, 'finish' as const, 'complete' as const, 'fail' as const),
  timeoutMs: fc.constantFrom(undefined, 50, 1_000, 20_000),
  waitForReady: fc.constantFrom(undefined, true, false),
  requests: fc.integer({ min: 0, max: 5 }),
  unsubscribesOnMessage: fc.boolean(),
});
const worldPlan: fc.Arbitrary<WorldPlan> = fc.record({
  maxConcurrentCalls: fc.constantFrom(undefined, undefined, 1, 2),
  maxQueuedCalls: fc.constantFrom(0, 3),
  breaker: fc.boolean(),
  tokenMs: fc.constantFrom(undefined, undefined, undefined, 0, 300, -300),
  quiet: fc.boolean(),
  // With the second pair, two single requests fit, but no message of a request stream does, because 128 bytes are added to each.
  keptBytes: fc.constantFrom([1 << 20, 1 << 24] as const, [12, 30] as const),
});
const which = fc.nat({ max: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('begin' as const), plan }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 1, 100, 1_000, 10_000) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('end' as const),
      which,
      how: fc.constantFrom(...(Object.keys(ENDS) as EndName[])),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('message' as const, 'headers' as const, 'acknowledge' as const),
      which,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('unsubscribe' as const, 'abort' as const), which }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('disconnect' as const, 'release' as const, 'refuse' as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('end streams' as const, 'drain' as const, 'close' as const) }),
  },
);

/** Number of calls per kind of end. The property proves nothing about a kind that never occurs. */
const seen = new Map<string, number>();

describe('life of a call', { timeout: 300_000 }, () => {
  it('ends every call exactly once, within its attempt limit, and releases all resources', async () => {
    const steps = fc.array(step, { minLength: 5, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(worldPlan, plan, steps, async (shared, first, rest) => {
        const world = new World(shared);
        world.begin(first);
        for (const nextStep of rest) await take(world, nextStep);
        expect(await world.settle(), 'calls that never end').toBe(0);
        world.check();
        for (const call of world.calls) {
          expect(call.errors.length + call.completed + (call.unsubscribed ? 1 : 0)).toBe(1);
          expect(getEventListeners(call.abort.signal, 'abort')).toEqual([]);
          const [error] = call.errors;
          const how = call.unsubscribed
            ? 'unsubscribed'
            : error === undefined
              ? 'completed'
              : (error as GrpcCallError).reason;
          seen.set(how, (seen.get(how) ?? 0) + 1);
          if (error === undefined) continue;
          expect(error).toBeInstanceOf(GrpcCallError);
          // The error also records attempts that are never sent: those whose token fails, and a last attempt that is cancelled while it
          // waits for its token.
          const prepared = (shared.tokenMs ?? 0) < 0 ? Infinity : call.started + (shared.tokenMs === undefined ? 0 : 1);
          expect((error as GrpcCallError).attempts.length).toBeLessThanOrEqual(prepared);
        }
        expect(world.transport.open).toEqual([]);
        expect(world.transport.waiters.size).toBe(0);
        expect(world.registry.size).toBe(0);
        expect(world.replayLimits.used).toBe(0);
        for (const limit of world.limits) expect([limit.running, limit.queued]).toEqual([0, 0]);
        expect(world.clock.pending).toBe(0);
        const { started, succeeded, failed, cancelled } = world.registry;
        expect(succeeded + failed + cancelled).toBe(started);
      }),
      { numRuns: 600 },
    );
  });

  it('waits once for the channel if its connection is lost while the first hedged attempt is prepared, and keeps the hedging delay', async () => {
    const hedged = { ...UNARY, hedgingDelayMs: 100 };
    const world = new World({ ...UNLIMITED, tokenMs: 0 });
    world.begin(hedged);
    world.transport.disconnect();
    await world.pass(0);
    await world.pass(1_000);
    world.check();
    expect([...world.transport.waiters]).toMatchObject([{ rateLimited: true }]);
    world.transport.release();
    await world.pass(0);
    await world.pass(99);
    expect(world.calls[0]!.started).toBe(1);
    await world.pass(1);
    await world.pass(0);
    expect(world.calls[0]!.started).toBe(2);
    expect(await world.settle()).toBe(0);
    world.check();
  });

  it('delays calls after an idle period until pending data has been read, and queues them if the connection is lost before the read', async () => {
    const world = new World({ ...UNLIMITED, quiet: true });
    world.begin(UNARY);
    world.begin(UNARY);
    world.begin(UNARY);
    expect(world.transport.attempts).toEqual([]);
    world.calls[1]!.unsubscribe();
    await world.pass(0);
    expect(world.calls.map(({ started }) => started)).toEqual([1, 0, 1]);
    world.begin(UNARY);
    world.transport.disconnect();
    await world.pass(0);
    world.check();
    expect(world.calls[3]!.started).toBe(0);
    expect(world.transport.waiters.size).toBe(1);
    expect(await world.settle()).toBe(0);
  });

  it('queues a retry for a rate-limited release after a lost connection, and retries without queuing after other failures', async () => {
    const world = new World();
    const { transport, calls } = world;
    const safe = { ...UNARY, safe: true };
    world.begin(safe);
    world.begin(safe);
    const [lost, busy] = transport.open;
    lost!.end(ENDS.dropped);
    busy!.end(ENDS.busy);
    // Both backoffs pass, and the channel is READY.
    await world.pass(5_000);
    world.check();
    expect(calls.map(({ started }) => started)).toEqual([1, 2]);
    expect([...transport.waiters]).toMatchObject([{ rateLimited: true }]);
    transport.release();
    await world.pass(0);
    expect(calls.map(({ started }) => started)).toEqual([2, 2]);
    expect(await world.settle()).toBe(0);
  });

  it('queues a resumed stream for a rate-limited release, and starts a new stream immediately', async () => {
    const world = new World();
    const { transport, calls } = world;
    for (const resumes of [0, 1]) world.begin({ ...UNARY, kind: 'server-stream' }, partOfStream(resumes));
    expect(calls.map(({ started }) => started)).toEqual([1, 0]);
    expect([...transport.waiters]).toMatchObject([{ rateLimited: true }]);
    transport.release();
    expect(calls.map(({ started }) => started)).toEqual([1, 1]);
    expect(await world.settle()).toBe(0);
  });

  it('sends a call once if its request does not fit in the retry buffers, and keeps no request after the end of the call', async () => {
    const world = new World({ ...UNLIMITED, keptBytes: [12, 30] });
    const { transport, calls, replayLimits } = world;
    const safe = { ...UNARY, safe: true };
    for (let i = 0; i < 3; i++) world.begin(safe);
    // Each request has 7 bytes, plus the 5-byte prefix of a gRPC message.
    expect(replayLimits.used).toBe(24);
    for (const attempt of [...transport.open]) attempt.end(ENDS.busy);
    await world.pass(5_000);
    expect(calls.map(({ started }) => started)).toEqual([2, 2, 1]);
    expect(calls[2]!.errors).toMatchObject([{ notRetriedBecause: 'request-not-replayable' }]);
    expect(await world.settle()).toBe(0);
    expect(replayLimits.used).toBe(0);
  });

  it.each([
    ['rejected by a GOAWAY', 'rejected'],
    ['queued on a lost connection', 'queued'],
  ] as const)('resends a request of any size if its attempt was %s', async (_what, how) => {
    const world = new World({ ...UNLIMITED, keptBytes: [1, 1] });
    world.begin({ ...UNARY, safe: true });
    world.transport.open[0]!.end(ENDS[how]);
    world.transport.release();
    await world.pass(0);
    expect(world.calls[0]!.started).toBe(2);
    expect(await world.settle()).toBe(0);
  });

  it('buffers no request of a method without retries, or of a response stream that has begun', async () => {
    const world = new World();
    world.begin(UNARY);
    expect(world.replayLimits.used).toBe(0);
    world.begin({ ...UNARY, kind: 'server-stream', safe: true });
    expect(world.replayLimits.used).toBe(12);
    world.transport.open[1]!.headers();
    expect(world.replayLimits.used).toBe(0);
    expect(await world.settle()).toBe(0);
  });

  it('does not hedge a call if its request does not fit in the retry buffers', async () => {
    const world = new World({ ...UNLIMITED, keptBytes: [1, 1] });
    world.begin({ ...UNARY, hedgingDelayMs: 100 });
    await world.pass(1_000);
    expect(world.calls[0]!.started).toBe(1);
    expect(await world.settle()).toBe(0);
  });

  it.each<[string, Partial<CallPlan>]>([
    ['a retry', { safe: true }],
    ['a hedged attempt', { hedgingDelayMs: 60_000 }],
  ])(
    'fails a call at the start of a drain if the call waits for %s that is due after the drain',
    async (_what, plan) => {
      const world = new World();
      const { transport, registry, calls } = world;
      world.begin({ ...UNARY, ...plan });
      transport.open[0]!.end(ENDS['busy, retry in 2 s']);
      await world.pass(500);
      const report = registry.drain(1_500);
      const failure = {
        code: 14,
        details: 'busy',
        reason: 'server',
        notRetriedBecause: 'draining',
        retryAfterMs: 2_000,
      };
      expect(calls[0]!.errors).toMatchObject([failure]);
      expect(await report).toMatchObject({ finished: 1, failed: 1, completed: 0, cancelled: 0, durationMs: 0 });
    },
  );

  it.each<[string, Partial<CallPlan>]>([
    ['a retry', { safe: true }],
    ['a hedged attempt', { hedgingDelayMs: 60_000 }],
  ])('fails a call immediately during a drain if %s is due after the drain', async (_what, plan) => {
    const world = new World();
    const { transport, registry, calls } = world;
    world.begin({ ...UNARY, ...plan });
    const report = registry.drain(1_500);
    await world.pass(500);
    transport.open[0]!.end(ENDS['busy, retry in 2 s']);
    expect(calls[0]!.errors).toMatchObject([{ reason: 'server', notRetriedBecause: 'draining' }]);
    expect(await report).toMatchObject({ durationMs: 500 });
  });

  it.each<[string, Partial<CallPlan>]>([
    ['a retry', { safe: true }],
    ['a hedged attempt', { hedgingDelayMs: 60_000 }],
  ])('finishes a call during a drain if %s is due before the drain ends', async (_what, plan) => {
    const world = new World();
    const { transport, registry, calls } = world;
    world.begin({ ...UNARY, ...plan });
    transport.open[0]!.end(ENDS['busy, retry in 2 s']);
    const report = registry.drain(3_000);
    await world.pass(2_000);
    transport.open[0]!.message();
    transport.open[0]!.end(ENDS.ok);
    expect(calls[0]!.completed).toBe(1);
    expect(await report).toMatchObject({ finished: 1, cancelled: 0, durationMs: 2_000 });
  });

  it('fails a call at the start of a second, shorter drain if the retry of the call is due after that drain', async () => {
    const world = new World();
    world.begin({ ...UNARY, safe: true });
    world.transport.open[0]!.end(ENDS['busy, retry in 2 s']);
    const report = world.registry.drain(3_000);
    expect(world.calls[0]!.errors).toEqual([]);
    void world.registry.drain(1_000);
    expect(world.calls[0]!.errors).toMatchObject([{ notRetriedBecause: 'draining' }]);
    expect(await report).toMatchObject({ finished: 1, failed: 1, cancelled: 0, durationMs: 0 });
  });

  it('lets the next call use the permit of a call that waits for the channel', async () => {
    const world = new World({ ...UNLIMITED, maxConcurrentCalls: 1, maxQueuedCalls: 1 });
    const { transport, calls } = world;
    world.begin({ ...UNARY, safe: true });
    world.begin(UNARY);
    transport.open[0]!.end(ENDS.dropped);
    // The retry backoff of the first call passes.
    await world.pass(5_000);
    world.check();
    expect(transport.waiters.size).toBe(1);
    expect(calls.map(({ started }) => started)).toEqual([1, 1]);
    expect(await world.settle()).toBe(0);
  });

  it('reports to the channel that a unary call succeeded, with its latency, and that a stream received headers, with no latency', async () => {
    const world = new World();
    const { transport } = world;
    const answers: (number | undefined)[] = [];
    transport.answered = (latencyMs?: number) => answers.push(latencyMs);
    world.begin(UNARY);
    await world.pass(30);
    transport.open[0]!.message();
    transport.open[0]!.end(ENDS.ok);
    expect(answers).toEqual([30]);
    world.begin({ ...UNARY, kind: 'server-stream' });
    transport.open[0]!.headers();
    expect(answers).toEqual([30, undefined]);
    expect(await world.settle()).toBe(0);
  });

  it('reports a released stream to the channel once, when its headers arrive', async () => {
    const world = new World();
    const { transport } = world;
    const reported: (number | undefined)[] = [];
    transport.releasedCallEnded = (latencyMs?: number) => reported.push(latencyMs);
    transport.disconnect();
    world.begin({ ...UNARY, kind: 'server-stream' });
    transport.release();
    await world.pass(30);
    transport.open[0]!.headers();
    expect(reported).toEqual([30]);
    expect(await world.settle()).toBe(0);
    expect(reported).toEqual([30]);
  });

  it('never exceeds the attempt limit of a retry policy and never retries a call early', async () => {
    const failure = fc.constantFrom<EndName>(
      'busy',
      'busy, retry now',
      'busy, retry in 2 s',
      'forced stop',
      'dropped',
      'gateway',
    );
    const failures = fc.array(failure, { minLength: 6, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(plan, failures, fc.boolean(), async (first, endNames, refusedToo) => {
        const world = new World();
        const noTimeouts = { timeoutMs: undefined, attemptTimeoutMs: undefined, hedgingDelayMs: undefined };
        const endless: CallPlan = { ...first, ...noTimeouts, safe: true, kind: 'unary', waitForReady: true };
        world.begin(endless);
        const call = world.calls[0]!;
        for (const [index, endName] of endNames.entries()) {
          const before = call.started;
          world.transport.open[0]?.end(ENDS[refusedToo && index % 2 === 1 ? 'refused' : endName]);
          // The shortest backoff is 80 ms, and a pushback is exact to the millisecond.
          const early = { 'busy, retry in 2 s': 1_999, 'busy, retry now': undefined }[endName as string] ?? 79;
          if (endName !== 'busy, retry now' && !refusedToo) {
            await world.pass(early);
            expect(call.started).toBe(before);
          }
          await world.pass(5_000);
          world.transport.release();
        }
        // The default retry policy resends a call of any method if the transport rejected it unprocessed.
        const max = refusedToo ? Math.max(endless.maxAttempts, DEFAULT_RETRY_POLICY.maxAttempts) : endless.maxAttempts;
        expect(call.started).toBeLessThanOrEqual(max);
        expect(call.started).toBeGreaterThanOrEqual(refusedToo ? 2 : max);
        await world.settle();
        expect(call.errors).toHaveLength(1);
        expect(call.errors[0]).toMatchObject({ notRetriedBecause: 'attempts-exhausted' });
        expect(world.clock.pending).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  afterAll(() => {
    const reasons = [
      'completed',
      'unsubscribed',
      'server',
      'connection-lost',
      'deadline',
      'cancelled',
      'outage',
      'draining',
      'stream-idle',
      'closed',
      'refused',
    ];
    expect(Object.fromEntries(seen)).toMatchObject(
      Object.fromEntries(reasons.map((reason) => [reason, expect.any(Number)])),
    );
  });
});
