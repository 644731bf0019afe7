import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../time/clock.js';

/** Whoever takes nothing for so long has gone, and nobody has told us. */
const STUCK_MS = 30_000;
/** What was written last has this long to get out. */
const LAST_WORDS_MS = 500;

/** Server-sent events to one visitor. Nothing queues up for those who read slowly: while it is blocked nothing is written. */
export class EventStream {
  private blocked: Timer | undefined;
  private left = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly clock: Clock,
    /** The visitor has gone, or was let go. */
    onLeave: () => void,
  ) {
    response.on('drain', () => this.unblock());
    // A response that breaks off needs no other answer.
    response.on('error', () => undefined);
    response.once('close', () => {
      this.left = true;
      this.unblock();
      onLeave();
    });
    response.write('retry: 1000\n\n');
  }

  /** What was written before has not got out yet. */
  get isBlocked(): boolean {
    return this.blocked !== undefined;
  }

  /** Sends `json`, a text on one line. */
  send(event: string, json: string): void {
    if (this.left || this.isBlocked) return;
    if (this.response.write(`event: ${event}\ndata: ${json}\n\n`)) return;
    this.blocked = this.clock.setTimer(() => this.response.destroy(), STUCK_MS);
  }

  /** Says goodbye, in a time that is bounded. */
  end(): void {
    if (this.left) return;
    this.response.end('event: end\ndata: {}\n\n');
    const cut = this.clock.setTimer(() => this.response.destroy(), LAST_WORDS_MS);
    this.response.once('close', () => this.clock.clearTimer(cut));
  }

  private unblock(): void {
    if (this.blocked !== undefined) this.clock.clearTimer(this.blocked);
    this.blocked = undefined;
  }
}
