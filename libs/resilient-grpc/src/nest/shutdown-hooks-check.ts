import type { LibraryLogger } from '../telemetry/log/library-logger.js';
import type { Clock, Timer } from '../time/clock.js';

// enableShutdownHooks() is usually called between init and listen, so the check is delayed.
const DELAY_MS = 1_000;

/** The process as the check needs it. */
export interface SignalHandling {
  /** True if the process listens for the signals that stop it. */
  readonly listensForSignals: () => boolean;
  /** True if `NODE_ENV` is 'test'. */
  readonly testing: boolean;
}

/** Returns the signal handling of this process. */
export function signalHandling(): SignalHandling {
  return {
    listensForSignals: () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') > 0,
    testing: process.env['NODE_ENV'] === 'test',
  };
}

/** Warns one second after the start of the application, except in tests, if signals do not shut it down. */
export class ShutdownHooksCheck {
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly signals: SignalHandling,
    private readonly logger: Pick<LibraryLogger, 'warn'>,
  ) {}

  /** Starts the check. Later calls are ignored. `hasCalls` returns false if the application has no gRPC calls to cut off. */
  start(hasCalls: () => boolean): void {
    if (this.signals.testing || this.timer !== undefined) return;
    this.timer = this.clock.setTimer(() => {
      if (this.signals.listensForSignals() || !hasCalls()) return;
      this.logger.warn(
        'enableShutdownHooks() was not called, so SIGTERM cuts off calls in flight; write app.enableShutdownHooks()',
      );
    }, DELAY_MS);
  }

  stop(): void {
    this.timer?.clear();
  }
}
