import fc from 'fast-check';
import { Observable, VirtualTimeScheduler, type Subscription } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { GrpcObservable } from '../call/grpc-observable.js';
import type { StreamSink, StreamSource } from '../call/stream-source.js';
import { MAX_SERVER_FAILURES } from '../policy/resume/decide-resume.js';
import { resumable } from './resumable.js';

/** Number of positions in the server's log. Positions start at 1. The server sends a message for each position that `matches` accepts. */
const LOG_LENGTH = 120;
const PREFETCH = 4;
const matches = (position: number): boolean => position % 3 !== 0;
const EXPECTED_POSITIONS = Array.from({ length: LOG_LENGTH }, (_, index) => index + 1).filter(matches);

interface Message {
  readonly position: number;
  readonly isBookmark: boolean;
}

type Step =
  | { readonly do: 'emit'; readonly count: number }
  | { readonly do: 'bookmark' }
  | { readonly do: 'break'; readonly how: 'lost' | 'internal' | 'clean' }
  /** A call that is over sends a message and an error anyway. */
  | { readonly do: 'late' }
  | { readonly do: 'read'; readonly count: number }
  | { readonly do: 'pass'; readonly ms: number };

interface Plan {
  readonly how: 'pushed' | 'pulled';
  /** Result of the factory: a call of a client, or the result of its pipe(). */
  readonly source: 'call' | 'piped';
  readonly onComplete: 'complete' | 'resume';
  readonly maxAgeMs: number | undefined;
  /** Number of positions by which each call starts before its cursor. The calls cycle through the list. */
  readonly overlaps: readonly number[];
  readonly steps: readonly Step[];
}

const LOST = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});
const INTERNAL = Object.assign(new Error('13 INTERNAL: boom'), { code: 13, details: 'boom' });

/** A call on the server. It sends one message after another, and stops while the sink is full. */
class ServedCall implements StreamSource {
  readonly prefetch = PREFETCH;
  isOver = false;
  next: number;
  /** Position of the last message sent. */
  given = 0;
  private isReading = true;

  constructor(
    from: number,
    overlap: number,
    private readonly sink: StreamSink<Message>,
  ) {
    this.next = Math.max(from - overlap, 0) + 1;
  }

  begin(): void {
    // Sends nothing, because the test sends each message with emit().
  }
  resumeReading(): void {
    this.isReading = true;
  }
  unsubscribe(): void {
    this.isOver = true;
  }

  emit(count: number): void {
    for (let i = 0; i < count && this.isReading && !this.isOver; i++) {
      while (this.next <= LOG_LENGTH && !matches(this.next)) this.next += 1;
      if (this.next > LOG_LENGTH) return;
      this.give({ position: this.next++, isBookmark: false });
    }
  }

  get isAtEnd(): boolean {
    return this.next > LOG_LENGTH;
  }

  bookmark(): void {
    if (this.isReading && !this.isOver) this.give({ position: this.next - 1, isBookmark: true });
  }

  sendLate(): void {
    this.sink.next({ position: LOG_LENGTH, isBookmark: false });
    this.sink.error(LOST);
  }

  end(error: Error | undefined): void {
    if (this.isOver) return;
    this.isOver = true;
    if (error === undefined) this.sink.complete();
    else this.sink.error(error);
  }

  private give(message: Message): void {
    this.isReading = false;
    this.given = message.position;
    if (this.sink.next(message) !== false) this.isReading = true;
  }
}

/** A resumable stream of `ServedCall`s, and its reader. */
class World {
  readonly scheduler = new VirtualTimeScheduler();
  readonly calls: ServedCall[] = [];
  readonly seen: number[] = [];
  readonly errors: unknown[] = [];
  /** Cursors that the factory received. */
  readonly cursors: number[] = [];
  completed = false;
  private failuresHere = { at: -1, count: 0 };
  private subscription: Subscription | undefined;
  private reader: AsyncIterableIterator<Message> | undefined;

  constructor(private readonly plan: Plan) {
    const { how, overlaps, onComplete, maxAgeMs } = plan;
    const stream = resumable(
      (from: number, attempt) => {
        this.cursors.push(from);
        return this.call(from, overlaps[(attempt - 1) % overlaps.length] ?? 0);
      },
      {
        cursor: (message: Message) => message.position,
        seed: 0,
        heartbeat: (message) => message.isBookmark,
        onComplete,
        maxAgeMs,
        scheduler: this.scheduler,
        random: () => 0.5,
      },
    );
    if (how === 'pulled') this.reader = stream[Symbol.asyncIterator]();
    else {
      this.subscription = stream.subscribe({
        next: ({ position }) => this.seen.push(position),
        error: (error) => this.errors.push(error),
        complete: () => (this.completed = true),
      });
    }
  }

  private call(from: number, overlap: number): Observable<Message> {
    const open = (sink: StreamSink<Message>): ServedCall => {
      const call = new ServedCall(from, overlap, sink);
      this.calls.push(call);
      return call;
    };
    if (this.plan.source === 'call') return new GrpcObservable<Message>((subscriber) => open(subscriber), open);
    return new Observable<Message>((subscriber) => open(subscriber));
  }

  async step(step: Step): Promise<void> {
    const current = this.calls.at(-1);
    switch (step.do) {
      case 'emit':
        current?.emit(step.count);
        break;
      case 'bookmark':
        current?.bookmark();
        break;
      case 'late':
        this.calls.find(({ isOver }) => isOver)?.sendLate();
        break;
      case 'break':
        this.break(step.how);
        break;
      case 'read':
        await this.read(step.count);
        break;
      case 'pass':
        this.pass(step.ms);
    }
  }

  pass(ms: number): void {
    const until = this.scheduler.frame + ms;
    this.scheduler.maxFrames = until;
    this.scheduler.flush();
    this.scheduler.frame = until;
  }

  /**
   * Ends the call. Ignores a clean end if it would complete the stream. Loses the connection instead of failing if one more server
   * failure at this position would end the stream.
   */
  private break(how: 'lost' | 'internal' | 'clean'): void {
    const call = this.calls.at(-1);
    if (call === undefined || call.isOver) return;
    if (how === 'clean') {
      if (this.plan.onComplete === 'resume') call.end(undefined);
      return;
    }
    // Messages that are buffered for the reader count as delivered.
    const at = Math.max(this.cursors.at(-1) ?? 0, call.given);
    if (this.failuresHere.at !== at) this.failuresHere = { at, count: 0 };
    const isServerFailure = how === 'internal' && this.failuresHere.count < MAX_SERVER_FAILURES - 1;
    if (isServerFailure) this.failuresHere.count += 1;
    call.end(isServerFailure ? INTERNAL : LOST);
  }

  private async read(count: number): Promise<void> {
    const { reader } = this;
    if (reader === undefined) return;
    for (let i = 0; i < count; i++) {
      reader.next().then(
        ({ done, value }) => {
          if (done === true) this.completed = true;
          else this.seen.push(value.position);
        },
        (error: unknown) => this.errors.push(error),
      );
    }
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Sends the rest of the log, and reads everything. Ends the call if `onComplete` is 'complete'. */
  async finish(): Promise<void> {
    const isUnfinished = (): boolean =>
      this.plan.onComplete === 'complete' ? !this.completed : this.seen.length < EXPECTED_POSITIONS.length;
    for (let i = 0; i < 200 && isUnfinished() && this.errors.length === 0; i++) {
      await this.read(10);
      this.pass(15_000);
      const call = this.calls.at(-1);
      call?.emit(100);
      if (call?.isAtEnd === true && this.plan.onComplete === 'complete') call.end(undefined);
    }
  }

  /** Number of messages that the calls have sent and the reader has not read. */
  get ahead(): number {
    const furthest = Math.max(0, ...this.cursors, ...this.calls.map((call) => call.next - 1));
    const last = this.seen.at(-1) ?? 0;
    return EXPECTED_POSITIONS.filter((position) => position > last && position <= furthest).length;
  }

  async stop(): Promise<void> {
    this.subscription?.unsubscribe();
    await this.reader?.return?.();
  }
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('emit' as const), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('read' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 50, 500, 6_000, 15_000) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('break' as const),
      how: fc.constantFrom('lost' as const, 'internal' as const, 'clean' as const),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ do: 'bookmark' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'late' as const }) },
);

const plan: fc.Arbitrary<Plan> = fc.record({
  how: fc.constantFrom('pushed' as const, 'pulled' as const),
  source: fc.constantFrom('call' as const, 'piped' as const),
  onComplete: fc.constantFrom('complete' as const, 'resume' as const),
  maxAgeMs: fc.constantFrom(undefined, 7_000, 20_000),
  overlaps: fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }),
  // A plan combines several failures only if it has many steps.
  steps: fc.array(step, { maxLength: 80, size: 'max' }),
});

describe('resumable stream with any failures', { timeout: 300_000 }, () => {
  it('delivers each message of a resumable stream exactly once and in order, despite failures', async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (drawn) => {
        const world = new World(drawn);
        for (const next of drawn.steps) {
          await world.step(next);
          expect(world.seen).toEqual(EXPECTED_POSITIONS.slice(0, world.seen.length));
        }
        await world.finish();
        expect(world.errors).toEqual([]);
        expect(world.seen).toEqual(EXPECTED_POSITIONS);
        expect(world.completed).toBe(drawn.onComplete === 'complete');
        // The cursor never moves back from one call to the next.
        expect(world.cursors).toEqual([...world.cursors].sort((a, b) => a - b));
        await world.stop();
        expect(world.calls.filter(({ isOver }) => !isOver)).toEqual([]);
        expect(world.scheduler.actions.filter(({ closed }) => !closed)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('buffers at most PREFETCH messages of a pulled resumable stream, for any number of calls', async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (drawn) => {
        const world = new World({ ...drawn, how: 'pulled', source: 'call' });
        for (const next of drawn.steps) {
          await world.step(next);
          expect(world.ahead).toBeLessThanOrEqual(PREFETCH);
        }
        await world.stop();
      }),
      { numRuns: 200 },
    );
  });
});
