/** Median latency of an endpoint that is slower than the others, and the median latency of the others. */
export interface LatencyOutlier {
  readonly medianMs: number;
  readonly othersMs: number;
}

/** Minimum number of samples of an endpoint, and of the others together. */
export const MIN_LATENCY_SAMPLES = 16;
/** Minimum difference between the medians in milliseconds. A smaller difference does not justify an ejection. */
const MIN_DIFFERENCE_MS = 10;
/**
 * Minimum score of the rank-sum test. If both samples have the same distribution, of any shape, the probability of a higher score is
 * 3 in 10 million.
 */
const MIN_SCORE = 5;

/**
 * Compares the latencies of an endpoint with those of the others, in milliseconds. The endpoint is an outlier if its median is at least
 * `factor` times the median of the others and at least 10 ms higher, and if the difference is statistically significant. The medians alone
 * would eject healthy endpoints: if methods take 5 ms and 200 ms, the median of a small sample can be either value.
 *
 * @param all latencies of all endpoints including `own`, sorted
 */
export function latencyOutlier(own: readonly number[], all: Float64Array, factor: number): LatencyOutlier | undefined {
  const count = all.length - own.length;
  if (own.length < MIN_LATENCY_SAMPLES || count < MIN_LATENCY_SAMPLES) return undefined;
  const medianMs = median(own);
  // The median of the others is at least this value, because removing samples never lowers the value at a given rank. The check
  // avoids the exact comparison for most endpoints.
  if (medianMs < (all[(count - 1) >> 1] ?? 0) * factor) return undefined;
  const others = withoutSorted(all, sortedNumbers(own));
  const othersMs = medianOfSorted(others);
  if (medianMs < othersMs * factor || medianMs - othersMs < MIN_DIFFERENCE_MS) return undefined;
  return rankSumScore(own, others) >= MIN_SCORE ? { medianMs, othersMs } : undefined;
}

/** Median of `values`; NaN if the list is empty. */
export function median(values: readonly number[]): number {
  return medianOfSorted(sortedNumbers(values));
}

function medianOfSorted(sorted: Float64Array): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** Returns `values` in ascending order. */
export function sortedNumbers(values: readonly number[]): Float64Array {
  // Sorting a typed array is ten times as fast as sorting a plain array.
  return new Float64Array(values).sort();
}

/** Returns `all` without the values of `part`; both are sorted, and `all` contains `part`. */
export function withoutSorted(all: Float64Array, part: Float64Array): Float64Array {
  let next = 0;
  return all.filter((value) => {
    if (value !== part[next]) return true;
    next += 1;
    return false;
  });
}

/** Score of the Mann-Whitney rank-sum test: by how many standard deviations `own` ranks above `others`, which are sorted. */
function rankSumScore(own: readonly number[], others: Float64Array): number {
  let wins = 0;
  for (const value of own) {
    const below = countBelow(others, value, false);
    wins += below + (countBelow(others, value, true) - below) / 2;
  }
  const pairs = own.length * others.length;
  const deviation = Math.sqrt((pairs * (own.length + others.length + 1)) / 12);
  return (wins - pairs / 2) / deviation;
}

/** Number of values in `sorted` that are below `limit`, or equal to it if `orEqual` is true. */
function countBelow(sorted: Float64Array, limit: number, orEqual: boolean): number {
  let from = 0;
  let to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    const value = sorted[middle] ?? Infinity;
    if (value < limit || (orEqual && value === limit)) from = middle + 1;
    else to = middle;
  }
  return from;
}
