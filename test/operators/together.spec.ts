import {
  breakCircuit,
  CircuitBreaker,
  ConcurrencyLimit,
  deadline,
  DeadlineError,
  hedge,
  idleTimeout,
  limitConcurrency,
  retryBackoff,
} from 'nestjs-resilient-grpc/operators';
import { defer, lastValueFrom, of, throwError, timer } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';

describe('combined operators', () => {
  it('completes a call with operators for deadlines, retries, a circuit breaker, and a concurrency limit even if attempts hang or fail, and clears the timers', () => {
    const scheduler = new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const seams = { scheduler, random: () => 0.5 };
      const breaker = new CircuitBreaker({ name: 'orders', ...seams });
      const limit = new ConcurrencyLimit({ maxConcurrent: 10 });
      const hangs = cold('-');
      const fails = cold('--#');
      const works = cold('---(a|)');
      const attempts = [hangs, fails, works];
      const call = defer(() => attempts.shift()!).pipe(
        deadline(20, seams),
        breakCircuit(breaker),
        retryBackoff({ maxAttempts: 3, initialBackoffMs: 10, maxBackoffMs: 100, ...seams }),
        limitConcurrency(limit),
        deadline(100, seams),
      );
      expectObservable(call).toBe('55ms (a|)');
      expectSubscriptions(hangs.subscriptions).toBe('^ 19ms !');
      expectSubscriptions(fails.subscriptions).toBe('30ms ^-!');
      expectSubscriptions(works.subscriptions).toBe('52ms ^--!');
    });
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('runs retryBackoff(), deadline(), idleTimeout(), and hedge() with the real clock', async () => {
    const slow = timer(60_000);
    let attempt = 0;
    const flaky = defer(() => (++attempt < 3 ? throwError(() => new Error(`no ${attempt}`)) : of(attempt)));
    const backoff = { maxAttempts: 3, initialBackoffMs: 1, maxBackoffMs: 2 };
    await expect(lastValueFrom(flaky.pipe(retryBackoff(backoff)))).resolves.toBe(3);
    await expect(lastValueFrom(slow.pipe(deadline(5)))).rejects.toBeInstanceOf(DeadlineError);
    await expect(lastValueFrom(slow.pipe(idleTimeout(5)))).rejects.toMatchObject({ idleMs: 5, code: 14 });
    let hedges = 0;
    const second = defer(() => (++hedges === 2 ? of('second') : slow));
    await expect(lastValueFrom(second.pipe(hedge({ maxAttempts: 2, delayMs: 5 })))).resolves.toBe('second');
  });
});
