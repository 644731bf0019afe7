import type { EventHub } from '../../call/event-hub.js';
import type { Clock } from '../../time/clock.js';
import type { WireChannel } from '../wire-channel.js';

/**
 * Time in milliseconds after which a wait for a free stream is reported while another connection is being opened. Other waits are reported
 * immediately.
 */
const SLOW_STREAM_MS = 1_000;

/** Dependencies of a stream wait. */
export interface StreamWaitDependencies {
  readonly clock: Clock;
  readonly events: EventHub;
  readonly maxConnectionsPerEndpoint: () => number;
  readonly current: () => Pick<WireChannel, 'openAnother' | 'streamCapacity'>;
  /** Returns the number of waiting calls. */
  readonly waiting: () => number;
}

/** Handles a wait for a free stream on a READY channel: opens further connections, and reports the wait. */
export class StreamWait {
  /** Start of the wait, in monotonic milliseconds; `undefined` if no call is waiting for a stream. */
  private since: number | undefined;
  private isReported = false;

  constructor(private readonly dependencies: StreamWaitDependencies) {}

  /** Handles a wait that begins or continues. */
  continues(): void {
    const { clock, events, maxConnectionsPerEndpoint, current, waiting } = this.dependencies;
    const now = clock.now();
    this.since ??= now;
    current().openAnother();
    const { streamCapacity } = current();
    if (streamCapacity === undefined || this.isReported) return;
    const { connections, limit, isGrowing: opensConnection } = streamCapacity;
    // A short wait while another connection opens is no sign of a problem.
    if (opensConnection && now - this.since < SLOW_STREAM_MS) return;
    this.isReported = true;
    if (!events.wanted) return;
    const maximum = { maxConnectionsPerEndpoint: maxConnectionsPerEndpoint() };
    const details = { waiting: waiting(), connections, limit, ...maximum, opensConnection };
    events.emit({ type: 'stream-limit', phase: 'begin', ...details });
  }

  ended(): void {
    const { clock, events } = this.dependencies;
    const now = clock.now();
    const durationMs = now - (this.since ?? now);
    this.since = undefined;
    if (this.isReported && events.wanted) events.emit({ type: 'stream-limit', phase: 'end', durationMs });
    this.isReported = false;
  }
}
