import type { Attempt } from '../../call/attempt.js';
import type { MethodKind } from '../../call/method.js';
import type { StreamOutcome } from '../../call/stream-scope.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { ActiveCall } from '../active-call.js';
import type { DrainReport } from '../drain-report.js';

/** What becomes of an open call when its client drains. */
export type OnDrain = 'finish' | 'complete' | 'fail';

/** A call as the registry holds it. */
export interface RegisteredCall {
  readonly onDrain: OnDrain;
  readonly kind: MethodKind;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
  describe(): ActiveCall;
  /** Ends it now, on both sides, whatever the transport does. */
  terminate(reason: 'draining' | 'closed', details: string): void;
  /** Ends its stream now, cleanly, as the server would have. */
  complete(): void;
  /** Fails the call now if it waits to retry until `until` (monotonic milliseconds) or longer. True if it did. */
  failBackoff(until: number): boolean;
}

/** Where a call is kept while it runs: the registry, or the stream that it is a part of. */
export interface CallPlace<Call extends RegisteredCall> {
  add(call: Call): void;
  delete(call: Call, outcome: StreamOutcome): void;
}

type Accepting = 'yes' | 'draining' | 'closed';

/** Thousands of streams that end in one moment would all be opened elsewhere in the next. */
const STREAMS_AT_ONCE = 100;
const BETWEEN_STREAMS_MS = 10;

/**
 * Streams that may be reset while other calls still run: a server of Node takes 1 000 in a row from one connection (nghttp2), then
 * ends it, and with it every call that was to finish.
 */
const RESETS_AT_ONCE = 900;
/** What cutting one off takes: a drain ends within its time, however many calls it has to cut off. */
const CUT_OFF_MS = 0.05;

/** Every call of a client that has not ended, and what is counted of those that have. */
export class CallRegistry implements CallPlace<RegisteredCall> {
  private readonly calls = new Set<RegisteredCall>();
  private draining: Promise<DrainReport> | undefined;
  private endingStreams: Promise<void> | undefined;
  /** When the drain cuts off what still runs, in monotonic milliseconds; Infinity before a drain. */
  drainUntil = Infinity;
  /** While a drain waits: when it gives up, and how it goes on. */
  private wait: { readonly until: number; readonly timer: Timer; readonly over: () => void } | undefined;
  /** Attempts whose callers have left during a drain, to be reset when nothing else runs any more. */
  private readonly toReset: Attempt[] = [];
  private resets = 0;
  /** Streams that a drain has told to end cleanly. */
  private readonly completing = new Set<RegisteredCall>();
  /** Those that have. */
  private completed = 0;
  /** Calls that ended by themselves during a drain. */
  private finished = 0;
  /** Calls that a drain failed. */
  private cutOff = 0;
  private isTerminating = false;
  accepting: Accepting = 'yes';
  started = 0;
  succeeded = 0;
  failed = 0;
  /** Ended by the caller. */
  cancelled = 0;
  resumed = 0;

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.calls.size;
  }

  /** Streams that end at a shutdown have been told to: none of them begins or goes on any more. */
  get streamsEnd(): boolean {
    return this.endingStreams !== undefined;
  }

  add(call: RegisteredCall): void {
    this.started += 1;
    this.calls.add(call);
  }

  delete(call: RegisteredCall, outcome: StreamOutcome): void {
    if (!this.calls.delete(call)) return;
    this[outcome] += 1;
    if (this.streamsEnd) this.countInDrain(call, outcome);
    if (this.calls.size === 0) this.wait?.over();
  }

  /** Ends an attempt that nobody listens to any more, now or, in a drain of many streams, when that harms nobody. */
  abandon(attempt: Attempt, because?: 'deadline'): void {
    if (this.streamsEnd && this.accepting !== 'closed' && this.resets++ >= RESETS_AT_ONCE) this.toReset.push(attempt);
    else attempt.abandon(because);
  }

  /** How long the stream has been open that is open longest; 0 where none is. */
  get oldestStreamMs(): number {
    // They are in the order of their begin.
    for (const { kind, startedAt } of this.calls) if (kind !== 'unary') return this.clock.now() - startedAt;
    return 0;
  }

  list(): ActiveCall[] {
    return [...this.calls].map((call) => call.describe());
  }

  [Symbol.iterator](): Iterator<RegisteredCall> {
    return this.calls.values();
  }

  private countInDrain(call: RegisteredCall, outcome: StreamOutcome): void {
    if (this.completing.delete(call) && outcome !== 'failed') this.completed += 1;
    else if (this.accepting !== 'yes' && !this.isTerminating && outcome !== 'cancelled') this.finished += 1;
  }

  /** Ends the streams that say so, cleanly or with an error, a slice at a time. Everything else goes on, and may begin. */
  endStreams(): Promise<void> {
    // In a turn of its own: who hears of the end of his stream may drain in answer.
    this.endingStreams ??= Promise.resolve().then(() =>
      this.endSlices([...this.calls].filter(({ onDrain }) => onDrain !== 'finish')),
    );
    return this.endingStreams;
  }

  private async endSlices(streams: readonly RegisteredCall[]): Promise<void> {
    for (let from = 0; from < streams.length; from += STREAMS_AT_ONCE) {
      if (from > 0) await new Promise<void>((resolve) => this.clock.setTimer(resolve, BETWEEN_STREAMS_MS, true));
      for (const stream of streams.slice(from, from + STREAMS_AT_ONCE)) this.endStream(stream);
    }
  }

  private endStream(stream: RegisteredCall): void {
    if (!this.calls.has(stream)) return;
    if (stream.onDrain === 'complete') {
      // A session completes when what it has sent is acknowledged, which may take a while.
      this.completing.add(stream);
      stream.complete();
    } else {
      this.cutOff += 1;
      this.terminate(stream, 'draining', 'The client is shutting down and ends this stream (onDrain)');
    }
  }

  /**
   * Takes no more calls, lets those that run end within `timeoutMs`, and cuts off the rest. Later callers get the same report; the
   * shorter time applies.
   */
  drain(timeoutMs: number): Promise<DrainReport> {
    this.drainUntil = Math.min(this.drainUntil, this.clock.now() + timeoutMs);
    if (this.accepting === 'yes') this.accepting = 'draining';
    this.draining ??= this.drainOnce(this.clock.now());
    const { draining } = this;
    if (this.wait !== undefined && this.drainUntil < this.wait.until) this.waitUntil(this.drainUntil, this.wait.over);
    this.failBackoffs();
    return draining;
  }

  /** Ends all now. */
  close(): void {
    this.accepting = 'closed';
    this.terminateAll('closed', 'The client was closed');
    for (const attempt of this.toReset.splice(0)) attempt.abandon();
  }

  private async drainOnce(beganAt: number): Promise<DrainReport> {
    void this.endStreams();
    if (this.calls.size > 0) await new Promise<void>((over) => this.waitUntil(this.drainUntil, over));
    this.stopWaiting();
    const lastedMs = Math.round(this.clock.now() - beganAt);
    this.terminateAll('draining', `The client was shut down: the call did not finish within ${String(lastedMs)} ms`);
    const { finished, completed, cutOff } = this;
    return { finished, completed, cancelled: cutOff, durationMs: this.clock.now() - beganAt };
  }

  /** A retry that is due after the drain cannot finish in time: to wait for it would only delay its failure. */
  private failBackoffs(): void {
    for (const call of [...this.calls]) {
      this.isTerminating = true;
      if (call.failBackoff(this.drainUntil)) this.cutOff += 1;
      this.isTerminating = false;
    }
  }

  private waitUntil(until: number, over: () => void): void {
    this.stopWaiting();
    const perhapsCutOff = [...this.calls].filter(({ onDrain }) => onDrain === 'finish').length;
    const leftMs = until - this.clock.now() - Math.floor(CUT_OFF_MS * perhapsCutOff);
    // Timers run before sockets are read: answers that came while this process stood still finish their calls first.
    const timer = this.clock.setTimer(() => this.clock.defer(over), leftMs, true);
    this.wait = { until, timer, over };
  }

  private stopWaiting(): void {
    if (this.wait !== undefined) this.clock.clearTimer(this.wait.timer);
    this.wait = undefined;
  }

  private terminateAll(reason: 'draining' | 'closed', details: string): void {
    this.cutOff += this.calls.size;
    for (const call of [...this.calls]) this.terminate(call, reason, details);
  }

  private terminate(call: RegisteredCall, reason: 'draining' | 'closed', details: string): void {
    this.isTerminating = true;
    call.terminate(reason, details);
    this.isTerminating = false;
  }
}
