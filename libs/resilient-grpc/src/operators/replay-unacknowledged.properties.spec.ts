import fc from 'fast-check';
import { Subject } from 'rxjs';
import { describe, expect, it } from 'vitest';
import {
  MemorySessions,
  watchSession,
  type Answer,
  type MemoryCall,
  type Numbered,
} from '../../../../test/unit-support/memory-session.js';
import { turn } from '../../../../test/unit-support/virtual-clock.js';
import { VirtualScheduler } from '../testing/virtual-scheduler.js';
import { replayUnacknowledged } from './replay-unacknowledged.js';

type Step =
  /** The source emits this many more messages. */
  | { readonly do: 'give'; readonly count: number }
  /** The server reads one message, if there is one. */
  | { readonly do: 'read' }
  /** The server acknowledges one of the messages that it has read. */
  | { readonly do: 'acknowledge'; readonly which: number }
  | { readonly do: 'lose' }
  /** The server ends the call cleanly. */
  | { readonly do: 'end' }
  | { readonly do: 'pass'; readonly ms: number };

interface Plan {
  readonly source: 'pulled' | 'pushed';
  readonly acknowledgment: 'single' | 'cumulative';
  readonly maxUnacknowledged: number;
  readonly maxUnacknowledgedBytes: number;
  readonly sizes: readonly number[];
  readonly steps: readonly Step[];
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('give' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 6, arbitrary: fc.constant({ do: 'read' as const }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('acknowledge' as const), which: fc.nat(50) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'lose' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'end' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 100, 2_000) }) },
);

const plan: fc.Arbitrary<Plan> = fc.record({
  source: fc.constantFrom('pulled', 'pushed'),
  acknowledgment: fc.constantFrom('single', 'cumulative'),
  maxUnacknowledged: fc.integer({ min: 1, max: 5 }),
  maxUnacknowledgedBytes: fc.constantFrom(1, 25, 1_000),
  sizes: fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 5 }),
  // Limits and replay take effect only after many steps.
  steps: fc.array(step, { maxLength: 80, size: 'max' }),
});

const lost = Object.assign(new Error('14 UNAVAILABLE: Connection dropped'), {
  code: 14,
  details: 'Connection dropped',
});
// Maximum number of clean ends in one plan. A fifth consecutive clean end without an acknowledgment would fail the session.
const MAX_CLEAN_ENDS = 4;

/** A source that returns messages one at a time, up to the total passed to `give`. */
class GivenSource implements AsyncIterableIterator<Numbered> {
  taken = 0;
  private given = 0;
  private isComplete = false;
  private waiting: (() => void) | undefined;

  give(count: number): void {
    this.given += count;
    this.waiting?.();
  }

  complete(): void {
    this.isComplete = true;
    this.waiting?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Numbered>> {
    expect(this.waiting).toBeUndefined();
    while (this.taken === this.given && !this.isComplete) {
      await new Promise<void>((resolve) => (this.waiting = resolve));
      this.waiting = undefined;
    }
    if (this.taken === this.given) return { done: true, value: undefined };
    return { done: false, value: { id: ++this.taken } };
  }
}

/** A session with its source, and the messages that arrive at the server. */
class World {
  readonly time = new VirtualScheduler();
  readonly server = new MemorySessions(false);
  readonly source = new GivenSource();
  readonly pushed = new Subject<Numbered>();
  /** Ids in the order of their arrival, over all calls. */
  readonly arrived: number[] = [];
  readonly acknowledged = new Set<number>();
  readonly answers: Answer[] = [];
  readonly watched;
  /** Descriptions of messages that should not have arrived. */
  readonly faults: string[] = [];
  given = 0;
  ends = 0;
  private readonly reading = new Set<MemoryCall>();

  constructor(private readonly plan: Plan) {
    const { source, acknowledgment, maxUnacknowledged, maxUnacknowledgedBytes } = plan;
    this.watched = watchSession(
      replayUnacknowledged(this.server.factory, source === 'pulled' ? this.source : this.pushed, {
        id: ({ id }) => id,
        acknowledges: ({ ack }: Answer) => ack,
        size: ({ id }) => this.sizeOf(id),
        acknowledgment,
        maxUnacknowledged,
        maxUnacknowledgedBytes,
        hello: () => ({ id: 0 }),
        scheduler: this.time,
        random: () => 0.5,
      }),
    );
  }

  async apply(next: Step): Promise<void> {
    const { call } = this.server;
    switch (next.do) {
      case 'give':
        this.give(next.count);
        break;
      case 'read':
        this.read(call);
        break;
      case 'acknowledge':
        if (this.arrived.length > 0) this.acknowledge(call, this.arrived[next.which % this.arrived.length]!);
        break;
      case 'lose':
        call.sink.error(lost);
        break;
      case 'end':
        if (this.ends++ < MAX_CLEAN_ENDS) call.sink.complete();
        break;
      case 'pass':
        await this.time.pass(next.ms);
    }
    await turn();
    this.check();
  }

  /** Completes the source, then reads and acknowledges everything, without further failures. */
  async finish(): Promise<void> {
    if (this.plan.source === 'pulled') this.source.complete();
    else this.pushed.complete();
    for (let i = 0; i < 1_000 && this.watched.ends.length === 0; i++) {
      const { call } = this.server;
      for (const id of new Set(this.arrived)) if (!this.acknowledged.has(id)) this.acknowledge(call, id);
      this.read(call);
      await turn();
      this.check();
      if (call.halfClosed) call.sink.complete();
      await this.time.pass(100);
    }
  }

  private give(count: number): void {
    const first = this.given + 1;
    this.given += count;
    this.source.give(count);
    for (let id = first; id <= this.given; id++) this.pushed.next({ id });
  }

  private read(call: MemoryCall): void {
    if (this.reading.has(call)) return;
    this.reading.add(call);
    const { length } = call.received;
    void call.read().then(() => {
      this.reading.delete(call);
      const id = call.received[length];
      if (id === undefined) return;
      if ((id === 0) !== (length === 0))
        this.faults.push(`id ${id} as message ${length + 1}; only message 1 is the hello (id 0)`);
      if (id === 0) return;
      if (this.acknowledged.has(id)) this.faults.push(`${id}, which was acknowledged`);
      this.arrived.push(id);
    });
  }

  private acknowledge(call: MemoryCall, id: number): void {
    if (call.isUnsubscribed || this.watched.ends.length > 0) return;
    const before = this.watched.seen.length;
    call.sink.next({ ack: id });
    // If the acknowledgment was not delivered, the call is over, and the acknowledgment has no effect.
    if (this.watched.seen.length === before) return;
    this.answers.push({ ack: id });
    if (this.acknowledged.has(id)) return;
    this.acknowledged.add(id);
    if (this.plan.acknowledgment !== 'cumulative') return;
    for (let earlier = 1; earlier < id; earlier++) this.acknowledged.add(earlier);
  }

  private check(): void {
    const { maxUnacknowledged, maxUnacknowledgedBytes } = this.plan;
    const unacknowledged = [...new Set(this.arrived)].filter((id) => !this.acknowledged.has(id));
    expect(this.faults).toEqual([]);
    expect(unacknowledged.length).toBeLessThanOrEqual(maxUnacknowledged);
    const bytes = unacknowledged.reduce((sum, id) => sum + this.sizeOf(id), 0);
    if (unacknowledged.length > 1) expect(bytes).toBeLessThanOrEqual(maxUnacknowledgedBytes);
    // The client may have taken one more message that is too large to send yet.
    expect(this.source.taken).toBeLessThanOrEqual(this.acknowledged.size + maxUnacknowledged + 1);
  }

  private sizeOf(id: number): number {
    return this.plan.sizes[id % this.plan.sizes.length]!;
  }
}

describe('replay session with any failures', { timeout: 300_000 }, () => {
  it('delivers all messages of a replay session despite failures, keeps first arrivals in order, and never resends an acknowledged message', async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (chosen) => {
        const world = new World(chosen);
        for (const next of chosen.steps) await world.apply(next);
        await world.finish();
        expect(world.watched.ends).toEqual(['complete']);
        expect([...new Set(world.arrived)]).toEqual(Array.from({ length: world.given }, (_, index) => index + 1));
        expect(world.acknowledged.size).toBe(world.given);
        expect(world.watched.seen).toEqual(world.answers);
        expect(world.time.pending).toBe(0);
        expect(world.pushed.observed).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});
