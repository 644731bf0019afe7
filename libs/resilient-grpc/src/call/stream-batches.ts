import type { Clock } from '../time/clock.js';
import { Wait } from '../time/wait.js';

const STREAM_BATCH_SIZE = 100;
const STREAM_BATCH_INTERVAL_MS = 10;

/**
 * Ends the streams of a draining client or server in batches. Thousands of streams that end at the same moment would all be reopened on
 * other servers at once.
 */
export class StreamBatches {
  private pause: Wait | undefined;
  private isStopped = false;

  constructor(private readonly clock: Clock) {}

  /** Calls `endStream` for each stream: for the first batch immediately, and for each later batch after an interval. */
  async end<Stream>(streams: readonly Stream[], endStream: (stream: Stream) => void): Promise<void> {
    for (let from = 0; from < streams.length; from += STREAM_BATCH_SIZE) {
      if (from > 0) {
        this.pause = new Wait(this.clock, STREAM_BATCH_INTERVAL_MS);
        await this.pause.over;
      }
      if (this.isStopped) return;
      for (const stream of streams.slice(from, from + STREAM_BATCH_SIZE)) endStream(stream);
    }
  }

  /** Skips the remaining batches. The caller ends their streams itself. */
  stop(): void {
    this.isStopped = true;
    this.pause?.end();
  }
}
