import { asapScheduler, defer, Observable, of, Subject, Subscription, take, throwError, type Subscriber } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { hedge } from './hedge.js';

const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const unavailable = Object.assign(new Error('14 UNAVAILABLE: connection lost'), { code: 14 });
const notFound = Object.assign(new Error('5 NOT_FOUND: no order'), { code: 5 });

describe('hedge', () => {
  it('makes no hedged attempt if the first value arrives before the hedging delay', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('  ---a 20ms b|');
      const expected = '     ---a 20ms b|';
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }))).toBe(expected);
      expectSubscriptions(source.subscriptions).toBe('^-- 22ms !');
    });
  });

  it('makes another attempt after the hedging delay, unsubscribes from the slower one, and emits the value of the faster one', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const slow = cold('30ms a|');
      const quick = cold('--b--|');
      const attempts = [slow, quick];
      const source = defer(() => attempts.shift()!);
      const expected = '10ms --b--|';
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }))).toBe(expected);
      expectSubscriptions(slow.subscriptions).toBe('^ 11ms !');
      expectSubscriptions(quick.subscriptions).toBe('10ms ^----!');
    });
  });

  it('emits the value of the first attempt if it responds before the hedged one', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('15ms (a|)');
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }))).toBe('15ms (a|)');
      expectSubscriptions(source.subscriptions).toBe(['^ 14ms !', '10ms ^----!']);
    });
  });

  it('makes at most maxAttempts attempts, one after each hedging delay', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('-');
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler })), '^ 99ms !').toBe('');
      expectSubscriptions(source.subscriptions).toBe(['^ 99ms !', '10ms ^ 89ms !', '20ms ^ 79ms !']);
    });
  });

  it('makes all attempts at once if the hedging delay is 0', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('--a|');
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 0, scheduler }))).toBe('--a|');
      expectSubscriptions(source.subscriptions).toBe(['^--!', '^-!', '^-!']);
    });
  });

  it('replaces a failed attempt at once, and restarts the hedging delay', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const bad = cold('-----#', undefined, unavailable);
      const slow = cold('-');
      const good = cold('a|');
      const attempts = [bad, slow, good];
      const source = defer(() => attempts.shift()!);
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }))).toBe('15ms a|');
      expectSubscriptions(bad.subscriptions).toBe('^----!');
      expectSubscriptions(slow.subscriptions).toBe('-----^ 9ms !');
      expectSubscriptions(good.subscriptions).toBe('15ms ^!');
    });
  });

  it.each<[string, (subscriber: Subscriber<never>) => void]>([
    ['asynchronously', (subscriber) => void asapScheduler.schedule(() => subscriber.error(unavailable))],
    ['during its subscription', (subscriber) => subscriber.error(unavailable)],
  ])('tears down a hedged attempt that failed %s, and only then starts the next attempt', async (_, fail) => {
    const log: string[] = [];
    let attempts = 0;
    const source = new Observable<never>((subscriber) => {
      const attempt = ++attempts;
      log.push(`begin ${attempt}`);
      fail(subscriber);
      return () => log.push(`end ${attempt}`);
    });
    const error = await new Promise((resolve) => {
      source.pipe(hedge({ maxAttempts: 3, delayMs: Infinity })).subscribe({
        error: (last) => {
          log.push('error');
          resolve(last);
        },
      });
    });
    expect(error).toBe(unavailable);
    expect(log).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2', 'begin 3', 'end 3', 'error']);
  });

  it('makes another attempt only after a failure if the hedging delay is infinite', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('-----#', undefined, unavailable);
      const hedged = source.pipe(hedge({ maxAttempts: 2, delayMs: Infinity, scheduler }));
      expectObservable(hedged).toBe('10ms #', undefined, unavailable);
      expectSubscriptions(source.subscriptions).toBe(['^----!', '-----^----!']);
    });
  });

  it('forwards the last failure if all hedged attempts fail', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const attempts = [cold('20ms #', undefined, 'first'), cold('--#', undefined, 'second')];
      const source = defer(() => attempts.shift()!);
      const hedged = source.pipe(hedge({ maxAttempts: 2, delayMs: 10, scheduler }));
      expectObservable(hedged).toBe('20ms #', undefined, 'first');
    });
  });

  it('fails at once if a hedged attempt fails with a fatal status, and unsubscribes from all other attempts', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const slow = cold('-');
      const attempts = [slow, cold('--#', undefined, notFound)];
      const source = defer(() => attempts.shift()!);
      const hedged = source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }));
      expectObservable(hedged).toBe('10ms --#', undefined, notFound);
      expectSubscriptions(slow.subscriptions).toBe('^ 11ms !');
    });
  });

  it('forwards a failure that follows the first value, and makes no further hedged attempt', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('a 20ms #', undefined, unavailable);
      const hedged = source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }));
      expectObservable(hedged).toBe('a 20ms #', undefined, unavailable);
      expectSubscriptions(source.subscriptions).toBe('^ 20ms !');
    });
  });

  it('treats the completion of a hedged attempt without a value as a response', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold('15ms |');
      expectObservable(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }))).toBe('15ms |');
      expectSubscriptions(source.subscriptions).toBe(['^ 14ms !', '10ms ^----!']);
    });
  });

  it('subscribes to a synchronous source once, even if the hedging delay is 0', () => {
    let subscribed = 0;
    const seen: number[] = [];
    const source = defer(() => of(++subscribed));
    source.pipe(hedge({ maxAttempts: 5, delayMs: 0 })).subscribe((value) => seen.push(value));
    expect([subscribed, seen]).toEqual([1, [1]]);
  });

  it('makes all hedged attempts if the source fails synchronously, and fails once', () => {
    let subscribed = 0;
    const errors: unknown[] = [];
    const source = defer(() => throwError(() => ++subscribed));
    source.pipe(hedge({ maxAttempts: 3, delayMs: 0 })).subscribe({ error: (error) => errors.push(error) });
    expect([subscribed, errors]).toEqual([3, [3]]);
  });

  it('stops a synchronous source if its subscriber unsubscribes, and makes no further hedged attempt', () => {
    const scheduler = makeTestScheduler();
    let emitted = 0;
    const source = new Observable<number>((subscriber) => {
      while (!subscriber.closed && emitted < 1_000) subscriber.next(emitted++);
    });
    source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }), take(3)).subscribe();
    scheduler.flush();
    expect(emitted).toBe(3);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('unsubscribes from all hedged attempts if the subscriber unsubscribes while another attempt starts', () => {
    const scheduler = makeTestScheduler();
    const begun: Subject<number>[] = [];
    const subscription = new Subscription();
    const source = new Observable<number>((subscriber) => {
      const subject = new Subject<number>();
      begun.push(subject);
      if (begun.length === 2) subscription.unsubscribe();
      return subject.subscribe(subscriber);
    });
    subscription.add(source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler })).subscribe());
    scheduler.flush();
    expect(begun.map(({ observed }) => observed)).toEqual([false, false]);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('clears the timers and subscriptions of all hedged attempts on completion and on unsubscription', () => {
    const scheduler = makeTestScheduler();
    const source = new Subject<number>();
    const hedged = source.pipe(hedge({ maxAttempts: 3, delayMs: 10, scheduler }));
    hedged.subscribe();
    hedged.subscribe().unsubscribe();
    source.next(1);
    source.complete();
    expect(source.observed).toBe(false);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('rejects invalid hedge options', () => {
    expect(() => hedge({ maxAttempts: 0, delayMs: -1 })).toThrow(/^2 problems/);
    expect(() => hedge({ maxAttempts: 2, delayMs: '5' as never })).toThrow('hedge.delayMs: expected number, got "5"');
    expect(() => hedge({ maxAttempts: 2, delayMs: '-5' as never })).toThrow(/^hedge\.delayMs: .*, got "-5"$/);
    expect(() => hedge({ maxAttempts: 2, delayMs: null as never })).toThrow(/^hedge\.delayMs: .*, got null/);
    expect(() => hedge({ maxAttempts: 2, delayMs: NaN })).toThrow('hedge.delayMs: expected number, got NaN');
  });
});
