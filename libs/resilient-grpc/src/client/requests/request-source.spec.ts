import { Observable, Subject, concat, of, throwError, from, mergeAll } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { messageSource, ObservableRequests } from './request-source.js';
import { type MessageConsumer, UNSENDABLE, type BufferedMessages } from './message-consumer.js';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';

/** Creates a consumer that records the events of a source. */
function makeConsumer() {
  const events: unknown[] = [];
  const unexpected = (what: unknown) => void events.push(['unexpected', what]);
  const consumer: MessageConsumer = {
    maxQueuedBytes: 1 << 20,
    encode: (message) => message,
    bytesOf: () => 0,
    defer: setImmediate,
    onEncodedMessage: unexpected,
    onOverflow: unexpected,
    onBurst: unexpected,
    onMessage: (message) => void events.push(message),
    onMessagesEnd: () => void events.push('end'),
    onMessagesError: (error) => void events.push(['error', error]),
  };
  return { events, consumer };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const broken = new Error('broken');

describe('iterable', () => {
  it.each([
    ['an array', () => [1, 2]],
    ['a Set', () => new Set([1, 2])],
    ['a generator', () => [1, 2].values()],
  ])('delivers one message of %s per pull', (_what, make) => {
    const { events, consumer } = makeConsumer();
    const source = messageSource(make(), consumer);
    expect(events).toEqual([]);
    source.pull();
    expect(events).toEqual([1]);
    source.pull();
    source.pull();
    expect(events).toEqual([1, 2, 'end']);
  });

  it('reports an error that a generator throws', () => {
    const { events, consumer } = makeConsumer();
    const source = messageSource(
      (function* () {
        yield 1;
        throw broken;
      })(),
      consumer,
    );
    source.pull();
    source.pull();
    expect(events).toEqual([1, ['error', broken]]);
  });

  it('calls return() of the iterator on close() of a request source', () => {
    let ended = false;
    const source = messageSource(
      (function* () {
        try {
          yield 1;
          yield 2;
        } finally {
          ended = true;
        }
      })(),
      makeConsumer().consumer,
    );
    source.pull();
    void source.close();
    expect(ended).toBe(true);
  });
});

describe('async iterable', () => {
  async function* generate(fail = false) {
    yield 1;
    await turn();
    if (fail) throw broken;
    yield 2;
  }

  it('delivers one message of an async generator per pull', async () => {
    const { events, consumer } = makeConsumer();
    const source = messageSource(generate(), consumer);
    for (const expected of [[1], [1, 2], [1, 2, 'end']]) {
      source.pull();
      await turn();
      await turn();
      expect(events).toEqual(expected);
    }
  });

  it('reports an error that an async generator throws', async () => {
    const { events, consumer } = makeConsumer();
    const source = messageSource(generate(true), consumer);
    source.pull();
    await turn();
    source.pull();
    await turn();
    await turn();
    expect(events).toEqual([1, ['error', broken]]);
  });

  const iterableOf = (next: () => unknown) => ({ [Symbol.asyncIterator]: () => ({ next }) });

  it('reports an error that next() of an async iterator throws', async () => {
    const { events, consumer } = makeConsumer();
    const source = messageSource(
      iterableOf(() => {
        throw broken;
      }),
      consumer,
    );
    expect(() => source.pull()).not.toThrow();
    await turn();
    expect(events).toEqual([['error', broken]]);
  });

  it('accepts non-promise results of an async iterator, as `for await` does', async () => {
    const { events, consumer } = makeConsumer();
    const results = [{ value: 1 }, { done: true }];
    const source = messageSource(
      iterableOf(() => results.shift()),
      consumer,
    );
    for (let i = 0; i < 2; i++) {
      source.pull();
      await turn();
    }
    expect(events).toEqual([1, 'end']);
  });

  it('iterates over an async iterable that is also an Observable, and does not subscribe to it', () => {
    let pulls = 0;
    const subject = new Subject<number>();
    const next = () => {
      pulls += 1;
      return new Promise(() => undefined);
    };
    const both = Object.assign(subject, iterableOf(next));
    messageSource(both, makeConsumer().consumer).pull();
    expect([pulls, subject.observed]).toEqual([1, false]);
  });
});

describe('iterator without a result', () => {
  it.each([
    ['an iterator', { [Symbol.iterator]: () => ({ next: () => undefined }) }],
    ['an async iterator', { [Symbol.asyncIterator]: () => ({ next: () => undefined }) }],
    ['an async iterator, in a promise', { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve() }) }],
  ])('reports a TypeError for an undefined result of %s', async (_what, input) => {
    const { events, consumer } = makeConsumer();
    messageSource(input, consumer).pull();
    await turn();
    expect(events).toEqual([
      [
        'error',
        new TypeError(
          'source of messages: expected an iterator result, got undefined; return { value, done } from next()',
        ),
      ],
    ]);
  });
});

describe('Observable', () => {
  it('subscribes to an Observable immediately and buffers its messages until they are pulled', () => {
    const { events, consumer } = makeConsumer();
    const subject = new Subject<number>();
    const source = messageSource(subject, consumer);
    expect(subject.observed).toBe(true);
    subject.next(1);
    subject.next(2);
    subject.complete();
    expect(events).toEqual([]);
    for (let i = 0; i < 3; i++) source.pull();
    expect(events).toEqual([1, 2, 'end']);
  });

  it('delivers a message of an Observable immediately if a pull is pending', () => {
    const { events, consumer } = makeConsumer();
    const subject = new Subject<number>();
    const source = messageSource(subject, consumer);
    source.pull();
    subject.next(1);
    subject.next(2);
    expect(events).toEqual([1]);
    source.pull();
    source.pull();
    expect(events).toEqual([1, 2]);
    subject.complete();
    expect(events).toEqual([1, 2, 'end']);
  });

  it('reports an error from an Observable immediately, without waiting until buffered messages are pulled', () => {
    const { events, consumer } = makeConsumer();
    const subject = new Subject<number>();
    messageSource(subject, consumer);
    subject.next(1);
    subject.error(broken);
    expect(events).toEqual([['error', broken]]);
  });

  it('reports the error of an Observable that fails during the subscription', () => {
    const { events, consumer } = makeConsumer();
    messageSource(
      concat(
        of(1),
        throwError(() => broken),
      ),
      consumer,
    );
    expect(events).toEqual([['error', broken]]);
  });

  it('unsubscribes from an Observable on close() and ignores later messages', () => {
    const { events, consumer } = makeConsumer();
    const subject = new Subject<number>();
    const source = messageSource(subject, consumer);
    subject.next(1);
    void source.close();
    expect(subject.observed).toBe(false);
    source.pull();
    subject.next(2);
    expect(events).toEqual([]);
  });

  it('accepts an Observable from another library', () => {
    const { events, consumer } = makeConsumer();
    const foreign = {
      subscribe(observer: { next(value: unknown): void; complete(): void }) {
        observer.next(1);
        observer.complete();
        return { unsubscribe: () => undefined };
      },
    };
    const source = messageSource(foreign, consumer);
    source.pull();
    source.pull();
    expect(events).toEqual([1, 'end']);
  });
});

describe('error in the cleanup of a source', () => {
  const failing = (): never => {
    throw broken;
  };

  it.each([
    ['an iterator', { [Symbol.iterator]: () => ({ next: () => ({ done: false, value: 1 }), return: failing }) }],
    [
      'an async iterator',
      { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined), return: failing }) },
    ],
    [
      'an async generator',
      {
        [Symbol.asyncIterator]: () => ({
          next: () => new Promise(() => undefined),
          return: () => Promise.reject(broken),
        }),
      },
    ],
    ['an Observable', new Observable(() => failing)],
  ])('ignores an error that %s throws on close()', async (_what, input) => {
    const source = messageSource(input, makeConsumer().consumer);
    source.pull();
    expect(() => source.close()).not.toThrow();
    await turn();
  });
});

describe('invalid source', () => {
  it.each<[what: string, input: unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a number', 5],
    ['a string', 'text'],
    ['an object', {}],
    ['a promise', Promise.resolve([1])],
  ])('rejects %s as a source of request messages', (_what, input) => {
    expect(() => messageSource(input, makeConsumer().consumer)).toThrow(
      'expected request messages as an Observable, an AsyncIterable, or an Iterable, got ',
    );
  });
});

/** Creates a consumer that records the events of a source and marks encoded messages. `nextTurn` ends a turn of the event loop. */
function consumerOf(
  maxQueuedBytes: number,
  encode: MessageConsumer['encode'] = (message) => Buffer.from(String(message)),
) {
  const events: unknown[] = [];
  const clock = new VirtualClock();
  const consumer: MessageConsumer = {
    maxQueuedBytes,
    encode: (message) => (message === 'unsendable' ? UNSENDABLE : encode(message)),
    bytesOf: (payload) => String(payload).length,
    defer: (task) => {
      clock.defer(task);
    },
    onEncodedMessage: (payload) => void events.push(`encoded ${String(payload)}`),
    onOverflow: (bytes) => void events.push(['overflow', bytes]),
    onBurst: (messages) => void events.push(['at once', messages]),
    onMessage: (message) => void events.push(message),
    onMessagesEnd: () => void events.push('end'),
    onMessagesError: (error) => void events.push(['error', error]),
  };
  return { events, consumer, clock, nextTurn: () => clock.advance(0) };
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

// A message of one digit counts as 129 bytes.
const LIMIT_BYTES = 3 * 129;

describe('Observable whose messages from an earlier turn are still buffered', () => {
  /** Creates an Observable whose first message is still buffered. */
  function makeSource(maxQueuedBytes = LIMIT_BYTES) {
    const subject = new Subject<unknown>();
    const recorder = consumerOf(maxQueuedBytes);
    const source = new ObservableRequests(subject, { ...recorder.consumer, onBurst: () => undefined });
    subject.next('first');
    recorder.nextTurn();
    return { ...recorder, subject, source };
  }

  it('buffers messages of an Observable up to the limit in bytes while earlier ones are buffered, and reports an overflow beyond the limit', () => {
    const { events, subject } = makeSource();
    for (let i = 0; i < 3; i++) subject.next(i);
    expect(events).toEqual([]);
    subject.next(3);
    expect(events).toEqual([['overflow', LIMIT_BYTES]]);
  });

  it('applies the limit in bytes to messages that an Observable pushes in several turns', () => {
    const { events, subject, nextTurn } = makeSource();
    for (let i = 0; i < 4; i++) {
      subject.next(i);
      nextTurn();
    }
    expect(events).toEqual([['overflow', LIMIT_BYTES]]);
  });

  it('buffers a further message of an Observable for each message that is pulled', () => {
    const { events, subject, source, nextTurn } = makeSource();
    for (let i = 0; i < 9; i++) {
      if (i >= 2) source.pull();
      subject.next(i);
      nextTurn();
    }
    expect(events).toEqual(['first', ...numbers(6).map((i) => `encoded ${String(i)}`)]);
  });

  it('buffers any number of messages of an Observable after all messages of earlier turns are pulled', () => {
    const { events, subject, source } = makeSource();
    source.pull();
    for (const i of numbers(9)) subject.next(i);
    expect(events).toEqual(['first']);
    for (let i = 0; i < 9; i++) source.pull();
    expect(events.slice(1)).toEqual(numbers(9));
  });

  it('lifts the limit in bytes for an Observable if all messages are pulled before the turn ends', () => {
    const { events, subject, source, nextTurn } = makeSource();
    source.pull();
    for (const i of numbers(9)) subject.next(i);
    for (let i = 0; i < 9; i++) source.pull();
    nextTurn();
    for (const i of numbers(9)) subject.next(i);
    for (let i = 0; i < 9; i++) source.pull();
    expect(events).toEqual(['first', ...numbers(9), ...numbers(9)]);
  });

  it('does not count an unsendable message toward the limit in bytes for an Observable', () => {
    const { events, subject, source } = makeSource();
    subject.next('unsendable');
    for (let i = 0; i < 3; i++) subject.next(i);
    source.pull();
    source.pull();
    expect(events).toEqual(['first', 'encoded 0']);
  });

  it('delivers 7,500 buffered messages of an Observable in sequence', () => {
    const { events, subject, source, nextTurn } = makeSource(Infinity);
    for (const one of numbers(5_000)) subject.next(one);
    for (const one of numbers(5_000)) {
      source.pull();
      if (one % 2 === 0) subject.next(5_000 + one / 2);
      if (one % 100 === 0) nextTurn();
    }
    for (let i = 0; i < 2_501; i++) source.pull();
    subject.complete();
    source.pull();
    const given = events.map((one) => String(one).replace('encoded ', ''));
    expect(given).toEqual(['first', ...numbers(7_500).map(String), 'end']);
  });
});

describe('messages that an Observable pushes in one turn', () => {
  it.each([
    ['on subscription', () => from(numbers(500))],
    ['later from a promise', () => from(Promise.resolve(numbers(500))).pipe(mergeAll())],
  ])('buffers messages that an Observable pushes %s, without encoding or limiting them', async (_when, make) => {
    const { events, consumer, nextTurn } = consumerOf(LIMIT_BYTES, () => UNSENDABLE);
    const source = new ObservableRequests(make(), { ...consumer, onBurst: () => undefined });
    nextTurn();
    await Promise.resolve();
    await Promise.resolve();
    nextTurn();
    for (let i = 0; i <= 500; i++) source.pull();
    expect(events).toEqual([...numbers(500), 'end']);
  });

  it('reports a burst of messages from an Observable at the end of the turn if the messages, counted as 1 KiB each, exceed the limit', () => {
    const { events, consumer, nextTurn } = consumerOf(10 * 1_024);
    const few = new Subject<number>();
    new ObservableRequests(few, consumer);
    for (const i of numbers(10)) few.next(i);
    few.complete();
    nextTurn();
    expect(events).toEqual([]);

    const many = new Subject<number>();
    const source = new ObservableRequests(many, consumer);
    nextTurn();
    for (const i of numbers(11)) many.next(i);
    expect(events).toEqual([]);
    nextTurn();
    expect(events).toEqual([['at once', 11]]);
    for (let i = 0; i < 11; i++) source.pull();
    many.next(11);
    nextTurn();
    expect(events).toHaveLength(12);
  });

  it('reports no burst of messages after close() of an Observable source', () => {
    const { events, consumer, nextTurn } = consumerOf(10 * 1_024);
    new ObservableRequests(from(numbers(11)), consumer).close();
    nextTurn();
    expect(events).toEqual([]);
  });

  it('schedules no task if a pull is pending for each message that an Observable pushes', () => {
    const { consumer, clock } = consumerOf(LIMIT_BYTES);
    const subject = new Subject<number>();
    const source = new ObservableRequests(subject, consumer);
    for (const i of numbers(5)) {
      source.pull();
      subject.next(i);
    }
    expect(clock.pending).toBe(0);
    subject.next(5);
    subject.next(6);
    expect(clock.pending).toBe(1);
  });
});

describe('delivered message', () => {
  it('releases delivered messages of an Observable while others are still buffered', async () => {
    setFlagsFromString('--expose-gc');
    // Safe: the flag above adds `gc` to each new context.
    const collect = runInNewContext('gc') as () => void;
    const { consumer, nextTurn } = consumerOf(Infinity, (message) => message);
    const given: WeakRef<object>[] = [];
    const subject = new Subject<object>();
    const source = new ObservableRequests(subject, {
      ...consumer,
      bytesOf: () => 1,
      onMessage: () => undefined,
      onEncodedMessage: () => undefined,
    });
    const push = () => {
      const message = {};
      given.push(new WeakRef(message));
      subject.next(message);
      nextTurn();
    };
    const findRetained = async () => {
      // Collects in a later turn, because a WeakRef keeps its target alive until the end of the turn in which it was created or read.
      await new Promise((resolve) => setImmediate(resolve));
      collect();
      return given.map((ref, index) => (ref.deref() === undefined ? -1 : index)).filter((index) => index >= 0);
    };
    for (let i = 0; i < 3; i++) push();
    for (let i = 0; i < 100; i++) {
      push();
      source.pull();
    }
    expect(await findRetained()).toEqual([100, 101, 102]);
    source.close();
    expect(await findRetained()).toEqual([]);
  });
});

describe('consumer options', () => {
  it('calls exceedsLimit for an Observable only beyond the limit in bytes, with the number of messages since the last pull and the time of the oldest message', () => {
    const subject = new Subject<unknown>();
    const { events, consumer, clock, nextTurn } = consumerOf(LIMIT_BYTES);
    const calls: BufferedMessages[] = [];
    const judging: MessageConsumer = {
      ...consumer,
      onBurst: () => undefined,
      now: () => clock.now(),
      exceedsLimit: (ahead) => {
        calls.push(ahead);
        return ahead.messagesSinceTaken > 3;
      },
    };
    const source = new ObservableRequests(subject, judging);
    const pushedAt = clock.now();
    subject.next('first');
    nextTurn();
    for (let i = 0; i < 3; i++) subject.next(i);
    expect(calls).toEqual([]);
    source.pull();
    clock.advance(50);
    for (let i = 3; i < 6; i++) subject.next(i);
    expect(calls.map(({ messagesSinceTaken, bytesSinceTaken }) => [messagesSinceTaken, bytesSinceTaken])).toEqual([
      [1, 129],
      [2, 258],
      [3, 387],
    ]);
    expect(calls.map(({ bytes, oldestAt }) => [bytes / 129, oldestAt])).toEqual([
      [4, pushedAt],
      [5, pushedAt],
      [6, pushedAt],
    ]);
    expect(events).toEqual(['first']);
    subject.next(6);
    expect(events).toEqual(['first', ['overflow', 6 * 129]]);
  });

  it('delivers an error from an Observable after the messages pushed before it if failsInOrder is true', () => {
    const subject = new Subject<unknown>();
    const { events, consumer } = consumerOf(LIMIT_BYTES);
    const source = new ObservableRequests(subject, { ...consumer, failsInOrder: true });
    subject.next('first');
    subject.error('torn');
    expect(events).toEqual([]);
    source.pull();
    source.pull();
    expect(events).toEqual(['first', ['error', 'torn']]);
  });
});
