import { from, Observable, of, retry, Subject, throwError, type ObservableInput } from 'rxjs';
import { beforeEach, describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { ReplayError } from '../errors/stream-errors.js';
import {
  lost,
  MemorySessions,
  NumberedSource,
  sessionOptions,
  sessionStarter,
  watchSession,
  type Answer,
  type Numbered,
} from '../../../../test/unit-support/memory-session.js';
import { turn } from '../../../../test/unit-support/virtual-clock.js';
import { VirtualScheduler } from '../testing/virtual-scheduler.js';
import { replayUnacknowledged, type ReplayOptions } from './replay-unacknowledged.js';

let time: VirtualScheduler;
beforeEach(() => {
  time = new VirtualScheduler();
});

const optionsOf = () => sessionOptions(time);
/** Creates a session and subscribes to it. */
const start = sessionStarter(() => time);

const upTo = (count: number, first = 1): number[] => Array.from({ length: count }, (_, index) => first + index);

describe('replay session', () => {
  it.each<[string, ObservableInput<Numbered>, number[]]>([
    ['an array', upTo(9).map((id) => ({ id })), upTo(9)],
    ['an Observable', from(upTo(9).map((id) => ({ id }))), upTo(9)],
    ['a Promise', Promise.resolve({ id: 1 }), [1]],
    [
      'an async generator',
      (async function* () {
        for (const id of upTo(9)) yield { id };
      })(),
      upTo(9),
    ],
    [
      'a web stream',
      new ReadableStream<Numbered>({
        start: (to) => {
          to.enqueue({ id: 1 });
          to.close();
        },
      }),
      [1],
    ],
    ['an empty array', [], []],
  ])('accepts %s as the source of a replay session', async (_, outgoing, ids) => {
    const server = new MemorySessions();
    const { ends } = start(server, outgoing);
    for (let acknowledged = 0; acknowledged < ids.length; acknowledged++) {
      await turn();
      server.call.ack(ids[acknowledged]!);
    }
    await turn();
    expect(server.call).toMatchObject({ received: ids, halfClosed: true });
    server.call.sink.complete();
    expect(ends).toEqual(['complete']);
    expect(server.calls).toHaveLength(1);
  });

  it('starts the next call of a replay session with the hello, then sends the unacknowledged messages in order, then new messages', async () => {
    const server = new MemorySessions();
    let hellos = 0;
    const hello = (): Numbered => ({ id: -++hellos });
    const { ends } = start(server, new NumberedSource(), { maxUnacknowledged: 5, hello });
    await turn();
    expect(server.call.received).toEqual([-1, 1, 2, 3, 4, 5]);
    server.call.ack(2, 1, 4);
    await turn();
    expect(server.call.received).toEqual([-1, ...upTo(8)]);
    server.call.sink.error(lost);
    expect(server.calls).toHaveLength(1);
    await time.pass(100);
    expect(server.calls).toHaveLength(2);
    expect(server.call.received).toEqual([-2, 3, 5, 6, 7, 8]);
    server.call.ack(3);
    await turn();
    expect(server.call.received.at(-1)).toBe(9);
    expect(ends).toEqual([]);
  });

  it('drops late messages and errors of an earlier call of a replay session', async () => {
    const server = new MemorySessions();
    const { seen } = start(server, new NumberedSource());
    await turn();
    server.call.sink.error(lost);
    await time.pass(100);
    server.calls[0]!.ack(1, 2, 3);
    server.calls[0]!.sink.error(new Error('late'));
    await turn();
    expect(seen).toEqual([]);
    expect(server.calls).toHaveLength(2);
    expect(server.call.received).toEqual([1, 2, 3, 4]);
  });

  it('ignores acknowledgments that are repeated or unknown', async () => {
    const server = new MemorySessions();
    const { seen, ends } = start(server, new NumberedSource());
    await turn();
    server.call.ack(1, 1, 99, -1, 0);
    await turn();
    expect(server.call.received).toEqual(upTo(5));
    expect(seen).toHaveLength(5);
    expect(ends).toEqual([]);
  });

  it('applies a cumulative acknowledgment to all earlier messages of a replay session', async () => {
    const server = new MemorySessions();
    start(server, new NumberedSource(), { acknowledgment: 'cumulative' });
    await turn();
    server.call.ack(3);
    await turn();
    expect(server.call.received).toEqual(upTo(7));
    server.call.sink.error(lost);
    await time.pass(100);
    expect(server.call.received).toEqual(upTo(4, 4));
  });

  it('does not resend messages that the server acknowledges on the next call before the server reads them', async () => {
    const server = new MemorySessions(false);
    start(server, new NumberedSource(), { acknowledgment: 'cumulative' });
    void server.call.readAll();
    await turn();
    server.call.sink.error(lost);
    await time.pass(100);
    server.call.ack(3);
    void server.call.readAll();
    await turn();
    expect(server.call.received).toEqual([4, 5, 6, 7]);
  });

  it('runs a separate replay session for each subscription to one Observable', async () => {
    const server = new MemorySessions();
    const outgoing = upTo(6).map((id) => ({ id }));
    const session = replayUnacknowledged(server.factory, outgoing, optionsOf());
    const [first, second] = [watchSession(session), watchSession(session)];
    await turn();
    server.calls[0]!.ack(...upTo(4));
    await turn();
    expect(server.calls.map(({ received }) => received)).toEqual([upTo(6), upTo(4)]);
    server.calls[0]!.ack(5, 6);
    server.calls[0]!.sink.complete();
    expect([first.ends, second.ends]).toEqual([['complete'], []]);
    expect([first.seen.length, second.seen.length]).toEqual([6, 0]);
    second.subscription.unsubscribe();
    watchSession(session);
    await turn();
    expect(server.calls.map(({ received }) => received)).toEqual([upTo(6), upTo(4), upTo(4)]);
  });

  it('resends all unacknowledged messages if the outgoing messages of a replay call are iterated again', async () => {
    const server = new MemorySessions();
    const { ends } = start(
      { factory: (outgoing) => server.factory(outgoing).pipe(retry(1)) as any },
      new NumberedSource(),
    );
    await turn();
    server.call.ack(2);
    server.call.sink.error(lost);
    await turn();
    expect(server.calls.map(({ received }) => received)).toEqual([
      [1, 2, 3, 4],
      [1, 3, 4, 5],
    ]);
    expect(ends).toEqual([]);
  });
});

describe('buffer limits', () => {
  it('reads one message at a time from the source of a replay session, up to maxUnacknowledged', async () => {
    const server = new MemorySessions();
    const source = new NumberedSource();
    start(server, source);
    await turn();
    expect(source).toMatchObject({ pulls: 4, maxConcurrentPulls: 1 });
    server.call.ack(2);
    await turn();
    expect(source).toMatchObject({ pulls: 5, maxConcurrentPulls: 1 });
  });

  it('limits the total bytes of unacknowledged messages, and sends a message above the limit only if all earlier ones are acknowledged', async () => {
    const server = new MemorySessions();
    const sizes = [40, 60, 1, 500, 10];
    const weighed = { maxUnacknowledgedBytes: 100, size: ({ id }: Numbered) => sizes[id - 1]! };
    start(server, new NumberedSource(5), weighed);
    await turn();
    expect(server.call.received).toEqual([1, 2]);
    server.call.ack(1);
    await turn();
    // Message 4 (500 bytes) exceeds the limit, so it waits until messages 1 to 3 are acknowledged.
    expect(server.call.received).toEqual([1, 2, 3]);
    server.call.ack(2);
    await turn();
    expect(server.call.received).toEqual([1, 2, 3]);
    server.call.ack(3);
    await turn();
    expect(server.call.received).toEqual([1, 2, 3, 4]);
    server.call.ack(4);
    await turn();
    expect(server.call.received).toEqual([1, 2, 3, 4, 5]);
  });

  it('keeps a message that a slow source emits between two calls of a replay session', async () => {
    const server = new MemorySessions();
    const waiting: ((message: Numbered) => void)[] = [];
    const source: AsyncIterable<Numbered> = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise((resolve) => waiting.push((value) => resolve({ done: false, value }))),
      }),
    };
    start(server, source);
    await turn();
    server.call.sink.error(lost);
    waiting[0]!({ id: 1 });
    await time.pass(100);
    expect(server.call.received).toEqual([1]);
    waiting[1]!({ id: 2 });
    await turn();
    expect(server.call.received).toEqual([1, 2]);
    expect(waiting).toHaveLength(3);
  });

  it('buffers a burst of messages from an Observable, and fails the replay session if the burst exceeds the limit', async () => {
    const server = new MemorySessions();
    const pushed = new Subject<Numbered>();
    const { ends } = start(server, pushed);
    for (const id of upTo(1_000)) pushed.next({ id });
    await turn();
    expect(server.call.received).toEqual([1, 2, 3, 4]);
    for (const id of upTo(4, 1_001)) pushed.next({ id });
    expect(ends).toEqual([]);
    pushed.next({ id: 1_005 });
    expect(ends).toEqual([expect.any(ReplayError)]);
    expect(ends[0]).toMatchObject({ reason: 'source-too-fast', code: 8, unacknowledged: 4 });
    expect((ends[0] as Error).message).toBe(
      'The source pushed more than the buffers hold: 4 messages unacknowledged, 1000 messages queued; pass an AsyncIterable, which can be paused, or raise maxUnacknowledged (or maxUnacknowledgedBytes)',
    );
    expect(pushed.observed).toBe(false);
    expect(server.call.isUnsubscribed).toBe(true);
  });

  it('limits the queue of a replay session to maxUnacknowledged messages if that option exceeds 1,000, and to 1 MiB if maxUnacknowledgedBytes is lower', async () => {
    const size = ({ bytes = 0 }: Numbered) => bytes;
    const pushed = new Subject<Numbered>();
    const many = start(new MemorySessions(), pushed, { maxUnacknowledged: 2_000, maxUnacknowledgedBytes: 10, size });
    for (const id of upTo(4_000)) pushed.next({ id });
    expect(many.ends).toEqual([]);
    pushed.next({ id: 4_001 });
    expect(many.ends).toMatchObject([{ reason: 'source-too-fast' }]);
    const other = new Subject<Numbered>();
    const { ends } = start(new MemorySessions(false), other, { maxUnacknowledgedBytes: 10, size });
    other.next({ id: 1, bytes: 5_000_000 });
    expect(ends).toEqual([]);
    other.next({ id: 2, bytes: 2 ** 20 });
    expect(ends).toEqual([]);
    other.next({ id: 3, bytes: 1 });
    expect(ends).toMatchObject([{ reason: 'source-too-fast' }]);
  });

  it('accepts maxUnacknowledged messages plus a full buffer of 1,000 messages from an Observable before the server reads', async () => {
    const server = new MemorySessions(false);
    const pushed = new Subject<Numbered>();
    const { ends } = start(server, pushed);
    for (const id of upTo(1_004)) pushed.next({ id });
    expect(ends).toEqual([]);
    void server.call.readAll();
    await turn();
    expect(server.call.received).toEqual(upTo(4));
    for (const id of upTo(1_004)) {
      server.call.ack(id);
      await turn();
    }
    expect(server.call.received).toEqual(upTo(1_004));
  });

  it.each([
    [4, 1_005],
    [1_000, 2_001],
  ])(
    'fails a replay session if the source is an infinite synchronous Observable (maxUnacknowledged: %d)',
    (maxUnacknowledged, limit) => {
      let pushed = 0;
      const endless = new Observable<Numbered>((subscriber) => {
        while (!subscriber.closed) subscriber.next({ id: ++pushed });
      });
      const server = new MemorySessions();
      const { ends } = start(server, endless, { maxUnacknowledged });
      expect(ends).toMatchObject([{ reason: 'source-too-fast' }]);
      expect(pushed).toBe(limit);
      expect(server.calls).toEqual([]);
    },
  );
});

describe('end of a replay session', () => {
  it('fails a replay session with an error from the source, even while messages are unacknowledged', async () => {
    const server = new MemorySessions();
    const pushed = new Subject<Numbered>();
    const { ends } = start(server, pushed);
    pushed.next({ id: 1 });
    await turn();
    const error = new Error('my source');
    pushed.error(error);
    expect(ends).toEqual([error]);
    expect(server.call).toMatchObject({ isUnsubscribed: true, halfClosed: false });
    expect(time.pending).toBe(0);
  });

  it.each<[string, () => ObservableInput<Numbered>]>([
    ['an Observable that fails at once', () => throwError(() => new Error('my source'))],
    ['a Promise that is rejected', () => Promise.reject(new Error('my source'))],
    [
      'a generator that throws',
      function* (): Generator<Numbered> {
        throw new Error('my source');
      },
    ],
    [
      'an async generator that throws',
      async function* (): AsyncGenerator<Numbered> {
        throw new Error('my source');
      },
    ],
  ])('fails a replay session with the error of %s', async (_, outgoing) => {
    const { ends } = start(new MemorySessions(), outgoing());
    await turn();
    expect(ends).toEqual([new Error('my source')]);
  });

  it('releases the call, the source, and all timers if the subscriber of a replay session unsubscribes', async () => {
    const server = new MemorySessions();
    const source = new NumberedSource();
    const { subscription } = start(server, source, { acknowledgmentTimeoutMs: 1_000, maxAgeMs: 60_000 });
    await turn();
    expect(time.pending).toBe(2);
    subscription.unsubscribe();
    expect(server.call).toMatchObject({ isUnsubscribed: true, halfClosed: false });
    expect(source.returned).toBe(1);
    expect(time.pending).toBe(0);
  });

  it.each<[string, Partial<ReplayOptions<Numbered, Answer, any>>, Answer[], string | RegExp]>([
    ['id throws', { id: boom }, [], 'boom'],
    ['size throws', { size: boom, maxUnacknowledgedBytes: 5 }, [], 'boom'],
    ['hello throws', { hello: boom }, [], 'boom'],
    ['acknowledges throws', { acknowledges: boom }, [{}], 'boom'],
    [
      'id returns an invalid id',
      { id: () => ({ low: 1, high: 0 }) },
      [],
      /^replayUnacknowledged\.id: expected a string, number, bigint, or symbol, got {"low":1,"high":0}; convert a Long with String\(…\)$/,
    ],
    [
      'acknowledges returns an invalid id',
      { acknowledges: () => null },
      [{}],
      'replayUnacknowledged.acknowledges: expected a string, number, bigint, or symbol, got null',
    ],
    [
      'size returns NaN',
      { size: () => NaN, maxUnacknowledgedBytes: 5 },
      [],
      'replayUnacknowledged.size: expected a number of 0 or more, got NaN',
    ],
    [
      'two messages have the same id',
      { id: () => 7 },
      [],
      'A second message with id 7 arrived before the first was acknowledged; give each message a unique id',
    ],
  ])('fails a replay session if %s', async (_, change, messages, text) => {
    const server = new MemorySessions();
    const source = new NumberedSource();
    const { ends } = start(server, source, change as object);
    await turn();
    for (const message of messages) server.call.sink.next(message);
    expect(ends).toHaveLength(1);
    if (typeof text === 'string') expect((ends[0] as Error).message).toBe(text);
    else expect((ends[0] as Error).message).toMatch(text);
    expect(server.call).toMatchObject({ isUnsubscribed: true, halfClosed: false });
    expect(time.pending).toBe(0);
    expect(source.returned).toBe(source.pulls > 0 ? 1 : 0);
  });

  it('fails a replay session with an error that the factory throws', () => {
    const { ends } = start({ factory: boom }, new NumberedSource());
    expect(ends).toEqual([new Error('boom')]);
  });

  it('closes the call if the subscriber of a replay session unsubscribes while it receives a message', async () => {
    const server = new MemorySessions();
    const source = new NumberedSource();
    const subscription = replayUnacknowledged(server.factory, source, optionsOf()).subscribe(() =>
      subscription.unsubscribe(),
    );
    await turn();
    server.call.ack(1);
    await turn();
    expect(server.call).toMatchObject({ received: [1, 2, 3, 4], isUnsubscribed: true });
    expect(source).toMatchObject({ pulls: 4, returned: 1 });
  });
});

describe('options of replayUnacknowledged', () => {
  it('reports all invalid options of replayUnacknowledged in one error', () => {
    const wrong = {
      id: 'id',
      acknowledgment: 'some',
      maxUnacknowledged: 0,
      size: () => 1,
      hello: 5,
      acknowledgmentTimeoutMs: 0,
      maxAgeMs: '5',
      minHealthyMs: -1,
      backoff: { maxAttempts: 0 },
    };
    const paths = pathsOf(() => replayUnacknowledged(undefined as any, 5 as any, wrong as any));
    expect(paths.sort()).toEqual(
      [
        'acknowledges',
        'acknowledgment',
        'acknowledgmentTimeoutMs',
        'backoff.maxAttempts',
        'factory',
        'hello',
        'id',
        'maxAgeMs',
        'maxUnacknowledged',
        'maxUnacknowledgedBytes',
        'minHealthyMs',
        'outgoing',
      ].map((key) => `replayUnacknowledged.${key}`),
    );
  });

  it.each([undefined, null, 5])('rejects %s as the options of replayUnacknowledged', (options) => {
    expect(pathsOf(() => replayUnacknowledged(() => of(), [], options as any))).toContain('replayUnacknowledged.id');
  });

  it('rejects `acknowledges` at compile time if its return type differs from that of `id`', () => {
    const { factory } = new MemorySessions();
    const options = { maxUnacknowledged: 1, id: ({ id }: Numbered) => id };
    // @ts-expect-error: a string never equals a number
    replayUnacknowledged(factory, [], { ...options, acknowledges: ({ text }: Answer) => text });
    replayUnacknowledged(factory, [], { ...options, acknowledges: ({ ack }) => ack });
  });

  it('rejects unknown options of replayUnacknowledged and of its backoff', () => {
    const options = { ...optionsOf(), maxAge: 5, color: undefined, backoff: { maxBackoff: 5 } };
    expect(pathsOf(() => replayUnacknowledged(() => of(), [], options as any))).toEqual([
      'replayUnacknowledged.backoff.maxBackoff',
      'replayUnacknowledged.maxAge',
    ]);
  });

  it('requires `size` together with maxUnacknowledgedBytes', () => {
    const options = { ...optionsOf(), maxUnacknowledgedBytes: 5 };
    expect(pathsOf(() => replayUnacknowledged(() => of(), [], options as any))).toEqual(['replayUnacknowledged.size']);
  });
});

function pathsOf(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof GrpcConfigurationError) return error.problems.map(({ path }) => path);
    throw error;
  }
  return [];
}

function boom(): never {
  throw new Error('boom');
}
