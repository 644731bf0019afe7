import { Observable, Subject, concat, from, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { requestSource, UNSENDABLE, type RequestTaker } from './request-source.js';

/** Writes down what a source gives. */
function taker(maxQueuedBytes = 1 << 20) {
  const told: unknown[] = [];
  const self: RequestTaker = {
    maxQueuedBytes,
    encode: (message) => (message === 'unsendable' ? UNSENDABLE : Buffer.from(String(message))),
    onEncodedRequest: (payload) => void told.push(`encoded ${String(payload)}`),
    onOverflow: (bytes) => void told.push(['overflow', bytes]),
    onPushedAtOnce: (messages) => void told.push(['at once', messages]),
    onRequest: (message) => void told.push(message),
    onRequestsEnd: () => void told.push('end'),
    onRequestsError: (error) => void told.push(['error', error]),
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
    const source = requestSource(make(), self);
    expect(told).toEqual([]);
    source.pull();
    expect(told).toEqual([1]);
    source.pull();
    source.pull();
    expect(told).toEqual([1, 2, 'end']);
  });

  it('tells an error of its own', () => {
    const { told, self } = taker();
    const source = requestSource(
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
    const source = requestSource(
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
    source.close();
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
    const source = requestSource(generate(), self);
    for (const expected of [[1], [1, 2], [1, 2, 'end']]) {
      source.pull();
      await turn();
      await turn();
      expect(told).toEqual(expected);
    }
  });

  it('tells an error of its own', async () => {
    const { told, self } = taker();
    const source = requestSource(generate(true), self);
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
    const source = requestSource(
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
    const source = requestSource(
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
    requestSource(both, self);
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
    requestSource(input, self).pull();
    await turn();
    expect(told).toEqual([['error', new TypeError('expected a result from an iterator of requests, got undefined')]]);
  });
});

describe('an Observable', () => {
  it('is subscribed to at once, and kept until it is asked for', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    const source = requestSource(subject, self);
    expect(subject.observed).toBe(true);
    subject.next(1);
    subject.next(2);
    subject.complete();
    expect(told).toEqual([]);
    for (let i = 0; i < 3; i++) source.pull();
    expect(told).toEqual(['encoded 1', 'encoded 2', 'end']);
  });

  it('gives at once what was asked for before', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    const source = requestSource(subject, self);
    source.pull();
    subject.next(1);
    subject.next(2);
    expect(told).toEqual([1]);
    source.pull();
    source.pull();
    expect(told).toEqual([1, 'encoded 2']);
    subject.complete();
    expect(told).toEqual([1, 'encoded 2', 'end']);
  });

  it('that fails does so at once, before messages that nobody will want', () => {
    const { told, self } = taker();
    const subject = new Subject<number>();
    requestSource(subject, self);
    subject.next(1);
    subject.error(broken);
    expect(told).toEqual([['error', broken]]);
  });

  it('that fails when it is subscribed to tells its error', () => {
    const { told, self } = taker();
    requestSource(
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
    const source = requestSource(subject, self);
    subject.next(1);
    source.close();
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
    const source = requestSource(foreign, self);
    source.pull();
    source.pull();
    expect(told).toEqual([1, 'end']);
  });

  it('of many messages loses none', () => {
    const { told, self } = taker();
    const source = requestSource(from(Array.from({ length: 1_000 }, (_, index) => index)), self);
    for (let i = 0; i <= 1_000; i++) source.pull();
    expect(told).toHaveLength(1_001);
    expect(told.at(-1)).toBe('end');
  });
});

describe('an Observable that is faster than the wire', () => {
  // Each message of one digit counts 257 bytes.
  const ROOM_FOR_THREE = 3 * 257;

  it('is held up to the bound, counted in bytes, and one more is told once as too many', () => {
    const { told, self } = taker(ROOM_FOR_THREE);
    const subject = new Subject<number>();
    requestSource(subject, self);
    for (let i = 0; i < 3; i++) subject.next(i);
    expect(told).toEqual([]);
    subject.next(3);
    expect(told).toEqual([['overflow', ROOM_FOR_THREE]]);
  });

  it('may push again what the wire has taken', () => {
    const { told, self } = taker(ROOM_FOR_THREE);
    const subject = new Subject<number>();
    const source = requestSource(subject, self);
    for (let i = 0; i < 9; i++) {
      if (i >= 3) source.pull();
      subject.next(i);
    }
    expect(told).toEqual([0, 1, 2, 3, 4, 5].map((i) => `encoded ${String(i)}`));
  });

  it('counts messages whose bytes nobody knows as 1 KiB', () => {
    const { told, self } = taker(3 * (1_024 + 256));
    const subject = new Subject<object>();
    requestSource(subject, { ...self, encode: (message) => message });
    for (let i = 0; i < 4; i++) subject.next({});
    expect(told).toEqual([['overflow', 3 * (1_024 + 256)]]);
  });

  it('keeps what it pushes when it is subscribed to, as it is, and tells of masses of it', () => {
    const { told, self } = taker(10 * 1_024);
    const many = Array.from({ length: 11 }, (_, index) => index);
    const source = requestSource(from(many), self);
    expect(told).toEqual([['at once', 11]]);
    for (let i = 0; i <= 11; i++) source.pull();
    expect(told.slice(1)).toEqual([...many, 'end']);

    const few = taker(10 * 1_024);
    requestSource(from(many.slice(1)), few.self);
    expect(few.told).toEqual([]);
  });

  it('takes no room for a message that cannot be sent', () => {
    const { told, self } = taker(ROOM_FOR_THREE);
    const subject = new Subject<unknown>();
    const source = requestSource(subject, self);
    subject.next('unsendable');
    for (let i = 0; i < 3; i++) subject.next(i);
    source.pull();
    expect(told).toEqual(['encoded 0']);
  });

  it('is given in its order however long it is', () => {
    const { told, self } = taker(Infinity);
    const subject = new Subject<number>();
    const source = requestSource(subject, self);
    const all = Array.from({ length: 5_000 }, (_, index) => index);
    for (const one of all) subject.next(one);
    for (const one of all) {
      source.pull();
      if (one % 2 === 0) subject.next(5_000 + one / 2);
    }
    for (let i = 0; i < 2_500; i++) source.pull();
    expect(told).toEqual(Array.from({ length: 7_500 }, (_, index) => `encoded ${String(index)}`));
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
    const source = requestSource(input, taker().self);
    source.pull();
    expect(() => source.close()).not.toThrow();
    await turn();
  });
});

describe('what is no source', () => {
  it.each([[undefined], [null], [5], ['text'], [{}], [Promise.resolve([1])]])('(%j) is refused by name', (input) => {
    expect(() => requestSource(input, taker().self)).toThrow(
      'expected request messages as an Observable, an AsyncIterable or an Iterable, got ',
    );
  });
});
