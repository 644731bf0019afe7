import {
  concatMap,
  defer,
  EMPTY,
  finalize,
  from,
  mergeMap,
  NEVER,
  Observable,
  of,
  Subject,
  take,
  throwError,
  type Subscriber,
} from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { ConcurrencyLimitError } from '../errors/operator-errors.js';
import { ConcurrencyLimit, limitConcurrency } from './limit-concurrency.js';

const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const ignore = { error: () => undefined };

describe('limitConcurrency', () => {
  it('runs up to maxConcurrent sources at once, queues further sources in order, and rejects a source if the queue is full', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const limit = new ConcurrencyLimit({ maxConcurrent: 2, maxQueued: 2 });
      const source = cold('---(a|)');
      const limited = source.pipe(limitConcurrency(limit));
      expectObservable(limited).toBe('---(a|)');
      expectObservable(limited, '-^').toBe('----(a|)');
      expectObservable(limited, '--^').toBe('------(a|)');
      expectObservable(limited, '--^').toBe('-------(a|)');
      expectObservable(limited, '--^').toBe('--#', undefined, new ConcurrencyLimitError(2, 2));
      expectSubscriptions(source.subscriptions).toBe(['^--!', '-^--!', '---^--!', '----^--!']);
    });
  });

  it('passes the permit to the next queued source if a source fails or is unsubscribed', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const limit = new ConcurrencyLimit({ maxConcurrent: 1 });
      const bad = cold('--#');
      const never = cold('-');
      const good = cold('(a|)');
      expectObservable(bad.pipe(limitConcurrency(limit))).toBe('--#');
      expectObservable(never.pipe(limitConcurrency(limit)), '^----!').toBe('');
      expectObservable(good.pipe(limitConcurrency(limit))).toBe('-----(a|)');
      expectSubscriptions(never.subscriptions).toBe('--^--!');
      expectSubscriptions(good.subscriptions).toBe('-----(^!)');
    });
  });

  it.each<[string, (subscriber: Subscriber<never>) => void]>([
    ['failed', (subscriber) => subscriber.error(new Error('no'))],
    ['completed', (subscriber) => subscriber.complete()],
  ])('tears down a source that %s, and only then passes on its permit', (_, end) => {
    const log: string[] = [];
    const limit = new ConcurrencyLimit({ maxConcurrent: 1 });
    const begun: Subscriber<never>[] = [];
    const source = new Observable<never>((subscriber) => {
      const number = begun.push(subscriber);
      log.push(`begin ${number}`);
      return () => log.push(`end ${number}`);
    });
    for (let i = 0; i < 2; i++) source.pipe(limitConcurrency(limit)).subscribe(ignore);
    end(begun[0]!);
    expect(log).toEqual(['begin 1', 'end 1', 'begin 2']);
  });

  it('never subscribes to a source that is unsubscribed while it is queued', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const limit = new ConcurrencyLimit({ maxConcurrent: 1 });
      const cancelled = cold('a|');
      expectObservable(cold('-----|').pipe(limitConcurrency(limit))).toBe('-----|');
      expectObservable(cancelled.pipe(limitConcurrency(limit)), '^-!').toBe('');
      expectSubscriptions(cancelled.subscriptions).toBe([]);
    });
  });

  it('tears down an unsubscribed source before the next queued source starts', () => {
    const limit = new ConcurrencyLimit({ maxConcurrent: 1 });
    const log: string[] = [];
    const limited = (name: string) =>
      defer(() => {
        log.push(`${name} begins`);
        return NEVER.pipe(finalize(() => log.push(`${name} ends`)));
      }).pipe(limitConcurrency(limit));
    const first = limited('a').subscribe();
    const second = limited('b').subscribe();
    first.unsubscribe();
    second.unsubscribe();
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
    expect([limit.running, limit.queued]).toEqual([0, 0]);
  });

  it('releases the permit before emitting the end of the source, so that the subscriber can subscribe again', () => {
    const limit = new ConcurrencyLimit({ maxConcurrent: 1, maxQueued: 0 });
    const seen: number[] = [];
    const limited = (value: number) => of(value).pipe(limitConcurrency(limit));
    from([1, 2, 3])
      .pipe(concatMap(limited))
      .subscribe((value) => seen.push(value));
    throwError(() => new Error('no'))
      .pipe(limitConcurrency(limit))
      .subscribe({ error: () => limited(4).subscribe((value) => seen.push(value)) });
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(limit.running).toBe(0);
  });

  it('runs 10,000 queued synchronous sources without a stack overflow', () => {
    const limit = new ConcurrencyLimit({ maxConcurrent: 1, maxQueued: 10_000 });
    const gate = new Subject<void>();
    gate.pipe(limitConcurrency(limit)).subscribe();
    let done = 0;
    from(Array(10_000).keys())
      .pipe(mergeMap((value) => of(value).pipe(limitConcurrency(limit))))
      .subscribe(() => done++);
    gate.complete();
    expect([done, limit.running, limit.queued]).toEqual([10_000, 0, 0]);
  });

  it('stops a synchronous source if its subscriber unsubscribes, and releases its permit once', () => {
    const limit = new ConcurrencyLimit({ maxConcurrent: 1, maxQueued: 0 });
    let emitted = 0;
    const source = new Observable<number>((subscriber) => {
      while (!subscriber.closed && emitted < 1_000) subscriber.next(emitted++);
    });
    source.pipe(limitConcurrency(limit), take(3)).subscribe();
    expect([emitted, limit.running]).toEqual([3, 0]);
    EMPTY.pipe(limitConcurrency(limit)).subscribe(ignore);
    expect(limit.running).toBe(0);
  });

  it('counts each subscription to the same source toward the concurrency limit', () => {
    const limit = new ConcurrencyLimit({ maxConcurrent: 2 });
    const limited = NEVER.pipe(limitConcurrency(limit));
    const subscriptions = [limited.subscribe(), limited.subscribe(), limited.subscribe()];
    expect([limit.running, limit.queued]).toEqual([2, 1]);
    for (const subscription of subscriptions) subscription.unsubscribe();
    expect([limit.running, limit.queued]).toEqual([0, 0]);
  });

  it.each<[string, (subject: Subject<never>) => void]>([
    ['completes', (subject) => subject.complete()],
    ['fails', (subject) => subject.error(new Error('no'))],
    ['is unsubscribed', () => undefined],
  ])('releases the permit once if a source %s', (_, end) => {
    const limit = new ConcurrencyLimit({ maxConcurrent: 1 });
    const source = new Subject<never>();
    const subscription = source.pipe(limitConcurrency(limit)).subscribe(ignore);
    expect(limit.running).toBe(1);
    end(source);
    subscription.unsubscribe();
    expect(limit.running).toBe(0);
  });

  it('rejects invalid concurrency limit options', () => {
    expect(() => new ConcurrencyLimit({ maxConcurrent: 0, maxQueued: 0.5 })).toThrow(/^2 problems/);
  });
});
