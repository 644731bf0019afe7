/** Largest window that is measured, in bytes. */
export const MAX_MEASURED_WINDOW = 16_777_216;
/** Share of the window that must arrive after the PING. It is below a half, because the PING follows the first half, and frames are large. */
const FULL_SHARE = 1 / 3;

/**
 * Measures the window that the connection needs: the bytes that arrive within a round trip, bandwidth × delay, as grpc-go does. If they fill
 * the window, and arrive faster than ever before, the window doubles. A round trip is measured by a PING, which follows a window update, so
 * that connections with small responses send none.
 */
export class BdpEstimator {
  private startedAt: number | undefined;
  private received = 0;
  /** True if data has arrived since the last PING was answered. Servers reject PINGs between which they have sent nothing (gRFC A8). */
  private hasNewData = false;
  /** Highest rate so far, in bytes per millisecond. */
  private maxRate = 0;

  /** @param window size in bytes of the window that streams have at first */
  constructor(public window: number) {}

  /** True if a PING should be sent, and `begin()` called. */
  get mayBegin(): boolean {
    return this.hasNewData && this.startedAt === undefined && this.window < MAX_MEASURED_WINDOW;
  }

  begin(now: number): void {
    this.startedAt = now;
    this.received = 0;
  }

  add(bytes: number): void {
    this.received += bytes;
    this.hasNewData = true;
  }

  /** The peer has acknowledged the PING. */
  end(now: number): void {
    const { startedAt, received } = this;
    if (startedAt === undefined) return;
    this.startedAt = undefined;
    this.hasNewData = false;
    const rate = received / Math.max(now - startedAt, 1);
    if (rate <= this.maxRate) return;
    this.maxRate = rate;
    if (received >= FULL_SHARE * this.window) this.window = Math.min(this.window * 2, MAX_MEASURED_WINDOW);
  }
}
