import type { Observable, ObservableInput, Subscription } from 'rxjs';
import { GrpcObservable } from '../../libs/resilient-grpc/src/call/grpc-observable.js';
import type { StreamScope } from '../../libs/resilient-grpc/src/call/stream-source.js';
import type { StreamSink, StreamSource } from '../../libs/resilient-grpc/src/call/stream-source.js';
import {
  replayUnacknowledged,
  type ReplayOptions,
} from '../../libs/resilient-grpc/src/operators/replay-unacknowledged.js';
import type { VirtualScheduler } from '../../libs/resilient-grpc/src/testing/virtual-scheduler.js';

/** A request message of an in-memory session. */
export interface Numbered {
  readonly id: number;
  readonly bytes?: number;
}

/** A response message of an in-memory session. */
export interface Answer {
  readonly ack?: number;
  readonly text?: string;
}

/** An in-memory bidirectional call. The test acts as the server. */
export class MemoryCall implements StreamSource {
  readonly prefetch = 2;
  /** Ids of the messages that the server has read. */
  readonly received: number[] = [];
  /** True if the server has read the client's half-close. */
  halfClosed = false;
  /** True if the client has unsubscribed. */
  isUnsubscribed = false;
  /** Number of times the client requested another message. */
  readCount = 0;
  private requests: AsyncIterator<Numbered> | undefined;

  constructor(
    private readonly outgoing: AsyncIterable<Numbered>,
    readonly sink: StreamSink<Answer>,
    private readonly owner: MemorySessions,
    readonly scope: StreamScope | undefined,
  ) {}

  begin(): void {
    this.requests = this.outgoing[Symbol.asyncIterator]();
    this.owner.calls.push(this);
    this.owner.onBegin?.(this);
    if (this.owner.reads) void this.readAll();
  }

  resumeReading(): void {
    this.readCount += 1;
  }

  unsubscribe(): void {
    this.isUnsubscribed = true;
    void this.requests?.return?.();
  }

  /** Reads one message. Resolves to false if the requests have ended. */
  async read(): Promise<boolean> {
    const result = await this.requests?.next();
    if (result === undefined) return false;
    if (result.done !== true) this.received.push(result.value.id);
    else if (!this.isUnsubscribed) this.halfClosed = true;
    return result.done !== true;
  }

  /** Reads all messages until the requests end. */
  async readAll(): Promise<void> {
    while (await this.read());
  }

  ack(...ids: readonly number[]): void {
    for (const ack of ids) this.sink.next({ ack });
  }
}

/** The calls of a session, in the order in which they started. */
export class MemorySessions {
  readonly calls: MemoryCall[] = [];
  /** Called when a call starts. */
  onBegin: ((call: MemoryCall) => void) | undefined;

  /** @param reads true if the server reads requests automatically */
  constructor(readonly reads = true) {}

  /** The latest call. */
  get call(): MemoryCall {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error('MemorySessions: no call has started yet');
    return call;
  }

  readonly factory = (outgoing: AsyncIterable<Numbered>): GrpcObservable<Answer> => {
    const open = (sink: StreamSink<Answer>, scope?: StreamScope) => new MemoryCall(outgoing, sink, this, scope);
    return new GrpcObservable<Answer>((subscriber) => {
      const call = open(subscriber);
      call.begin();
      return call;
    }, open);
  };
}

/** A source of messages whose ids start at 1. Records how often its methods are called. */
export class NumberedSource implements AsyncIterableIterator<Numbered> {
  taken = 0;
  pulls = 0;
  returned = 0;
  maxConcurrentPulls = 0;
  private pending = 0;

  constructor(readonly count = Infinity) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Numbered>> {
    this.pulls += 1;
    this.pending += 1;
    this.maxConcurrentPulls = Math.max(this.maxConcurrentPulls, this.pending);
    await Promise.resolve();
    this.pending -= 1;
    if (this.taken >= this.count) return { done: true, value: undefined };
    this.taken += 1;
    return { done: false, value: { id: this.taken } };
  }

  return(): Promise<IteratorResult<Numbered>> {
    this.returned += 1;
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** The events that a subscriber of a session received. */
export interface SeenSession {
  readonly seen: readonly Answer[];
  /** The session's error, or 'complete'. More than one entry is a bug. */
  readonly ends: readonly unknown[];
  readonly subscription: Subscription;
}

/** Subscribes to a session and records its events. */
export function watchSession(session: Observable<Answer>): SeenSession {
  const seen: Answer[] = [];
  const ends: unknown[] = [];
  const subscription = session.subscribe({
    next: (answer) => seen.push(answer),
    error: (error: unknown) => ends.push(error),
    complete: () => ends.push('complete'),
  });
  return { seen, ends, subscription };
}

/** The error of a lost connection, as grpc-js's client reports it. */
export const lost = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});

/** Returns the options of a session that runs on `scheduler` with at most 4 unacknowledged messages. */
export function sessionOptions(scheduler: VirtualScheduler) {
  return {
    id: ({ id }: Numbered) => id,
    acknowledges: ({ ack }: Answer) => ack,
    maxUnacknowledged: 4,
    scheduler,
    random: () => 0.5,
  };
}

/** Returns a function that starts sessions with `sessionOptions`, each on the scheduler that `time` returns when the session starts. */
export function sessionStarter(time: () => VirtualScheduler) {
  return (
    server: Pick<MemorySessions, 'factory'>,
    outgoing: ObservableInput<Numbered>,
    change: Partial<ReplayOptions<Numbered, Answer, number>> = {},
  ): SeenSession => {
    // Safe cast: callers of this helper set dependent options together.
    const options = { ...sessionOptions(time()), ...change } as ReplayOptions<Numbered, Answer, number>;
    return watchSession(replayUnacknowledged(server.factory, outgoing, options));
  };
}
