/** Maximum number of latencies that are kept. */
const MAX_SAMPLES = 32;
/**
 * Minimum time between two samples in milliseconds, so that `MAX_SAMPLES` samples span about a second or more. Otherwise, at a thousand
 * calls per second, a pause of 200 ms (garbage collection) would fill the samples with slow responses.
 */
const SAMPLE_SPACING_MS = 1_000 / MAX_SAMPLES;
const MAX_SAMPLE_AGE_MS = 30_000;
/** Weight of one attempt in the average of failures. */
const FAILURE_WEIGHT = 0.1;

/** Counts and samples of the attempts on one endpoint. Times are monotonic milliseconds. */
export class EndpointRecord {
  /** Number of successes since the start of the interval. */
  successes = 0;
  /** Number of failures since the start of the interval. */
  failures = 0;
  /** Number of failures since the last success. */
  consecutiveFailures = 0;
  /** Recent share of failures, 0 to 1. */
  failureShare = 0;
  /** Time of the last response; −Infinity before the first. */
  respondedAt = -Infinity;
  /** Number of further intervals into which the counts were carried over. */
  carried = 0;
  private readonly latencies: { readonly at: number; readonly ms: number }[] = [];

  count(outcome: 'success' | 'failure'): void {
    const failed = outcome === 'failure' ? 1 : 0;
    this.failures += failed;
    this.successes += 1 - failed;
    this.consecutiveFailures = failed === 0 ? 0 : this.consecutiveFailures + 1;
    this.failureShare += (failed - this.failureShare) * FAILURE_WEIGHT;
  }

  /**
   * Adds a latency: the time until a response, or until the client stopped waiting for one. Has no effect if less than `SAMPLE_SPACING_MS`
   * has passed since the last sample.
   */
  addLatency(ms: number, at: number): void {
    const last = this.latencies.at(-1);
    if (last !== undefined && at - last.at < SAMPLE_SPACING_MS) return;
    this.latencies.push({ at, ms });
    const isOld = at - (this.latencies[0]?.at ?? at) > MAX_SAMPLE_AGE_MS;
    if (isOld || this.latencies.length > MAX_SAMPLES) this.latencies.shift();
  }

  /** Number of kept latencies; some of them may no longer be recent. */
  get keptLatencies(): number {
    return this.latencies.length;
  }

  /** Recent latencies in milliseconds, oldest first. */
  latenciesAt(now: number): number[] {
    return this.latencies.filter(({ at }) => now - at <= MAX_SAMPLE_AGE_MS).map(({ ms }) => ms);
  }

  startInterval(): void {
    this.successes = 0;
    this.failures = 0;
    this.carried = 0;
  }

  /** Discards all counts and latencies. Called when the endpoint is ejected and when it returns. */
  clear(): void {
    this.startInterval();
    this.consecutiveFailures = 0;
    this.failureShare = 0;
    this.latencies.length = 0;
  }
}
