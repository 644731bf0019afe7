import {
  concat,
  defer,
  EMPTY,
  map,
  NEVER,
  Observable,
  of,
  Subject,
  Subscription,
  take,
  throwError,
  VirtualTimeScheduler,
} from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { describe, expect, it } from 'vitest';
import { DeadlineError } from '../errors/deadline-error.js';
import type { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { isCursorRegressionError } from '../errors/cursor-regression-error.js';
import { isResumeError } from '../errors/resume-error.js';
import { MAX_OVERLAP } from '../policy/resume/cursor-track.js';
import { resumable, type ResumeOptions } from './resumable.js';

type Options = Partial<ResumeOptions<number, number>>;

const clock = () => new VirtualTimeScheduler();
const virtual = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
const lost = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});
const unavailable = Object.assign(new Error('14 UNAVAILABLE: No message passed'), {
  code: 14,
  details: 'No message passed',
});
const internal = Object.assign(new Error('13 INTERNAL: boom'), { code: 13, details: 'boom' });
const notFound = Object.assign(new Error('5 NOT_FOUND: no log'), { code: 5, details: 'no log' });
const own = new TypeError('a slip of the pen');

const MESSAGES = { a: 1, b: 2, c: 3, d: 4, e: 5 };

/** A stream of calls: one Observable after the other, the last of them again and again; and what each was asked for. */
function calls(scheduler: VirtualTimeScheduler, streams: readonly Observable<number>[], options: Options = {}) {
  const asked: unknown[] = [];
  const stream = resumable<number, number>(
    (cursor, attempt) => {
      asked.push([scheduler.now(), cursor, attempt]);
      return streams[Math.min(attempt, streams.length) - 1]!;
    },
    { cursor: (message) => message, seed: 0, scheduler, random: () => 0.5, ...options },
  );
  return { stream, asked };
}

describe('resumable', () => {
  it('passes on a call that needs no other', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = calls(scheduler, [cold('-a-b|', MESSAGES)]);
      expectObservable(stream).toBe('-a-b|', MESSAGES);
    });
  });

  it('goes on from the last message when the connection is lost, after a backoff', () => {
    const scheduler = virtual();
    const { stream, asked } = scheduler.run(({ cold, expectObservable }) => {
      const made = calls(scheduler, [cold('-a-b#', MESSAGES, lost), cold('-c|', MESSAGES)]);
      expectObservable(made.stream).toBe('-a-b 100ms -c|', MESSAGES);
      return made;
    });
    expect(asked).toEqual([
      [0, 0, 1],
      [104, 2, 2],
    ]);
    expect(stream).toBeInstanceOf(Observable);
  });

  it('resumes within the first backoff, at random, after a call that lasted long', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const made = calls(scheduler, [cold('a 4999ms #', MESSAGES, lost), cold('b|', MESSAGES)], { random: () => 0.2 });
      expectObservable(made.stream).toBe('a 5019ms b|', MESSAGES);
      return made;
    });
    expect(asked).toEqual([
      [0, 0, 1],
      [5_020, 1, 2],
    ]);
  });

  it('resumes a quiet feed within the first backoff each time, for any number of calls that the server ends after 6 s', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const made = calls(scheduler, [cold('6s #', undefined, unavailable)]);
      expectObservable(made.stream, '^ 119s !').toBe('');
      return made;
    });
    expect(asked.map(([at]: any) => at)).toEqual(Array.from({ length: 20 }, (_, index) => index * 6_050));
  });

  it('does not take a feed for poisoned that the server ends INTERNAL after 6 s each time', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const made = calls(scheduler, [cold('6s #', undefined, internal)]);
      expectObservable(made.stream, '^ 119s !').toBe('');
      return made;
    });
    expect(asked).toHaveLength(20);
  });

  it('waits longer from failure to failure, and afresh after progress', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const down = cold<number>('#', undefined, lost);
      const made = calls(scheduler, [down, down, down, cold('(a#)', MESSAGES, lost), down, cold('|')]);
      expectObservable(made.stream).toBe('700ms a 299ms |', MESSAGES);
      return made;
    });
    expect(asked.map(([at]: any) => at)).toEqual([0, 100, 300, 700, 800, 1_000]);
  });

  it('drops what the server gives again', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = calls(scheduler, [cold('abc#', MESSAGES, lost), cold('abcde|', MESSAGES)]);
      expectObservable(stream).toBe('abc 100ms ---de|', MESSAGES);
    });
  });

  it('passes the failure on when there are as many without progress as may be', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = calls(scheduler, [cold('#', undefined, lost)], { backoff: { maxAttempts: 3 } });
      expectObservable(stream).toBe('300ms #', undefined, lost);
    });
  });

  it('fails at once with a final status, and with an error of the program', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      expectObservable(calls(scheduler, [cold('a#', MESSAGES, notFound)]).stream).toBe('a#', MESSAGES, notFound);
      expectObservable(calls(scheduler, [cold('a#', MESSAGES, own)]).stream).toBe('a#', MESSAGES, own);
    });
  });

  it('says so when the server failed five times at one place', () => {
    const scheduler = clock();
    const { stream } = calls(scheduler, [of(1, 2), throwError(() => internal)], { onComplete: 'resume' });
    const errors: unknown[] = [];
    stream.subscribe({ error: (error) => errors.push(error) });
    scheduler.flush();
    expect(errors).toEqual([expect.objectContaining({ reason: 'poison', code: 13, cause: internal })]);
    expect(isResumeError(errors[0])).toBe(true);
    expect((errors[0] as Error).message).toBe(
      'The server failed 5 times at cursor 2 without getting beyond it, at last with "13 INTERNAL: boom"; mend what it ' +
        'fails at, or begin behind it with a later seed',
    );
  });

  it('takes what bounds a call within the factory for the end of that call alone', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = calls(scheduler, [cold('a#', MESSAGES, new DeadlineError(5)), cold('b|', MESSAGES)]);
      expectObservable(stream).toBe('a 100ms b|', MESSAGES);
    });
  });

  it.each([
    ['retryAfterMs', Object.assign(new Error(), { code: 14, retryAfterMs: 700 }), 700],
    [
      'a pushback',
      Object.assign(new Error(), { code: 14, metadata: new Map([['grpc-retry-pushback-ms', ['900']]]) }),
      900,
    ],
    ['retryAfterMs that is none', Object.assign(new Error(), { code: 14, retryAfterMs: NaN }), 100],
  ])('waits as long as %s says', (_, error, waitMs) => {
    const scheduler = clock();
    const { stream, asked } = calls(scheduler, [throwError(() => error), EMPTY]);
    stream.subscribe();
    scheduler.flush();
    expect(asked.at(-1)).toEqual([waitMs, 0, 2]);
  });

  it('fails when the server says not to come again', () => {
    const error = Object.assign(new Error(), { code: 14, metadata: new Map([['grpc-retry-pushback-ms', ['-1']]]) });
    const errors: unknown[] = [];
    calls(clock(), [throwError(() => error)]).stream.subscribe({ error: (it) => errors.push(it) });
    expect(errors).toEqual([error]);
  });

  it('passes on several messages with one cursor', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      expectObservable(calls(scheduler, [cold('aabb|', MESSAGES)]).stream).toBe('aabb|', MESSAGES);
    });
  });

  it('keeps its subscriptions apart', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const stream = resumable((from: number) => (from === 0 ? cold('ab#', MESSAGES, lost) : cold('c|', MESSAGES)), {
        cursor: (message) => message,
        seed: 0,
        scheduler,
        random: () => 0.5,
      });
      expectObservable(stream).toBe('ab 100ms c|', MESSAGES);
      expectObservable(stream, '50ms ^').toBe('50ms ab 100ms c|', MESSAGES);
    });
  });
});

describe('a clean end of a call', () => {
  it('is the end of the stream by default', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = calls(scheduler, [cold('a#', MESSAGES, lost), cold('b|', MESSAGES), cold('c|', MESSAGES)]);
      expectObservable(stream).toBe('a 100ms b|', MESSAGES);
    });
  });

  it('of a feed is followed by the next call: within the first backoff if it lasted long, whatever it brought', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const made = calls(scheduler, [cold('a 6s |', MESSAGES), cold('6s |'), cold('b', MESSAGES)], {
        onComplete: 'resume',
      });
      expectObservable(made.stream, '^ 13s !').toBe('a 12100ms b', MESSAGES);
      return made;
    });
    expect(asked.map(([at]: any) => at)).toEqual([0, 6_051, 12_101]);
  });

  it('at once does not hammer the server, nor end the stream', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const made = calls(scheduler, [cold('|')], { onComplete: 'resume', backoff: { maxAttempts: 2 } });
      expectObservable(made.stream, '^ 30s !').toBe('');
      return made;
    });
    expect(asked.map(([at]: any) => at)).toEqual([0, 100, 300, 700, 1_500, 3_100, 6_300, 12_700, 22_700]);
  });
});

describe('heartbeats', () => {
  it('are not handed over, and move the cursor on', () => {
    const scheduler = virtual();
    const { asked } = scheduler.run(({ cold, expectObservable }) => {
      const streams = [cold('abc#', MESSAGES, lost), cold('de|', MESSAGES)];
      const made = calls(scheduler, streams, { heartbeat: (message) => message % 2 === 1 });
      expectObservable(made.stream).toBe('-b- 100ms d-|', MESSAGES);
      return made;
    });
    expect(asked).toEqual([
      [0, 0, 1],
      [103, 3, 2],
    ]);
  });
});

describe('the age of a call', () => {
  it('ends it before a proxy does, and the next one goes on at once', () => {
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const feed = cold('a', MESSAGES);
      const { stream, asked } = calls(scheduler, [feed], { maxAgeMs: 60_000 });
      expectObservable(stream, '^ 130s !').toBe('a', MESSAGES);
      expectSubscriptions(feed.subscriptions).toBe(['^ 59999ms !', '60s ^ 59999ms !', '120s ^ 10s !']);
      scheduler.schedule(
        () =>
          expect(asked).toEqual([
            [0, 0, 1],
            [60_000, 1, 2],
            [120_000, 1, 3],
          ]),
        125_000,
      );
    });
  });

  it('is spread by 10 % to both sides', () => {
    for (const [chance, age] of [
      [0, 54_000],
      [0.999_999, 66_000],
    ] as const) {
      const scheduler = clock();
      const { stream, asked } = calls(scheduler, [NEVER], { maxAgeMs: 60_000, random: () => chance });
      const subscription = stream.subscribe();
      scheduler.schedule(() => subscription.unsubscribe(), 70_000);
      scheduler.flush();
      expect(asked.at(-1)).toEqual([age, 0, 2]);
    }
  });

  it('does not count as a failure, and resets the backoff if it was long', () => {
    const scheduler = clock();
    const { stream, asked } = calls(scheduler, [throwError(() => lost), NEVER, throwError(() => lost), EMPTY], {
      maxAgeMs: 10_000,
      backoff: { maxAttempts: 3 },
    });
    stream.subscribe();
    scheduler.flush();
    expect(asked.map(([at]: any) => at)).toEqual([0, 100, 10_100, 10_200]);
  });
});

describe('onError', () => {
  it.each([
    ['complete', lost, 'a|'],
    ['fail', lost, 'a#'],
    ['resume', notFound, 'a 100ms b|'],
    ['resume', own, 'a 100ms b|'],
    [undefined, lost, 'a 100ms b|'],
    [undefined, notFound, 'a#'],
  ] as const)('that says %s after %o decides', (asked, error, expected) => {
    const heard: unknown[] = [];
    const scheduler = virtual();
    scheduler.run(({ cold, expectObservable }) => {
      const onError = (...what: readonly unknown[]) => {
        heard.push(what);
        return asked;
      };
      const { stream } = calls(scheduler, [cold('a#', MESSAGES, error), cold('b|', MESSAGES)], { onError });
      expectObservable(stream).toBe(expected, MESSAGES, error);
    });
    expect(heard).toEqual([[error, 1]]);
  });

  it('is not asked when the client is closed', () => {
    const error = Object.assign(new Error(), { code: 14, details: 'Channel closed before call started' });
    const errors: unknown[] = [];
    const { stream } = calls(clock(), [throwError(() => error)], { onError: () => expect.fail('asked') });
    stream.subscribe({ error: (it) => errors.push(it) });
    expect(errors).toEqual([error]);
  });

  it('may have the subscriber leave', () => {
    const scheduler = virtual();
    const subscription = new Subscription();
    const { stream, asked } = calls(scheduler, [throwError(() => lost)], {
      onError: () => {
        subscription.unsubscribe();
        return 'resume';
      },
    });
    subscription.add(stream.subscribe());
    scheduler.flush();
    expect(asked).toHaveLength(1);
  });
});

describe('what cannot be handed over in order ends the stream', () => {
  function failureOf(streams: readonly Observable<number>[], options: Options = {}): any {
    const scheduler = clock();
    const errors: unknown[] = [];
    const seen: number[] = [];
    const { stream } = calls(scheduler, streams, options);
    stream.subscribe({ next: (message) => seen.push(message), error: (error) => errors.push(error) });
    scheduler.flush();
    expect(errors).toHaveLength(1);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
    return Object.assign(errors[0] as Error, { seen });
  }

  it('a cursor that goes back: DATA_LOSS', () => {
    const error = failureOf([concat(of(5, 7, 4), NEVER)]);
    expect(error).toMatchObject({ code: 15, previous: 7, cursor: 4, seen: [5, 7] });
    expect(isCursorRegressionError(error)).toBe(true);
    expect(error.message).toBe(
      'A message with cursor 4 came after 7 within one call; the server must give them in order, and `cursor` and `compare` ' +
        'must follow that order',
    );
  });

  it('a cursor that cannot be compared, which is named', () => {
    const error = failureOf([concat(of(5, '6' as unknown as number), NEVER)]);
    expect(error).toMatchObject({ reason: 'cursor', code: 13, seen: [5] });
    expect(error.message).toBe(
      'The cursor of a message is "6" (string), which cannot be compared to 5; have `cursor` give a number or a BigInt, or ' +
        'write `compare`',
    );
  });

  it('a cursor that was rounded, as it may hide messages: the remedy is a BigInt', () => {
    const error = failureOf([concat(of(5, 2 ** 53), NEVER)]);
    expect(error).toMatchObject({ reason: 'cursor', code: 13, seen: [5] });
    expect(error.message).toBe(
      'The cursor of a message is 9007199254740992, a number beyond 2^53, which may stand for its neighbours too: what comes ' +
        'next would be taken for had; load 64-bit fields with `longs: String`, and have `cursor` give a BigInt of it',
    );
  });

  it('a server that gives everything again and does not get on', () => {
    const again = new Observable<number>((subscriber) => {
      for (let i = 0; i <= MAX_OVERLAP; i++) subscriber.next(1);
    });
    const error = failureOf([
      concat(
        of(1),
        throwError(() => lost),
      ),
      again,
    ]);
    expect(error).toMatchObject({ reason: 'overlap', code: 13, seen: [1] });
    expect(error.message).toBe(
      'More than 10000 messages came up to cursor 1, from which the call was to go on; pass the cursor that the factory is ' +
        'given to the server, and have the server begin behind it',
    );
  });

  it.each(['cursor', 'compare', 'heartbeat', 'onError'] as const)('an error of %s', (name) => {
    const fails = (): never => {
      throw own;
    };
    const streams = [
      concat(
        of(1),
        throwError(() => lost),
      ),
    ];
    expect(failureOf(streams, { [name]: fails })).toBe(own);
  });

  it('an error of the factory, or something else than an Observable, and that asks nobody', () => {
    const onError = (): never => {
      throw new Error('asked');
    };
    const made = (factory: () => Observable<number>) => {
      const errors: any[] = [];
      resumable(factory, { cursor: (message) => message, seed: 0, onError }).subscribe({
        error: (error) => errors.push(error),
      });
      return errors[0];
    };
    const fails = (): never => {
      throw own;
    };
    expect(made(fails)).toBe(own);
    expect(made(() => Promise.resolve(1) as any).message).toBe(
      'resumable: the factory gave {}, expected an Observable',
    );
  });
});

describe('its subscriber', () => {
  it('may leave at any time: nothing is left behind', () => {
    const scheduler = clock();
    const source = new Subject<number>();
    const streams = [
      concat(
        of(1),
        throwError(() => lost),
      ),
      source,
    ];
    for (const after of [50, 150]) {
      const { stream } = calls(scheduler, streams, { maxAgeMs: 10_000 });
      const subscription = stream.subscribe();
      scheduler.schedule(() => subscription.unsubscribe(), after);
      scheduler.flush();
      expect(source.observed).toBe(false);
      expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
    }
  });

  it('that leaves within a message stops a synchronous call', () => {
    let emitted = 0;
    const endless = new Observable<number>((subscriber) => {
      while (!subscriber.closed && emitted < 1_000) subscriber.next(++emitted);
    });
    calls(clock(), [endless]).stream.pipe(take(3)).subscribe();
    expect(emitted).toBe(3);
  });

  it('that leaves within the factory gets no call', () => {
    let subscribed = 0;
    const subscription = new Subscription();
    const scheduler = clock();
    const stream = resumable(
      (_: number, attempt) => {
        if (attempt === 2) subscription.unsubscribe();
        return defer(() => (subscribed++, throwError(() => lost)));
      },
      { cursor: (message: number) => message, seed: 0, scheduler },
    );
    subscription.add(stream.subscribe());
    scheduler.flush();
    expect(subscribed).toBe(1);
  });

  it('gets in order what it makes the source emit', () => {
    const source = new Subject<number>();
    const seen: number[] = [];
    calls(clock(), [source]).stream.subscribe((message) => {
      if (message < 3) source.next(message + 1);
      seen.push(message);
    });
    source.next(1);
    expect(seen).toEqual([1, 2, 3]);
  });

  it('gets a message during which its call breaks off', () => {
    const scheduler = clock();
    const source = new Subject<number>();
    const seen: number[] = [];
    const cursor = (message: number): number => {
      if (message === 2) source.error(lost);
      return message;
    };
    const { stream, asked } = calls(scheduler, [source, of(3)], { cursor });
    stream.subscribe((message) => seen.push(message));
    source.next(1);
    source.next(2);
    scheduler.flush();
    expect(seen).toEqual([1, 2, 3]);
    expect(asked.at(-1)).toEqual([100, 2, 2]);
  });

  it('hears nothing late of a call that was left', () => {
    const scheduler = clock();
    const sinks: { next(message: number): void }[] = [];
    const rude = new Observable<number>((subscriber) => {
      sinks.push(subscriber);
    });
    const seen: number[] = [];
    const { stream } = calls(scheduler, [rude], { maxAgeMs: 5_000 });
    const subscription = stream.subscribe((message) => seen.push(message));
    scheduler.schedule(() => {
      sinks[0]!.next(1);
      sinks[1]!.next(2);
      subscription.unsubscribe();
    }, 6_000);
    scheduler.flush();
    expect(seen).toEqual([2]);
  });

  it('may be slower by far than the stack is deep: many messages at once, many calls at once', () => {
    let seen = 0;
    const many = 200_000;
    const burst = new Observable<number>((subscriber) => {
      for (let i = 1; i <= many; i++) subscriber.next(i);
      subscriber.complete();
    });
    calls(clock(), [burst]).stream.subscribe(() => (seen += 1));
    expect(seen).toBe(many);

    const scheduler = clock();
    const one = (from: number) => of(from + 1);
    resumable(one, { cursor: (message) => message, seed: 0, onComplete: 'resume', minHealthyMs: 0, scheduler })
      .pipe(take(20_000))
      .subscribe((message) => (seen = message));
    scheduler.flush();
    expect(seen).toBe(20_000);
  });
});

describe('options', () => {
  const cursor = (message: number): number => message;
  const factory = (): Observable<number> => EMPTY;

  it('are refused all at once where they are none', () => {
    const wrong = {
      cursor: 'id',
      seed: 'x',
      heartbeat: true,
      onError: {},
      onComplete: 'again',
      maxAgeMs: 0,
      minHealthyMs: -1,
      backoff: { maxAttempts: 0, initialBackoffMs: '1', maxBackoffMs: NaN, backoffMultiplier: -1, jitter: 'some' },
    };
    const problems = (given: unknown, of: unknown = wrong): readonly string[] => {
      try {
        resumable(given as any, of as any);
        return [];
      } catch (error) {
        return (error as GrpcConfigurationError).problems.map(({ path, message }) => `${path}: ${message}`);
      }
    };
    expect(problems(undefined)).toEqual([
      'resumable.factory: expected a function, got nothing',
      'resumable.cursor: expected a function, got "id"',
      'resumable.heartbeat: expected a function, got true',
      'resumable.onError: expected a function, got {}',
      expect.stringMatching(/^resumable\.seed: expected a number up to 2\^53 or a bigint, got "x"; /),
      `resumable.onComplete: expected 'complete' or 'resume', got "again"`,
      'resumable.maxAgeMs: expected a number of milliseconds greater than 0, got 0',
      'resumable.minHealthyMs: expected a number of milliseconds of 0 or more, got -1',
      `resumable.backoff.jitter: expected 'grpc' or 'full', got "some"`,
      'resumable.backoff.maxAttempts: expected an integer of 1 or more, got 0',
      'resumable.backoff.initialBackoffMs: expected a number of milliseconds greater than 0, got "1"',
      'resumable.backoff.maxBackoffMs: expected a number of milliseconds greater than 0, got NaN',
      'resumable.backoff.backoffMultiplier: expected a number greater than 0, got -1',
    ]);
    expect(problems(factory, { seed: 0, minHealthyMs: '5' })).toEqual([
      'resumable.cursor: expected a function, got nothing',
      'resumable.minHealthyMs: expected a number of milliseconds of 0 or more, got "5"',
    ]);
  });

  it.each([['0'], [undefined], [{ low: 1, high: 0, unsigned: false }], [NaN], [2 ** 53], [true]])(
    'need compare for a seed like %o',
    (seed) => {
      expect(() => resumable(factory, { cursor, seed } as any)).toThrow(
        /^resumable\.seed: expected a number up to 2\^53 or a bigint, got .*; write compare, .*compare: \(a, b\) => Number\(BigInt\(a\) - BigInt\(b\)\)/,
      );
      expect(() => resumable(factory, { cursor, seed, compare: () => 0 } as any)).not.toThrow();
    },
  );

  it('of the backoff may be given one by one, and may be without end', () => {
    const scheduler = clock();
    const { stream, asked } = calls(scheduler, [throwError(() => lost), throwError(() => lost), EMPTY], {
      backoff: { initialBackoffMs: 10, maxAttempts: Infinity, jitter: undefined },
    });
    stream.subscribe();
    scheduler.flush();
    expect(asked.map(([at]: any) => at)).toEqual([0, 10, 30]);
  });

  it('have a plain Observable behind a pipe, like any other', () => {
    const seen: string[] = [];
    resumable(() => of(1, 2), { cursor, seed: 0 })
      .pipe(map(String))
      .subscribe((text) => seen.push(text));
    expect(seen).toEqual(['1', '2']);
  });
});
