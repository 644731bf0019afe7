/**
 * Returns the milliseconds since 1970, with fractions. Monotonic within a process. Based on the epoch, because timestamps of the gateway
 * and the upstream, which are two processes, are compared.
 */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
