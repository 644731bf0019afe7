/** Memory that a kept message takes beside its bytes. Without it, tiny messages would take many times what is counted. */
export const MESSAGE_OVERHEAD = 128;

/** Bounds the bytes of requests that a client keeps for further attempts: of one call, and of all calls together. */
export class ReplayLimits {
  /** Bytes kept now. */
  used = 0;

  constructor(
    private readonly perCall: number,
    private readonly perClient: number,
  ) {}

  /** Counts `bytes` more of a call that keeps `kept` bytes. False if a limit forbids it: then nothing is counted. */
  take(bytes: number, kept: number): boolean {
    if (kept + bytes > this.perCall || this.used + bytes > this.perClient) return false;
    this.used += bytes;
    return true;
  }

  release(bytes: number): void {
    this.used -= bytes;
  }
}
