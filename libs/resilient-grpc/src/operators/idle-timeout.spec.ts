import { NEVER, of } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { IdleTimeoutError } from '../errors/operator-errors.js';
import { idleTimeout } from './idle-timeout.js';

const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));

describe('idleTimeout', () => {
  it('fails with IdleTimeoutError if no value arrives in time after the subscription', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('------a');
      const bounded = source.pipe(idleTimeout(5, { scheduler }));
      expectObservable(bounded).toBe('-----#', undefined, new IdleTimeoutError(5));
      expectSubscriptions(source.subscriptions).toBe('^----!');
    });
  });

  it('restarts the idle timeout with each value', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('----a----b----c-------d');
      const bounded = source.pipe(idleTimeout(5, { scheduler }));
      expectObservable(bounded).toBe('----a----b----c----#', undefined, new IdleTimeoutError(5));
      expectSubscriptions(source.subscriptions).toBe('^------------------!');
    });
  });

  it('forwards the completion or the error of a source that ends before the idle timeout', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      expectObservable(cold('-a-|').pipe(idleTimeout(5, { scheduler }))).toBe('-a-|');
      expectObservable(cold('-a-#').pipe(idleTimeout(5, { scheduler }))).toBe('-a-#');
    });
  });

  it('clears the idle timer after a synchronous source completes and after unsubscription', () => {
    const scheduler = makeTestScheduler();
    of(1, 2).pipe(idleTimeout(5, { scheduler })).subscribe();
    NEVER.pipe(idleTimeout(5, { scheduler })).subscribe().unsubscribe();
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('returns the source itself if the idle timeout is Infinity', () => {
    expect(NEVER.pipe(idleTimeout(Infinity))).toBe(NEVER);
  });

  it.each([0, -1, NaN, '5'])('rejects the idle timeout %o', (ms) => {
    expect(() => idleTimeout(ms as number)).toThrow(/^idleTimeout: expected (?:number|>0), got /);
  });
});
