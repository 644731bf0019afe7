import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../time/clock.js';
import type { Visitor } from './dashboard-feed.js';

/** Maximum time for which a connection may accept no data; then it is closed. */
const MAX_BLOCKED_MS = 30_000;
/** Maximum time to flush the last event. */
const STATUS_FLUSH_MS = 500;

/** Server-sent events to one visitor. Events are dropped while the connection is blocked, so that they do not queue up for slow readers. */
export class EventStream implements Visitor {
  private blocked: Timer | undefined;
  private closed = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly clock: Clock,
    readonly openClient: string | undefined,
    /** Called after the connection has closed. */
    onLeave: () => void,
  ) {
    response.on('drain', () => this.unblock());
    // A failed response needs no handling here: 'close' follows.
    response.on('error', () => undefined);
    response.once('close', () => {
      this.closed = true;
      this.unblock();
      onLeave();
    });
    response.write('retry: 1000\n\n');
  }

  /** True while earlier events are not flushed. */
  get isBlocked(): boolean {
    return this.blocked !== undefined;
  }

  /** Sends `json`, which must be a single line. */
  send(event: string, json: string): void {
    if (this.closed || this.isBlocked) return;
    if (this.response.write(`event: ${event}\ndata: ${json}\n\n`)) return;
    this.blocked = this.clock.setTimer(() => this.response.destroy(), MAX_BLOCKED_MS);
  }

  /** Sends the end event and closes the response within a bounded time. */
  end(): void {
    if (this.closed) return;
    this.response.end('event: end\ndata: {}\n\n');
    const cut = this.clock.setTimer(() => this.response.destroy(), STATUS_FLUSH_MS);
    this.response.once('close', () => cut.clear());
  }

  private unblock(): void {
    this.blocked?.clear();
    this.blocked = undefined;
  }
}
