import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Subject, from, mergeAll } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { ObservableRequests } from './observable-requests.js';
import { UNSENDABLE, type BufferedMessages, type MessageConsumer } from './message-consumer.js';

/** Writes down what a source gives; what was encoded to be counted says so. Each of `nextTurn` is one of the event loop. */
function taker(maxQueuedBytes: number, encode: MessageConsumer['encode'] = (message) => Buffer.from(String(message))) {
  const told: unknown[] = [];
  const clock = new VirtualClock();
  const self: MessageConsumer = {
    maxQueuedBytes,
    encode: (message) => (message === 'unsendable' ? UNSENDABLE : encode(message)),
    bytesOf: (payload) => String(payload).length,
    defer: (task) => {
      clock.defer(task);
    },
    onEncodedMessage: (payload) => void told.push(`encoded ${String(payload)}`),
    onOverflow: (bytes) => void told.push(['overflow', bytes]),
    onPushedAtOnce: (messages) => void told.push(['at once', messages]),
    onMessage: (message) => void told.push(message),
    onMessagesEnd: () => void told.push('end'),
    onMessagesError: (error) => void told.push(['error', error]),
  };
  return { told, self, clock, nextTurn: () => clock.advance(0) };
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

// Each message of one digit counts 129 bytes.
const ROOM_FOR_THREE = 3 * 129;

describe('an Observable that is ahead of the wire since an earlier turn', () => {
  /** One whose first message is still held. */
  function ahead(maxQueuedBytes = ROOM_FOR_THREE) {
    const subject = new Subject<unknown>();
    const scene = taker(maxQueuedBytes);
    const source = new ObservableRequests(subject, { ...scene.self, onPushedAtOnce: () => undefined });
    subject.next('first');
    scene.nextTurn();
    return { ...scene, subject, source };
  }

  it('is held up to the bound, counted in bytes, and one more is told as too many', () => {
    const { told, subject } = ahead();
    for (let i = 0; i < 3; i++) subject.next(i);
    expect(told).toEqual([]);
    subject.next(3);
    expect(told).toEqual([['overflow', ROOM_FOR_THREE]]);
  });

  it('is no less for pushing in several turns', () => {
    const { told, subject, nextTurn } = ahead();
    for (let i = 0; i < 4; i++) {
      subject.next(i);
      nextTurn();
    }
    expect(told).toEqual([['overflow', ROOM_FOR_THREE]]);
  });

  it('may push again what the wire has taken', () => {
    const { told, subject, source, nextTurn } = ahead();
    for (let i = 0; i < 9; i++) {
      if (i >= 2) source.pull();
      subject.next(i);
      nextTurn();
    }
    expect(told).toEqual(['first', ...numbers(6).map((i) => `encoded ${String(i)}`)]);
  });

  it('may push as much as it likes when all of the earlier turn was taken', () => {
    const { told, subject, source } = ahead();
    source.pull();
    for (const i of numbers(9)) subject.next(i);
    expect(told).toEqual(['first']);
    for (let i = 0; i < 9; i++) source.pull();
    expect(told.slice(1)).toEqual(numbers(9));
  });

  it('is so no longer when all was taken before the turn was over', () => {
    const { told, subject, source, nextTurn } = ahead();
    source.pull();
    for (const i of numbers(9)) subject.next(i);
    for (let i = 0; i < 9; i++) source.pull();
    nextTurn();
    for (const i of numbers(9)) subject.next(i);
    for (let i = 0; i < 9; i++) source.pull();
    expect(told).toEqual(['first', ...numbers(9), ...numbers(9)]);
  });

  it('takes no room for a message that cannot be sent', () => {
    const { told, subject, source } = ahead();
    subject.next('unsendable');
    for (let i = 0; i < 3; i++) subject.next(i);
    source.pull();
    source.pull();
    expect(told).toEqual(['first', 'encoded 0']);
  });

  it('is given in its order however long it is', () => {
    const { told, subject, source, nextTurn } = ahead(Infinity);
    for (const one of numbers(5_000)) subject.next(one);
    for (const one of numbers(5_000)) {
      source.pull();
      if (one % 2 === 0) subject.next(5_000 + one / 2);
      if (one % 100 === 0) nextTurn();
    }
    for (let i = 0; i < 2_501; i++) source.pull();
    subject.complete();
    source.pull();
    const given = told.map((one) => String(one).replace('encoded ', ''));
    expect(given).toEqual(['first', ...numbers(7_500).map(String), 'end']);
  });
});

describe('what an Observable pushes in one turn', () => {
  it.each([
    ['in which it is subscribed to', () => from(numbers(500))],
    ['later, from a promise', () => from(Promise.resolve(numbers(500))).pipe(mergeAll())],
  ])('(%s) is held as it is, whatever its size', async (_when, make) => {
    const { told, self, nextTurn } = taker(ROOM_FOR_THREE, () => UNSENDABLE);
    const source = new ObservableRequests(make(), { ...self, onPushedAtOnce: () => undefined });
    nextTurn();
    await Promise.resolve();
    await Promise.resolve();
    nextTurn();
    for (let i = 0; i <= 500; i++) source.pull();
    expect(told).toEqual([...numbers(500), 'end']);
  });

  it('is told where it is masses, when the turn is over', () => {
    const { told, self, nextTurn } = taker(10 * 1_024);
    const few = new Subject<number>();
    new ObservableRequests(few, self);
    for (const i of numbers(10)) few.next(i);
    few.complete();
    nextTurn();
    expect(told).toEqual([]);

    const many = new Subject<number>();
    const source = new ObservableRequests(many, self);
    nextTurn();
    for (const i of numbers(11)) many.next(i);
    expect(told).toEqual([]);
    nextTurn();
    expect(told).toEqual([['at once', 11]]);
    for (let i = 0; i < 11; i++) source.pull();
    many.next(11);
    nextTurn();
    expect(told).toHaveLength(12);
  });

  it('is not told when nobody wants it any more', () => {
    const { told, self, nextTurn } = taker(10 * 1_024);
    new ObservableRequests(from(numbers(11)), self).close();
    nextTurn();
    expect(told).toEqual([]);
  });

  it('costs no turn where the wire waits for it', () => {
    const { self, clock } = taker(ROOM_FOR_THREE);
    const subject = new Subject<number>();
    const source = new ObservableRequests(subject, self);
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

describe('a message that was given', () => {
  it('is kept no longer, however many are still held', async () => {
    setFlagsFromString('--expose-gc');
    // True: the flag above gives each new context a `gc`.
    const collect = runInNewContext('gc') as () => void;
    const { self, nextTurn } = taker(Infinity, (message) => message);
    const given: WeakRef<object>[] = [];
    const subject = new Subject<object>();
    const source = new ObservableRequests(subject, {
      ...self,
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
    const alive = async () => {
      // A WeakRef keeps what it was made or read for until the turn is over.
      await new Promise((resolve) => setImmediate(resolve));
      collect();
      return given.map((ref, index) => (ref.deref() === undefined ? -1 : index)).filter((index) => index >= 0);
    };
    for (let i = 0; i < 3; i++) push();
    for (let i = 0; i < 100; i++) {
      push();
      source.pull();
    }
    expect(await alive()).toEqual([100, 101, 102]);
    source.close();
    expect(await alive()).toEqual([]);
  });
});

describe('an Observable whose taker judges by itself how far ahead is too far', () => {
  it('is asked beyond the bound alone, by what was pushed since the wire took one, and since when it is behind', () => {
    const subject = new Subject<unknown>();
    const { told, self, clock, nextTurn } = taker(ROOM_FOR_THREE);
    const asked: BufferedMessages[] = [];
    const judging: MessageConsumer = {
      ...self,
      onPushedAtOnce: () => undefined,
      now: () => clock.now(),
      isTooFar: (ahead) => {
        asked.push(ahead);
        return ahead.messagesSinceTaken > 3;
      },
    };
    const source = new ObservableRequests(subject, judging);
    const heldSince = clock.now();
    subject.next('first');
    nextTurn();
    for (let i = 0; i < 3; i++) subject.next(i);
    expect(asked).toEqual([]);
    source.pull();
    clock.advance(50);
    for (let i = 3; i < 6; i++) subject.next(i);
    expect(asked.map(({ messagesSinceTaken, bytesSinceTaken }) => [messagesSinceTaken, bytesSinceTaken])).toEqual([
      [1, 129],
      [2, 258],
      [3, 387],
    ]);
    expect(asked.map(({ bytes, oldestAt }) => [bytes / 129, oldestAt])).toEqual([
      [4, heldSince],
      [5, heldSince],
      [6, heldSince],
    ]);
    expect(told).toEqual(['first']);
    subject.next(6);
    expect(told).toEqual(['first', ['overflow', 6 * 129]]);
  });

  it('fails behind what it pushed, where its taker says so', () => {
    const subject = new Subject<unknown>();
    const { told, self } = taker(ROOM_FOR_THREE);
    const source = new ObservableRequests(subject, { ...self, failsInOrder: true });
    subject.next('first');
    subject.error('torn');
    expect(told).toEqual([]);
    source.pull();
    source.pull();
    expect(told).toEqual(['first', ['error', 'torn']]);
  });
});
