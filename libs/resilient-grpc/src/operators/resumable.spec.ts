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
import { DeadlineError } from '../errors/operator-errors.js';
import type { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { ResumeError } from '../errors/stream-errors.js';
import { MAX_OVERLAP } from '../policy/resume/decide-resume.js';
import { resumable, type ResumeOptions } from './resumable.js';

type Options = Partial<ResumeOptions<number, number>>;

const makeVirtualScheduler = () => new VirtualTimeScheduler();
const makeTestScheduler = () => new TestScheduler((actual, expected) => expect(actual).toEqual(expected));
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
const own = new TypeError('a bug');

const MESSAGES = { a: 1, b: 2, c: 3, d: 4, e: 5 };

/**
 * Creates a stream whose calls are `streams` in turn, then the last one repeatedly. `requests` records the time, the cursor, and the number
 * of each call.
 */
function makeStream(scheduler: VirtualTimeScheduler, streams: readonly Observable<number>[], options: Options = {}) {
  const requests: unknown[] = [];
  const stream = resumable<number, number>(
    (cursor, attempt) => {
      requests.push([scheduler.now(), cursor, attempt]);
      return streams[Math.min(attempt, streams.length) - 1]!;
    },
    { cursor: (message) => message, seed: 0, scheduler, random: () => 0.5, ...options },
  );
  return { stream, requests };
}

describe('resumable', () => {
  it('waits for a backoff and resumes a stream after the last received message if the connection is lost', () => {
    const scheduler = makeTestScheduler();
    const { stream, requests } = scheduler.run(({ cold, expectObservable }) => {
      const made = makeStream(scheduler, [cold('-a-b#', MESSAGES, lost), cold('-c|', MESSAGES)]);
      expectObservable(made.stream).toBe('-a-b 100ms -c|', MESSAGES);
      return made;
    });
    expect(requests).toEqual([
      [0, 0, 1],
      [104, 2, 2],
    ]);
    expect(stream).toBeInstanceOf(Observable);
  });

  it('resumes an idle stream within the initial backoff each time the server ends a call after 6 s', () => {
    const scheduler = makeTestScheduler();
    const { requests } = scheduler.run(({ cold, expectObservable }) => {
      const made = makeStream(scheduler, [cold('6s #', undefined, unavailable)]);
      expectObservable(made.stream, '^ 119s !').toBe('');
      return made;
    });
    expect(requests.map(([at]: any) => at)).toEqual(Array.from({ length: 20 }, (_, index) => index * 6_050));
  });

  it('doubles the backoff of a resumable stream with each failure, and resets it after progress', () => {
    const scheduler = makeTestScheduler();
    const { requests } = scheduler.run(({ cold, expectObservable }) => {
      const down = cold<number>('#', undefined, lost);
      const made = makeStream(scheduler, [down, down, down, cold('(a#)', MESSAGES, lost), down, cold('|')]);
      expectObservable(made.stream).toBe('700ms a 299ms |', MESSAGES);
      return made;
    });
    expect(requests.map(([at]: any) => at)).toEqual([0, 100, 300, 700, 800, 1_000]);
  });

  it('drops messages that the server repeats at the start of a call that resumes a stream', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = makeStream(scheduler, [cold('abc#', MESSAGES, lost), cold('abcde|', MESSAGES)]);
      expectObservable(stream).toBe('abc 100ms ---de|', MESSAGES);
    });
  });

  it('forwards the failure of a resumable stream after maxAttempts calls without progress', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = makeStream(scheduler, [cold('#', undefined, lost)], { backoff: { maxAttempts: 3 } });
      expectObservable(stream).toBe('300ms #', undefined, lost);
    });
  });

  it('fails a resumable stream with reason poison if the server fails five times at one cursor', () => {
    const scheduler = makeVirtualScheduler();
    const { stream } = makeStream(scheduler, [of(1, 2), throwError(() => internal)], { onComplete: 'resume' });
    const errors: unknown[] = [];
    stream.subscribe({ error: (error) => errors.push(error) });
    scheduler.flush();
    expect(errors).toEqual([expect.objectContaining({ reason: 'poison', code: 13, cause: internal })]);
    expect(errors[0] instanceof ResumeError).toBe(true);
    expect((errors[0] as Error).message).toBe(
      'The server failed 5 times at cursor 2 without progress, last with "13 INTERNAL: boom"; fix the failure ' +
        'on the server, or start after this cursor with a later seed',
    );
  });

  it('resumes a stream after a call fails with a DeadlineError', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = makeStream(scheduler, [cold('a#', MESSAGES, new DeadlineError(5)), cold('b|', MESSAGES)]);
      expectObservable(stream).toBe('a 100ms b|', MESSAGES);
    });
  });

  it.each([
    ['the retryAfterMs of the error', Object.assign(new Error(), { code: 14, retryAfterMs: 700 }), 700],
    [
      'the pushback from the server',
      Object.assign(new Error(), { code: 14, metadata: new Map([['grpc-retry-pushback-ms', ['900']]]) }),
      900,
    ],
    ['the backoff if retryAfterMs is invalid', Object.assign(new Error(), { code: 14, retryAfterMs: NaN }), 100],
  ])('delays the next call of a resumable stream by %s', (_, error, waitMs) => {
    const scheduler = makeVirtualScheduler();
    const { stream, requests } = makeStream(scheduler, [throwError(() => error), EMPTY]);
    stream.subscribe();
    scheduler.flush();
    expect(requests.at(-1)).toEqual([waitMs, 0, 2]);
  });

  it('fails a resumable stream if the pushback forbids a retry', () => {
    const error = Object.assign(new Error(), { code: 14, metadata: new Map([['grpc-retry-pushback-ms', ['-1']]]) });
    const errors: unknown[] = [];
    makeStream(makeVirtualScheduler(), [throwError(() => error)]).stream.subscribe({
      error: (failure) => errors.push(failure),
    });
    expect(errors).toEqual([error]);
  });

  it('forwards each message of a resumable stream if several messages have the same cursor', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      expectObservable(makeStream(scheduler, [cold('aabb|', MESSAGES)]).stream).toBe('aabb|', MESSAGES);
    });
  });

  it('keeps separate state for each subscription to a resumable stream', () => {
    const scheduler = makeTestScheduler();
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

describe('clean end of a call', () => {
  it('completes a resumable stream if a call ends cleanly and onComplete is not set', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable }) => {
      const { stream } = makeStream(scheduler, [
        cold('a#', MESSAGES, lost),
        cold('b|', MESSAGES),
        cold('c|', MESSAGES),
      ]);
      expectObservable(stream).toBe('a 100ms b|', MESSAGES);
    });
  });

  it("resumes a stream within the initial backoff each time a long call ends cleanly if onComplete is 'resume'", () => {
    const scheduler = makeTestScheduler();
    const { requests } = scheduler.run(({ cold, expectObservable }) => {
      const made = makeStream(scheduler, [cold('a 6s |', MESSAGES), cold('6s |'), cold('b', MESSAGES)], {
        onComplete: 'resume',
      });
      expectObservable(made.stream, '^ 13s !').toBe('a 12100ms b', MESSAGES);
      return made;
    });
    expect(requests.map(([at]: any) => at)).toEqual([0, 6_051, 12_101]);
  });
});

describe('heartbeats', () => {
  it('advances the cursor of a resumable stream with heartbeats without delivering them', () => {
    const scheduler = makeTestScheduler();
    const { requests } = scheduler.run(({ cold, expectObservable }) => {
      const streams = [cold('abc#', MESSAGES, lost), cold('de|', MESSAGES)];
      const made = makeStream(scheduler, streams, { heartbeat: (message) => message % 2 === 1 });
      expectObservable(made.stream).toBe('-b- 100ms d-|', MESSAGES);
      return made;
    });
    expect(requests).toEqual([
      [0, 0, 1],
      [103, 3, 2],
    ]);
  });
});

describe('maximum age of a call', () => {
  it('closes a resumable call at its maximum age, and resumes the stream at once', () => {
    const scheduler = makeTestScheduler();
    scheduler.run(({ cold, expectObservable, expectSubscriptions }) => {
      const feed = cold('a', MESSAGES);
      const { stream, requests } = makeStream(scheduler, [feed], { maxAgeMs: 60_000 });
      expectObservable(stream, '^ 130s !').toBe('a', MESSAGES);
      expectSubscriptions(feed.subscriptions).toBe(['^ 59999ms !', '60s ^ 59999ms !', '120s ^ 10s !']);
      scheduler.schedule(
        () =>
          expect(requests).toEqual([
            [0, 0, 1],
            [60_000, 1, 2],
            [120_000, 1, 3],
          ]),
        125_000,
      );
    });
  });

  it('randomizes the maximum age of a resumable call by ±10%', () => {
    for (const [chance, age] of [
      [0, 54_000],
      [0.999_999, 66_000],
    ] as const) {
      const scheduler = makeVirtualScheduler();
      const { stream, requests } = makeStream(scheduler, [NEVER], { maxAgeMs: 60_000, random: () => chance });
      const subscription = stream.subscribe();
      scheduler.schedule(() => subscription.unsubscribe(), 70_000);
      scheduler.flush();
      expect(requests.at(-1)).toEqual([age, 0, 2]);
    }
  });

  it('does not count the maximum age of a resumable call as a failure, and resets the backoff after a long call', () => {
    const scheduler = makeVirtualScheduler();
    const { stream, requests } = makeStream(scheduler, [throwError(() => lost), NEVER, throwError(() => lost), EMPTY], {
      maxAgeMs: 10_000,
      backoff: { maxAttempts: 3 },
    });
    stream.subscribe();
    scheduler.flush();
    expect(requests.map(([at]: any) => at)).toEqual([0, 100, 10_100, 10_200]);
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
  ] as const)(
    'follows the decision %s of onError after a call of a resumable stream fails with %o',
    (decision, error, expected) => {
      const received: unknown[] = [];
      const scheduler = makeTestScheduler();
      scheduler.run(({ cold, expectObservable }) => {
        const onError = (...parameters: readonly unknown[]) => {
          received.push(parameters);
          return decision;
        };
        const { stream } = makeStream(scheduler, [cold('a#', MESSAGES, error), cold('b|', MESSAGES)], { onError });
        expectObservable(stream).toBe(expected, MESSAGES, error);
      });
      expect(received).toEqual([[error, 1]]);
    },
  );

  it('does not call onError of a resumable stream if the client is closed', () => {
    const error = Object.assign(new Error(), { code: 14, details: 'Channel closed before call started' });
    const errors: unknown[] = [];
    const { stream } = makeStream(makeVirtualScheduler(), [throwError(() => error)], {
      onError: () => expect.fail('onError was called'),
    });
    stream.subscribe({ error: (failure) => errors.push(failure) });
    expect(errors).toEqual([error]);
  });
});

describe('failed delivery', () => {
  function failureOf(streams: readonly Observable<number>[], options: Options = {}): any {
    const scheduler = makeVirtualScheduler();
    const errors: unknown[] = [];
    const seen: number[] = [];
    const { stream } = makeStream(scheduler, streams, options);
    stream.subscribe({ next: (message) => seen.push(message), error: (error) => errors.push(error) });
    scheduler.flush();
    expect(errors).toHaveLength(1);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
    return Object.assign(errors[0] as Error, { seen });
  }

  it('names the cursor in the error of a resumable stream if the cursor cannot be compared', () => {
    const error = failureOf([concat(of(5, '6' as unknown as number), NEVER)]);
    expect(error).toMatchObject({ reason: 'cursor', code: 13, seen: [5] });
    expect(error.message).toBe(
      'The cursor of a message is "6" (string), which cannot be compared with 5; return a number or a BigInt from `cursor`, or ' +
        'set `compare`',
    );
  });

  it('fails a resumable stream and suggests a BigInt if a cursor may be rounded, because a rounded cursor can hide messages', () => {
    const error = failureOf([concat(of(5, 2 ** 53), NEVER)]);
    expect(error).toMatchObject({ reason: 'cursor', code: 13, seen: [5] });
    expect(error.message).toBe(
      'The cursor of a message is 9007199254740992, a number beyond 2^53 - 1, which may be rounded, so the next message could ' +
        'be dropped as a duplicate; load 64-bit fields with `longs: String`, and return a BigInt from `cursor`',
    );
  });

  it('fails a resumable stream if the server repeats more than MAX_OVERLAP messages without a newer message', () => {
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
      "More than 10000 messages arrived with cursors up to 1, but the call should have started after cursor 1; pass the factory's cursor " +
        'to the server, and make the server start after it',
    );
  });

  it.each(['cursor', 'compare', 'heartbeat', 'onError'] as const)(
    'fails a resumable stream with an error that `%s` throws',
    (name) => {
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
    },
  );

  it('fails a resumable stream without calling onError if the factory throws or returns no Observable', () => {
    const onError = (): never => {
      throw new Error('onError was called');
    };
    const captureError = (factory: () => Observable<number>) => {
      const errors: any[] = [];
      resumable(factory, { cursor: (message) => message, seed: 0, onError }).subscribe({
        error: (error) => errors.push(error),
      });
      return errors[0];
    };
    const fails = (): never => {
      throw own;
    };
    expect(captureError(fails)).toBe(own);
    expect(captureError(() => Promise.resolve(1) as any).message).toBe(
      'resumable: expected the factory to return an Observable, got a Promise',
    );
    expect(captureError(() => ({}) as any).message).toBe(
      'resumable: expected the factory to return an Observable, got an empty object',
    );
  });
});

describe('subscriber of a resumable stream', () => {
  it('releases the call and all timers if the subscriber of a resumable stream unsubscribes during a backoff or a call', () => {
    const scheduler = makeVirtualScheduler();
    const source = new Subject<number>();
    const streams = [
      concat(
        of(1),
        throwError(() => lost),
      ),
      source,
    ];
    for (const after of [50, 150]) {
      const { stream } = makeStream(scheduler, streams, { maxAgeMs: 10_000 });
      const subscription = stream.subscribe();
      scheduler.schedule(() => subscription.unsubscribe(), after);
      scheduler.flush();
      expect(source.observed).toBe(false);
      expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
    }
  });

  it('stops a synchronous call if the subscriber of a resumable stream unsubscribes while it receives a message', () => {
    let emitted = 0;
    const endless = new Observable<number>((subscriber) => {
      while (!subscriber.closed && emitted < 1_000) subscriber.next(++emitted);
    });
    makeStream(makeVirtualScheduler(), [endless]).stream.pipe(take(3)).subscribe();
    expect(emitted).toBe(3);
  });

  it('does not subscribe to a call of a resumable stream if the subscriber unsubscribes while the factory creates the call', () => {
    let subscribed = 0;
    const subscription = new Subscription();
    const scheduler = makeVirtualScheduler();
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

  it('delivers messages of a resumable stream in order even if the subscriber makes the source emit during a delivery', () => {
    const source = new Subject<number>();
    const seen: number[] = [];
    makeStream(makeVirtualScheduler(), [source]).stream.subscribe((message) => {
      if (message < 3) source.next(message + 1);
      seen.push(message);
    });
    source.next(1);
    expect(seen).toEqual([1, 2, 3]);
  });

  it('delivers a message of a resumable stream even if the call fails while `cursor` runs for the message', () => {
    const scheduler = makeVirtualScheduler();
    const source = new Subject<number>();
    const seen: number[] = [];
    const cursor = (message: number): number => {
      if (message === 2) source.error(lost);
      return message;
    };
    const { stream, requests } = makeStream(scheduler, [source, of(3)], { cursor });
    stream.subscribe((message) => seen.push(message));
    source.next(1);
    source.next(2);
    scheduler.flush();
    expect(seen).toEqual([1, 2, 3]);
    expect(requests.at(-1)).toEqual([100, 2, 2]);
  });

  it('delivers many synchronous messages of a resumable stream, and makes many synchronous calls, without a stack overflow', () => {
    let seen = 0;
    const many = 200_000;
    const burst = new Observable<number>((subscriber) => {
      for (let i = 1; i <= many; i++) subscriber.next(i);
      subscriber.complete();
    });
    makeStream(makeVirtualScheduler(), [burst]).stream.subscribe(() => (seen += 1));
    expect(seen).toBe(many);

    const scheduler = makeVirtualScheduler();
    const next = (from: number) => of(from + 1);
    resumable(next, { cursor: (message) => message, seed: 0, onComplete: 'resume', minHealthyMs: 0, scheduler })
      .pipe(take(20_000))
      .subscribe((message) => (seen = message));
    scheduler.flush();
    expect(seen).toBe(20_000);
  });
});

describe('options of resumable', () => {
  const cursor = (message: number): number => message;
  const factory = (): Observable<number> => EMPTY;

  it('reports all invalid options of resumable in one error', () => {
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
    const listProblems = (calls: unknown, options: unknown = wrong): readonly string[] => {
      try {
        resumable(calls as any, options as any);
        return [];
      } catch (error) {
        return (error as GrpcConfigurationError).problems.map(({ path, message }) => `${path}: ${message}`);
      }
    };
    expect(listProblems(undefined)).toEqual(
      [
        ...[
          'onError',
          'maxAgeMs',
          'minHealthyMs',
          'backoff.maxAttempts',
          'backoff.initialBackoffMs',
          'backoff.maxBackoffMs',
        ],
        ...['backoff.backoffMultiplier', 'backoff.jitter', 'factory', 'cursor', 'onComplete', 'heartbeat', 'seed'],
      ].map((path) => expect.stringContaining(`resumable.${path}: expected `)),
    );
    const misspelled = { cursor: Number, seed: 0, maxAge: 5, color: undefined, backoff: { maxBackoff: 5 } };
    expect(listProblems(factory, misspelled)).toEqual([
      "resumable.backoff.maxBackoff: unknown option; did you mean 'maxBackoffMs'?",
      "resumable.maxAge: unknown option; did you mean 'maxAgeMs'?",
    ]);
    expect(listProblems(factory, { seed: 0, minHealthyMs: '5' })).toEqual([
      'resumable.minHealthyMs: expected number, got "5"',
      'resumable.cursor: expected a value, got nothing',
    ]);
  });

  it.each([['0'], [undefined], [{ low: 1, high: 0, unsigned: false }], [NaN], [2 ** 53], [true]])(
    'requires `compare` for the seed %o of a resumable stream',
    (seed) => {
      expect(() => resumable(factory, { cursor, seed } as any)).toThrow(
        /^resumable\.seed: expected a number up to 2\^53 - 1 or a bigint, got .*; write compare: \(a, b\) => Number\(BigInt\(a\) - BigInt\(b\)\) if cursors are neither/,
      );
      expect(() => resumable(factory, { cursor, seed, compare: () => 0 } as any)).not.toThrow();
    },
  );

  it('accepts a partial backoff and an infinite maxAttempts in the options of resumable', () => {
    const scheduler = makeVirtualScheduler();
    const { stream, requests } = makeStream(scheduler, [throwError(() => lost), throwError(() => lost), EMPTY], {
      backoff: { initialBackoffMs: 10, maxAttempts: Infinity, jitter: undefined },
    });
    stream.subscribe();
    scheduler.flush();
    expect(requests.map(([at]: any) => at)).toEqual([0, 10, 30]);
  });

  it('applies pipe() operators to the messages of a resumable stream', () => {
    const seen: string[] = [];
    resumable(() => of(1, 2), { cursor, seed: 0 })
      .pipe(map(String))
      .subscribe((text) => seen.push(text));
    expect(seen).toEqual(['1', '2']);
  });
});
