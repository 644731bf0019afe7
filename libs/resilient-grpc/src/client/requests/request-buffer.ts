import { MESSAGE_OVERHEAD, type ReplayLimits } from '../../policy/replay/replay-limits.js';

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
