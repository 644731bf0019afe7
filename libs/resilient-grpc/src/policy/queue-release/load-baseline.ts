import { RollingCount } from '../../time/rolling-count.js';

const BUCKET_MS = 1_000;
/** Time over which the calls are counted. */
const WINDOW_MS = 10 * BUCKET_MS;
const COARSE_STEP = 1.05;
const FINE_STEP = 1.01;
const COARSE_SAMPLES = 100;

/** Returns the usual latency in milliseconds of the method with this path; 0 if the latency is unknown. */
export type UsualLatency = (path: string | undefined) => number;

/** Latency of the successful unary and client-streaming calls of a method. */
interface MethodLatency {
  /** Estimate of the median in milliseconds, accurate to a few percent. */
  medianMs: number;
  samples: number;
}

/**
 * Measures a client's normal load: calls per second over the last ten seconds, and the median latency of each method. Runs on every call,
 * so it must be cheap: it allocates only for the first call of a method. Times are monotonic milliseconds.
 */
export class LoadBaseline {
  private readonly calls = new RollingCount(WINDOW_MS);
  private frozenAt: number | undefined;
  private readonly latencies = new Map<string, MethodLatency>();

  /** @param startedAt start of the measurement, later by the duration of each outage since then */
  constructor(private startedAt: number) {}

  callStarted(now: number): void {
    if (this.frozenAt === undefined) this.calls.add(now - this.startedAt);
  }

  /**
   * Moves the median estimate of a method one step toward the sample ("frugal" median). Steps are factors, so that the estimate converges
   * both at 0.2 ms and at 20 s. The first steps are large, and later steps are small.
   */
  answered(latencyMs: number, path: string): void {
    let latency = this.latencies.get(path);
    if (latency === undefined) {
      latency = { medianMs: Math.max(latencyMs, 0.01), samples: 0 };
      this.latencies.set(path, latency);
    }
    const step = latency.samples < COARSE_SAMPLES ? COARSE_STEP : FINE_STEP;
    latency.samples++;
    if (latencyMs > latency.medianMs) latency.medianMs *= step;
    else if (latencyMs < latency.medianMs) latency.medianMs /= step;
  }

  /** Returns the current median latencies; later responses do not change them. */
  usualLatency(): UsualLatency {
    const methods = [...this.latencies].map(([path, { medianMs, samples }]) => ({ path, medianMs, samples }));
    methods.sort((a, b) => a.medianMs - b.medianMs);
    let left = methods.reduce((sum, { samples }) => sum + samples, 0) / 2;
    const ofMedianCall = methods.find(({ samples }) => (left -= samples) <= 0)?.medianMs ?? 0;
    const medians = new Map<string | undefined, number>(methods.map(({ path, medianMs }) => [path, medianMs]));
    return (path) => medians.get(path) ?? ofMedianCall;
  }

  /** Returns the calls per second over the last ten seconds, excluding frozen time, averaged over at least one second. */
  callsPerSecond(now: number): number {
    const elapsedMs = (this.frozenAt ?? now) - this.startedAt;
    this.calls.add(elapsedMs, 0);
    const coveredMs = Math.min(elapsedMs, (elapsedMs % BUCKET_MS) + WINDOW_MS - BUCKET_MS);
    return (this.calls.count * 1_000) / Math.max(coveredMs, BUCKET_MS);
  }

  /** Stops counting calls when an outage starts, because load during an outage is not normal. */
  freeze(now: number): void {
    this.frozenAt ??= now;
  }

  /** Resumes counting calls when the outage ends, and excludes the duration of the outage. */
  thaw(now: number): void {
    if (this.frozenAt === undefined) return;
    this.startedAt += now - this.frozenAt;
    this.frozenAt = undefined;
  }
}
