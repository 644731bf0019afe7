/**
 * @param {readonly number[]} values At least one.
 * @returns {number}
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

/**
 * Returns the smallest measured value that at least `share` of the values do not exceed. With few values, an interpolated quantile would be
 * a value that was never measured.
 *
 * @param {readonly number[]} values At least one.
 * @param {number} share Above 0, up to 1.
 * @returns {number}
 */
export function nearestRank(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * share) - 1] ?? NaN;
}

/**
 * Returns the spread of `values`: the quartiles, such as '0.21–0.26'.
 *
 * @param {readonly number[]} values At least one.
 */
export function quartiles(values) {
  return `${nearestRank(values, 0.25).toFixed(2)}–${nearestRank(values, 0.75).toFixed(2)}`;
}
