import { concat, EMPTY, NEVER, of, Subject, take, throwError, type SchedulerLike } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { CircuitOpenError } from '../errors/circuit-open-error.js';
import { ConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import { DeadlineError } from '../errors/deadline-error.js';
import { IdleTimeoutError } from '../errors/idle-timeout-error.js';
import { breakCircuit } from './break-circuit.js';
import { CircuitBreaker } from './circuit-breaker.js';
import { deadline } from './deadline.js';
import { retryBackoff } from './retry-backoff.js';

const virtual = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const status = (code: number) => Object.assign(new Error(), { code });
const ignore = { error: () => undefined };

function breakerOf(scheduler: SchedulerLike, over = {}) {
  return new CircuitBreaker({ minimumThroughput: 2, name: 'orders', random: () => 0.5, scheduler, ...over });
}

function trip(breaker: CircuitBreaker): void {
  for (let i = 0; i < 2; i++)
    throwError(() => status(14))
      .pipe(breakCircuit(breaker))
      .subscribe(ignore);
}

describe('breakCircuit', () => {
  it('refuses without subscribing while the circuit is open, lets one probe through, and closes with it', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const breaker = breakerOf(scheduler);
      const bad = cold('-#', undefined, status(14)).pipe(breakCircuit(breaker));
      const good = cold('---a|');
      const guarded = good.pipe(breakCircuit(breaker));
      expectObservable(bad).toBe('-#', undefined, status(14));
      expectObservable(bad).toBe('-#', undefined, status(14));
      // Open from 1 to 5001.
      expectObservable(guarded, '2ms ^').toBe('2ms #', undefined, new CircuitOpenError('orders', 4_999));
      expectObservable(guarded, '5s ^').toBe('5s #', undefined, new CircuitOpenError('orders', 1));
      expectObservable(guarded, '5001ms ^').toBe('5001ms ---a|');
      expectObservable(guarded, '5002ms ^').toBe('5002ms #', undefined, new CircuitOpenError('orders', 4_999));
      expectObservable(guarded, '5005ms ^').toBe('5005ms ---a|');
      expectSubscriptions(good.subscriptions).toBe(['5001ms ^---!', '5005ms ^---!']);
    });
  });

  it('counts a first value as a success: a stream that lives for long decides a probe at once', () => {
    const scheduler = virtual();
    const breaker = breakerOf(scheduler, { breakDurationMs: 5 });
    trip(breaker);
    scheduler.schedule(() => concat(of(1), NEVER).pipe(breakCircuit(breaker)).subscribe(), 5);
    scheduler.flush();
    expect(breaker.state).toBe('closed');
  });

  it('gives the permit of a probe back when it is unsubscribed before it answered', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const breaker = breakerOf(scheduler);
      trip(breaker);
      expectObservable(NEVER.pipe(breakCircuit(breaker)), '5s ^--!').toBe('');
      expectObservable(cold('a|').pipe(breakCircuit(breaker)), '5004ms ^').toBe('5004ms a|');
    });
  });

  it.each([
    ['UNAVAILABLE', status(14), 'open'],
    ['an attempt that took too long', new DeadlineError(5), 'open'],
    ['a stream that fell silent', new IdleTimeoutError(5), 'open'],
    ['an error without a status', new Error('ECONNRESET'), 'open'],
    ['something thrown that is no error', 'no', 'open'],
    ['NOT_FOUND', status(5), 'closed'],
    ['CANCELLED', status(1), 'closed'],
    ['another circuit', new CircuitOpenError('stock', 5), 'closed'],
    ['a limit', new ConcurrencyLimitError(1, 0), 'closed'],
    ['an abort', Object.assign(new Error(), { name: 'AbortError' }), 'closed'],
  ])('judges errors: %s', (_, error, state) => {
    const breaker = breakerOf(virtual());
    for (let i = 0; i < 3; i++)
      throwError(() => error)
        .pipe(breakCircuit(breaker))
        .subscribe(ignore);
    expect(breaker.state).toBe(state);
  });

  it('counts answers of all kinds, so that a third of failures does not open it', () => {
    const breaker = breakerOf(virtual());
    for (const source of [of(1), EMPTY, throwError(() => status(5)), throwError(() => status(14))]) {
      source.pipe(breakCircuit(breaker)).subscribe(ignore);
    }
    trip(breaker);
    expect(breaker.state).toBe('open');
    const calm = breakerOf(virtual());
    for (const source of [of(1), of(1), of(1)]) source.pipe(breakCircuit(calm)).subscribe();
    trip(calm);
    expect(calm.state).toBe('closed');
  });

  it('settles each subscription once, also where the answer makes its subscriber leave or come again', () => {
    const breaker = breakerOf(virtual(), { minimumThroughput: 3 });
    const guarded = of(1, 2, 3).pipe(breakCircuit(breaker));
    const seen: number[] = [];
    guarded.pipe(take(1)).subscribe((value) => {
      seen.push(value);
      if (seen.length === 1) guarded.subscribe((again) => seen.push(again));
    });
    expect(seen).toEqual([1, 1, 2, 3]);
    // Two successes and two failures are half of four; five results would not be.
    trip(breaker);
    expect(breaker.state).toBe('open');
  });

  it('tells of its transitions', () => {
    const told: string[] = [];
    const breaker = breakerOf(virtual(), { onTransition: (one: any) => told.push(`${one.from}-${one.to}`) });
    trip(breaker);
    expect(told).toEqual(['closed-open']);
  });

  it('outside of a deadline and inside of a retry counts each attempt that hangs', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const breaker = breakerOf(scheduler);
      const source = cold('-');
      const backoff = { maxAttempts: 5, initialBackoffMs: 10, maxBackoffMs: 10, random: () => 0.5, scheduler };
      const call = source.pipe(deadline(20, { scheduler }), breakCircuit(breaker), retryBackoff(backoff));
      expectObservable(call).toBe('60ms #', undefined, new CircuitOpenError('orders', 4_990));
      expectSubscriptions(source.subscriptions).toBe(['^ 19ms !', '30ms ^ 19ms !']);
    });
  });

  it('goes by monotonic time when no scheduler is given', () => {
    const breaker = new CircuitBreaker();
    const subject = new Subject<number>();
    subject.pipe(breakCircuit(breaker)).subscribe();
    expect(breaker.state).toBe('closed');
    expect(breaker.now()).toBeLessThan(1e12);
  });

  it('refuses options that are none', () => {
    expect(() => new CircuitBreaker({ failureRatio: 50, breakDurationMs: 0 })).toThrow(/^2 problems/);
  });
});
