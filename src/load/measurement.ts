import { LatencyHistogram, type LatencyPercentiles } from './latency-histogram.js';

/** What a call does: reads are safe to repeat, writes are not. */
export type CallKind = 'read' | 'write';

/** A call that has begun. */
export interface OpenCall {
  readonly kind: CallKind;
  readonly startedAtMs: number;
}

/** How a call failed. */
export interface CallFailure {
  /** Name of the gRPC status. */
  readonly codeName: string;
  /** The contender says that the connection was lost after the request had been sent. */
  readonly lostInFlight: boolean;
}

/** What was counted for one contender so far. */
export interface MeasurementSnapshot {
  readonly calls: number;
  readonly succeeded: number;
  /** All failures but `unsafeInFlightFailed`. */
  readonly failed: number;
  readonly failedReads: number;
  readonly failedWrites: number;
  readonly failedByCode: Readonly<Record<string, number>>;
  /** Writes in flight when the connection was lost: nobody can know whether they were applied. */
  readonly unsafeInFlightFailed: number;
  readonly inFlight: number;
  /** Longest time from a call's beginning to its end, also of those that have not ended yet. */
  readonly longestWaitMs: number;
  /** From a call's beginning to its end, however it ended. */
  readonly latencyMs: LatencyPercentiles;
  /** Longest time from the moment the server could be reached again to the first success after it, or until now. */
  readonly recoveryMs: number;
  /** Longest time from the moment the server could be reached again to the last failure after it; 0: nothing failed after it. */
  readonly allWellMs: number;
}

// A client sees the loss of its connection a moment after it happened. A write begun later than this after the loss was not in
// flight, whatever its error says.
const SEEN_WITHIN_MS = 500;

/** Code of calls that had not ended when the measurement did. */
const NEVER_ENDED = 'NEVER_ENDED';

/** Counts the calls of one contender. All instants are given, by one clock. */
export class Measurement {
  private readonly open = new Set<OpenCall>();
  private readonly failed: Record<CallKind, number> = { read: 0, write: 0 };
  private readonly failedByCode: Record<string, number> = {};
  private readonly connectionsLostAtMs: number[] = [];
  private readonly latencies = new LatencyHistogram();
  private calls = 0;
  private succeeded = 0;
  private unsafeInFlightFailed = 0;
  private longestWaitMs = 0;
  private recoveryMs = 0;
  private allWellMs = 0;
  /** While the first success after it is still to come. */
  private reachableSinceMs: number | undefined;
  /** Until connections are lost again. */
  private lastReachableMs: number | undefined;

  begin(kind: CallKind, atMs: number): OpenCall {
    const call = { kind, startedAtMs: atMs };
    this.calls += 1;
    this.open.add(call);
    return call;
  }

  succeed(call: OpenCall, atMs: number): void {
    this.end(call, atMs);
    this.succeeded += 1;
    if (this.reachableSinceMs === undefined || atMs < this.reachableSinceMs) return;
    this.recoveryMs = Math.max(this.recoveryMs, atMs - this.reachableSinceMs);
    this.reachableSinceMs = undefined;
  }

  fail(call: OpenCall, atMs: number, failure: CallFailure): void {
    this.end(call, atMs);
    if (this.lastReachableMs !== undefined && atMs > this.lastReachableMs)
      this.allWellMs = Math.max(this.allWellMs, atMs - this.lastReachableMs);
    if (call.kind === 'write' && failure.lostInFlight && this.wasInFlightAtALoss(call, atMs)) {
      this.unsafeInFlightFailed += 1;
      return;
    }
    this.failed[call.kind] += 1;
    this.failedByCode[failure.codeName] = (this.failedByCode[failure.codeName] ?? 0) + 1;
  }

  /** The upstream, or what stands before it, broke all connections. */
  connectionsLost(atMs: number): void {
    this.connectionsLostAtMs.push(atMs);
    this.reachableSinceMs = undefined;
    this.lastReachableMs = undefined;
  }

  /** From now on a call can succeed again: the time until one does is the recovery. */
  serverReachable(atMs: number): void {
    this.reachableSinceMs = atMs;
    this.lastReachableMs = atMs;
  }

  /** Ends the measurement: calls that have not ended have failed. */
  abandonOpenCalls(atMs: number): void {
    for (const call of [...this.open]) this.fail(call, atMs, { codeName: NEVER_ENDED, lostInFlight: false });
  }

  snapshot(atMs: number): MeasurementSnapshot {
    let longestWaitMs = this.longestWaitMs;
    for (const call of this.open) longestWaitMs = Math.max(longestWaitMs, atMs - call.startedAtMs);
    // Who has not come back yet has taken at least this long.
    const recoveringMs = this.reachableSinceMs === undefined ? 0 : atMs - this.reachableSinceMs;
    return {
      calls: this.calls,
      succeeded: this.succeeded,
      failed: this.failed.read + this.failed.write,
      failedReads: this.failed.read,
      failedWrites: this.failed.write,
      failedByCode: { ...this.failedByCode },
      unsafeInFlightFailed: this.unsafeInFlightFailed,
      inFlight: this.open.size,
      longestWaitMs,
      latencyMs: this.latencies.percentiles(),
      recoveryMs: Math.max(this.recoveryMs, recoveringMs),
      allWellMs: this.allWellMs,
    };
  }

  private end(call: OpenCall, atMs: number): void {
    this.open.delete(call);
    const tookMs = atMs - call.startedAtMs;
    this.longestWaitMs = Math.max(this.longestWaitMs, tookMs);
    this.latencies.add(tookMs);
  }

  private wasInFlightAtALoss(call: OpenCall, endedAtMs: number): boolean {
    return this.connectionsLostAtMs.some(
      (lostAtMs) => call.startedAtMs <= lostAtMs + SEEN_WITHIN_MS && endedAtMs >= lostAtMs,
    );
  }
}
