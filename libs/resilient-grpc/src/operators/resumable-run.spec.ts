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
import { currentStreamScope, type StreamScope } from '../call/stream-scope.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { MAX_HELD } from './plain-source.js';
import { resumable, type ResumeOptions } from './resumable.js';

const lost = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});

/** One call as a client would make it, driven by hand. */
class HandCall implements StreamSource {
  readonly prefetch = 2;
  readonly did: string[] = [];

  constructor(
    readonly from: number,
    readonly sink: StreamSink<number>,
    readonly scope: StreamScope | undefined,
  ) {}

  begin(): void {
    this.did.push('begin');
  }
  readOn(): void {
    this.did.push('readOn');
  }
  unsubscribe(): void {
    this.did.push('unsubscribe');
  }
}

/** A resumable stream of calls driven by hand, in virtual time. */
function make(options: Partial<ResumeOptions<number, number>> = {}, began: (call: HandCall) => void = () => undefined) {
  const scheduler = new VirtualTimeScheduler();
  const calls: HandCall[] = [];
  const stream = resumable(
    (from: number) =>
      new GrpcObservable<number>(
        () => expect.fail('it is to be opened, not subscribed to'),
        (sink, scope) => {
          const call = new HandCall(from, sink, scope);
          calls.push(call);
          began(call);
          return call;
        },
      ),
    { cursor: (message: number) => message, seed: 0, scheduler, random: () => 0.5, ...options },
  );
  return { scheduler, calls, stream };
}

/** Lets those who await a message go on. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a resumable stream that is iterated', () => {
  it('begins nothing before the first message is asked for', async () => {
    const { stream, calls } = make();
    const reader = stream[Symbol.asyncIterator]();
    expect(calls).toHaveLength(0);
    await reader.return?.();
    expect(calls).toHaveLength(0);
  });

  it('stops reading when the reader has enough, and reads on with him', async () => {
    const { stream, calls } = make();
    const reader = stream[Symbol.asyncIterator]();
    const first = reader.next();
    const { sink, did } = calls[0]!;
    expect(sink.demand).toMatchObject({ asked: 1, waiting: true });
    expect(sink.next(1)).toBe(true);
    expect(await first).toEqual({ done: false, value: 1 });
    expect([sink.next(2), sink.next(3)]).toEqual([true, false]);
    expect(did).toEqual(['begin']);
    expect((await reader.next()).value).toBe(2);
    expect(did).toEqual(['begin', 'readOn']);
    await reader.return?.();
    expect(did).toEqual(['begin', 'readOn', 'unsubscribe']);
  });

  it('goes on behind what the reader holds, not behind what he has read', async () => {
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

  it('makes no further call for a reader who has enough, however often one breaks', async () => {
    const { stream, calls, scheduler } = make();
    const reader = stream[Symbol.asyncIterator]();
    const first = reader.next();
    for (const message of [1, 2, 3]) calls[0]!.sink.next(message);
    calls[0]!.sink.error(lost);
    await first;
    scheduler.flush();
    expect(calls).toHaveLength(1);
    expect((await reader.next()).value).toBe(2);
    expect(calls.map(({ from }) => from)).toEqual([0, 3]);
    await reader.return?.();
    expect(calls[1]!.did).toEqual(['begin', 'unsubscribe']);
  });

  it('leaves nothing behind when the reader goes while a call is due', async () => {
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

  it('drops what comes late of a call that was left, and has it not read on', () => {
    const { stream, calls, scheduler } = make({ maxAgeMs: 6_000 });
    const seen: number[] = [];
    const subscription = stream.subscribe((message) => seen.push(message));
    scheduler.schedule(() => {
      expect(calls[0]!.did).toEqual(['begin', 'unsubscribe']);
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

  it('reads on for a reader who says so within a message, without a deeper stack', () => {
    const { stream, calls } = make();
    const seen: number[] = [];
    const source = stream.openStream({
      next: (message) => {
        seen.push(message);
        source.readOn();
        return false;
      },
      error: () => undefined,
      complete: () => undefined,
    });
    source.begin();
    const { sink, did } = calls[0]!;
    expect([sink.next(1), sink.next(2)]).toEqual([true, true]);
    expect(did).toEqual(['begin']);
    source.unsubscribe();
    expect(seen).toEqual([1, 2]);
  });

  it('has nothing read on for a reader who leaves within a message', () => {
    const { stream, calls } = make();
    stream.pipe(take(1)).subscribe();
    expect(calls[0]!.sink.next(1)).toBe(false);
    expect(calls[0]!.did).toEqual(['begin', 'unsubscribe']);
  });

  it('reads on over what is not handed over', () => {
    const { stream, calls, scheduler } = make({ heartbeat: (message) => message === 7 });
    stream.subscribe();
    expect(calls[0]!.sink.next(3)).toBe(true);
    expect(calls[0]!.sink.next(7)).toBe(true);
    calls[0]!.sink.error(lost);
    scheduler.flush();
    expect([calls[1]!.from, calls[1]!.sink.next(3), calls[1]!.sink.next(7)]).toEqual([7, true, true]);
  });
});

describe('a plain Observable from the factory, iterated', () => {
  it('is held back for a slow reader, and ends behind what is held', async () => {
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

  it('goes on from what was handed over when it fails behind what is held', async () => {
    const asked: number[] = [];
    const scheduler = new VirtualTimeScheduler();
    const stream = resumable(
      (last: number) => {
        asked.push(last);
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
    expect(asked).toEqual([0, 100]);
    expect(seen).toEqual(Array.from({ length: 101 }, (_, index) => index + 1));
  });

  it('may leave as many messages lying as the bound says, and not one more', () => {
    const source = new Subject<number>();
    const errors: unknown[] = [];
    resumable(() => source, { cursor: (message: number) => message, seed: 0 })
      .openStream({ next: () => false, error: (it) => errors.push(it), complete: () => undefined })
      .begin();
    for (let i = 0; i <= MAX_HELD; i++) source.next(i);
    expect([errors.length, source.observed]).toEqual([0, true]);
    source.next(MAX_HELD + 1);
    expect([errors.length, source.observed]).toEqual([1, false]);
  });

  it('is too much beyond a bound: what was handed over stays in order, then it fails and says what to do', async () => {
    let unsubscribed = false;
    const flood = new Observable<number>((subscriber) => {
      for (let i = 1; i <= 5_000 && !subscriber.closed; i++) subscriber.next(i);
      return () => (unsubscribed = true);
    });
    const seen: number[] = [];
    const read = async (): Promise<void> => {
      for await (const message of resumable(() => flood, { cursor: (it: number) => it, seed: 0 })) seen.push(message);
    };
    await expect(read()).rejects.toMatchObject({
      reason: 'slow-reader',
      code: 8,
      message: expect.stringMatching(/^More than 1000 messages came .*put pipe\(\) behind resumable\(\)$/),
    });
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => index + 1));
    expect(seen.length).toBeLessThan(MAX_HELD);
    expect(unsubscribed).toBe(true);
  });
});

describe('the life of a call', () => {
  it('starts with its last attempt, so that a long wait for the channel does not make a call healthy', () => {
    const { stream, calls, scheduler } = make();
    const subscription = stream.subscribe();
    const after = (ms: number, work: (call: HandCall) => void) => {
      scheduler.schedule(() => work(calls.at(-1)!), ms);
      scheduler.maxFrames = scheduler.frame + ms;
      scheduler.flush();
    };
    const backoffs = [100, 200, 400].map((backoffMs, index) => {
      // It waited for 10 s, went out, and failed 10 ms later.
      after(10_000, ({ scope }) => scope!.attemptBegan());
      after(10, ({ sink }) => sink.error(lost));
      after(backoffMs - 1, () => undefined);
      const before = calls.length;
      after(1, () => undefined);
      return [before, calls.length, index];
    });
    expect(backoffs).toEqual([
      [1, 2, 0],
      [2, 3, 1],
      [3, 4, 2],
    ]);
    expect(calls[0]!.scope!.isOver).toBe(false);
    subscription.unsubscribe();
    expect(calls[0]!.scope!.isOver).toBe(true);
  });
});

describe('the scope of a resumable stream', () => {
  /** As a client does it with the first call. */
  const hosting =
    (told: string[]) =>
    ({ scope }: HandCall) => {
      if (scope!.hosts.size === 0) scope!.hosts.add({ ended: (how) => told.push(how) });
    };

  it('is one for all of its calls, and counts what was handed over', () => {
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
    expect(scope).toMatchObject({ resumes: 1, deadline: Infinity, handedOver: 3, demand: undefined });
    stream.subscribe();
    expect(calls[2]!.scope).not.toBe(scope);
    expect(currentStreamScope()).toBeUndefined();
  });

  it('shows how it is read', () => {
    const { stream, calls } = make();
    const reader = stream[Symbol.asyncIterator]();
    void reader.next();
    expect(calls[0]!.scope!.demand).toBe(reader);
    void reader.return?.();
  });

  it.each<[string, string, (made: ReturnType<typeof make>, unsubscribe: () => void) => void]>([
    ['is complete', 'succeeded', ({ calls }) => calls[0]!.sink.complete()],
    ['fails', 'failed', ({ calls }) => calls[0]!.sink.error(new Error('own'))],
    ['is left', 'cancelled', (_, unsubscribe) => unsubscribe()],
    [
      'is left while it waits',
      'cancelled',
      ({ calls }, unsubscribe) => {
        calls[0]!.sink.error(lost);
        unsubscribe();
      },
    ],
    ['is completed by its host', 'succeeded', ({ calls }) => calls[0]!.scope!.complete()],
    ['is failed by its host', 'failed', ({ calls }) => calls[0]!.scope!.fail(lost)],
  ])('tells its host once when it %s: %s', (_, outcome, end) => {
    const told: string[] = [];
    const made = make({}, hosting(told));
    const subscription = made.stream.subscribe({ error: () => undefined });
    const unsubscribe = (): void => {
      subscription.unsubscribe();
    };
    expect(told).toEqual([]);
    end(made, unsubscribe);
    expect(told).toEqual([outcome]);
    const { scope } = made.calls[0]!;
    scope!.complete();
    scope!.fail(lost);
    unsubscribe();
    made.calls[0]!.sink.error(lost);
    made.scheduler.flush();
    expect(told).toEqual([outcome]);
    expect(made.calls).toHaveLength(1);
  });

  it.each(['before', 'after'])('tells its host once where it ended %s that was known', (when) => {
    const told: string[] = [];
    const { stream } = make({}, (call) => {
      if (when === 'after') hosting(told)(call);
      call.scope!.complete();
      if (when === 'before') hosting(told)(call);
    });
    let completed = 0;
    stream.subscribe({ complete: () => (completed += 1) });
    expect([told, completed]).toEqual([['succeeded'], 1]);
  });

  it('ends once, whoever ends it', () => {
    const { stream, calls } = make();
    const heard: unknown[] = [];
    const sink = { next: () => true, error: (it: unknown) => heard.push(it), complete: () => heard.push('|') };
    const source = stream.openStream(sink);
    source.begin();
    const { scope } = calls[0]!;
    scope!.fail(lost);
    scope!.complete();
    scope!.fail(lost);
    source.unsubscribe();
    source.readOn();
    source.begin();
    expect(heard).toEqual([lost]);
    expect(calls).toHaveLength(1);
    expect(calls[0]!.did).toEqual(['begin', 'unsubscribe']);
  });

  it('sets no timer for a reader who leaves while a call is left or judged', () => {
    const leaving = new Subscription();
    const old = make({ maxAgeMs: 6_000 }, (call) => {
      call.unsubscribe = () => {
        leaving.unsubscribe();
      };
    });
    leaving.add(old.stream.subscribe());
    old.scheduler.flush();
    expect([old.scheduler.actions, old.calls.length]).toEqual([[], 1]);

    const judged = new Subscription();
    const failed = make({
      onError: () => {
        judged.unsubscribe();
        return 'resume';
      },
    });
    judged.add(failed.stream.subscribe());
    failed.calls[0]!.sink.error(lost);
    expect(failed.scheduler.actions).toEqual([]);
  });

  it.each(['while a call runs', 'during a backoff'])('ends in order %s, and nothing is resumed', (when) => {
    const { stream, calls, scheduler } = make({ maxAgeMs: 10_000, onComplete: 'resume' });
    const heard: unknown[] = [];
    stream.subscribe({ next: (it) => heard.push(it), error: (it) => heard.push(it), complete: () => heard.push('|') });
    calls[0]!.sink.next(1);
    if (when === 'during a backoff') calls[0]!.sink.error(lost);
    calls[0]!.scope!.complete();
    expect(calls[0]!.did).toEqual(when === 'during a backoff' ? ['begin'] : ['begin', 'unsubscribe']);
    expect(scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
    expect(heard).toEqual([1, '|']);
    scheduler.flush();
    expect(calls).toHaveLength(1);
  });

  it('fails with what its host says, without asking anybody', () => {
    const error = new Error('draining');
    const { stream, calls } = make({ onError: () => expect.fail('asked') });
    const heard: unknown[] = [];
    stream.subscribe({ error: (it) => heard.push(it) });
    calls[0]!.scope!.fail(error);
    expect(heard).toEqual([error]);
    expect(calls[0]!.did).toEqual(['begin', 'unsubscribe']);
  });

  it('waits no longer than to its deadline, when the call that begins tells that time is over', () => {
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

  it('waits its backoff beyond the deadline, where the user will not have it end', () => {
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

  it('does not hold for what its reader begins in answer to a message that comes at once', () => {
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

    // Within another stream it is that one's.
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
