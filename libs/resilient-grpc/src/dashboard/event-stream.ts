import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../time/clock.js';
import type { Visitor } from './dashboard-feed.js';

/** Maximum time in milliseconds that a connection may be blocked before it is closed. */
const MAX_BLOCKED_MS = 30_000;
/** Maximum time in milliseconds to flush the last event. */
const MAX_END_FLUSH_MS = 500;

/**
 * Server-sent events to one visitor. While the connection is blocked, `send` drops events, so that they do not queue up for slow readers.
 */
export class EventStream implements Visitor {
  private blocked: Timer | undefined;
  private closed = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly clock: Clock,
    readonly openClient: string | undefined,
    /** Called after the connection has closed. */
    onClosed: () => void,
  ) {
    response.on('drain', () => this.unblock());
    // A failed response needs no handling here, because 'close' follows.
    response.on('error', () => undefined);
    response.once('close', () => {
      this.closed = true;
      this.unblock();
      onClosed();
    });
    response.write('retry: 1000\n\n');
  }

  /** True while earlier events have not been flushed. */
  get isBlocked(): boolean {
    return this.blocked !== undefined;
  }

  /** Sends an event with `json` as its data. Drops the event if earlier events have not been flushed. */
  send(event: string, json: string): void {
    if (this.closed || this.isBlocked) return;
    if (this.response.write(`event: ${event}\ndata: ${json}\n\n`)) return;
    this.blocked = this.clock.setTimer(() => this.response.destroy(), MAX_BLOCKED_MS);
  }

  /** Sends the end event and closes the response within a bounded time. */
  end(): void {
    if (this.closed) return;
    this.closed = true;
    this.response.end('event: end\ndata: {}\n\n');
    const cut = this.clock.setTimer(() => this.response.destroy(), MAX_END_FLUSH_MS);
    this.response.once('close', () => cut.clear());
  }

  private unblock(): void {
    this.blocked?.clear();
    this.blocked = undefined;
  }
}
