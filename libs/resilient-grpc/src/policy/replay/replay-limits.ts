/**
 * Bytes counted per buffered message in addition to its size. Without them, the memory for tiny messages would exceed the limits many times
 * over.
 */
export const MESSAGE_OVERHEAD_BYTES = 128;

/** Limits the bytes of requests that a client buffers for further attempts, per call and for all calls together. */
export class ReplayLimits {
  /** Currently buffered bytes. */
  used = 0;

  constructor(
    private readonly perCall: number,
    private readonly perClient: number,
  ) {}

  /** Adds `bytes` for a call that already buffers `kept` bytes. Returns false and adds nothing if a limit would be exceeded. */
  take(bytes: number, kept: number): boolean {
    if (kept + bytes > this.perCall || this.used + bytes > this.perClient) return false;
    this.used += bytes;
    return true;
  }

  release(bytes: number): void {
    this.used -= bytes;
  }
}
