/** Kind of a call. Reads are safe to repeat; writes are not. */
export type CallKind = 'read' | 'write';

/** A call that has started. */
export interface OpenCall {
  readonly kind: CallKind;
  readonly startedAtMs: number;
}

/** The failure of a call. */
export interface CallFailure {
  /** Name of the gRPC status, or of the failure if the call ended without a status. */
  readonly codeName: string;
  /** True if the contender reports that the connection was lost after the request was sent. */
  readonly lostInFlight: boolean;
}

/** The figures of one contender so far. */
export interface MeasurementSnapshot {
  readonly calls: number;
  readonly succeeded: number;
  /** All failures except `unsafeInFlightFailed`. */
  readonly failed: number;
  readonly failedReads: number;
  readonly failedWrites: number;
  readonly failedByCode: Readonly<Record<string, number>>;
  /** Failed writes that were in flight when the connection was lost. It is unknown whether they were applied. */
  readonly unsafeInFlightFailed: number;
  readonly inFlight: number;
  /** Number of calls in flight for longer than a user expects. */
  readonly waiting: number;
  /** Longest duration of a call, including calls that are still open. */
  readonly longestWaitMs: number;
  /** Longest time from when the server became reachable again to the first success. Includes a recovery in progress. */
  readonly recoveryMs: number;
}

// Maximum time a client takes to detect a lost connection, in milliseconds. A write that started later was not in flight during the loss.
const DETECTION_DELAY_MS = 500;

/** Duration from which a call in flight counts as waiting, in milliseconds. */
const WAITING_MS = 1_000;

/** Code of calls that were still open at the end of the measurement. */
const NEVER_ENDED = 'NEVER_ENDED';

/** Measures the calls of one contender. All times are passed in and come from one clock. */
export class Measurement {
  private readonly open = new Set<OpenCall>();
  private readonly failed: Record<CallKind, number> = { read: 0, write: 0 };
  private readonly failedByCode: Record<string, number> = {};
  private readonly connectionsLostAtMs: number[] = [];
  private calls = 0;
  private succeeded = 0;
  private unsafeInFlightFailed = 0;
  private longestWaitMs = 0;
  private recoveryMs = 0;
  /** Start of the current recovery; `undefined` if no recovery is in progress. */
  private reachableSinceMs: number | undefined;

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
    if (call.kind === 'write' && failure.lostInFlight && this.wasInFlightAtALoss(call, atMs)) {
      this.unsafeInFlightFailed += 1;
      return;
    }
    this.failed[call.kind] += 1;
    this.failedByCode[failure.codeName] = (this.failedByCode[failure.codeName] ?? 0) + 1;
  }

  /** Records that the upstream or a proxy broke all connections. */
  connectionsLost(atMs: number): void {
    this.connectionsLostAtMs.push(atMs);
    this.reachableSinceMs = undefined;
  }

  /** Records that calls can succeed again. The recovery time is measured from `atMs`. */
  serverReachable(atMs: number): void {
    this.reachableSinceMs = atMs;
  }

  /** Records that no calls begin until the load continues. A recovery in progress counts as lasting until `atMs`. */
  paused(atMs: number): void {
    if (this.reachableSinceMs === undefined) return;
    this.recoveryMs = Math.max(this.recoveryMs, atMs - this.reachableSinceMs);
    this.reachableSinceMs = undefined;
  }

  /** Ends the measurement and counts open calls as failed. */
  abandonOpenCalls(atMs: number): void {
    for (const call of [...this.open]) this.fail(call, atMs, { codeName: NEVER_ENDED, lostInFlight: false });
  }

  snapshot(atMs: number): MeasurementSnapshot {
    const openMs = [...this.open].map(({ startedAtMs }) => atMs - startedAtMs);
    // A recovery that is still in progress has taken at least this long.
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
      waiting: openMs.filter((ms) => ms > WAITING_MS).length,
      longestWaitMs: openMs.reduce((longest, ms) => Math.max(longest, ms), this.longestWaitMs),
      recoveryMs: Math.max(this.recoveryMs, recoveringMs),
    };
  }

  private end(call: OpenCall, atMs: number): void {
    this.open.delete(call);
    this.longestWaitMs = Math.max(this.longestWaitMs, atMs - call.startedAtMs);
  }

  private wasInFlightAtALoss(call: OpenCall, endedAtMs: number): boolean {
    return this.connectionsLostAtMs.some(
      (lostAtMs) => call.startedAtMs <= lostAtMs + DETECTION_DELAY_MS && endedAtMs >= lostAtMs,
    );
  }
}
