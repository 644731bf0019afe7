import {
  concat,
  defer,
  from,
  map,
  NEVER,
  Observable,
  of,
  range,
  Subject,
  Subscription,
  take,
  throwError,
  VirtualTimeScheduler,
} from 'rxjs';
import { describe, expect, it } from 'vitest';
import { GrpcObservable } from '../call/grpc-observable.js';
import { currentStreamScope, type StreamScope } from '../call/stream-source.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { MAX_HELD_MESSAGES } from './plain-source.js';
import { resumable, type ResumeOptions } from './resumable.js';

const lost = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});

/** A call of a client, controlled by the test. */
class ManualCall implements StreamSource {
  readonly prefetch = 2;
  readonly log: string[] = [];

  constructor(
    readonly from: number,
    readonly sink: StreamSink<number>,
    readonly scope: StreamScope | undefined,
  ) {}

  begin(): void {
    this.log.push('begin');
  }
  resumeReading(): void {
    this.log.push('resumeReading');
  }
  unsubscribe(): void {
    this.log.push('unsubscribe');
  }
}

/** Creates a resumable stream of manual calls, in virtual time. */
function make(
  options: Partial<ResumeOptions<number, number>> = {},
  began: (call: ManualCall) => void = () => undefined,
) {
  const scheduler = new VirtualTimeScheduler();
  const calls: ManualCall[] = [];
  const stream = resumable(
    (from: number) =>
      new GrpcObservable<number>(
        () => expect.fail('the stream must be opened, not subscribed to'),
        (sink, scope) => {
          const call = new ManualCall(from, sink, scope);
          calls.push(call);
          began(call);
          return call;
        },
      ),
    { cursor: (message: number) => message, seed: 0, scheduler, random: () => 0.5, ...options },
  );
  return { scheduler, calls, stream };
}

/** Waits for an event-loop turn, so that code that awaits a message runs. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('iterated resumable stream', () => {
  it('stops reading a resumable stream at the prefetch limit, and continues when the reader reads', async () => {
    const { stream, calls } = make();
    const reader = stream[Symbol.asyncIterator]();
    const first = reader.next();
    const { sink, log } = calls[0]!;
    expect(sink.demand).toMatchObject({ requested: 1, waiting: true });
    expect(sink.next(1)).toBe(true);
    expect(await first).toEqual({ done: false, value: 1 });
    expect([sink.next(2), sink.next(3)]).toEqual([true, false]);
    expect(log).toEqual(['begin']);
    expect((await reader.next()).value).toBe(2);
    expect(log).toEqual(['begin', 'resumeReading']);
    await reader.return?.();
    expect(log).toEqual(['begin', 'resumeReading', 'unsubscribe']);
  });

  it('resumes a stream after the last buffered message, not after the last message read', async () => {
    const { stream, calls, scheduler } = make();
    const reader = stream[Symbol.asyncIterator]();
    const first = reader.next();
    calls[0]!.sink.next(1);
    calls[0]!.sink.next(2);
    calls[0]!.sink.error(lost);
    await first;
    scheduler.flush();
    expect(calls.map(({ from }) => from)).toEqual([0, 2]);
    calls[1]!.sink.next(3);
    calls[1]!.sink.complete();
    expect([await reader.next(), await reader.next(), await reader.next()]).toEqual([
      { done: false, value: 2 },
      { done: false, value: 3 },
      { done: true, value: undefined },
    ]);
  });

  it('clears all timers if the reader of a resumable stream stops while a call is due', async () => {
    const { stream, calls, scheduler } = make();
    const reader = stream[Symbol.asyncIterator]();
    const first = reader.next();
    for (const message of [1, 2, 3]) calls[0]!.sink.next(message);
    calls[0]!.sink.error(lost);
    await first;
    scheduler.flush();
    await reader.return?.();
    await reader.next();
    expect(calls).toHaveLength(1);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
  });

  it('drops late messages of an earlier call of a resumable stream, and stops reading that call', () => {
    const { stream, calls, scheduler } = make({ maxAgeMs: 6_000 });
    const seen: number[] = [];
    const subscription = stream.subscribe((message) => seen.push(message));
    scheduler.schedule(() => {
      expect(calls[0]!.log).toEqual(['begin', 'unsubscribe']);
      expect(calls[0]!.sink.next(1)).toBe(false);
      calls[0]!.sink.error(lost);
      calls[0]!.sink.complete();
      calls[1]!.sink.next(2);
      subscription.unsubscribe();
      expect(calls[1]!.sink.next(3)).toBe(false);
    }, 7_000);
    scheduler.flush();
    expect(seen).toEqual([2]);
  });

  it('continues reading a resumable stream without recursion if resumeReading() is called while a message is being delivered', () => {
    const { stream, calls } = make();
    const seen: number[] = [];
    const source = stream.openStream({
      next: (message) => {
        seen.push(message);
        source.resumeReading();
        return false;
      },
      error: () => undefined,
      complete: () => undefined,
    });
    source.begin();
    const { sink, log } = calls[0]!;
    expect([sink.next(1), sink.next(2)]).toEqual([true, true]);
    expect(log).toEqual(['begin']);
    source.unsubscribe();
    expect(seen).toEqual([1, 2]);
  });

  it('stops reading a resumable stream if the subscriber unsubscribes while it receives a message', () => {
    const { stream, calls } = make();
    stream.pipe(take(1)).subscribe();
    expect(calls[0]!.sink.next(1)).toBe(false);
    expect(calls[0]!.log).toEqual(['begin', 'unsubscribe']);
  });

  it('continues reading a call of a resumable stream after heartbeats and repeated messages', () => {
    const { stream, calls, scheduler } = make({ heartbeat: (message) => message === 7 });
    stream.subscribe();
    expect(calls[0]!.sink.next(3)).toBe(true);
    expect(calls[0]!.sink.next(7)).toBe(true);
    calls[0]!.sink.error(lost);
    scheduler.flush();
    expect([calls[1]!.from, calls[1]!.sink.next(3), calls[1]!.sink.next(7)]).toEqual([7, true, true]);
  });
});

describe('iterated plain Observable', () => {
  it('buffers messages of a plain Observable for a slow reader, and completes after their delivery', async () => {
    const stream = resumable((from: number) => range(from + 1, 500).pipe(map((n) => n)), {
      cursor: (message: number) => message,
      seed: 0,
    });
    const seen: number[] = [];
    for await (const message of stream) {
      seen.push(message);
      if (message % 100 === 0) await turn();
    }
    expect(seen).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
  });

  it('resumes a stream after the last buffered message if the plain Observable from its factory fails', async () => {
    const cursors: number[] = [];
    const scheduler = new VirtualTimeScheduler();
    const stream = resumable(
      (last: number) => {
        cursors.push(last);
        return last === 0
          ? concat(
              range(1, 100),
              throwError(() => lost),
            )
          : from([99, 100, 101]);
      },
      { cursor: (message: number) => message, seed: 0, scheduler },
    );
    const seen: number[] = [];
    for await (const message of stream) {
      seen.push(message);
      scheduler.flush();
    }
    expect(cursors).toEqual([0, 100]);
    expect(seen).toEqual(Array.from({ length: 101 }, (_, index) => index + 1));
  });

  it('buffers up to MAX_HELD_MESSAGES unread messages of a plain Observable, and fails the stream if one more arrives', () => {
    const source = new Subject<number>();
    const errors: unknown[] = [];
    resumable(() => source, { cursor: (message: number) => message, seed: 0 })
      .openStream({ next: () => false, error: (error) => errors.push(error), complete: () => undefined })
      .begin();
    for (let i = 0; i <= MAX_HELD_MESSAGES; i++) source.next(i);
    expect([errors.length, source.observed]).toEqual([0, true]);
    source.next(MAX_HELD_MESSAGES + 1);
    expect([errors.length, source.observed]).toEqual([1, false]);
  });

  it('delivers messages of a plain Observable in order, then fails and suggests a remedy if more than MAX_HELD_MESSAGES are unread', async () => {
    let unsubscribed = false;
    const flood = new Observable<number>((subscriber) => {
      for (let i = 1; i <= 5_000 && !subscriber.closed; i++) subscriber.next(i);
      return () => (unsubscribed = true);
    });
    const seen: number[] = [];
    const read = async (): Promise<void> => {
      for await (const message of resumable(() => flood, { cursor: (position: number) => position, seed: 0 }))
        seen.push(message);
    };
    await expect(read()).rejects.toMatchObject({
      reason: 'slow-reader',
      code: 8,
      message: expect.stringMatching(/^More than 1000 messages arrived .*apply pipe\(\) to the resulting stream$/),
    });
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => index + 1));
    expect(seen.length).toBeLessThan(MAX_HELD_MESSAGES);
    expect(unsubscribed).toBe(true);
  });
});

describe('duration of a call', () => {
  it('measures the duration of a call of a resumable stream from the start of its last attempt, so that a long wait for the channel does not reset the backoff', () => {
    const { stream, calls, scheduler } = make();
    const subscription = stream.subscribe();
    const runAfter = (ms: number, work: (call: ManualCall) => void) => {
      scheduler.schedule(() => work(calls.at(-1)!), ms);
      scheduler.maxFrames = scheduler.frame + ms;
      scheduler.flush();
    };
    const callCounts = [100, 200, 400].map((backoffMs, index) => {
      // The call waits for 10 s, is sent, and fails 10 ms later.
      runAfter(10_000, ({ scope }) => scope!.attemptBegan());
      runAfter(10, ({ sink }) => sink.error(lost));
      runAfter(backoffMs - 1, () => undefined);
      const before = calls.length;
      runAfter(1, () => undefined);
      return [before, calls.length, index];
    });
    expect(callCounts).toEqual([
      [1, 2, 0],
      [2, 3, 1],
      [3, 4, 2],
    ]);
    expect(calls[0]!.scope!.isOver).toBe(false);
    subscription.unsubscribe();
    expect(calls[0]!.scope!.isOver).toBe(true);
  });
});

describe('scope of a resumable stream', () => {
  /** Returns a function that registers a host with the first call, as a client does. */
  const makeHostRegistration =
    (outcomes: string[]) =>
    ({ scope }: ManualCall) => {
      if (scope!.hosts.size === 0) scope!.hosts.add({ resumesIn: () => undefined, ended: (how) => outcomes.push(how) });
    };

  it('shares one stream scope among all calls of a resumable stream, and counts delivered messages', () => {
    const { stream, calls, scheduler } = make();
    stream.subscribe();
    calls[0]!.sink.next(1);
    calls[0]!.sink.next(2);
    calls[0]!.sink.error(lost);
    scheduler.flush();
    calls[1]!.sink.next(2);
    calls[1]!.sink.next(3);
    const { scope } = calls[0]!;
    expect(calls[1]!.scope).toBe(scope);
    expect(scope).toMatchObject({ resumes: 1, deadline: Infinity, delivered: 3, demand: undefined });
    stream.subscribe();
    expect(calls[2]!.scope).not.toBe(scope);
    expect(currentStreamScope()).toBeUndefined();
  });

  it('sets `demand` of the stream scope to the iterator of the reader', () => {
    const { stream, calls } = make();
    const reader = stream[Symbol.asyncIterator]();
    void reader.next();
    expect(calls[0]!.scope!.demand).toBe(reader);
    void reader.return?.();
  });

  it.each<[string, string, (made: ReturnType<typeof make>, unsubscribe: () => void) => void]>([
    ['completes', 'succeeded', ({ calls }) => calls[0]!.sink.complete()],
    ['fails', 'failed', ({ calls }) => calls[0]!.sink.error(new Error('own'))],
    ['is unsubscribed', 'cancelled', (_, unsubscribe) => unsubscribe()],
    [
      'is unsubscribed during a backoff',
      'cancelled',
      ({ calls }, unsubscribe) => {
        calls[0]!.sink.error(lost);
        unsubscribe();
      },
    ],
    ['is completed by its host', 'succeeded', ({ calls }) => calls[0]!.scope!.complete()],
    ['is failed by its host', 'failed', ({ calls }) => calls[0]!.scope!.fail(lost)],
  ])('notifies the host of a resumable stream once if the stream %s (outcome: %s)', (_, outcome, end) => {
    const outcomes: string[] = [];
    const made = make({}, makeHostRegistration(outcomes));
    const subscription = made.stream.subscribe({ error: () => undefined });
    const unsubscribe = (): void => {
      subscription.unsubscribe();
    };
    expect(outcomes).toEqual([]);
    end(made, unsubscribe);
    expect(outcomes).toEqual([outcome]);
    const { scope } = made.calls[0]!;
    scope!.complete();
    scope!.fail(lost);
    unsubscribe();
    made.calls[0]!.sink.error(lost);
    made.scheduler.flush();
    expect(outcomes).toEqual([outcome]);
    expect(made.calls).toHaveLength(1);
  });

  it.each(['before', 'after'])(
    'notifies the host of a resumable stream once if the stream ends %s the host registers',
    (when) => {
      const outcomes: string[] = [];
      const { stream } = make({}, (call) => {
        if (when === 'after') makeHostRegistration(outcomes)(call);
        call.scope!.complete();
        if (when === 'before') makeHostRegistration(outcomes)(call);
      });
      let completed = 0;
      stream.subscribe({ complete: () => (completed += 1) });
      expect([outcomes, completed]).toEqual([['succeeded'], 1]);
    },
  );

  it('ends a resumable stream once, even if its host completes and fails it several times', () => {
    const { stream, calls } = make();
    const received: unknown[] = [];
    const sink = {
      next: () => true,
      error: (error: unknown) => received.push(error),
      complete: () => received.push('|'),
    };
    const source = stream.openStream(sink);
    source.begin();
    const { scope } = calls[0]!;
    scope!.fail(lost);
    scope!.complete();
    scope!.fail(lost);
    source.unsubscribe();
    source.resumeReading();
    source.begin();
    expect(received).toEqual([lost]);
    expect(calls).toHaveLength(1);
    expect(calls[0]!.log).toEqual(['begin', 'unsubscribe']);
  });

  it('sets no timer if the subscriber of a resumable stream unsubscribes while a call is being closed or onError runs', () => {
    const first = new Subscription();
    const old = make({ maxAgeMs: 6_000 }, (call) => {
      call.unsubscribe = () => {
        first.unsubscribe();
      };
    });
    first.add(old.stream.subscribe());
    old.scheduler.flush();
    expect([old.scheduler.actions, old.calls.length]).toEqual([[], 1]);

    const second = new Subscription();
    const failed = make({
      onError: () => {
        second.unsubscribe();
        return 'resume';
      },
    });
    second.add(failed.stream.subscribe());
    failed.calls[0]!.sink.error(lost);
    expect(failed.scheduler.actions).toEqual([]);
  });

  it.each(['while a call runs', 'during a backoff'])(
    'completes a resumable stream without resuming it if its host completes it %s',
    (when) => {
      const { stream, calls, scheduler } = make({ maxAgeMs: 10_000, onComplete: 'resume' });
      const received: unknown[] = [];
      stream.subscribe({
        next: (message) => received.push(message),
        error: (error) => received.push(error),
        complete: () => received.push('|'),
      });
      calls[0]!.sink.next(1);
      if (when === 'during a backoff') calls[0]!.sink.error(lost);
      calls[0]!.scope!.complete();
      expect(calls[0]!.log).toEqual(when === 'during a backoff' ? ['begin'] : ['begin', 'unsubscribe']);
      expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
      expect(received).toEqual([1, '|']);
      scheduler.flush();
      expect(calls).toHaveLength(1);
    },
  );

  it("fails a resumable stream with its host's error without calling onError", () => {
    const error = new Error('draining');
    const { stream, calls } = make({ onError: () => expect.fail('onError was called') });
    const received: unknown[] = [];
    stream.subscribe({ error: (reason) => received.push(reason) });
    calls[0]!.scope!.fail(error);
    expect(received).toEqual([error]);
    expect(calls[0]!.log).toEqual(['begin', 'unsubscribe']);
  });

  it('ends a backoff of a resumable stream at the deadline, so that the next call reports the exceeded deadline', () => {
    const { stream, calls, scheduler } = make({}, ({ scope }) => {
      scope!.deadline = 5_000;
    });
    const at: number[] = [];
    stream.subscribe({ error: () => undefined });
    const failAgain = (): void => {
      at.push(scheduler.now());
      calls.at(-1)!.sink.error(Object.assign(new Error(), { code: 14, retryAfterMs: 4_000 }));
      if (calls.length < 4) scheduler.schedule(failAgain, 4_500);
    };
    scheduler.schedule(failAgain, 0);
    scheduler.schedule(() => expect(calls).toHaveLength(2), 4_001);
    scheduler.schedule(() => expect(calls).toHaveLength(2), 4_999);
    scheduler.schedule(() => expect(calls).toHaveLength(3), 5_001);
    scheduler.maxFrames = 5_500;
    scheduler.flush();
    expect(at).toEqual([0, 4_500]);
  });

  it('waits for the full backoff if onError resumes a stream after its deadline', () => {
    const { stream, calls, scheduler } = make({ onError: () => 'resume' }, ({ scope }) => {
      scope!.deadline = 1_000;
    });
    stream.subscribe();
    scheduler.schedule(() => calls[0]!.sink.error(lost), 2_000);
    scheduler.schedule(() => expect(calls).toHaveLength(1), 2_099);
    scheduler.schedule(() => expect(calls).toHaveLength(2), 2_101);
    scheduler.flush();
    expect(calls).toHaveLength(2);
  });

  it('does not apply the scope of a stream to calls that a subscriber starts while it receives a synchronous message', () => {
    const scopes: (StreamScope | undefined)[] = [];
    const note = () => scopes.push(currentStreamScope());
    const options = { cursor: (message: number) => message, seed: 0 };
    resumable(() => of(1, 2), options).subscribe({ next: note, complete: note });
    const inner = () =>
      resumable(
        () =>
          concat(
            of(1),
            throwError(() => new Error('own')),
          ),
        options,
      );
    inner().subscribe({ next: note, error: note });
    expect(scopes).toEqual([undefined, undefined, undefined, undefined, undefined]);

    // Within another stream, the scope of that stream applies.
    let outer: StreamScope | undefined;
    const seen: (StreamScope | undefined)[] = [];
    const around = defer(() => {
      outer = currentStreamScope();
      inner().subscribe({ next: () => seen.push(currentStreamScope()), error: () => undefined });
      return NEVER;
    });
    resumable(() => around, options).subscribe();
    expect(outer).toBeDefined();
    expect(seen).toEqual([outer]);
  });
});
