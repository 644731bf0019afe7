/** What keeping a message takes beside its bytes: tiny ones would else be many times what is counted. */
const MESSAGE_OVERHEAD = 128;

/** How many bytes of requests a client keeps for further attempts: of one call, and of all together. */
export class ReplayLimits {
  /** Bytes kept now. */
  used = 0;

  constructor(
    readonly perCall: number,
    readonly perClient: number,
  ) {}
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
    const { limits } = this;
    const bytes = payload instanceof Uint8Array ? payload.length + MESSAGE_OVERHEAD : Infinity;
    if (
      !(payload instanceof Uint8Array) ||
      this.bytes + bytes > limits.perCall ||
      limits.used + bytes > limits.perClient
    ) {
      this.drop();
      return;
    }
    this.messages.push(payload);
    this.bytes += bytes;
    limits.used += bytes;
  }

  /** Nothing of it will be needed again: the call is committed, or has ended. */
  drop(): void {
    this.complete = false;
    this.limits.used -= this.bytes;
    this.bytes = 0;
    this.messages.length = 0;
  }
}
