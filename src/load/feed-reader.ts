import { setTimeout as delay } from 'node:timers/promises';
import { epochMs } from '../epoch.js';
import type { OrderEvent } from '../gen/orders.pb.js';
import { FeedLedger } from './feed-ledger.js';

// Long enough to fill the buffers on the path, so that flow control takes effect.
const PAUSE_MS = 1_000;
const PAUSE_INTERVAL_MS = 4_000;

/** A reader of a feed. Handles one event at a time and may pause occasionally. */
export class FeedReader {
  readonly ledger: FeedLedger;
  private nextPauseAtMs: number;

  /**
   * @param from cursor after which the reader starts
   * @param pausing true if the reader pauses occasionally
   */
  constructor(from: string, pausing: boolean) {
    const nowMs = epochMs();
    this.ledger = new FeedLedger(from, nowMs);
    this.nextPauseAtMs = pausing ? nowMs + PAUSE_INTERVAL_MS : Infinity;
  }

  /** Handles one event. Resolves when the reader is ready for the next. */
  async handle({ sequence }: OrderEvent): Promise<void> {
    if (!this.ledger.accept(sequence, epochMs()) || epochMs() < this.nextPauseAtMs) return;
    await delay(PAUSE_MS);
    this.nextPauseAtMs = epochMs() + PAUSE_INTERVAL_MS;
    this.ledger.startWait(epochMs());
  }
}
