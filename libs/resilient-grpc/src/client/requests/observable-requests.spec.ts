import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Subject, from, mergeAll } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import { ObservableRequests } from './observable-requests.js';
import { UNSENDABLE, type BufferedMessages, type MessageConsumer } from './message-consumer.js';

/** Creates a consumer that records the events of a source and marks encoded messages. `nextTurn` ends a turn of the event loop. */
function makeConsumer(
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
    const recorder = makeConsumer(maxQueuedBytes);
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
    const { events, consumer, nextTurn } = makeConsumer(LIMIT_BYTES, () => UNSENDABLE);
    const source = new ObservableRequests(make(), { ...consumer, onBurst: () => undefined });
    nextTurn();
    await Promise.resolve();
    await Promise.resolve();
    nextTurn();
    for (let i = 0; i <= 500; i++) source.pull();
    expect(events).toEqual([...numbers(500), 'end']);
  });

  it('reports a burst of messages from an Observable at the end of the turn if the messages, counted as 1 KiB each, exceed the limit', () => {
    const { events, consumer, nextTurn } = makeConsumer(10 * 1_024);
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
    const { events, consumer, nextTurn } = makeConsumer(10 * 1_024);
    new ObservableRequests(from(numbers(11)), consumer).close();
    nextTurn();
    expect(events).toEqual([]);
  });

  it('schedules no task if a pull is pending for each message that an Observable pushes', () => {
    const { consumer, clock } = makeConsumer(LIMIT_BYTES);
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
    const { consumer, nextTurn } = makeConsumer(Infinity, (message) => message);
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
    const { events, consumer, clock, nextTurn } = makeConsumer(LIMIT_BYTES);
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
    const { events, consumer } = makeConsumer(LIMIT_BYTES);
    const source = new ObservableRequests(subject, { ...consumer, failsInOrder: true });
    subject.next('first');
    subject.error('torn');
    expect(events).toEqual([]);
    source.pull();
    source.pull();
    expect(events).toEqual(['first', ['error', 'torn']]);
  });
});
