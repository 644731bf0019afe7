import type { EventHub } from '../call/event-hub.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import type { Clock, Timer } from '../time/clock.js';

const CHECK_INTERVAL_MS = 1_000;
/** Delay of a check, in milliseconds, from which a pause is reported: clients time out then. */
const MIN_PAUSE_MS = 1_000;

/** Reports when this process has not run for a while: a handler has blocked the event loop, or the process was stopped. */
export class ProcessPauses {
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly events: EventHub<GrpcServerEvent>,
  ) {}

  start(): void {
    const { clock, events } = this;
    const startedAt = clock.now();
    this.timer = clock.setTimer(() => {
      const pausedMs = clock.now() - startedAt - CHECK_INTERVAL_MS;
      if (pausedMs >= MIN_PAUSE_MS) events.emit({ type: 'process-paused', pausedMs });
      this.start();
    }, CHECK_INTERVAL_MS);
  }

  stop(): void {
    this.timer?.clear();
  }
}
