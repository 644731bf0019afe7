/**
 * Returns the quantile of `values` at `share`, with the default interpolation of R and NumPy.
 *
 * @param {readonly number[]} values At least one.
 * @param {number} share From 0 to 1.
 * @returns {number}
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)] ?? NaN;
  const above = sorted[Math.ceil(position)] ?? NaN;
  return below + (above - below) * (position - Math.floor(position));
}

/**
 * @param {readonly number[]} values At least one.
 * @returns {number}
 */
export function median(values) {
  return quantile(values, 0.5);
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
