/**
 * Milliseconds since 1970 with fractions, never going back within a process: the gateway and the upstream are two processes, and
 * what one of them says about an instant is compared with what the other saw.
 */
export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}
