import type { DrainReport } from '../../call/call-event.js';
import type { Attempt } from '../../call/attempt.js';
import type { MethodKind } from '../../call/method.js';
import { StreamBatches } from '../../call/stream-batches.js';
import type { StreamOutcome } from '../../call/stream-source.js';
import { COMPLETE_STREAMS, duration } from '../../telemetry/log/log-text.js';
import type { Clock } from '../../time/clock.js';
import { Wait } from '../../time/wait.js';
import type { ActiveCall } from '../client-snapshot.js';
import type { ClientDrainMode } from '../resilient-types.js';
import type { UnansweredCalls } from './unanswered-calls.js';

export interface RegisteredCall {
  readonly onDrain: ClientDrainMode;
  readonly kind: MethodKind;
  /** Start of the call, in monotonic milliseconds. */
  readonly startedAt: number;
  /** Deadline of the call in milliseconds since 1970, or `Infinity`. */
  readonly deadline: number;
  readonly waiting?: boolean;
  describe(): ActiveCall;
  /** Fails the call now with UNAVAILABLE, without waiting for the transport. */
  terminate(reason: 'draining' | 'closed', details: string): void;
  /** Completes the stream of the call, as if the server had ended the stream. */
  complete(): void;
  /** Fails the call or the stream now, and returns true, if its next attempt is due at `until` (monotonic milliseconds) or later. */
  failBackoff(until: number): boolean;
}

/** Container of a running call: the registry, or the stream that the call is part of. */
export interface CallPlace<Call extends RegisteredCall> {
  add(call: Call): void;
  delete(call: Call, outcome: StreamOutcome): void;
}

/** Time limit of a shutdown, for the errors of the calls that are cut off. */
export interface DrainLimit {
  /** Milliseconds from the start of the shutdown, which may be earlier than the start of the drain. */
  readonly timeoutMs: number;
  readonly option: string;
}

type Accepting = 'yes' | 'draining' | 'closed';

/**
 * Maximum number of attempts that are reset between endStreams() and close(), while other calls may be running. A Node server accepts a
 * burst of 1,000 resets on one connection (nghttp2), and then closes the connection, which ends calls that could have finished.
 */
const MAX_RESETS = 900;
/**
 * Estimated time to cut off one call, in milliseconds. A drain reserves this time for each call that it may cut off, so that the drain ends
 * within its timeout regardless of the number of calls.
 */
const CUT_OFF_MS = 0.05;

/** All open calls of a client, and counters of all its calls. */
export class CallRegistry implements CallPlace<RegisteredCall> {
  private readonly calls = new Set<RegisteredCall>();
  private draining: Promise<DrainReport> | undefined;
  private endingStreams: Promise<void> | undefined;
  private readonly streamBatches: StreamBatches;
  /** True once the calls that end at shutdown (`onDrain`) are being ended. Such calls no longer start, and no stream resumes. */
  areStreamsEnding = false;
  /** End of the drain's timeout, in monotonic milliseconds; `Infinity` before a drain. The drain cuts off the remaining calls by then. */
  drainUntil = Infinity;
  /** Limit that is named in the errors of calls that are cut off at `drainUntil`. */
  private limit: DrainLimit | undefined;
  private wait: Wait | undefined;
  /** Abandoned attempts beyond the first `MAX_RESETS`. close() resets them. */
  private readonly toReset: { readonly attempt: Attempt; readonly because: 'deadline' | undefined }[] = [];
  private resets = 0;
  private readonly completing = new Set<RegisteredCall>();
  /** Number of streams that a drain has completed. */
  private completed = 0;
  /** Number of calls that have finished since the drain or the shutdown of the application began. */
  private finished = 0;
  private failedInDrain = 0;
  /** True from `noteShutdown()` on. */
  private isShuttingDown = false;
  /** Number of calls that a drain ended with an error because of `onDrain: 'fail'`. */
  private ended = 0;
  /** Number of calls that a drain cut off at its timeout, or that close() ended. */
  private cutOff = 0;
  /** True if the drain cut off a response stream with `onDrain: 'finish'` at its timeout. Such a stream may have no end. */
  hasCutOffStream = false;
  private isTerminating = false;
  accepting: Accepting = 'yes';
  started = 0;
  succeeded = 0;
  failed = 0;
  /** Number of calls that were cancelled by their callers or with their inbound calls. */
  cancelled = 0;
  resumed = 0;

  /** Reports unary calls that may never end; `undefined` if such calls are not reported. */
  unanswered: UnansweredCalls | undefined;

  /** Receives the calls that a drain is about to cut off at its timeout. */
  onCutOff: ((calls: Iterable<RegisteredCall>) => void) | undefined;

  constructor(private readonly clock: Clock) {
    this.streamBatches = new StreamBatches(clock);
  }

  get size(): number {
    return this.calls.size;
  }

  add(call: RegisteredCall): void {
    this.started += 1;
    this.calls.add(call);
    if (this.unanswered?.isScheduled === false) this.unanswered.wake();
  }

  delete(call: RegisteredCall, outcome: StreamOutcome): void {
    if (!this.calls.delete(call)) return;
    this[outcome] += 1;
    if (this.areStreamsEnding || this.isShuttingDown) this.countInDrain(call, outcome);
    if (this.calls.size === 0) this.wait?.end();
  }

  /**
   * Abandons an attempt that no longer has a listener. After `MAX_RESETS` resets since endStreams(), further resets wait until close(), so
   * that they affect no other call. An unsent attempt is abandoned immediately, because it needs no reset and could be sent while it waits.
   */
  abandon(attempt: Attempt, because?: 'deadline'): void {
    const resets = this.areStreamsEnding && this.accepting !== 'closed' && attempt.unsentBecause === undefined;
    if (resets && this.resets++ >= MAX_RESETS) {
      this.toReset.push({ attempt, because });
    } else attempt.abandon(because);
  }

  /** True if the client or its application has started to shut down. */
  get isClosing(): boolean {
    return this.isShuttingDown || this.accepting !== 'yes';
  }

  /** Age of the oldest open stream in milliseconds; 0 if there is none. */
  get oldestStreamMs(): number {
    // Calls are in the order of their start.
    for (const { kind, startedAt } of this.calls) if (kind !== 'unary') return this.clock.now() - startedAt;
    return 0;
  }

  /** True if a response stream with `onDrain: 'finish'` is open. If it has no end, a drain waits for it until the timeout. */
  get hasFinishingStream(): boolean {
    return [...this.calls].some(isFinishingStream);
  }

  list(): ActiveCall[] {
    return [...this.calls].map((call) => call.describe());
  }

  [Symbol.iterator](): Iterator<RegisteredCall> {
    return this.calls.values();
  }

  private countByPath(): Readonly<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { path } of this.list()) counts[path] = (counts[path] ?? 0) + 1;
    return counts;
  }

  private countInDrain(call: RegisteredCall, outcome: StreamOutcome): void {
    if (this.completing.delete(call) && outcome !== 'failed') this.completed += 1;
    else if (this.isTerminating || outcome === 'cancelled') return;
    else if (this.isShuttingDown || this.accepting !== 'yes') {
      this.finished += 1;
      if (outcome === 'failed') this.failedInDrain += 1;
    }
  }

  /** Starts to count finished calls for the drain report. Calls may finish before the drain begins, while Nest closes its servers. */
  noteShutdown(): void {
    this.isShuttingDown = true;
  }

  /** Ends the calls whose `onDrain` requires it, cleanly or with an error, in batches. Other calls continue, and more of them may start. */
  endStreams(): Promise<void> {
    this.areStreamsEnding = true;
    // In a separate microtask, because a caller may drain the client in response to the end of its stream.
    this.endingStreams ??= Promise.resolve().then(() =>
      this.streamBatches.end(
        [...this.calls].filter(({ onDrain }) => onDrain !== 'finish'),
        (stream) => {
          this.endStream(stream);
        },
      ),
    );
    return this.endingStreams;
  }

  private endStream(stream: RegisteredCall): void {
    if (!this.calls.has(stream)) return;
    if (stream.onDrain === 'complete') {
      // A `replayUnacknowledged` session completes only when its messages are acknowledged, so it may still be open after complete().
      this.completing.add(stream);
      stream.complete();
    } else {
      this.ended += 1;
      this.terminate(stream, 'draining', 'The client is shutting down and ends this call (onDrain)');
    }
  }

  /**
   * Rejects new calls, ends calls according to their `onDrain`, lets other calls finish within `timeoutMs`, and cuts off the rest. Later
   * callers get the same report; the timeout that expires first applies.
   *
   * @param limit the limit to name in the errors of cut-off calls, if the drain is part of a longer shutdown
   */
  drain(timeoutMs: number, limit: DrainLimit = { timeoutMs, option: 'timeoutMs of drain()' }): Promise<DrainReport> {
    const until = this.clock.now() + timeoutMs;
    if (until < this.drainUntil) {
      this.drainUntil = until;
      this.limit = limit;
      this.wait?.restart(this.waitMs());
    }
    if (this.accepting === 'yes') this.accepting = 'draining';
    this.draining ??= this.drainOnce(this.clock.now());
    const { draining } = this;
    this.failBackoffs();
    return draining;
  }

  close(): void {
    this.accepting = 'closed';
    this.unanswered?.close();
    this.terminateAll('closed', () => 'The client was closed');
    for (const { attempt, because } of this.toReset.splice(0)) attempt.abandon(because);
  }

  private async drainOnce(beganAt: number): Promise<DrainReport> {
    void this.endStreams();
    if (this.calls.size > 0) {
      this.wait = new Wait(this.clock, this.waitMs(), true);
      await this.wait.over;
      this.wait.end();
      this.wait = undefined;
    }
    const cutOffByPath = this.countByPath();
    this.hasCutOffStream = this.hasFinishingStream;
    this.onCutOff?.(this.calls);
    this.terminateAll('draining', (call) => this.cutOffDetails(call));
    const { finished, completed, ended, cutOff, failedInDrain: failed } = this;
    return {
      finished,
      failed,
      completed,
      ended,
      cancelled: cutOff,
      cutOffByPath,
      durationMs: this.clock.now() - beganAt,
    };
  }

  /** Fails calls whose retry is due after the drain. They cannot finish in time, and waiting would only delay their failure. */
  private failBackoffs(): void {
    for (const call of [...this.calls]) {
      // Skips calls that a reader has ended in response to an earlier failure, and streams that endStreams() completes.
      if (!this.calls.has(call) || call.onDrain === 'complete') continue;
      // A call with `onDrain: 'fail'` is counted in `ended`, like all such calls that a drain fails. Other calls are counted as failed.
      this.isTerminating = call.onDrain === 'fail';
      if (call.failBackoff(this.drainUntil) && this.isTerminating) this.ended += 1;
      this.isTerminating = false;
    }
  }

  /** Returns how long a drain may wait and still have time to cut off the remaining calls. */
  private waitMs(): number {
    const perhapsCutOff = [...this.calls].filter(({ onDrain }) => onDrain === 'finish').length;
    return this.drainUntil - this.clock.now() - Math.floor(CUT_OFF_MS * perhapsCutOff);
  }

  private cutOffDetails(call: RegisteredCall): string {
    const { limit } = this;
    if (limit === undefined) return 'The client was shut down';
    if (limit.timeoutMs === 0) return `The client was shut down; to let calls finish first, set ${limit.option}`;
    const remedy = isFinishingStream(call)
      ? `if the stream has no end, ${COMPLETE_STREAMS}; otherwise, raise ${limit.option}`
      : `to give calls more time, raise ${limit.option}`;
    return `The client was shut down: the call did not finish within ${duration(limit.timeoutMs)}; ${remedy}`;
  }

  private terminateAll(reason: 'draining' | 'closed', detailsOf: (call: RegisteredCall) => string): void {
    this.streamBatches.stop();
    this.cutOff += this.calls.size;
    for (const call of [...this.calls]) this.terminate(call, reason, detailsOf(call));
  }

  private terminate(call: RegisteredCall, reason: 'draining' | 'closed', details: string): void {
    this.isTerminating = true;
    call.terminate(reason, details);
    this.isTerminating = false;
  }
}

function isFinishingStream({ kind, onDrain }: RegisteredCall): boolean {
  return onDrain === 'finish' && (kind === 'server-stream' || kind === 'bidi');
}
