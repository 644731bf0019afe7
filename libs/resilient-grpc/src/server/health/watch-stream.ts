import type { WireCall } from '../calls/wire-call.js';

/** A status as the protocol has it: `{ status: 'SERVING' }`. */
interface HealthStatus {
  readonly status: string;
}

/**
 * The call of one Watch, as the health service sees it. What it writes twice is sent once, and a client that does not read gets the
 * latest when it reads again: what changed in between is no news, and must not pile up.
 */
export class WatchStream {
  private sent: string | undefined;
  private full = false;
  private waiting: HealthStatus | undefined;

  constructor(private readonly call: WireCall) {
    call.on('drain', () => {
      const { waiting } = this;
      this.full = false;
      this.waiting = undefined;
      if (waiting !== undefined) this.write(waiting);
    });
  }

  get request(): unknown {
    return this.call.request;
  }

  on(event: string, listener: () => void): void {
    this.call.on(event, listener);
  }

  write(status: HealthStatus): void {
    if (this.call.writableEnded) return;
    if (this.full) {
      this.waiting = status;
      return;
    }
    if (status.status === this.sent) return;
    this.sent = status.status;
    this.full = !this.call.write(status);
  }
}
