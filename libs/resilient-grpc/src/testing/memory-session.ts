import type { Observable, ObservableInput, Subscription } from 'rxjs';
import { GrpcObservable } from '../call/grpc-observable.js';
import type { StreamScope } from '../call/stream-scope.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { replayUnacknowledged, type ReplayOptions } from '../operators/replay-unacknowledged.js';
import type { VirtualScheduler } from './virtual-scheduler.js';

/** What is sent over a session in memory. */
export interface Numbered {
  readonly id: number;
  readonly bytes?: number;
}

/** What comes back. */
export interface Answer {
  readonly ack?: number;
  readonly text?: string;
}

/** One bidirectional call without a wire, driven by a test in the role of the server. */
export class MemoryCall implements StreamSource {
  readonly prefetch = 2;
  /** Ids that the server has read. */
  readonly received: number[] = [];
  /** What was sent has ended. */
  halfClosed = false;
  /** The client has left. */
  left = false;
  /** How often the client asked for more. */
  readOns = 0;
  #requests: AsyncIterator<Numbered> | undefined;

  constructor(
    private readonly outgoing: AsyncIterable<Numbered>,
    readonly sink: StreamSink<Answer>,
    private readonly owner: MemorySessions,
    readonly scope: StreamScope | undefined,
  ) {}

  begin(): void {
    this.#requests = this.outgoing[Symbol.asyncIterator]();
    this.owner.calls.push(this);
    this.owner.onBegin?.(this);
    if (this.owner.reads) void this.readAll();
  }

  readOn(): void {
    this.readOns += 1;
  }

  unsubscribe(): void {
    this.left = true;
    void this.#requests?.return?.();
  }

  /** Reads one message; false: there is no other. */
  async read(): Promise<boolean> {
    const result = await this.#requests?.next();
    if (result === undefined) return false;
    if (result.done !== true) this.received.push(result.value.id);
    else if (!this.left) this.halfClosed = true;
    return result.done !== true;
  }

  /** Reads whatever comes, until it ends. */
  async readAll(): Promise<void> {
    while (await this.read());
  }

  ack(...ids: readonly number[]): void {
    for (const ack of ids) this.sink.next({ ack });
  }
}

/** The calls of a session, in the order in which they were made. */
export class MemorySessions {
  readonly calls: MemoryCall[] = [];
  /** What a call does as it begins. */
  onBegin: ((call: MemoryCall) => void) | undefined;

  /** @param reads whether calls read what they can by themselves */
  constructor(readonly reads = true) {}

  /** The latest. */
  get call(): MemoryCall {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error('MemorySessions: no call was made yet');
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

/** Messages numbered from 1, each asked for by a `next()` of its own. */
export class NumberedSource implements AsyncIterableIterator<Numbered> {
  taken = 0;
  asked = 0;
  returned = 0;
  mostAtOnce = 0;
  #pending = 0;

  constructor(readonly count = Infinity) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Numbered>> {
    this.asked += 1;
    this.#pending += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#pending);
    await Promise.resolve();
    this.#pending -= 1;
    if (this.taken >= this.count) return { done: true, value: undefined };
    this.taken += 1;
    return { done: false, value: { id: this.taken } };
  }

  return(): Promise<IteratorResult<Numbered>> {
    this.returned += 1;
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** What a subscriber sees of a session. */
export interface SeenSession {
  readonly seen: readonly Answer[];
  /** Its error, or 'complete'; more than one would be a fault. */
  readonly ends: readonly unknown[];
  readonly subscription: Subscription;
}

/** Subscribes, and takes down what comes. */
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

/** As grpc-js's own client says it. */
export const lost = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});

/** Options of a session in the time of `scheduler`, at most 4 messages of which are unacknowledged. */
export function sessionOptions(scheduler: VirtualScheduler) {
  return {
    id: ({ id }: Numbered) => id,
    acknowledges: ({ ack }: Answer) => ack,
    maxUnacknowledged: 4,
    scheduler,
    random: () => 0.5,
  };
}

/** Starts such sessions, each in the time that is then. */
export function sessionStarter(time: () => VirtualScheduler) {
  return (
    server: Pick<MemorySessions, 'factory'>,
    outgoing: ObservableInput<Numbered>,
    change: Partial<ReplayOptions<Numbered, Answer, number>> = {},
  ): SeenSession => {
    // True: what is changed comes in pairs where it must.
    const options = { ...sessionOptions(time()), ...change } as ReplayOptions<Numbered, Answer, number>;
    return watchSession(replayUnacknowledged(server.factory, outgoing, options));
  };
}
