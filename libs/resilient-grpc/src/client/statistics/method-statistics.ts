import type { MethodDescriptor } from '../../call/method.js';
import type { FailureReason } from '../../errors/grpc-call-error.js';
import type { StatusCode } from '../../status/status-code.js';
import type { MethodSnapshot, RecentCalls } from '../client-snapshot.js';
import { RecentWindow } from './recent-window.js';
import { StatusCounts } from './status-counts.js';

/** Data about a failed call. */
export interface CountedFailure {
  readonly code: StatusCode;
  readonly reason: FailureReason;
  readonly details: string;
  readonly because?: string;
  readonly peer?: string | undefined;
}

/** Counts the failures of all methods. */
export interface FailureCounter {
  /** @param attempted true if an attempt was made */
  failed(path: string, failure: CountedFailure, attempted: boolean): void;
}

/** Counters of one method. They are always maintained, because they are only numbers. Times are monotonic milliseconds. */
export class MethodStatistics {
  started = 0;
  attempts = 0;
  retried = 0;
  hedged = 0;
  private succeededCalls = 0;
  private failedCalls = 0;
  private cancelledCalls = 0;
  private readonly codes = new StatusCounts();
  private readonly recent: RecentWindow;

  constructor(
    private readonly method: Pick<MethodDescriptor, 'path' | 'kind'>,
    private readonly client: FailureCounter,
    now: number,
  ) {
    this.recent = new RecentWindow(now);
  }

  /** Records the response of a call, `latencyMs` after the call started. */
  answered(latencyMs: number, now: number): void {
    this.recent.answered(latencyMs, now);
  }

  /** Counts a call that succeeded; with its latency, if `answered` has not recorded it. */
  succeeded(latencyMs: number | undefined, now: number): void {
    this.succeededCalls += 1;
    this.recent.succeeded(latencyMs, now);
  }

  /** Counts a call that its caller cancelled. */
  cancelled(): void {
    this.cancelledCalls += 1;
  }

  /** @param attempted true if an attempt was made */
  failed(failure: CountedFailure, attempted: boolean, now: number): void {
    this.failedCalls += 1;
    this.codes.add(failure.code);
    this.recent.failed(failure.code, now);
    this.client.failed(this.method.path, failure, attempted);
  }

  /** Counts a call whose request source threw or pushed too much. */
  sourceFailed(): void {
    this.failedCalls += 1;
  }

  /** Counts a call that was rejected before it started, only among the failures of the client. */
  refused(failure: CountedFailure): void {
    this.client.failed(this.method.path, failure, false);
  }

  recentCalls(now: number): RecentCalls {
    return this.recent.calls(now);
  }

  snapshot(now: number): MethodSnapshot {
    const latency = this.recent.latency(now);
    return {
      path: this.method.path,
      kind: this.method.kind,
      started: this.started,
      succeeded: this.succeededCalls,
      failed: this.failedCalls,
      cancelled: this.cancelledCalls,
      attempts: this.attempts,
      retried: this.retried,
      hedged: this.hedged,
      codes: this.codes.toJSON(),
      recent: this.recentCalls(now),
      ...(latency === undefined ? {} : { latency }),
    };
  }
}
