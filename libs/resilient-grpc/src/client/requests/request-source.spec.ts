import { Observable, Subject, concat, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { messageSource } from './request-source.js';
import type { MessageConsumer } from './message-consumer.js';

/** Writes down what a source gives. */
function taker() {
  const told: unknown[] = [];
  const unexpected = (what: unknown) => void told.push(['unexpected', what]);
  const self: MessageConsumer = {
    maxQueuedBytes: 1 << 20,
    encode: (message) => message,
    bytesOf: () => 0,
    defer: setImmediate,
    onEncodedMessage: unexpected,
    onOverflow: unexpected,
    onPushedAtOnce: unexpected,
    onMessage: (message) => void told.push(message),
    onMessagesEnd: () => void told.push('end'),
    onMessagesError: (error) => void told.push(['error', error]),
  };
  return { told, self };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const broken = new Error('broken');

describe('what can be iterated', () => {
  it.each([
    ['an array', () => [1, 2]],
    ['a Set', () => new Set([1, 2])],
    ['a generator', () => [1, 2].values()],
  ])('(%s) gives one thing for each pull', (_what, make) => {
    const { told, self } = taker();
    const source = messageSource(make(), self);
    expect(told).toEqual([]);
    source.pull();
    expect(told).toEqual([1]);
    source.pull();
    source.pull();
    expect(told).toEqual([1, 2, 'end']);
  });

  it('tells an error of its own', () => {
    const { told, self } = taker();
    const source = messageSource(
      (function* () {
        yield 1;
        throw broken;
      })(),
      self,
    );
    source.pull();
    source.pull();
    expect(told).toEqual([1, ['error', broken]]);
  });

  it('is returned when nobody wants more', () => {
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
      taker().self,
    );
    source.pull();
    void source.close();
    expect(ended).toBe(true);
  });
});

describe('what can be iterated asynchronously', () => {
  async function* generate(fail = false) {
    yield 1;
    await turn();
    if (fail) throw broken;
    yield 2;
  }

  it('gives one thing for each pull', async () => {
    const { told, self } = taker();
    const source = messageSource(generate(), self);
    for (const expected of [[1], [1, 2], [1, 2, 'end']]) {
      source.pull();
      await turn();
      await turn();
      expect(told).toEqual(expected);
    }
  });

  it('tells an error of its own', async () => {
    const { told, self } = taker();
    const source = messageSource(generate(true), self);
    source.pull();
    await turn();
    source.pull();
    await turn();
    await turn();
    expect(told).toEqual([1, ['error', broken]]);
  });

  const by = (next: () => unknown) => ({ [Symbol.asyncIterator]: () => ({ next }) });

  it('tells an error that its next() throws', async () => {
    const { told, self } = taker();
    const source = messageSource(
      by(() => {
        throw broken;
      }),
      self,
    );
    expect(() => source.pull()).not.toThrow();
    await turn();
    expect(told).toEqual([['error', broken]]);
  });

  it('may give results without a promise, as for await allows', async () => {
    const { told, self } = taker();
    const results = [{ value: 1 }, { done: true }];
    const source = messageSource(
      by(() => results.shift()),
      self,
    );
    for (let i = 0; i < 2; i++) {
      source.pull();
      await turn();
    }
    expect(told).toEqual([1, 'end']);
  });

  it('and observed is iterated: it then comes at the pace of the wire', () => {
    const both = Object.assign(of(1), { [Symbol.asyncIterator]: generate });
    const { told, self } = taker();
    messageSource(both, self);
    expect(told).toEqual([]);
  });
});

describe('an iterator that gives no result', () => {
  it.each([
    ['of the one kind', { [Symbol.iterator]: () => ({ next: () => undefined }) }],
    ['of the other', { [Symbol.asyncIterator]: () => ({ next: () => undefined }) }],
    ['of the other, in a promise', { [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve() }) }],
  ])('(%s) is told by name', async (_what, input) => {
    const { told, self } = taker();
    messageSource(input, self).pull();
    await turn();
    expect(told).toEqual([['error', new TypeError('expected a result from an iterator of requests, got undefined')]]);
  });
});

describe('an Observable', () => {
  it('is subscribed to at once, and kept until it is asked for', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    const source = messageSource(subject, self);
    expect(subject.observed).toBe(true);
    subject.next(1);
    subject.next(2);
    subject.complete();
    expect(told).toEqual([]);
    for (let i = 0; i < 3; i++) source.pull();
    expect(told).toEqual([1, 2, 'end']);
  });

  it('gives at once what was asked for before', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    const source = messageSource(subject, self);
    source.pull();
    subject.next(1);
    subject.next(2);
    expect(told).toEqual([1]);
    source.pull();
    source.pull();
    expect(told).toEqual([1, 2]);
    subject.complete();
    expect(told).toEqual([1, 2, 'end']);
  });

  it('that fails does so at once, before messages that nobody will want', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    messageSource(subject, self);
    subject.next(1);
    subject.error(broken);
    expect(told).toEqual([['error', broken]]);
  });

  it('that fails when it is subscribed to tells its error', () => {
    const { told, self } = taker();
    messageSource(
      concat(
        of(1),
        throwError(() => broken),
      ),
      self,
    );
    expect(told).toEqual([['error', broken]]);
  });

  it('is left when nobody wants more, and heard no longer', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    const source = messageSource(subject, self);
    subject.next(1);
    void source.close();
    expect(subject.observed).toBe(false);
    source.pull();
    subject.next(2);
    expect(told).toEqual([]);
  });

  it('of another library will do', () => {
    const { told, self } = taker();
    const foreign = {
      subscribe(observer: { next(value: unknown): void; complete(): void }) {
        observer.next(1);
        observer.complete();
        return { unsubscribe: () => undefined };
      },
    };
    const source = messageSource(foreign, self);
    source.pull();
    source.pull();
    expect(told).toEqual([1, 'end']);
  });
});

describe('a source that fails in its clean-up', () => {
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
  ])('(%s) keeps nobody from going on', async (_what, input) => {
    const source = messageSource(input, taker().self);
    source.pull();
    expect(() => source.close()).not.toThrow();
    await turn();
  });
});

describe('what is no source', () => {
  it.each([[undefined], [null], [5], ['text'], [{}], [Promise.resolve([1])]])('(%j) is refused by name', (input) => {
    expect(() => messageSource(input, taker().self)).toThrow(
      'expected request messages as an Observable, an AsyncIterable or an Iterable, got ',
    );
  });
});
