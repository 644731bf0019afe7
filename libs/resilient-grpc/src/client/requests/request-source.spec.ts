import { Observable, Subject, concat, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { messageSource } from './request-source.js';
import type { MessageConsumer } from './message-consumer.js';

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
