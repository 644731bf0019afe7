import { setTimeout as delay } from 'node:timers/promises';
import { epochMs } from '../epoch.js';
import type { OrderEvent } from '../gen/orders.pb.js';
import { FeedLedger } from './feed-ledger.js';

// Longer than the buffers on the way last, so that flow control has something to do.
const PAUSE_MS = 1_000;
const PAUSE_EVERY_MS = 4_000;

/** Who reads a feed: one event at a time, and now and then it may be busy with one for a while. */
export class FeedReader {
  readonly ledger: FeedLedger;
  private nextPauseAtMs: number;

  /** `from`: the cursor it begins after. `pausing`: it is busy now and then. */
  constructor(from: string, pausing: boolean) {
    const nowMs = epochMs();
    this.ledger = new FeedLedger(from, nowMs);
    this.nextPauseAtMs = pausing ? nowMs + PAUSE_EVERY_MS : Infinity;
  }

  /** Handles one event; resolves when it wants the next. */
  async handle({ sequence }: OrderEvent): Promise<void> {
    if (!this.ledger.handedOver(sequence, epochMs()) || epochMs() < this.nextPauseAtMs) return;
    await delay(PAUSE_MS);
    this.nextPauseAtMs = epochMs() + PAUSE_EVERY_MS;
    this.ledger.wantsNext(epochMs());
  }
}
