/**
 * Returns the milliseconds since 1970, with fractions. Monotonic within a process. Based on the epoch, because timestamps of two processes
 * (gateway and upstream) are compared.
 */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
