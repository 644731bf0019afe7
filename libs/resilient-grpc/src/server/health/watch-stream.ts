import type { WireCall } from '../calls/wire-call.js';

/**
 * One Watch call. A repeated status is sent once. A client that stops reading receives only the latest status when it reads again, so
 * that outdated ones do not accumulate. There may be thousands of watchers, so an idle one holds only two fields.
 */
export class WatchStream {
  private sent: string | undefined;
  /** Latest status, while the client does not read. */
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
