import { EMPTY, finalize, NEVER, Observable, of, throwError, VirtualTimeScheduler } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { DeadlineError } from '../errors/operator-errors.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { MAX_TIMER_MS } from '../time/clock.js';
import { deadline } from './deadline.js';

const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));

describe('deadline', () => {
  it('fails with DeadlineError and unsubscribes from the source if it has not ended when the deadline expires', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ hot, expectObservable, expectSubscriptions }) => {
      const source = hot('   --a--b--c--d|');
      const subscribed = '   -^----------!';
      const whole = source.pipe(deadline(8, { scheduler }));
      expectObservable(whole, subscribed).toBe('--a--b--c#', undefined, new DeadlineError(8));
      expectSubscriptions(source.subscriptions).toBe('-^-------!');
    });
  });

  it('unsubscribes from the source before emitting the DeadlineError', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ flush }) => {
      const log: string[] = [];
      NEVER.pipe(
        finalize(() => log.push('unsubscribed')),
        deadline(5, { scheduler }),
      ).subscribe({
        error: () => log.push('failed'),
      });
      flush();
      expect(log).toEqual(['unsubscribed', 'failed']);
    });
  });

  it('forwards the values and the end of a source that ends before the deadline', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('-a-(b|)');
      expectObservable(source.pipe(deadline(5, { scheduler }))).toBe('-a-(b|)');
      expectSubscriptions(source.subscriptions).toBe('^--!');
    });
  });

  it('starts a new deadline for each subscription', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const source = cold('---(a|)').pipe(deadline(4, { scheduler }));
      expectObservable(source).toBe('---(a|)');
      expectObservable(source, '10ms ^').toBe('10ms ---(a|)');
    });
  });

  it.each([0, -1])('fails without subscribing to the source if the deadline is %i ms', (ms) => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('(a|)');
      expectObservable(source.pipe(deadline(ms, { scheduler }))).toBe('#', undefined, new DeadlineError(ms));
      expectSubscriptions(source.subscriptions).toBe([]);
    });
  });

  it('fails exactly on time even if the deadline is longer than the maximum timer duration', () => {
    const scheduler = new VirtualTimeScheduler();
    let failedAt: number | undefined;
    NEVER.pipe(deadline(5 * MAX_TIMER_MS + 7, { scheduler })).subscribe({
      error: () => {
        failedAt = scheduler.now();
      },
    });
    scheduler.flush();
    expect(failedAt).toBe(5 * MAX_TIMER_MS + 7);
  });

  it('returns the source itself if the deadline is Infinity', () => {
    expect(NEVER.pipe(deadline(Infinity))).toBe(NEVER);
  });

  it('sets the deadline timer before a synchronous source runs, and clears it when the source ends', () => {
    const scheduler = new TestScheduler(() => undefined);
    const scheduled = scheduler.actions;
    let during = -1;
    const source = new Observable<number>((subscriber) => {
      during = scheduled.length;
      subscriber.complete();
    });
    source.pipe(deadline(5, { scheduler })).subscribe();
    of(1).pipe(deadline(5, { scheduler })).subscribe();
    throwError(() => new Error('no'))
      .pipe(deadline(5, { scheduler }))
      .subscribe({ error: () => undefined });
    EMPTY.pipe(deadline(5, { scheduler })).subscribe();
    expect(during).toBe(1);
    expect(scheduled.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('rejects an argument of deadline() that is not a number', () => {
    expect(() => deadline(NaN)).toThrow(GrpcConfigurationError);
    expect(() => deadline('5' as any)).toThrow('deadline: expected number, got "5"');
  });
});
