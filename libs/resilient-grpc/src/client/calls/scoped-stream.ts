import { AsyncResource } from 'node:async_hooks';
import type { MethodKind } from '../../call/method.js';
import type { StreamHost, StreamOutcome, StreamScope } from '../../call/stream-source.js';
import type { Endable } from './call-bindings.js';
import type { MethodContext } from '../call-context.js';
import { callError, deadlineFailure, draining, isCancelled, type CallFailure } from '../attempts/call-failure.js';
import type { CallPlace, RegisteredCall } from './call-registry.js';
import type { ClientDrainMode } from '../resilient-types.js';
import { reportUnread } from './call-report.js';
import { DeadlineTimer } from '../attempts/deadline-timer.js';
import { describeCall } from './describe-call.js';
import { StatusCode } from '../../status/status-code.js';
import type { ActiveCall } from '../client-snapshot.js';
import type { MethodStatistics } from '../statistics/client-statistics.js';
import type { UnreadStream } from './unread-streams.js';

export interface StreamMembership {
  readonly scope: StreamScope;
  /**
   * True if the stream reads the call directly. If false, operators are between the stream and the call, and several calls may run in
   * parallel.
   */
  readonly isDirect: boolean;
}

interface PartOfStream extends RegisteredCall {
  readonly peer: string | undefined;
  readonly sent: number;
  /** Monotonic milliseconds. */
  readonly lastMessageAt: number | undefined;
  readonly waiting: boolean;
  readonly isDirect: boolean;
  readonly createdBy: MethodContext;
  bindTo(call: Endable): (() => void) | undefined;
}

/** A resumable stream, registered as one entry for all its calls. */
export class ScopedStream implements RegisteredCall, CallPlace<PartOfStream>, StreamHost, Endable, UnreadStream {
  private readonly calls = new Set<PartOfStream>();
  readonly startedAt: number;
  onDrain: ClientDrainMode = 'complete';
  private sent = 0;
  private lastMessageAt: number | undefined;
  private brokenAt: number | undefined;
  /** Start of the next call, in monotonic milliseconds; 0 if none is scheduled. */
  private resumesAt = 0;
  /**
   * Failure of the last call, if that call was counted as interrupted. A stream that then fails without another call is counted as failed.
   */
  private interruption: CallFailure | undefined;
  /** Number of messages that had been delivered when the stream last resumed. */
  private deliveredBefore = 0;
  private deadlineTimer: DeadlineTimer | undefined;
  private unbind: (() => void) | undefined;

  /**
   * Async context of the first call. `end()` and `complete()` end the stream in this context, because a drain or an abort signal may call
   * them in another context.
   */
  private readonly asyncContext = new AsyncResource('ResilientGrpcStream');

  private constructor(
    private readonly scope: StreamScope,
    private context: MethodContext,
    private readonly openedAt: string | undefined,
  ) {
    this.startedAt = context.client.clock.now();
  }

  /** Returns the entry of `scope` in the client of `context`, or creates it. */
  static of(scope: StreamScope, context: MethodContext, openedAt: string | undefined): ScopedStream {
    for (const host of scope.hosts) {
      if (!(host instanceof ScopedStream)) continue;
      if (host.context.client === context.client) return host;
      if (host.calls.size > 0) continue;
      scope.hosts.delete(host);
      host.ended('succeeded');
    }
    const stream = new ScopedStream(scope, context, openedAt);
    scope.hosts.add(stream);
    const { registry, unread } = context.client;
    registry.add(stream);
    if (scope.demand !== undefined) unread.watch(stream, scope.demand);
    return stream;
  }

  get kind(): MethodKind {
    return this.context.method.kind;
  }

  get deadline(): number {
    return this.scope.deadline;
  }

  add(call: PartOfStream): void {
    this.calls.add(call);
    this.resumesAt = 0;
    this.context = call.createdBy;
    this.onDrain = call.onDrain;
    this.stopWatching();
  }

  /** Records that an attempt of one of the stream's calls starts, and emits 'stream-resumed' if the stream was interrupted. */
  onAttemptStart(): void {
    this.scope.attemptBegan();
    const { brokenAt } = this;
    if (brokenAt === undefined) return;
    this.brokenAt = undefined;
    const { registry, events, clock } = this.context.client;
    registry.resumed += 1;
    const { delivered, resumes } = this.scope;
    const progress = delivered > this.deliveredBefore;
    this.deliveredBefore = delivered;
    if (!events.wanted) return;
    const gapMs = clock.now() - brokenAt;
    events.emit({ type: 'stream-resumed', path: this.context.method.path, resumes, gapMs, progress });
  }

  delete(call: PartOfStream, outcome: StreamOutcome): void {
    if (!this.calls.delete(call)) return;
    const { scope } = this;
    const { clock } = this.context.client;
    this.interruption = undefined;
    this.sent += call.sent;
    this.lastMessageAt = call.lastMessageAt ?? this.lastMessageAt;
    // Limits the deadline of the stream to that of the call. If operators are between the stream and its calls, a successful call does not
    // limit the stream, because other calls may follow.
    if (call.isDirect || outcome !== 'succeeded') scope.deadline = Math.min(scope.deadline, call.deadline);
    if (this.calls.size > 0) return;
    this.brokenAt ??= clock.now();
    if (scope.deadline !== Infinity) {
      this.deadlineTimer = new DeadlineTimer(scope.deadline, clock, () => {
        this.end(deadlineFailure(clock.now() - this.startedAt, ', waiting to resume'));
      });
    }
    this.unbind = call.bindTo(this);
  }

  /** Counts the last call, which ended with `failure`, as interrupted, because the stream continues. */
  interrupted(failure: CallFailure, statistics: MethodStatistics): void {
    this.interruption = failure;
    statistics.interrupted += 1;
  }

  ended(outcome: StreamOutcome): void {
    this.stopWatching();
    const { statistics, client } = this.context;
    if (outcome === 'failed' && this.interruption !== undefined) {
      statistics.failed(this.interruption, true, client.clock.now());
    }
    client.unread.forget(this);
    client.registry.delete(this, outcome);
  }

  unread(unreadMs: number): void {
    reportUnread(this.context, this.openedAt, this.startedAt, unreadMs);
  }

  end(failure: CallFailure): void {
    this.stopWatching();
    if (this.interruption !== undefined) this.interruption = isCancelled(failure) ? undefined : failure;
    const reached = this.scope.delivered > 0 ? 'yes' : 'maybe';
    const error = callError(this.context, failure, undefined, reached);
    this.asyncContext.runInAsyncScope(() => {
      this.scope.fail(error);
    });
  }

  terminate(reason: 'draining' | 'closed', details: string): void {
    const running = [...this.calls];
    // Ending the calls ends the stream, because the stream does not resume after these failures.
    for (const call of running) call.terminate(reason, details);
    if (running.length === 0) this.end({ code: StatusCode.UNAVAILABLE, details, reason });
  }

  resumesIn(delayMs: number): void {
    const { clock, registry } = this.context.client;
    this.resumesAt = clock.now() + delayMs;
    if (this.onDrain !== 'complete') this.failBackoff(registry.drainUntil);
  }

  /** Fails the stream if the retry of its call, or its next call, is due at `until` or later. Returns true if the stream has ended. */
  failBackoff(until: number): boolean {
    const [call, other] = this.calls;
    if (other === undefined) call?.failBackoff(until);
    if (call === undefined && this.resumesAt >= until) this.end(draining());
    return this.scope.isOver;
  }

  complete(): void {
    this.stopWatching();
    this.asyncContext.runInAsyncScope(() => {
      outermost(this.scope, this.scope).complete();
    });
  }

  describe(): ActiveCall {
    const running = [...this.calls];
    const latest = running.at(-1);
    const state = {
      peer: latest?.peer,
      startedAt: this.startedAt,
      lastMessageAt: latest?.lastMessageAt ?? this.lastMessageAt,
      sent: running.reduce((sum, { sent }) => sum + sent, this.sent),
      received: this.scope.delivered,
      waiting: running.every(({ waiting }) => waiting),
      resumes: this.scope.resumes,
      openedAt: this.openedAt,
    };
    return describeCall(this.context, state, this);
  }

  private stopWatching(): void {
    this.deadlineTimer?.clear();
    this.deadlineTimer = undefined;
    this.unbind?.();
    this.unbind = undefined;
  }
}

/**
 * Returns the outermost stream around `scope`, or `otherwise` if there is no scope. A drain completes the outermost stream, because an
 * outer stream would restart a completed inner stream.
 */
export function outermost<T>(scope: StreamScope | undefined, otherwise: T): StreamScope | T {
  let end = scope;
  while (end?.outer !== undefined) end = end.outer;
  return end ?? otherwise;
}
