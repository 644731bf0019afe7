import type { StatusCode } from '../../status/status-code.js';
import { LatencyHistogram } from '../../time/latency-histogram.js';
import type { MethodSnapshot, RecentCalls } from '../client-snapshot.js';
import { StatusCounts } from './status-counts.js';

/** Length of one slice: half of the maximum window. */
const SLICE_MS = 30_000;

/** Calls that ended in one time slice. */
class Slice {
  ended = 0;
  failed = 0;
  readonly codes = new StatusCounts();
  /** Created by the first measured call, because many methods of a client are never called. */
  latencies: LatencyHistogram | undefined;

  constructor(public beganAt: number) {}

  clear(now: number): void {
    this.beganAt = now;
    this.ended = 0;
    this.failed = 0;
    this.codes.clear();
    this.latencies?.clear();
  }
}

/** Results of a method's recent calls: those of the current 30 s slice and of the one before. Times are monotonic milliseconds. */
export class RecentWindow {
  private current: Slice;
  private previous: Slice;

  constructor(private readonly beganAt: number) {
    this.current = new Slice(beganAt);
    this.previous = new Slice(beganAt);
  }

  answered(latencyMs: number, now: number): void {
    const slice = this.sliceAt(now);
    slice.latencies ??= new LatencyHistogram();
    slice.latencies.record(latencyMs);
  }

  succeeded(latencyMs: number | undefined, now: number): void {
    const slice = this.sliceAt(now);
    slice.ended += 1;
    if (latencyMs === undefined) return;
    slice.latencies ??= new LatencyHistogram();
    slice.latencies.record(latencyMs);
  }

  failed(code: StatusCode, now: number): void {
    const slice = this.sliceAt(now);
    slice.ended += 1;
    slice.failed += 1;
    slice.codes.add(code);
  }

  calls(now: number): RecentCalls {
    const both = this.bothAt(now);
    const codes = new StatusCounts();
    for (const slice of both) codes.addAll(slice.codes);
    return {
      windowMs: Math.round(now - Math.max(this.beganAt, this.previous.beganAt)),
      ended: both.reduce((sum, { ended }) => sum + ended, 0),
      failed: both.reduce((sum, { failed }) => sum + failed, 0),
      codes: codes.toJSON(),
    };
  }

  latency(now: number): MethodSnapshot['latency'] {
    const both = this.bothAt(now).flatMap(({ latencies }) => (latencies === undefined ? [] : latencies));
    if (both.every(({ isEmpty }) => isEmpty)) return undefined;
    const joined = new LatencyHistogram();
    for (const one of both) joined.addAll(one);
    return {
      p50Ms: joined.percentile(50),
      p90Ms: joined.percentile(90),
      p99Ms: joined.percentile(99),
      maxMs: joined.percentile(100),
    };
  }

  private bothAt(now: number): readonly [Slice, Slice] {
    return [this.sliceAt(now), this.previous];
  }

  private sliceAt(now: number): Slice {
    const age = now - this.current.beganAt;
    if (age < SLICE_MS) return this.current;
    const { previous } = this;
    this.previous = this.current;
    this.current = previous;
    previous.clear(now - (age % SLICE_MS));
    // Nothing ended for a whole slice, so the other slice is too old, too.
    if (age >= 2 * SLICE_MS) this.previous.clear(previous.beganAt - SLICE_MS);
    return previous;
  }
}
