/** What keeping a message takes beside its bytes: tiny ones would else be many times what is counted. */
const MESSAGE_OVERHEAD = 128;

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

/**
 * Messages of a request stream that were sent and may have to be sent again. What does not fit is sent all the same, but not
 * again (gRFC A6, "Memory Management (Buffering)").
 */
export class RequestBuffer {
  private readonly messages: Uint8Array[] = [];
  private bytes = 0;
  /** Everything that was sent is in here. */
  complete = true;

  constructor(private readonly limits: ReplayLimits) {}

  get length(): number {
    return this.messages.length;
  }

  at(index: number): Uint8Array | undefined {
    return this.messages[index];
  }

  /** `payload` is sent. Under interceptors it is a message of unknown size, which cannot be kept within bounds. */
  add(payload: unknown): void {
    if (!this.complete) return;
    if (!(payload instanceof Uint8Array) || !this.limits.take(payload.length + MESSAGE_OVERHEAD, this.bytes)) {
      this.drop();
      return;
    }
    this.messages.push(payload);
    this.bytes += payload.length + MESSAGE_OVERHEAD;
  }

  /** Nothing of it will be needed again: the call is committed, or has ended. */
  drop(): void {
    this.complete = false;
    this.limits.release(this.bytes);
    this.bytes = 0;
    this.messages.length = 0;
  }
}
