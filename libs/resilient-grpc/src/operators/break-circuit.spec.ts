import { concat, EMPTY, firstValueFrom, NEVER, of, Subject, take, throwError, type SchedulerLike } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { CircuitOpenError, ConcurrencyLimitError, DeadlineError, IdleTimeoutError } from '../errors/operator-errors.js';
import { grpcError } from '../testing/fake-service/grpc-error.js';
import { breakCircuit, CircuitBreaker } from './break-circuit.js';
import { deadline } from './deadline.js';
import { retryBackoff } from './retry-backoff.js';

const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const makeStatusError = (code: number) => Object.assign(new Error(), { code });
const ignore = { error: () => undefined };

function makeBreaker(scheduler: SchedulerLike, over = {}) {
  return new CircuitBreaker({ minimumThroughput: 2, name: 'orders', random: () => 0.5, scheduler, ...over });
}

function trip(breaker: CircuitBreaker): void {
  for (let i = 0; i < 2; i++)
    throwError(() => makeStatusError(14))
      .pipe(breakCircuit(breaker))
      .subscribe(ignore);
}

describe('breakCircuit', () => {
  it('fails without subscribing to the source while the circuit is open, admits one probe, and closes the circuit if the probe succeeds', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const breaker = makeBreaker(scheduler);
      const bad = cold('-#', undefined, makeStatusError(14)).pipe(breakCircuit(breaker));
      const good = cold('---a|');
      const guarded = good.pipe(breakCircuit(breaker));
      expectObservable(bad).toBe('-#', undefined, makeStatusError(14));
      expectObservable(bad).toBe('-#', undefined, makeStatusError(14));
      // The circuit is open from 1 ms to 5,001 ms.
      expectObservable(guarded, '2ms ^').toBe('2ms #', undefined, new CircuitOpenError('orders', 4_999));
      expectObservable(guarded, '5s ^').toBe('5s #', undefined, new CircuitOpenError('orders', 1));
      expectObservable(guarded, '5001ms ^').toBe('5001ms ---a|');
      expectObservable(guarded, '5002ms ^').toBe('5002ms #', undefined, new CircuitOpenError('orders', 4_999));
      expectObservable(guarded, '5005ms ^').toBe('5005ms ---a|');
      expectSubscriptions(good.subscriptions).toBe(['5001ms ^---!', '5005ms ^---!']);
    });
  });

  it('counts the first value of a circuit breaker probe as its success, so that a long stream closes the circuit immediately', () => {
    const scheduler = makeTestScheduler();
    const breaker = makeBreaker(scheduler, { breakDurationMs: 5 });
    trip(breaker);
    scheduler.schedule(() => concat(of(1), NEVER).pipe(breakCircuit(breaker)).subscribe(), 5);
    scheduler.flush();
    expect(breaker.state).toBe('closed');
  });

  it('releases the permit of a circuit breaker probe that is unsubscribed before its first value', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const breaker = makeBreaker(scheduler);
      trip(breaker);
      expectObservable(NEVER.pipe(breakCircuit(breaker)), '5s ^--!').toBe('');
      expectObservable(cold('a|').pipe(breakCircuit(breaker)), '5004ms ^').toBe('5004ms a|');
    });
  });

  it.each([
    ['opens the circuit after UNAVAILABLE', makeStatusError(14), 'open'],
    ['opens the circuit after attempts that exceed their deadline', new DeadlineError(5), 'open'],
    ['opens the circuit after streams that exceed their idle timeout', new IdleTimeoutError(5), 'open'],
    ['opens the circuit after errors without a status', new Error('ECONNRESET'), 'open'],
    ['opens the circuit after thrown values that are not errors', 'no', 'open'],
    ['keeps the circuit closed after NOT_FOUND', makeStatusError(5), 'closed'],
    ['keeps the circuit closed after CANCELLED', makeStatusError(1), 'closed'],
    ['keeps the circuit closed after errors from another open circuit', new CircuitOpenError('stock', 5), 'closed'],
    ['keeps the circuit closed after errors from a concurrency limit', new ConcurrencyLimitError(1, 0), 'closed'],
    ['keeps the circuit closed after aborts', Object.assign(new Error(), { name: 'AbortError' }), 'closed'],
  ])('%s', (_, error, state) => {
    const breaker = makeBreaker(makeTestScheduler());
    for (let i = 0; i < 3; i++)
      throwError(() => error)
        .pipe(breakCircuit(breaker))
        .subscribe(ignore);
    expect(breaker.state).toBe(state);
  });

  it('keeps the circuit half-open after a probe that exceeds the deadline of its call, if statusCodes does not include DEADLINE_EXCEEDED', () => {
    const scheduler = makeTestScheduler();
    const breaker = makeBreaker(scheduler, { breakDurationMs: 5, statusCodes: ['UNAVAILABLE'] });
    trip(breaker);
    const expired = grpcError('DEADLINE_EXCEEDED', 'expired', { reason: 'deadline' });
    const probe = throwError(() => expired).pipe(breakCircuit(breaker));
    scheduler.schedule(() => probe.subscribe(ignore), 5);
    scheduler.flush();
    expect(breaker.state).toBe('half-open');
  });

  it('opens the circuit if half of the subscriptions fail, and keeps it closed if two of five fail', () => {
    const breaker = makeBreaker(makeTestScheduler());
    for (const source of [of(1), EMPTY, throwError(() => makeStatusError(5)), throwError(() => makeStatusError(14))]) {
      source.pipe(breakCircuit(breaker)).subscribe(ignore);
    }
    trip(breaker);
    expect(breaker.state).toBe('open');
    const calm = makeBreaker(makeTestScheduler());
    for (const source of [of(1), of(1), of(1)]) source.pipe(breakCircuit(calm)).subscribe();
    trip(calm);
    expect(calm.state).toBe('closed');
  });

  it('counts each subscription once in a circuit breaker, even if a value makes its subscriber unsubscribe or subscribe again', () => {
    const breaker = makeBreaker(makeTestScheduler(), { minimumThroughput: 3 });
    const guarded = of(1, 2, 3).pipe(breakCircuit(breaker));
    const seen: number[] = [];
    guarded.pipe(take(1)).subscribe((value) => {
      seen.push(value);
      if (seen.length === 1) guarded.subscribe((again) => seen.push(again));
    });
    expect(seen).toEqual([1, 1, 2, 3]);
    // Two of four attempts fail, so the circuit opens. With one success counted twice (two of five fail), the circuit would stay closed.
    trip(breaker);
    expect(breaker.state).toBe('open');
  });

  it('calls onTransition when the circuit opens', () => {
    const transitions: string[] = [];
    const breaker = makeBreaker(makeTestScheduler(), {
      onTransition: (transition: any) => transitions.push(`${transition.from}-${transition.to}`),
    });
    trip(breaker);
    expect(transitions).toEqual(['closed-open']);
  });

  it('counts each hanging attempt as a failure if breakCircuit() is piped after deadline() and before retryBackoff()', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const breaker = makeBreaker(scheduler);
      const source = cold('-');
      const backoff = { maxAttempts: 5, initialBackoffMs: 10, maxBackoffMs: 10, random: () => 0.5, scheduler };
      const call = source.pipe(deadline(20, { scheduler }), breakCircuit(breaker), retryBackoff(backoff));
      expectObservable(call).toBe('60ms #', undefined, new CircuitOpenError('orders', 4_990));
      expectSubscriptions(source.subscriptions).toBe(['^ 19ms !', '30ms ^ 19ms !']);
    });
  });

  it('uses monotonic time if a circuit breaker has no scheduler', () => {
    const breaker = new CircuitBreaker();
    const subject = new Subject<number>();
    subject.pipe(breakCircuit(breaker)).subscribe();
    expect(breaker.state).toBe('closed');
    expect(breaker.now()).toBeLessThan(1e12);
  });

  it('rejects invalid circuit breaker options', () => {
    expect(() => new CircuitBreaker({ failureRatio: 50, breakDurationMs: 0 })).toThrow(/^2 problems/);
  });

  it('fails only with the error of the source if onTransition throws, and rethrows the error of onTransition in a microtask', async () => {
    const thrown = new Promise<unknown>((resolve) => {
      const before = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', (error) => {
        for (const listener of before) process.on('uncaughtException', listener);
        resolve(error);
      });
    });
    const bug = new Error('a bug in the listener');
    const onTransition = () => {
      throw bug;
    };
    const breaker = new CircuitBreaker({ minimumThroughput: 1, name: 'orders', onTransition });
    const failure = makeStatusError(14);
    const error = await firstValueFrom(throwError(() => failure).pipe(breakCircuit(breaker))).catch((e: unknown) => e);
    expect([error, breaker.state]).toEqual([failure, 'open']);
    expect(error).toBe(failure);
    await expect(thrown).resolves.toBe(bug);
  });
});
