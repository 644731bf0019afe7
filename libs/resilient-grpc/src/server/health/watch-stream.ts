import type { WireCall } from '../calls/wire-call.js';

/**
 * The call of one Watch. What it writes twice is sent once, and a client that does not read gets the latest when it reads again: what
 * changed in between is no news, and must not pile up. There may be thousands: an idle one holds two fields.
 */
export class WatchStream {
  private sent: string | undefined;
  /** The latest status, while the client does not read. */
  private waiting: string | undefined;

  constructor(private readonly call: WireCall) {}

  write(status: string): void {
    if (this.call.writableEnded) return;
    if (this.waiting !== undefined) {
      this.waiting = status;
      return;
    }
    if (status === this.sent) return;
    this.sent = status;
    if (this.call.write({ status })) return;
    this.waiting = status;
    this.call.once('drain', () => {
      const { waiting = status } = this;
      this.waiting = undefined;
      this.write(waiting);
    });
  }
}
