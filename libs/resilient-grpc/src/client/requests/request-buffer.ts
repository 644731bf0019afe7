import { MESSAGE_OVERHEAD, type ReplayLimits } from '../../policy/replay/replay-limits.js';

/**
 * Messages of a request stream that were sent and may have to be resent. A message that does not fit is sent, but then nothing can be
 * resent (gRFC A6, "Memory Management (Buffering)").
 */
export class RequestBuffer {
  private readonly messages: Uint8Array[] = [];
  private bytes = 0;
  /** True if the buffer contains everything that was sent. */
  complete = true;

  constructor(private readonly limits: ReplayLimits) {}

  get length(): number {
    return this.messages.length;
  }

  at(index: number): Uint8Array | undefined {
    return this.messages[index];
  }

  /** Adds a payload that is being sent. With interceptors it is a message of unknown size, which cannot be kept within the limits. */
  add(payload: unknown): void {
    if (!this.complete) return;
    if (!(payload instanceof Uint8Array) || !this.limits.take(payload.length + MESSAGE_OVERHEAD, this.bytes)) {
      this.drop();
      return;
    }
    this.messages.push(payload);
    this.bytes += payload.length + MESSAGE_OVERHEAD;
  }

  /** Releases all messages, because the call is committed or has ended, or because a message did not fit. */
  drop(): void {
    this.complete = false;
    this.limits.release(this.bytes);
    this.bytes = 0;
    this.messages.length = 0;
  }
}
