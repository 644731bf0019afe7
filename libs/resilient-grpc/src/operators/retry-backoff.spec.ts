import { defer, map, Observable, of, take, throwError } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { CircuitOpenError, DeadlineError } from '../errors/operator-errors.js';
import { retryBackoff } from './retry-backoff.js';

const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const BACKOFF = { maxAttempts: 3, initialBackoffMs: 100, maxBackoffMs: 1_000, random: () => 0.5 };
const unavailable = Object.assign(new Error('14 UNAVAILABLE: connection lost'), { code: 14 });

describe('retryBackoff', () => {
  it('waits 100 ms and then 200 ms between attempts of retryBackoff(), and forwards the third failure', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const attempt = cold('#', undefined, unavailable);
      expectObservable(attempt.pipe(retryBackoff({ ...BACKOFF, scheduler }))).toBe('300ms #', undefined, unavailable);
      expectSubscriptions(attempt.subscriptions).toBe(['(^!)', '100ms (^!)', '300ms (^!)']);
    });
  });

  it('forwards the values of the successful attempt of retryBackoff()', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const attempts = [cold('--#', undefined, unavailable), cold('-a-b|')];
      const source = defer(() => attempts.shift()!);
      expectObservable(source.pipe(retryBackoff({ ...BACKOFF, scheduler }))).toBe('-- 100ms -a-b|');
    });
  });

  it('forwards the values of a failed attempt of retryBackoff() before the values of the next attempt', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const source = cold('a#', undefined, unavailable);
      const twice = source.pipe(retryBackoff({ ...BACKOFF, maxAttempts: 2, scheduler }));
      expectObservable(twice).toBe('a 100ms a#', undefined, unavailable);
    });
  });

  it.each([
    [{ random: (): number => 0 }, [80, 160, 320]],
    [{ random: (): number => 0.75 }, [110, 220, 440]],
    [{ maxBackoffMs: 150 }, [100, 150, 150]],
    [{ backoffMultiplier: 3 }, [100, 300, 900]],
    [{ jitter: 'full' as const, random: (): number => 0.25 }, [25, 50, 100]],
  ])('applies the retryBackoff options %o, and waits %o ms between attempts', (over, waits) => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('#', undefined, unavailable);
      const options = { ...BACKOFF, maxAttempts: 4, ...over, scheduler };
      const [a, b, c] = waits.map(Math.round) as [number, number, number];
      expectObservable(source.pipe(retryBackoff(options))).toBe(`${a + b + c}ms #`, undefined, unavailable);
      expectSubscriptions(source.subscriptions).toBe(['(^!)', `${a}ms (^!)`, `${a + b}ms (^!)`, `${a + b + c}ms (^!)`]);
    });
  });

  it('makes no further attempt if the subscriber unsubscribes during the backoff of retryBackoff()', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('#', undefined, unavailable);
      expectObservable(source.pipe(retryBackoff({ ...BACKOFF, scheduler })), '^ 50ms !').toBe('');
      expectSubscriptions(source.subscriptions).toBe('(^!)');
    });
  });

  it('calls retryOn with the error and the number of the failed attempt', () => {
    const calls: unknown[] = [];
    const retryOn = (error: unknown, attempt: number): boolean => {
      calls.push([error, attempt]);
      return attempt < 2;
    };
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const source = cold('#', undefined, 'no');
      expectObservable(source.pipe(retryBackoff({ ...BACKOFF, retryOn, scheduler }))).toBe('100ms #', undefined, 'no');
    });
    expect(calls).toEqual([
      ['no', 1],
      ['no', 2],
    ]);
  });

  it('forwards an error that retryOn throws', () => {
    const errors: unknown[] = [];
    const retryOn = (): boolean => {
      throw new Error('mine');
    };
    throwError(() => unavailable)
      .pipe(retryBackoff({ ...BACKOFF, retryOn }))
      .subscribe({ error: (error) => errors.push(error) });
    expect(errors).toEqual([new Error('mine')]);
  });

  it.each([
    ['retries after UNAVAILABLE', unavailable, true],
    ['retries after an attempt that exceeded its deadline', new DeadlineError(5), true],
    ['retries after an error without a status', new Error('ECONNRESET'), true],
    ['does not retry after NOT_FOUND', Object.assign(new Error(), { code: 5 }), false],
    ['does not retry after the call fails with DEADLINE_EXCEEDED', Object.assign(new Error(), { code: 4 }), false],
    ['does not retry after a CircuitOpenError', new CircuitOpenError('orders', 5_000), false],
  ])('%s if retryOn is not set', (_, error, repeats) => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('#', undefined, error);
      const options = { ...BACKOFF, maxAttempts: 2, scheduler };
      expectObservable(source.pipe(retryBackoff(options))).toBe(repeats ? '100ms #' : '#', undefined, error);
      expectSubscriptions(source.subscriptions).toBe(repeats ? ['(^!)', '100ms (^!)'] : ['(^!)']);
    });
  });

  it('stops a synchronous source of retryBackoff() if its subscriber unsubscribes', () => {
    let emitted = 0;
    const source = new Observable<number>((subscriber) => {
      while (!subscriber.closed && emitted < 1_000) subscriber.next(emitted++);
    });
    source.pipe(retryBackoff(BACKOFF), take(3)).subscribe();
    expect(emitted).toBe(3);
  });

  it('keeps separate state for each subscription to a retried source', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const retried = cold('#', undefined, unavailable).pipe(retryBackoff({ ...BACKOFF, scheduler }));
      expectObservable(retried).toBe('300ms #', undefined, unavailable);
      expectObservable(retried, '50ms ^').toBe('350ms #', undefined, unavailable);
    });
  });

  it('reports all invalid retryBackoff options in one error', () => {
    const wrong = { maxAttempts: 0, initialBackoffMs: 0, maxBackoffMs: NaN, backoffMultiplier: -1, jitter: 'some' };
    expect(() => of(1).pipe(map(String), retryBackoff(wrong as any))).toThrow(/^5 problems/);
  });
});
