const never = new Int32Array(new SharedArrayBuffer(4));

/**
 * Blocks this thread for `ms` milliseconds, as a busy handler does, but leaves the CPU to other tests.
 *
 * @param {number} ms
 */
export function block(ms) {
  Atomics.wait(never, 0, 0, ms);
}
